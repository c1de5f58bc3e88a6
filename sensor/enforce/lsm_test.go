package enforce

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"picket/event"
)

// withLSM skips a test where LSM programs do not work.
func (r *told) withLSM(t *testing.T) {
	t.Helper()
	err := r.listens()
	require(t, "lsm", err == nil, fmt.Sprint("needs LSM for BPF: ", err))
}

// changes are ways to change what is below a directory: models/{a,b}/weights, and hard, a hard link
// of the first beside it. Those that are refused leave it as it is.
var changes = []struct {
	name, rung string
	do         func(dir string) error
}{
	{"open to write", "file_open", func(d string) error { return opens(d+"/models/a/weights", unix.O_WRONLY) }},
	{"open to read and write", "file_open", func(d string) error { return opens(d+"/models/a/weights", unix.O_RDWR) }},
	{"open to append", "file_open", func(d string) error { return opens(d+"/models/a/weights", unix.O_WRONLY|unix.O_APPEND) }},
	{"by dots", "file_open", func(d string) error { return opens(d+"/other/../models/a/../a/weights", unix.O_WRONLY) }},
	{"by proc", "file_open", func(d string) error { return opens("/proc/self/root"+d+"/models/a/weights", unix.O_WRONLY) }},
	{"by a symbolic link", "file_open", func(d string) error { return opens(d+"/soft/a/weights", unix.O_WRONLY) }},
	{"by a second name", "file_open", func(d string) error { return opens(d+"/other/hard", unix.O_WRONLY) }},
	{"by a bind mount", "file_open", func(d string) error { return opens(d+"/mounted/weights", unix.O_WRONLY) }},
	{"from within", "file_open", func(d string) error {
		if err := os.Chdir(d + "/models/a"); err != nil {
			return err
		}
		return opens("weights", unix.O_WRONLY)
	}},
	{"open and cut", "inode_setattr", func(d string) error { return opens(d+"/models/a/weights", unix.O_RDONLY|unix.O_TRUNC) }},
	{"nameless", "file_open", func(d string) error { return opens(d+"/models", unix.O_TMPFILE|unix.O_RDWR) }},
	{"create", "inode_create", func(d string) error { return opens(d+"/models/new", unix.O_WRONLY|unix.O_CREAT) }},
	{"create to read", "inode_create", func(d string) error { return opens(d+"/models/b/new", unix.O_RDONLY|unix.O_CREAT) }},
	{"mkdir", "inode_mkdir", func(d string) error { return unix.Mkdir(d+"/models/new", 0o755) }},
	{"mknod", "inode_mknod", func(d string) error { return unix.Mknod(d+"/models/new", unix.S_IFIFO|0o644, 0) }},
	{"symlink", "inode_symlink", func(d string) error { return unix.Symlink("/", d+"/models/new") }},
	{"link out", "inode_link", func(d string) error { return unix.Link(d+"/models/b/weights", d+"/other/new") }},
	{"link in", "inode_link", func(d string) error { return unix.Link(d+"/other/mine", d+"/models/new") }},
	{"unlink", "inode_unlink", func(d string) error { return unix.Unlink(d + "/models/a/weights") }},
	{"rmdir", "inode_rmdir", func(d string) error { return unix.Rmdir(d + "/models/empty") }},
	{"rename", "inode_rename", func(d string) error { return unix.Rename(d+"/models/a", d+"/models/c") }},
	{"rename out", "inode_rename", func(d string) error { return unix.Rename(d+"/models/a/weights", d+"/other/new") }},
	{"rename over", "inode_rename", func(d string) error { return unix.Rename(d+"/other/mine", d+"/models/a/weights") }},
	{"rename the whole", "inode_rename", func(d string) error { return unix.Rename(d+"/models", d+"/gone") }},
	{"exchange", "inode_rename", func(d string) error {
		return unix.Renameat2(unix.AT_FDCWD, d+"/other/mine", unix.AT_FDCWD, d+"/models/a/weights", unix.RENAME_EXCHANGE)
	}},
	{"truncate", "inode_setattr", func(d string) error { return unix.Truncate(d+"/models/a/weights", 0) }},
	{"chmod", "inode_setattr", func(d string) error { return unix.Chmod(d+"/models/a/weights", 0o777) }},
	{"fchmod", "inode_setattr", func(d string) error {
		fd, err := unix.Open(d+"/models/a/weights", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return unix.Fchmod(fd, 0o777)
	}},
	{"chown", "inode_setattr", func(d string) error { return unix.Chown(d+"/models/a/weights", 1, 1) }},
	{"utimes", "inode_setattr", func(d string) error { return unix.Utimes(d+"/models/a/weights", make([]unix.Timeval, 2)) }},
	{"setxattr", "inode_setxattr", func(d string) error { return unix.Setxattr(d+"/models/a/weights", "trusted.x", []byte("y"), 0) }},
	{"removexattr", "inode_setxattr", func(d string) error { return unix.Removexattr(d+"/models/a/weights", "trusted.model") }},
}

func opens(name string, flags int) error {
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0o644)
	if err == nil {
		_, _ = unix.Write(fd, []byte("evil")) // so that who gets it leaves a trace
		_ = unix.Close(fd)
	}
	return err
}

// change tries each way and says what came of it.
func change(dir string) error {
	for _, c := range changes {
		said := "ok"
		if err := c.do(dir); err != nil {
			said = err.Error()
		}
		fmt.Printf("%s: %s\n", c.name, said)
	}
	if _, err := os.ReadFile(dir + "/models/a/weights"); err != nil {
		fmt.Printf("read: %v\n", err)
	}
	if err := opens(dir+"/other/mine", unix.O_WRONLY); err != nil {
		fmt.Printf("write beside it: %v\n", err)
	}
	return nil
}

// library makes what the changes are about.
func library(t *testing.T, overlay bool) string {
	t.Helper()
	top := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(top, "dir")
	must(os.Mkdir(dir, 0o755))
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil { // a file system that has extended attributes and nameless files
		t.Skip("cannot mount tmpfs:", err)
	}
	below := dir
	t.Cleanup(func() { _ = unix.Unmount(below, unix.MNT_DETACH) })
	if overlay { // as a container has it
		for _, d := range []string{"lower", "upper", "work", "root"} {
			must(os.Mkdir(filepath.Join(dir, d), 0o755))
		}
		root := dir + "/root"
		err := unix.Mount("overlay", root, "overlay", 0, strings.ReplaceAll("lowerdir=TOP/lower,upperdir=TOP/upper,workdir=TOP/work", "TOP", dir))
		require(t, "overlay", err == nil, fmt.Sprint("cannot mount an overlay: ", err))
		t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
		dir = root
	}
	for _, d := range []string{"models/a", "models/b", "models/empty", "other", "mounted"} {
		must(os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	for _, f := range []string{"models/a/weights", "models/b/weights", "other/mine"} {
		must(os.WriteFile(filepath.Join(dir, f), []byte(f), 0o644))
	}
	must(os.Link(dir+"/models/a/weights", dir+"/other/hard"))
	must(os.Symlink("models", dir+"/soft"))
	must(unix.Setxattr(dir+"/models/a/weights", "trusted.model", []byte("x"), 0))
	must(unix.Mount(dir+"/models/a", dir+"/mounted", "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(dir+"/mounted", unix.MNT_DETACH) })
	return dir
}

// picture is all that can be seen of a directory.
func picture(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		b, _ := os.ReadFile(path) // of a directory there is nothing
		x := make([]byte, 64)
		n, _ := unix.Getxattr(path, "trusted.model", x)
		out = append(out, fmt.Sprintf("%s %d %o %d %d %v %q %q", path, st.Ino, st.Mode, st.Uid, st.Nlink, st.Mtim, b, x[:max(n, 0)]))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestModelsAreReadOnly(t *testing.T) {
	t.Run("tmpfs", func(t *testing.T) { readOnly(t, false) })
	t.Run("overlay", func(t *testing.T) { readOnly(t, true) })
}

func readOnly(t *testing.T, overlay bool) {
	r := newTold(t)
	r.withLSM(t)
	g, dir := r.group(t, ""), library(t, overlay)
	models := dir + "/models"
	id := r.bind(t, g, "box", Rules{Enforce: true, Models: []string{models}})
	if got := r.Rungs()["models"]; got != "file_open" {
		t.Errorf("rung %q", got)
	}
	before := picture(t, models)
	want, tries := "", map[string]uint64{}
	for _, c := range changes {
		if c.name == "nameless" && errors.Is(opens(dir+"/other", unix.O_TMPFILE|unix.O_RDWR), unix.EOPNOTSUPP) {
			want += c.name + ": operation not supported\n" // by an overlay, before Linux 6.6
			continue
		}
		want += c.name + ": operation not permitted\n"
		tries[c.rung+" denied"]++
	}
	if d := cmp.Diff(want+"ok", r.act(t, g, "change", dir)); d != "" {
		t.Errorf("in the cgroup (-want +got):\n%s", d)
	}
	if d := cmp.Diff(before, picture(t, models)); d != "" {
		t.Errorf("something changed:\n%s", d)
	}
	if d := cmp.Diff(tries, r.Counts()); d != "" {
		t.Errorf("counted (-want +got):\n%s", d)
	}
	e := r.wait(t, "mkdir", func(e *event.Event) bool { return e.Policy.Rung == "inode_mkdir" })
	if d := cmp.Diff(&event.Policy{Name: "box", Rule: "models", Action: "denied", Rung: "inode_mkdir"}, e.Policy); d != "" || e.File.Path != models+"/new" || e.Process.CgroupID != id {
		t.Errorf("%s %+v by %+v", d, e.File, e.Process)
	}
	if e := r.wait(t, "open", func(e *event.Event) bool { return e.Policy.Rung == "file_open" }); e.File.Path != models+"/a/weights" {
		t.Errorf("path %q", e.File.Path)
	}
	if err := opens(models+"/b/weights", unix.O_WRONLY); err != nil {
		t.Errorf("outside of the cgroup: %v", err)
	}

	r.Release(id)
	if n := entries(t, r.Enforcer, "trees"); n != 0 {
		t.Errorf("%d entries are left", n)
	}
	if got := r.act(t, g, "change", dir); strings.Contains(got, "not permitted") {
		t.Errorf("released: %s", got)
	}
	if cmp.Diff(before, picture(t, dir)) == "" {
		t.Error("released, the changes change nothing: they prove nothing")
	}
}

// A directory above that is renamed, with a decoy in its place, does not open what was kept.
func TestAModelDirectoryIsKeptWhenItsPathLeadsElsewhere(t *testing.T) {
	r := newTold(t)
	r.withLSM(t)
	g, dir := r.group(t, ""), t.TempDir()
	models := dir + "/srv/models"
	file := func(top string) string { return dir + top + "/models/weights" }
	if err := os.MkdirAll(models, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file("/srv"), []byte("good"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.bind(t, g, "box", Rules{Enforce: true, Models: []string{models}})
	if err := os.Rename(dir+"/srv", dir+"/aside"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(models, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := r.Refresh(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{file("/aside"), file("/srv")} {
		if got := r.act(t, g, "write", f, "evil"); got != eperm {
			t.Errorf("%s: %s", f, got)
		}
	}
	if err := r.Apply("box", Rules{Models: []string{models}}); err != nil {
		t.Fatal(err)
	}
	if got := r.act(t, g, "write", file("/aside"), "new"); got != "ok" {
		t.Errorf("observed: %s", got)
	}
	if len(r.Programs()) != 0 {
		t.Errorf("observed, %v are attached", r.Programs())
	}
}

func TestSignalsToPicketAreRefused(t *testing.T) {
	r := newTold(t)
	r.withLSM(t)
	g := r.group(t, "")
	cmd := exec.Command("/bin/sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	victim := fmt.Sprint(cmd.Process.Pid)
	state := func() string {
		b, _ := os.ReadFile("/proc/" + victim + "/stat")
		return strings.Fields(string(b)[strings.LastIndexByte(string(b), ')'):])[1]
	}
	// The one who sends must be no child of ours: it is started by one that ends.
	send := func() string {
		out := filepath.Join(t.TempDir(), "out")
		c := r.command(t, g, "/bin/sh", "-c", "(/bin/sleep 1; kill -STOP "+victim+" 2>"+out+"; echo $? >>"+out+".rc) & exit 0")
		if err := c.Run(); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			if b, err := os.ReadFile(out + ".rc"); err == nil && len(b) > 1 {
				return strings.TrimSpace(string(b))
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatal("the signal was not sent")
		return ""
	}
	if err := r.Guard(true); err != nil {
		t.Fatal(err)
	}
	if got := send(); got == "0" || state() == "T" {
		t.Errorf("guarded, kill says %s and the process is %s", got, state())
	}
	e := r.wait(t, "signal", func(e *event.Event) bool { return e.Policy.Rule == "signal" })
	if e.Policy.Action != "denied" || e.Policy.Rung != "task_kill" || e.Call.Request != "SIGSTOP" || fmt.Sprint(e.Call.Target.PID) != victim {
		t.Errorf("%+v %+v", e.Policy, e.Call)
	}
	if err := syscall.Kill(cmd.Process.Pid, syscall.SIGCONT); err != nil {
		t.Errorf("its own family: %v", err)
	}
	if err := r.Guard(false); err != nil {
		t.Fatal(err)
	}
	if got := send(); got != "0" {
		t.Errorf("let go, kill says %s", got)
	}
	for range 1000 {
		if state() == "T" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("let go, the process is not stopped")
}
