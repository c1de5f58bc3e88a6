package node

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

// boxed is a runc container with a root file system of its own: an overlay, whose lower layer has models.
type boxed struct {
	t                       *testing.T
	runc, bundle, state, id string
	lower                   string
	pid                     uint32
}

// newBoxed starts a container that sleeps, in a control group that is there.
func newBoxed(t *testing.T, p *policed, models map[string]string) *boxed {
	t.Helper()
	runc, err := exec.LookPath("runc")
	busybox, err2 := exec.LookPath("busybox")
	if err != nil || err2 != nil {
		if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "runc") {
			t.Fatal("needs runc and busybox")
		}
		t.Skip("needs runc and busybox: apt install runc busybox-static")
	}
	bundle := t.TempDir()
	// The temporary directory may lie on an overlay itself, which cannot carry an upper layer.
	if err := unix.Mount("tmpfs", bundle, "tmpfs", 0, ""); err != nil {
		t.Skip("cannot mount a tmpfs: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(bundle, unix.MNT_DETACH) })
	b := &boxed{t: t, runc: runc, bundle: bundle, state: bundle + "/state", lower: bundle + "/lower", id: strings.Trim(p.group, "/")}
	for _, d := range []string{"lower/bin", "lower/proc", "lower/dev", "lower/sys", "lower/models", "lower/tmp", "upper", "work", "rootfs"} {
		if err := os.MkdirAll(filepath.Join(bundle, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.lower+"/bin/busybox", program, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "cat", "cp", "dd", "sleep", "mv", "ln"} {
		if err := os.Symlink("busybox", b.lower+"/bin/"+name); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range models {
		if err := os.WriteFile(b.lower+"/models/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// start mounts the overlay and starts the container.
func (b *boxed) start(p *policed) {
	t := b.t
	t.Helper()
	root := b.bundle + "/rootfs"
	if err := unix.Mount("overlay", root, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", b.lower, b.bundle, b.bundle)); err != nil {
		t.Skip("cannot mount an overlay: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
	if out, err := exec.Command(b.runc, "spec", "--bundle", b.bundle).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var c map[string]any
	src, err := os.ReadFile(b.bundle + "/config.json")
	if err == nil {
		err = json.Unmarshal(src, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	proc := c["process"].(map[string]any)
	proc["args"], proc["terminal"] = []string{"/bin/sleep", "600"}, false
	delete(proc, "rlimits")
	c["root"] = map[string]any{"path": "rootfs", "readonly": false}
	c["linux"].(map[string]any)["cgroupsPath"] = p.group
	if src, err = json.Marshal(c); err == nil {
		err = os.WriteFile(b.bundle+"/config.json", src, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	run := exec.Command(b.runc, "--root", b.state, "run", "--detach", "--pid-file", b.bundle+"/pid", "--bundle", b.bundle, b.id)
	out, err := os.Create(b.bundle + "/out") // a file, not a pipe: the container keeps it open
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	run.Stdout, run.Stderr = out, out
	t.Cleanup(func() {
		_ = exec.Command(b.runc, "--root", b.state, "delete", "--force", b.id).Run()
		_ = os.Mkdir(p.dir, 0o755) // runc removed it, and who made it wants to
	})
	if err := run.Run(); err != nil {
		said, _ := os.ReadFile(b.bundle + "/out")
		t.Fatalf("%v: %s", err, said)
	}
	text, err := os.ReadFile(b.bundle + "/pid")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	b.pid = uint32(n)
}

// sh runs a line in the container.
func (b *boxed) sh(line string) (said string, err error) {
	out, err := exec.Command(b.runc, "--root", b.state, "exec", b.id, "/bin/sh", "-c", line).CombinedOutput()
	return string(out), err
}

// loads reports whether a process of the container reads a file; where not, that it got no byte.
func (b *boxed) loads(file string) bool {
	b.t.Helper()
	said, err := b.sh("cat " + file)
	if err == nil {
		return true
	}
	if said = strings.TrimSpace(said); !strings.HasSuffix(said, "Operation not permitted") || strings.Contains(said, "offsets") {
		b.t.Errorf("%s: %v, and it said %q", file, err, said)
	}
	return false
}

const boxedHeader = `{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`

var boxedModel = string([]byte{byte(len(boxedHeader)), 0, 0, 0, 0, 0, 0, 0}) + boxedHeader + "abcd"

// In a container of runc, with mounts and a root file system of its own, what is signed is loaded, and nothing else is:
// not what lies in the image, not a copy that was made inside, not a signed file that was changed there.
func TestAContainerLoadsWhatIsSigned(t *testing.T) {
	p := newPoliced(t, "mode: enforce\nmodels: {paths: [/models], require: signed, unknown: hold}\n")
	public, signs := signer(t)
	b := newBoxed(t, p, map[string]string{"good.safetensors": boxedModel, "unsigned.safetensors": boxedModel, "README.md": "read me\n"})
	signs(b.lower + "/models/good.safetensors")
	p.scanned(t, public)
	b.start(p)
	p.meet(&event.Process{PID: b.pid, CgroupPath: p.group})
	if s, err := ReadPolicyStatus(p.cfg); err != nil || s.Rungs["signed"] != "fanotify" || len(s.Refused) > 0 {
		t.Fatalf("status %+v, %v", s, err)
	}
	try := func(what, file string, want bool) {
		t.Helper()
		if got := b.loads(file); got != want {
			t.Errorf("%s: loaded %t, want %t", what, got, want)
		}
	}
	do := func(line string) {
		t.Helper()
		if said, err := b.sh(line); err != nil {
			t.Fatalf("%s: %v: %s", line, err, said)
		}
	}
	try("signed, of the image", "/models/good.safetensors", true)
	try("unsigned, of the image", "/models/unsigned.safetensors", false)
	try("no model", "/models/README.md", true)
	do("cp /models/good.safetensors /models/copy.safetensors")
	try("a copy made inside", "/models/copy.safetensors", false)
	do("mkdir /models/new 2>/dev/null || /bin/busybox mkdir /models/new; ln -s ../unsigned.safetensors /models/new/link.safetensors")
	try("by another name", "/models/new/link.safetensors", false)
	do("printf evil | dd of=/models/good.safetensors bs=1 seek=8 conv=notrunc 2>/dev/null")
	try("signed, and changed inside", "/models/good.safetensors", false)

	for file, what := range map[string]string{"/models/unsigned.safetensors": "unsigned", "/models/copy.safetensors": "unsigned"} {
		told := func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return slices.ContainsFunc(p.events, func(e event.Event) bool {
				return e.File.Path == file && e.Policy.Action == event.ActionDenied && strings.Contains(e.Breach(), "which is "+what)
			})
		}
		for start := time.Now(); !told(); time.Sleep(10 * time.Millisecond) {
			if time.Since(start) > time.Minute {
				t.Fatalf("%s: it was not told", file)
			}
		}
	}
	// The same file is nobody's business outside of the container.
	if _, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/models/unsigned.safetensors", b.pid)); err != nil {
		t.Errorf("from outside: %v", err)
	}
}

// Where a file that is not judged yet is allowed, the container loads a new one once.
func TestAContainerLoadsWhatIsNotJudgedOnce(t *testing.T) {
	p := newPoliced(t, "mode: enforce\nmodels: {paths: [/models], require: signed, unknown: allow}\n")
	public, _ := signer(t)
	b := newBoxed(t, p, map[string]string{"README.md": "read me\n"})
	p.scanned(t, public)
	b.start(p)
	p.meet(&event.Process{PID: b.pid, CgroupPath: p.group})
	// The file is made and read in one go, before it can be judged.
	if said, err := b.sh(`printf weights > /models/later.pt && cat /models/later.pt`); err != nil || said != "weights" {
		t.Errorf("it was refused before it was judged: %v: %s", err, said)
	}
	for start := time.Now(); b.loads("/models/later.pt"); time.Sleep(200 * time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatal("it is loaded a minute later")
		}
	}
}
