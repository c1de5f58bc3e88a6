package kernel

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"picket/event"
)

// TestContainer runs a busybox root file system on an overlay in runc.
func TestContainer(t *testing.T) {
	require(t, "root", os.Geteuid() == 0, "needs root to load eBPF programs")
	runc, err := exec.LookPath("runc")
	require(t, "runc", err == nil, "needs runc: apt install runc")
	busybox, err := exec.LookPath("busybox")
	require(t, "runc", err == nil, "needs busybox: apt install busybox-static")
	bundle := overlayBundle(t, busybox)
	id := fmt.Sprintf("picket-test-%d", os.Getpid())
	// The program copies itself: the copy is written since the container started. It runs an applet
	// by its first argument, as its name begins with busybox, and so the container stays.
	spec(t, runc, bundle, "/bin/sh", "-c", "cat /model/weights; cp /bin/busybox /bin/busybox2; ln -s busybox2 /bin/true2; exec /bin/busybox2 sleep 600")
	r := newRecording(t, Demand{})
	if err := r.WatchDir(filepath.Join(bundle, "rootfs", "model")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(runc, "--root", filepath.Join(bundle, "state"), "run", "--bundle", bundle, id)
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command(runc, "--root", filepath.Join(bundle, "state"), "delete", "--force", id).Run()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	sh := r.find(t, event.ProcessStart, func(e *event.Event) bool {
		return e.Process.NSPID == 1 && e.Process.Invoked == "/bin/sh" && strings.HasSuffix(e.Process.CgroupPath, id)
	}).Process
	if sh.Layer != event.LayerLower || sh.CWD != "/" || sh.Exe != "/bin/busybox" {
		t.Errorf("layer %q cwd %q exe %q", sh.Layer, sh.CWD, sh.Exe)
	}
	var st unix.Stat_t
	if err := unix.Stat(CgroupRoot()+sh.CgroupPath, &st); err != nil || st.Ino != sh.CgroupID {
		t.Errorf("cgroup id %d, directory %d: %v", sh.CgroupID, st.Ino, err)
	}
	host := selfNamespaces(t)
	if sh.NS.PID == host.PID || sh.NS.Mnt == host.Mnt || sh.NS.UTS == host.UTS || sh.NS.User != host.User {
		t.Errorf("namespaces %+v, of the host %+v", sh.NS, host)
	}
	read := r.find(t, event.FileRead, func(e *event.Event) bool { return e.File.Path == "/model/weights" })
	if read.Process.CgroupID != sh.CgroupID || read.File.Layer != event.LayerLower {
		t.Errorf("read %+v by %+v", read.File, read.Process)
	}
	drift := r.find(t, event.ProcessStart, func(e *event.Event) bool { return e.Process.Exe == "/bin/busybox2" }).Process
	if drift.Layer != event.LayerUpper || drift.Key() != sh.Key() {
		t.Errorf("layer %q key %v, was %v", drift.Layer, drift.Key(), sh.Key())
	}
	created := r.find(t, event.FileCreate, func(e *event.Event) bool { return e.File.Path == "/bin/busybox2" })
	if created.File.Layer != event.LayerUpper {
		t.Errorf("created %+v", created.File)
	}
	link := r.find(t, event.FileLink, func(e *event.Event) bool { return e.Process.CgroupID == sh.CgroupID && e.Process.Comm == "ln" })
	if link.File.Path != "/bin/true2" || link.File.Old != "/bin/busybox2" || link.File.Mode != unix.S_IFLNK {
		t.Errorf("link %+v", link.File)
	}
}

func overlayBundle(t *testing.T, busybox string) string {
	t.Helper()
	bundle := t.TempDir()
	for _, d := range []string{"lower/bin", "lower/proc", "lower/dev", "lower/sys", "lower/model", "top", "rootfs"} {
		if err := os.MkdirAll(filepath.Join(bundle, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "lower/bin/busybox"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "lower/model/weights"), []byte("w"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "cat", "cp", "ln"} {
		if err := os.Symlink("busybox", filepath.Join(bundle, "lower/bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	// The temporary directory may lie on an overlay itself, which cannot carry an upper layer.
	top := filepath.Join(bundle, "top")
	if err := unix.Mount("tmpfs", top, "tmpfs", 0, ""); err != nil {
		t.Skip("cannot mount tmpfs:", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(top, unix.MNT_DETACH) })
	for _, d := range []string{"upper", "work"} {
		if err := os.Mkdir(filepath.Join(top, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root := filepath.Join(bundle, "rootfs")
	options := fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", bundle, top, top)
	err = unix.Mount("overlay", root, "overlay", 0, options)
	require(t, "overlay", err == nil, fmt.Sprint("cannot mount an overlay: ", err))
	t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
	return bundle
}

// spec writes runc's own example configuration with another program in it.
func spec(t *testing.T, runc, bundle string, args ...string) {
	t.Helper()
	if out, err := exec.Command(runc, "spec", "--bundle", bundle).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	name := filepath.Join(bundle, "config.json")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	p := c["process"].(map[string]any)
	p["args"], p["terminal"] = args, false
	delete(p, "rlimits")
	c["root"] = map[string]any{"path": "rootfs", "readonly": false}
	if b, err = json.Marshal(c); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
