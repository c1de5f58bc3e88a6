package kernel

import (
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"picket/event"
)

// TestLayout pins what the C structures look like: Go reads them as they lie.
func TestLayout(t *testing.T) {
	for _, c := range []struct {
		what      string
		got, want uintptr
	}{
		{"header", unsafe.Sizeof(typedHeader{}), 72},
		{"header.kind", unsafe.Offsetof(typedHeader{}.Kind), 48},
		{"header.comm", unsafe.Offsetof(typedHeader{}.Comm), 56},
		{"process", unsafe.Sizeof(typedProcessRecord{}), 248},
		{"process.exe_len", unsafe.Offsetof(typedProcessRecord{}.ExeLen), 208},
		{"file", unsafe.Sizeof(typedFileRecord{}), 120},
		{"file.dir_len", unsafe.Offsetof(typedFileRecord{}.DirLen), 100},
		{"net", unsafe.Sizeof(typedNetRecord{}), 128},
		{"bytes", unsafe.Sizeof(typedBytesRecord{}), 136},
		{"call", unsafe.Sizeof(typedCallRecord{}), 272},
		{"call.spec", unsafe.Offsetof(typedCallRecord{}.Spec), 156},
		{"call spec", unsafe.Sizeof(typedCallSpec{}), 24},
		{"tally", unsafe.Sizeof(typedTally{}), 168},
		{"net.local_port", unsafe.Offsetof(typedNetRecord{}.LocalPort), 112},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.what, c.got, c.want)
		}
	}
}

func raw[T any](r *T, data string) []byte {
	return append(append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r))...), data...)
}

func TestDecodeRefusesShortRecords(t *testing.T) {
	d := newDecoder("h")
	defer d.close()
	whole := raw(&typedFileRecord{H: typedHeader{Kind: uint16(event.FileWrite)}, PathLen: 4}, "/a/b")
	if e, err := d.decode(whole); err != nil || e.File.Path != "/a/b" {
		t.Fatalf("%+v, %v", e, err)
	}
	for n := range whole {
		if _, err := d.decode(whole[:n]); err == nil {
			t.Errorf("%d bytes of %d were taken", n, len(whole))
		}
	}
}

func TestDecodeAllocatesLittle(t *testing.T) {
	d := newDecoder("h")
	defer d.close()
	f := raw(&typedFileRecord{H: typedHeader{Kind: uint16(event.FileWrite)}, PathLen: 4}, "/a/b")
	n := raw(&typedNetRecord{H: typedHeader{Kind: uint16(event.NetConnect)}, Family: 2}, "")
	if a := testing.AllocsPerRun(100, func() { _, _ = d.decode(f) }); a > 1 {
		t.Errorf("a file event costs %v allocations", a)
	}
	if a := testing.AllocsPerRun(100, func() { _, _ = d.decode(n) }); a > 0 {
		t.Errorf("a connection event costs %v allocations", a)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(raw(&typedProcessRecord{H: typedHeader{Kind: uint16(event.ProcessStart)}, ExeLen: 2, ArgsLen: 3}, "/aa\x00b"))
	f.Add(raw(&typedFileRecord{H: typedHeader{Kind: uint16(event.FileRename)}, DirLen: 2, PathLen: 3, OldDirLen: 1, OldLen: 1}, "/abcd/e"))
	f.Add(raw(&typedNetRecord{H: typedHeader{Kind: uint16(event.NetSend)}, Family: 10}, ""))
	f.Add(raw(&typedCallRecord{H: typedHeader{Kind: uint16(event.ProcessTrace)}, Target: 2, ExeLen: 2, TextLen: [4]uint16{1, 1, 1, 1}}, "/aabcd"))
	f.Add(raw(&typedCallRecord{H: typedHeader{Kind: uint16(event.ProcessSignal)}, Spec: noSpec, ExeLen: 2}, "/a"))
	f.Add(raw(&typedTally{H: typedHeader{Kind: uint16(event.DeviceControl)}, PathLen: 4}, ""))
	f.Add(raw(&typedBytesRecord{N: typedNetRecord{H: typedHeader{Kind: uint16(event.NetTLS)}}, Len: 6}, "\x16\x03\x01\x00\x01\x01"))
	f.Add(raw(&typedBytesRecord{N: typedNetRecord{H: typedHeader{Kind: uint16(event.NetDNS)}, Protocol: 6}, Len: 2, Whole: 2}, "\x00\x20"))
	d := newDecoder("h")
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := d.decode(b)
		if err == nil && (e.Process == nil || e.Kind == 0) {
			t.Fatal("an event without kind or process")
		}
	})
}

func TestRedact(t *testing.T) {
	for _, c := range []struct{ in, want []string }{
		{[]string{"vllm", "--model", "m", "--api-key", "abc"}, []string{"vllm", "--model", "m", "--api-key", "***"}},
		{[]string{"x", "--token=abc", "--hf-token", "abc", "--max-tokens", "5"}, []string{"x", "--token=***", "--hf-token", "***", "--max-tokens", "5"}},
		{[]string{"x", "--token=", "--password=''", "PASSWORD=\"\""}, []string{"x", "--token=", "--password=''", "PASSWORD=\"\""}},
		{[]string{"env", "AWS_SECRET_ACCESS_KEY=abc", "HOME=/x", "python"}, []string{"env", "AWS_SECRET_ACCESS_KEY=***", "HOME=/x", "python"}},
		{[]string{"psql", "postgres://u:pw@host/db"}, []string{"psql", "postgres://u:***@host/db"}},
		{[]string{"curl", "-H", "Authorization: Bearer abc", "http://a/b@c:d"}, []string{"curl", "-H", "Authorization: Bearer ***", "http://a/b@c:d"}},
		{[]string{"sh", "-c", "PASSWORD=abc ./run --fast"}, []string{"sh", "-c", "PASSWORD=*** ./run --fast"}},
		{[]string{"sh", "-c", "./run --token abc --api-key=def"}, []string{"sh", "-c", "./run --token *** --api-key=***"}},
		{[]string{"x", "--tokenizer", "t", "--password-file", "/f", "--secret"}, []string{"x", "--tokenizer", "t", "--password-file", "/f", "--secret"}},
		{nil, nil},
	} {
		if got := redact(c.in); !cmp.Equal(got, c.want) {
			t.Errorf("%q\n got %q\nwant %q", c.in, got, c.want)
		}
	}
}

func TestFindUnified(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup"},
		{"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 c rw\n", "/sys/fs/cgroup/unified"},
		{"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", ""},
	} {
		if got := findUnified(c.in); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
