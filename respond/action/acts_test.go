package action

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// needs skips a test whose means are missing, unless PICKET_REQUIRE names the feature.
func needs(t *testing.T, feature string, ok bool, why string) {
	t.Helper()
	if ok {
		return
	}
	if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), feature) {
		t.Fatal(why)
	}
	t.Skip(why)
}

func needsRoot(t *testing.T) {
	t.Helper()
	needs(t, "root", os.Geteuid() == 0, "needs root")
}

// must returns what a step gives that has to succeed for the test to mean anything.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// writeFile writes a file with the directories that lead to it.
func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// otherDisk is a directory on another file system than t.TempDir's.
func otherDisk(t *testing.T) string {
	t.Helper()
	needsRoot(t)
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64m,mode=0755")
	needs(t, "root", err == nil, fmt.Sprint("cannot mount a tmpfs: ", err))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// pinOf pins a process that runs.
func pinOf(t *testing.T, pid int) *ProcessPin {
	t.Helper()
	boot := must(os.ReadFile("/proc/sys/kernel/random/boot_id"))(t)
	_, start, _ := statFields(string(must(os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)))(t)))
	return &ProcessPin{BootID: strings.TrimSpace(string(boot)), PID: pid, Start: start}
}

// process starts a program that ends with the test, and waits for the line "ready" from it.
func process(t *testing.T, name string, args ...string) int {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	return started(t, cmd)
}

func started(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	out := must(cmd.StdoutPipe())(t)
	said := &strings.Builder{}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ready := make([]byte, 6)
	if _, err := out.Read(ready); err != nil || !strings.HasPrefix(string(ready), "ready") {
		t.Fatalf("%v said %q, not ready: %v: %s", cmd.Args, ready, err, said)
	}
	return cmd.Process.Pid
}

// container runs a shell script in runc, on an overlay, and returns a process in it. The script
// says "ready" when it has made what the test looks for.
func container(t *testing.T, files map[string]string, script string) (pid int, id string) {
	t.Helper()
	needsRoot(t)
	runc, err := exec.LookPath("runc")
	needs(t, "runc", err == nil, "needs runc: apt install runc")
	busybox, err := exec.LookPath("busybox")
	needs(t, "runc", err == nil, "needs busybox: apt install busybox-static")
	bundle, top := t.TempDir(), otherDisk(t)
	for _, d := range []string{"lower/proc", "lower/dev", "lower/sys", "lower/tmp", "rootfs"} {
		_ = os.MkdirAll(filepath.Join(bundle, d), 0o755)
	}
	writeFile(t, filepath.Join(bundle, "lower/bin/busybox"), string(must(os.ReadFile(busybox))(t)))
	_ = os.Chmod(filepath.Join(bundle, "lower/bin/busybox"), 0o755)
	for _, name := range []string{"sh", "cp", "sleep", "echo", "mkdir"} {
		_ = os.Symlink("busybox", filepath.Join(bundle, "lower/bin", name))
	}
	for path, content := range files {
		writeFile(t, filepath.Join(bundle, "lower", path), content)
	}
	for _, d := range []string{"upper", "work"} {
		_ = os.Mkdir(filepath.Join(top, d), 0o755)
	}
	root := filepath.Join(bundle, "rootfs")
	err = unix.Mount("overlay", root, "overlay", 0, fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", bundle, top, top))
	needs(t, "overlay", err == nil, fmt.Sprint("cannot mount an overlay: ", err))
	t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
	id = fmt.Sprintf("picket-acts-%d-%d", os.Getpid(), time.Now().UnixNano())
	specify(t, runc, bundle, script+"; echo ready; exec sleep 300")
	state := filepath.Join(bundle, "state")
	cmd := exec.Command(runc, "--root", state, "run", "--pid-file", filepath.Join(bundle, "pid"), "--bundle", bundle, id)
	started(t, cmd)
	t.Cleanup(func() { _ = exec.Command(runc, "--root", state, "delete", "--force", id).Run() })
	for n := 0; ; n++ { // runc writes it when the script runs already
		text, err := os.ReadFile(filepath.Join(bundle, "pid"))
		if err == nil {
			_, err = fmt.Sscan(string(text), &pid)
		}
		if err == nil {
			return pid, id
		}
		if n == 5000 {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// specify writes runc's own example configuration with a shell script in it.
func specify(t *testing.T, runc, bundle, script string) {
	t.Helper()
	if out, err := exec.Command(runc, "spec", "--bundle", bundle).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	name := filepath.Join(bundle, "config.json")
	var c map[string]any
	if err := json.Unmarshal(must(os.ReadFile(name))(t), &c); err != nil {
		t.Fatal(err)
	}
	p := c["process"].(map[string]any)
	p["args"], p["terminal"] = []string{"/bin/sh", "-c", script}, false
	delete(p, "rlimits")
	c["root"] = map[string]any{"path": "rootfs", "readonly": false}
	if err := os.WriteFile(name, must(json.Marshal(c))(t), 0o600); err != nil {
		t.Fatal(err)
	}
}

// look is what a test compares of a file before and after.
type look struct {
	Content            string
	Mode               fs.FileMode
	UID, GID           int
	Accessed, Modified time.Time
	Attribute          string
}

func lookAt(t *testing.T, path string) look {
	t.Helper()
	info := must(os.Lstat(path))(t)
	d := dressOf(info)
	l := look{Mode: info.Mode(), UID: d.UID, GID: d.GID, Accessed: d.Accessed, Modified: d.Modified}
	value := make([]byte, 64)
	if n, err := unix.Lgetxattr(path, "user.team", value); err == nil {
		l.Attribute = string(value[:n])
	}
	if info.Mode().IsRegular() {
		fd := must(unix.Open(path, unix.O_RDONLY|unix.O_NOATIME, 0))(t)
		f := os.NewFile(uintptr(fd), path)
		defer f.Close()
		b := make([]byte, info.Size())
		_, _ = f.Read(b)
		l.Content = string(b)
	}
	return l
}
