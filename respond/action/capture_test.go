package action

import (
	"archive/tar"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// TestBeCaptured is the process that other tests capture.
func TestBeCaptured(t *testing.T) {
	dir := os.Getenv("PICKET_BE_CAPTURED")
	if dir == "" {
		t.Skip("it is started by the tests of capture")
	}
	model := must(os.Open(filepath.Join(dir, "held.gguf")))(t)
	defer model.Close()
	mapped := must(os.Open(filepath.Join(dir, "mapped.safetensors")))(t)
	page := must(unix.Mmap(int(mapped.Fd()), 0, 7, unix.PROT_READ, unix.MAP_PRIVATE))(t)
	_ = mapped.Close()
	if addr := os.Getenv("PICKET_PEER"); addr != "" {
		conn := must(net.Dial("tcp", addr))(t)
		defer conn.Close()
	}
	if os.Getenv("PICKET_HANG") != "" {
		holdUpArguments(t)
	}
	_, _ = os.Stdout.WriteString("ready\n")
	time.Sleep(5 * time.Minute)
	_ = page[0]
}

// holdUpArguments takes the page of this process's arguments away, as a hostile one can, and leaves
// a fault in it to a userfaultfd that nobody serves. Linux 6.18 gives who reads them nothing.
func holdUpArguments(t *testing.T) {
	w := strings.Fields(string(must(os.ReadFile("/proc/self/stat"))(t)))
	start := must(strconv.ParseUint(w[47], 10, 64))(t)
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	api := struct{ api, features, ioctls uint64 }{api: 0xaa}
	page := uint64(os.Getpagesize())
	reg := struct{ start, length, mode, ioctls uint64 }{start: start &^ (page - 1), length: page, mode: 1}
	if errno == 0 {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, 0xc018aa3f, uintptr(unsafe.Pointer(&api)))
	}
	if errno == 0 {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, 0xc020aa00, uintptr(unsafe.Pointer(&reg)))
	}
	if errno == 0 {
		_, _, errno = unix.Syscall(unix.SYS_MADVISE, uintptr(reg.start), uintptr(page), unix.MADV_DONTNEED)
	}
	if errno != 0 {
		fmt.Println("no userfaultfd here:", errno)
		os.Exit(1)
	}
}

// captured starts the process above from a program that is deleted then.
func captured(t *testing.T, env ...string) (pid int, dir string) {
	t.Helper()
	needsRoot(t)
	dir = t.TempDir()
	writeFile(t, filepath.Join(dir, "held.gguf"), "abc")
	writeFile(t, filepath.Join(dir, "mapped.safetensors"), "weights")
	program := filepath.Join(dir, "dropped")
	writeFile(t, program, string(must(os.ReadFile(must(os.Executable())(t)))(t)))
	_ = os.Chmod(program, 0o755)
	cmd := exec.Command(program, "-test.run=^TestBeCaptured$", "-test.v=false", "--token=hunter2")
	cmd.Args = []string{program, "-test.run=^TestBeCaptured$"}
	cmd.Env = append([]string{"PICKET_BE_CAPTURED=" + dir, "AWS_SECRET_ACCESS_KEY=hunter2", "COLOUR=blue"}, env...)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	pid = started(t, cmd)
	_ = os.Remove(program)
	return pid, dir
}

// mask stands for the sensor's own redaction, which is of another package.
func mask(args []string) []string {
	var out []string
	for _, a := range args {
		name, _, ok := strings.Cut(a, "=")
		if ok && strings.Contains(name, "SECRET") {
			a = name + "=***"
		}
		out = append(out, a)
	}
	return out
}

func newCapture(t *testing.T, o CaptureOptions) *capture {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "evidence")
	}
	return must(NewCapture(o))(t).(*capture)
}

// unpack reads an archive, and checks every file with its manifest.
func unpack(t *testing.T, path string) map[string]string {
	t.Helper()
	f := must(os.Open(path))(t)
	defer f.Close()
	z := must(zstd.NewReader(f))(t)
	defer z.Close()
	files, order := map[string]string{}, []string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(must(io.ReadAll(r))(t))
		order = append(order, h.Name)
	}
	var manifest []keptFile
	if err := json.Unmarshal([]byte(files["manifest.json"]), &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest) != len(files)-1 || order[len(order)-1] != "manifest.json" {
		t.Errorf("the manifest has %d of %d files", len(manifest), len(files)-1)
	}
	for _, m := range manifest {
		if textSum(files[m.Path]) != m.SHA256 || int64(len(files[m.Path])) != m.Size {
			t.Errorf("%s is not what the manifest says", m.Path)
		}
	}
	return files
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %.200s", err, text)
	}
	return v
}

func TestCapture(t *testing.T) {
	needsRoot(t)
	peer := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer peer.Close()
	pid, _ := captured(t, "PICKET_PEER="+peer.Addr().String())
	c := newCapture(t, CaptureOptions{Redact: mask, Events: func(_ context.Context, target *Target, tell func(json.RawMessage)) error {
		tell(json.RawMessage(fmt.Sprintf(`{"pid":%d}`, target.Process.PID)))
		return nil
	}})
	r := &Request{ID: "r1", Kind: Capture, Target: Target{Process: &ProcessPin{PID: pid}}, By: "alice", Reason: "suspect", Incident: "i1"}
	plan := must(c.Plan(t.Context(), r))(t)
	exe := must(os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)))(t)
	if plan.Target.Process.Start != pinOf(t, pid).Start || plan.Target.Process.Exe != exe || !cmp.Equal(plan.Hits, []string{fmt.Sprintf("%d dropped", pid)}) {
		t.Errorf("plan %+v", plan)
	}
	res := must(c.Do(t.Context(), r))(t)
	if res.State != Done || strings.Contains(res.Detail, "missing") {
		t.Fatalf("%+v", res)
	}
	if m := must(os.Stat(res.Output))(t).Mode(); m.Perm() != 0o600 {
		t.Errorf("mode %v", m)
	}
	files, dir := unpack(t, res.Output), fmt.Sprintf("process/%d/", pid)
	for name, want := range map[string]string{
		dir + "status":       "Name:\tdropped",
		dir + "maps":         "mapped.safetensors",
		dir + "environ.json": "COLOUR=blue",
		dir + "links.json":   `"ns/net": "net:[`,
		dir + "exe":          "\x7fELF",
		dir + "exe.json":     `"deleted": true`,
		dir + "files.json":   `"peer": "` + peer.Addr().String() + `"`,
		"events.jsonl":       fmt.Sprintf("{\"pid\":%d}\n", pid),
		"custody.json":       `"by": "alice"`,
		"ancestors.json":     strconv.Itoa(os.Getpid()),
		"missing.json":       "null",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s lacks %q: %.300s", name, want, files[name])
		}
	}
	for name, content := range files {
		if strings.Contains(content, "hunter2") && name != dir+"exe" { // which is this test, with the word in it
			t.Errorf("a secret is in %s", name)
		}
	}
	sums := map[string]string{}
	for _, m := range decode[[]openOne](t, files["models.json"]) {
		sums[filepath.Base(m.To)] = m.SHA256
	}
	if diff := cmp.Diff(map[string]string{"held.gguf": textSum("abc"), "mapped.safetensors": textSum("weights")}, sums); diff != "" {
		t.Error(diff)
	}
	if holds, detail, err := c.Verify(t.Context(), r); !holds || err != nil {
		t.Errorf("verify: %s %v", detail, err)
	}
	f := must(os.OpenFile(res.Output, os.O_WRONLY, 0))(t)
	_, _ = f.WriteAt([]byte("x"), 100)
	_ = f.Close()
	if holds, detail, _ := c.Verify(t.Context(), r); holds || !strings.Contains(detail, "not what was collected") {
		t.Errorf("a changed archive: %v %s", holds, detail)
	}
}

// TestCaptureOfOneThatHoldsUpReaders says what a hostile process has taken away, gives up what hangs,
// and collects the rest.
func TestCaptureOfOneThatHoldsUpReaders(t *testing.T) {
	pid, _ := captured(t, "PICKET_HANG=1")
	free := make(chan struct{})
	c := newCapture(t, CaptureOptions{Redact: mask, Events: func(context.Context, *Target, func(json.RawMessage)) error {
		<-free
		return nil
	}})
	res := must(c.Do(t.Context(), &Request{ID: "r1", Target: Target{Process: pinOf(t, pid)}}))(t)
	files := unpack(t, res.Output)
	lacks := map[string]string{}
	for _, l := range decode[[]lack](t, files["missing.json"]) {
		lacks[l.What] = l.Why
	}
	dir := fmt.Sprintf("process/%d/", pid)
	if res.State != Done || files[dir+"maps"] == "" || files[dir+"exe"] == "" ||
		!cmp.Equal(lacks, map[string]string{dir + "cmdline": "the process has taken it away", "events.jsonl": errStuck.Error()}) {
		t.Errorf("%+v, missing %v", res, lacks)
	}
	if n := c.stuck.Load(); n != 1 {
		t.Errorf("%d reads hang", n)
	}
	close(free)
	for c.stuck.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
}

func TestCaptureBounds(t *testing.T) {
	pid, _ := captured(t)
	r := &Request{ID: "r1", Target: Target{Process: pinOf(t, pid)}}
	missing := func(o CaptureOptions) map[string]string {
		res := must(newCapture(t, o).Do(t.Context(), r))(t)
		if res.State != Done {
			t.Fatalf("%+v", res)
		}
		lacks := map[string]string{}
		for _, l := range decode[[]lack](t, unpack(t, res.Output)["missing.json"]) {
			lacks[l.What] = l.Why
		}
		return lacks
	}
	dir := fmt.Sprintf("process/%d/", pid)
	if l := missing(CaptureOptions{Redact: mask, Bytes: 1 << 20}); !strings.Contains(l[dir+"exe"], "do not fit") {
		t.Errorf("1 MiB: %v", l)
	}
	if l := missing(CaptureOptions{Redact: mask, Time: time.Nanosecond}); l[dir+"maps"] != "the time was over" || l["models.json"] != "" {
		t.Errorf("no time: %v", l)
	}
	if l := missing(CaptureOptions{}); !strings.Contains(l[dir+"environ"], "could not be masked") {
		t.Errorf("no redaction: %v", l)
	}
	c := newCapture(t, CaptureOptions{Keep: 10})
	writeFile(t, filepath.Join(c.o.Dir, "old"), "more than ten bytes")
	if res := must(c.Do(t.Context(), r))(t); res.State != Refused {
		t.Errorf("full: %+v", res)
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	for pid := pid; unix.Kill(pid, 0) == nil; time.Sleep(time.Millisecond) {
		if stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); strings.Contains(string(stat), ") Z") {
			break
		}
	}
	if res := must(newCapture(t, CaptureOptions{}).Do(t.Context(), &Request{ID: "r2", Target: Target{Process: &ProcessPin{PID: pid, Start: 1}}}))(t); res.State != Gone {
		t.Errorf("of another life: %+v", res)
	}
}

// TestCaptureOfOneThatEnds reads a process that ends between the choice and the reading.
func TestCaptureOfOneThatEnds(t *testing.T) {
	needsRoot(t)
	cmd := exec.Command("sleep", "300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := must(openLife(cmd.Process.Pid))(t)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	a := must(newArchive(filepath.Join(t.TempDir(), "a"), 1<<20))(t)
	defer a.abandon()
	g := &gathering{c: newCapture(t, CaptureOptions{}), ctx: t.Context(), a: a}
	g.all(&Target{}, []*life{l})
	if i := fmt.Sprint(a.missing); !strings.Contains(i, "maps the process has ended") {
		t.Error(i)
	}
}

func TestCaptureOfContainer(t *testing.T) {
	pid, id := container(t, map[string]string{"etc/old": "o"}, "cp /bin/busybox /tmp/tool; echo x > /tmp/note; ln -s /etc/shadow /tmp/way; busybox rm /etc/old; busybox mkfifo /tmp/fifo; sleep 299 & true")
	res := must(newCapture(t, CaptureOptions{}).Do(t.Context(), &Request{ID: "r1", Target: Target{Container: id}}))(t)
	files := unpack(t, res.Output)
	lives := decode[[]life](t, files["processes.json"])
	wrote := decode[[]changes](t, files["changes.json"])
	if len(wrote) != 1 || !slices.Equal(wrote[0].PIDs, []int{lives[0].PID, lives[1].PID}) {
		t.Fatalf("changes %+v", wrote)
	}
	got := map[string]string{}
	for _, c := range wrote[0].Files {
		got[c.Path] = strings.TrimSpace(c.Kind + " " + c.To + c.SHA256)
	}
	for path, want := range map[string]string{
		"/tmp/note": "file 73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac", "/tmp/way": "link /etc/shadow", "/tmp/fifo": "pipe",
		"/etc/old": "gone", "/tmp": "directory", "/tmp/tool": "file", "/bin/busybox": "",
	} {
		if got[path] != want && (path != "/tmp/tool" || !strings.HasPrefix(got[path], want)) {
			t.Errorf("%s: %q, not %q", path, got[path], want)
		}
	}
	if len(lives) != 2 || lives[0].PID != pid || lives[1].Parent != pid {
		t.Errorf("%+v: %+v", res, lives)
	}
	group := lives[0].Cgroup
	if res := must(newCapture(t, CaptureOptions{}).Do(t.Context(), &Request{ID: "r1", Target: Target{Cgroup: group, CgroupID: 1}}))(t); res.State != Gone {
		t.Errorf("another cgroup by that name: %+v", res)
	}
	res = must(newCapture(t, CaptureOptions{}).Do(t.Context(), &Request{ID: "r1", Target: Target{Process: pinOf(t, pid), Lineage: true}}))(t)
	if n := len(decode[[]life](t, unpack(t, res.Output)["processes.json"])); n != 2 {
		t.Errorf("%d processes in the lineage", n)
	}
}

// Of a network of its own the headers of packets are kept, and nothing of what they carry.
func TestCaptureOfPackets(t *testing.T) {
	needsRoot(t)
	busybox, err := exec.LookPath("busybox")
	needs(t, "runc", err == nil, "needs busybox: apt install busybox-static")
	cmd := exec.Command("bash", "-c", busybox+" ip link set lo up && echo ready; while :; do echo secret-payload >/dev/udp/127.0.0.1/9; sleep 0.01; done")
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Cloneflags: unix.CLONE_NEWNET}
	pid := started(t, cmd)
	var ns unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &ns); err != nil {
		t.Fatal(err)
	}
	res := must(newCapture(t, CaptureOptions{}).Do(t.Context(), &Request{ID: "r1", Target: Target{Process: pinOf(t, pid), Lineage: true}}))(t)
	pcap := unpack(t, res.Output)[fmt.Sprintf("packets/%d.pcap", ns.Ino)]
	if len(pcap) < 24 || pcap[:4] != "\x4d\x3c\xb2\xa1" || strings.Contains(pcap, "secret") {
		t.Fatalf("%+v: %q", res, pcap)
	}
	le, n := binary.LittleEndian, 0
	for rest := []byte(pcap[24:]); len(rest) > 0; n++ {
		kept, size := int(le.Uint32(rest[8:])), le.Uint32(rest[12:])
		packet := rest[16 : 16+kept]
		rest = rest[16+kept:]
		if protocol := binary.BigEndian.Uint16(packet); protocol == unix.ETH_P_IP && packet[20+9] == protocolUDP {
			if to := binary.BigEndian.Uint16(packet[20+22:]); kept != 20+28 || size != 20+28+15 || to != 9 {
				t.Errorf("%d bytes of %d to port %d", kept, size, to)
			}
		}
	}
	if n < 2 {
		t.Errorf("%d packets in half a second", n)
	}
	if host := must(newCapture(t, CaptureOptions{}).Do(t.Context(), &Request{ID: "r2", Target: Target{Process: pinOf(t, os.Getpid())}}))(t); strings.Contains(strings.Join(slices.Collect(maps.Keys(unpack(t, host.Output))), " "), "packets") {
		t.Error("the host's packets were kept")
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add(uint16(unix.ETH_P_IP), []byte("\x45\x00\x00\x3c\x00\x00\x40\x00\x40\x06\x00\x00\x7f\x00\x00\x01\x7f\x00\x00\x01\x00\x50\x00\x51\x00\x00\x00\x00\x00\x00\x00\x00\xa0\x02"))
	f.Add(uint16(unix.ETH_P_IPV6), make([]byte, 60))
	f.Fuzz(func(t *testing.T, protocol uint16, b []byte) {
		if n := headers(protocol, b); n < 0 || n > len(b) {
			t.Error(n)
		}
	})
}

// However many files a container wrote, so many are listed, and it is said that there are more.
func TestChangesAreBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range maxChanges + 100 {
		if err := os.Symlink("/", filepath.Join(dir, strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	root := must(os.OpenRoot(dir))(t)
	defer root.Close()
	if got, err := listChanges(root, time.Now().Add(time.Hour)); len(got) != maxChanges || !errors.Is(err, errMany) {
		t.Errorf("%d files, %v", len(got), err)
	}
	if got, err := listChanges(root, time.Now()); len(got) > 256 || !errors.Is(err, errLate) {
		t.Errorf("%d files when the time is over, %v", len(got), err)
	}
}

func TestUpperDirectoryOfARoot(t *testing.T) {
	overlay := func(at, options string) string {
		return "600 500 0:50 / " + at + " rw,relatime shared:1 - overlay overlay rw,lowerdir=/l," + options + "\n"
	}
	for text, want := range map[string]string{
		"":                                       "",
		"garbage\n - overlay\n":                  "",
		"22 1 254:0 / / rw - ext4 /dev/vda rw\n": "",
		overlay("/", "upperdir=/var/lib/x/diff,workdir=/w"):                                 "/var/lib/x/diff",
		overlay("/mnt", "upperdir=/var/lib/x/diff,workdir=/w"):                              "",
		overlay("/", `upperdir=/a\040b\134c,workdir=/w`):                                    `/a b\c`,
		overlay("/", "upperdir=relative,workdir=/w"):                                        "",
		overlay("/", "upperdir=/a/../b,workdir=/w"):                                         "/b",
		overlay("/", "upperdir=/x,workdir=/w") + "9 8 0:1 / / rw - tmpfs tmpfs rw\n":        "",
		overlay("/", "upperdir=/x,workdir=/w") + overlay("/", "upperdir=/y,workdir=/w"):     "/y",
		overlay("/", `upperdir=/ends\`) + overlay("/proc", "upperdir=/y,workdir=/w") + "\n": `/ends\`,
	} {
		if got := upperOf(text); got != want {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
	}
}

func FuzzUpperOf(f *testing.F) {
	f.Add(`1 2 0:5 / / rw - overlay overlay rw,upperdir=/a\040b,workdir=/w`)
	f.Fuzz(func(t *testing.T, text string) {
		if up := upperOf(text); up != "" && !filepath.IsAbs(up) {
			t.Error(up)
		}
	})
}

func FuzzParseSocket(f *testing.F) {
	f.Add("tcp", "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0000000000000000 100 0 0 10 0")
	f.Add("unix", "0000000000000000: 00000002 00000000 00010000 0001 01 21345 /run/x")
	f.Fuzz(func(t *testing.T, protocol, line string) {
		if inode, s, ok := parseSocket(protocol, line); ok && protocol != "unix" && (inode == 0 || s.Local == "") {
			t.Errorf("%d %+v", inode, s)
		}
	})
}
