package kernel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"picket/event"
)

var typeNumbers = map[string]int{"stream": unix.SOCK_STREAM, "dgram": unix.SOCK_DGRAM, "seqpacket": unix.SOCK_SEQPACKET}

// serve binds a socket of the host and listens, where its type can.
func serve(t *testing.T, kind, at string) {
	t.Helper()
	fd := socketFor(t, unix.AF_UNIX, typeNumbers[kind])
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: at}); err != nil {
		t.Fatal(err)
	}
	if kind != "dgram" {
		if err := unix.Listen(fd, 1000); err != nil {
			t.Fatal(err)
		}
	}
}

func connectUnix(kind, to string) error {
	fd, err := unix.Socket(unix.AF_UNIX, typeNumbers[kind], 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Connect(fd, &unix.SockaddrUnix{Name: to}), unix.Close(fd))
}

// Whatever the caller calls a socket, the path is told at which its server bound it.
func TestSocketsOfTheHost(t *testing.T) {
	dir := realTempDir(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.MkdirAll(in("device-plugins"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(in("docker.sock"), in("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in("mounted"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := only(event.NetUnix)
	d.Sockets = []string{in("asked-for"), "@asked"}
	r := newRecording(t, d)
	unique := fmt.Sprint(os.Getpid())
	for _, c := range []struct {
		name, kind, at, to, runtime string
		plain                       bool // without a file
	}{
		{name: "last part", kind: "stream", at: in("podman.sock"), runtime: "podman"},
		{name: "packets", kind: "seqpacket", at: in("crio.sock"), runtime: "cri-o"},
		{name: "datagrams", kind: "dgram", at: in("containerd.sock"), runtime: "containerd"},
		{name: "link", kind: "stream", at: in("docker.sock"), to: in("link"), runtime: "docker"},
		{name: "directory", kind: "stream", at: in("device-plugins/gpu.sock"), runtime: "kubelet"},
		{name: "name without a file", kind: "stream", at: "@/containerd-shim/" + unique + ".sock", runtime: "containerd", plain: true},
		{name: "beginning", kind: "stream", at: in("asked-for.1")},
		{name: "beginning of a name", kind: "stream", at: "@asked" + unique, plain: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			serve(t, c.kind, c.at)
			to := c.at
			if c.to != "" {
				to = c.to
			}
			if err := connectUnix(c.kind, to); err != nil {
				t.Fatal(err)
			}
			e := r.find(t, event.NetUnix, func(e *event.Event) bool { return e.Net.Unix.Path == c.at })
			want := event.Unix{Path: c.at, Type: c.kind, Peer: uint32(os.Getpid())}
			if c.kind == "dgram" {
				want.Peer = 0 // nobody listens
			}
			if !c.plain {
				var st unix.Stat_t
				if err := unix.Stat(c.at, &st); err != nil {
					t.Fatal(err)
				}
				want.Ino, want.Dev = st.Ino, uint64(unix.Major(st.Dev)<<20|unix.Minor(st.Dev))
			}
			if *e.Net.Unix != want || e.Net.Unix.Runtime() != c.runtime {
				t.Errorf("%+v of %q, want %+v of %q", *e.Net.Unix, e.Net.Unix.Runtime(), want, c.runtime)
			}
			if p := e.Process; p.PID != uint32(os.Getpid()) || p.StartBoot == 0 || p.CgroupID == 0 || e.Net.Protocol != "unix" || !e.Net.Initiated || e.Errno != 0 || e.Count != 1 || e.Truncated {
				t.Errorf("%+v errno %d count %d by %+v", e.Net, e.Errno, e.Count, p)
			}
		})
	}
	t.Run("bind mount", func(t *testing.T) {
		apart(t, func() error {
			return errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
				mountedElsewhere(t, in("buildkitd.sock"), in("mounted")), connectUnix("stream", in("mounted")))
		})
		r.find(t, event.NetUnix, func(e *event.Event) bool {
			return e.Net.Unix.Path == in("buildkitd.sock") && e.Process.TID != e.Process.PID
		})
	})
	t.Run("refused", func(t *testing.T) {
		if err := connectUnix("stream", in("none/csi.sock")); !errors.Is(err, unix.ENOENT) {
			t.Fatal(err)
		}
		e := r.find(t, event.NetUnix, func(e *event.Event) bool { return e.Errno == int32(unix.ENOENT) })
		if want := (event.Unix{Path: in("none/csi.sock"), Type: "stream"}); *e.Net.Unix != want {
			t.Errorf("%+v, want %+v", *e.Net.Unix, want)
		}
	})
	t.Run("io_uring", func(t *testing.T) {
		for _, c := range r.Capabilities() {
			if c.Name == "connect-unix-otherwise" && !c.OK {
				t.Skip(c.Detail)
			}
		}
		at := in("kubelet.sock")
		serve(t, "stream", at)
		to := unix.RawSockaddrUnix{Family: unix.AF_UNIX}
		for i := range at {
			to.Path[i] = int8(at[i])
		}
		ringConnectTo(t, unix.AF_UNIX, unsafe.Pointer(&to), uint64(2+len(at)))
		e := r.find(t, event.NetUnix, func(e *event.Event) bool { return e.Net.Unix.Path == at })
		if want := (event.Unix{Path: at, Type: "stream"}); *e.Net.Unix != want || e.Process.PID != uint32(os.Getpid()) {
			t.Errorf("%+v by %d, want %+v", *e.Net.Unix, e.Process.PID, want)
		}
	})
	t.Run("others", func(t *testing.T) {
		for _, other := range []string{in("other.sock"), in("my-docker.sock"), in("docker.sock.d"), "@other" + unique} {
			serve(t, "stream", other)
			if err := connectUnix("stream", other); err != nil {
				t.Fatal(err)
			}
		}
		d.Sockets = []string{""}
		if err := r.Follow(d); err != nil {
			t.Fatal(err)
		}
		last := in("last")
		serve(t, "stream", last)
		if err := connectUnix("stream", last); err != nil {
			t.Fatal(err)
		}
		r.find(t, event.NetUnix, func(e *event.Event) bool { return e.Net.Unix.Path == last })
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range r.events {
			if p := e.Net.Unix.Path; p == in("other.sock") || p == in("my-docker.sock") || p == in("docker.sock.d") || p == "@other"+unique {
				t.Errorf("%s was told of, and nobody asked", p)
			}
		}
	})
}

// mountedElsewhere serves a socket and mounts it over a file.
func mountedElsewhere(t *testing.T, at, file string) error {
	serve(t, "stream", at)
	return unix.Mount(at, file, "", unix.MS_BIND, "")
}

// What is told of a process that connects again and again adds up to what it did.
func TestRepeatedSocketsAreCounted(t *testing.T) {
	r := newRecording(t, only(event.NetUnix))
	at := filepath.Join(realTempDir(t), "docker.sock")
	serve(t, "stream", at)
	const rounds = 200
	for range rounds {
		if err := connectUnix("stream", at); err != nil {
			t.Fatal(err)
		}
	}
	told, sum := 0, uint32(0)
	r.wait(t, "net.unix of all rounds", func(e *event.Event) bool {
		if e.Kind == event.NetUnix && e.Net.Unix.Path == at {
			told++
			sum += e.Count
		}
		return sum >= rounds
	})
	if sum != rounds || r.Stats().Collapsed[event.NetUnix] < uint64(rounds-told) {
		t.Errorf("%d told in %d events, %d collapsed", sum, told, r.Stats().Collapsed[event.NetUnix])
	}
}

func TestUnixRecordsAreReadInBounds(t *testing.T) {
	d := newDecoder("h")
	defer d.close()
	r := typedUnixRecord{H: typedHeader{Kind: uint16(event.NetUnix)}, Len: 4, Type: 1}
	for i, c := range []byte("/a/b") {
		r.Path[i] = c
	}
	whole := raw(&r, "")
	if e, err := d.decode(whole); err != nil || e.Net.Unix.Path != "/a/b" {
		t.Fatalf("%+v, %v", e, err)
	}
	if _, err := d.decode(whole[:len(whole)-1]); !errors.Is(err, errShort) {
		t.Errorf("a short record: %v", err)
	}
	r.Len = uint16(len(r.Path)) + 1
	if _, err := d.decode(raw(&r, "")); !errors.Is(err, errLength) {
		t.Errorf("a length beyond the end: %v", err)
	}
}
