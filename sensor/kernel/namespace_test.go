package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"picket/event"
)

// apart runs f on a thread of its own, which ends with it: what it did to its namespaces ends too.
// The first thread never ends and stands for the process, so it is held back meanwhile.
func apart(t *testing.T, f func() error) {
	t.Helper()
	var run func() error
	run = func() error {
		done := make(chan error)
		go func() {
			runtime.LockOSThread()
			if unix.Gettid() == os.Getpid() {
				defer runtime.UnlockOSThread()
				done <- run()
				return
			}
			done <- f()
		}()
		return <-done
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
}

func inodeOf(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(st.Ino)
}

func TestNamespace(t *testing.T) {
	r := newRecording(t, only(event.ProcessNamespace))
	init, err := os.Open("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	defer init.Close()
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	dir := t.TempDir()
	apart(t, func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
			return err
		}
		if err := unix.Setns(int(init.Fd()), 0); err != nil {
			return err
		}
		if err := unix.Setns(pidfd, unix.CLONE_NEWNS|unix.CLONE_NEWUTS); err != nil {
			return err
		}
		if err := unix.Setns(pidfd, 0x1); err == nil {
			return fmt.Errorf("setns took a flag that means nothing")
		}
		if err := unix.Chroot(dir + "/missing"); err == nil {
			return fmt.Errorf("chroot went where nothing is")
		}
		return unix.Chroot(dir)
	})
	me, mnt := os.Getpid(), inodeOf(t, "/proc/self/ns/mnt")
	rest := []string{"event.errno", "target.pid", "namespace.inode", "namespace.type", "call.flags", "call.object"}
	find := func(name string, fits func(*event.Event) bool) *event.Event {
		return r.byCall(t, event.ProcessNamespace, me, name, fits)
	}
	expect(t, find("unshare", nil), map[string]string{
		"call.flags": "CLONE_NEWNS|CLONE_NEWUTS", "namespace.type": "mnt uts", "namespace.host": "false",
	}, rest...)
	expect(t, find("setns", func(e *event.Event) bool { return e.Call.Target == nil }), map[string]string{
		"namespace.type": "mnt", "namespace.inode": mnt, "namespace.host": "true",
	}, rest...)
	expect(t, find("setns", func(e *event.Event) bool { return e.Call.Target != nil }), map[string]string{
		"call.flags": "CLONE_NEWNS|CLONE_NEWUTS", "namespace.type": "mnt uts", "namespace.inode": mnt, "namespace.host": "true", "target.pid": fmt.Sprint(me),
	}, rest...)
	expect(t, find("setns", func(e *event.Event) bool { return e.Errno != 0 }), map[string]string{
		"call.flags": "0x1", "namespace.host": "false", "target.pid": fmt.Sprint(me), "event.errno": "22",
	}, rest...)
	expect(t, find("chroot", func(e *event.Event) bool { return e.Errno != 0 }), map[string]string{
		"call.object": dir + "/missing", "namespace.host": "false", "event.errno": "2",
	}, rest...)
	expect(t, find("chroot", func(e *event.Event) bool { return e.Errno == 0 }), map[string]string{
		"call.object": dir, "namespace.host": "false",
	}, rest...)
}

func TestCloneIntoNamespaces(t *testing.T) {
	r := newRecording(t, only(event.ProcessNamespace))
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNET}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("/bin/true").Run(); err != nil { // no namespace, no event
		t.Fatal(err)
	}
	e := r.wait(t, "clone", func(e *event.Event) bool {
		return e.Process.PID == uint32(os.Getpid()) && (e.Call.Name == "clone" || e.Call.Name == "clone3")
	})
	expect(t, e, map[string]string{"call.flags": "CLONE_NEWPID|CLONE_NEWNET", "namespace.type": "net pid", "namespace.host": "false"}, "event.errno", "namespace.inode")
	apart(t, func() error { return unix.Unshare(unix.CLONE_NEWUTS) })
	r.byCall(t, event.ProcessNamespace, os.Getpid(), "unshare", nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, e := range r.events {
		if e.Process.PID == uint32(os.Getpid()) {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d events of two calls", n)
	}
}

func TestMount(t *testing.T) {
	r := newRecording(t, only(event.HostMount))
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.Mkdir(there, 0o755); err != nil {
		t.Fatal(err)
	}
	apart(t, func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return err
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		if err := unix.Mount("scratch", there, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=64k,mode=700"); err != nil {
			return err
		}
		if err := unix.Mount("/dev/nothing", there, "ext4", 0, "password=x,ro"); err == nil {
			return fmt.Errorf("a device that is not there was mounted")
		}
		if err := unix.Unmount(there, unix.MNT_DETACH); err != nil {
			return err
		}
		return newMount(there)
	})
	rest := []string{"event.errno", "call.flags", "call.request", "mount.source", "mount.target", "mount.type", "mount.options"}
	for _, c := range []struct {
		call string
		want map[string]string
	}{
		{"mount", map[string]string{"mount.target": "/", "call.flags": "MS_REC|MS_PRIVATE"}},
		{"mount", map[string]string{"mount.source": "scratch", "mount.target": there, "mount.type": "tmpfs", "call.flags": "MS_NOSUID|MS_NODEV", "mount.options": "size=64k,mode=700"}},
		{"mount", map[string]string{"mount.source": "/dev/nothing", "mount.target": there, "mount.type": "ext4", "mount.options": "password=***,ro", "event.errno": "22"}},
		{"umount2", map[string]string{"mount.target": there, "call.flags": "MNT_DETACH"}},
		{"fsopen", map[string]string{"mount.type": "tmpfs"}},
		{"fsconfig", map[string]string{"call.request": "FSCONFIG_SET_STRING", "mount.source": "fresh"}},
		{"fsconfig", map[string]string{"call.request": "FSCONFIG_SET_STRING", "mount.options": "size=64k"}},
		{"fsconfig", map[string]string{"call.request": "FSCONFIG_CMD_CREATE"}},
		{"fsmount", map[string]string{}},
		{"move_mount", map[string]string{"mount.target": there, "call.flags": "MOVE_MOUNT_F_EMPTY_PATH"}},
		{"open_tree", map[string]string{"mount.source": there, "call.flags": "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC"}},
	} {
		e := r.byCall(t, event.HostMount, os.Getpid(), c.call, func(e *event.Event) bool {
			return c.want["call.request"] == e.Call.Request && c.want["mount.source"] == e.Call.Mount.Source && c.want["mount.options"] == e.Call.Mount.Options
		})
		expect(t, e, c.want, rest...)
	}
}

// newMount mounts by the calls that replace mount(2).
func newMount(there string) error {
	fs, err := unix.Fsopen("tmpfs", 0)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", "fresh"); err != nil {
		return err
	}
	if err := unix.FsconfigSetString(fs, "size", "64k"); err != nil {
		return err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	m, err := unix.Fsmount(fs, 0, 0)
	if err != nil {
		return err
	}
	defer unix.Close(m)
	if err := unix.MoveMount(m, "", unix.AT_FDCWD, there, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, there, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	return unix.Close(tree)
}
