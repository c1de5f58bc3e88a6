package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"picket/event"
)

func TestCredentialCalls(t *testing.T) {
	r := newRecording(t, only(event.ProcessCred))
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65533}}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.ProcessState.Pid()
	rest := []string{"event.errno", "call.ids", "call.flags"}
	expect(t, r.byCall(t, event.ProcessCred, pid, "setgid", nil), map[string]string{"call.ids": "65533"}, rest...)
	expect(t, r.byCall(t, event.ProcessCred, pid, "setuid", nil), map[string]string{"call.ids": "65534"}, rest...)
	apart(t, func() error {
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		if err := unix.Capget(&head, &caps[0]); err != nil {
			return err
		}
		caps[0].Effective, caps[1].Effective = 1<<unix.CAP_CHOWN|1<<unix.CAP_SYS_ADMIN, 1<<(unix.CAP_BPF-32)
		if err := unix.Capset(&head, &caps[0]); err != nil {
			return err
		}
		_, _, no := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 7, 8)
		if no == 0 {
			return fmt.Errorf("a thread without CAP_SETUID took another user's id")
		}
		return nil
	})
	me := os.Getpid()
	expect(t, r.byCall(t, event.ProcessCred, me, "capset", nil), map[string]string{"call.flags": "CAP_CHOWN|CAP_SYS_ADMIN|CAP_BPF"}, rest...)
	expect(t, r.byCall(t, event.ProcessCred, me, "setresuid", nil), map[string]string{"call.ids": "-1 7 8", "event.errno": "1"}, rest...)
}

func TestMemoryFile(t *testing.T) {
	r := newRecording(t, only(event.ProcessTrace))
	victim := sleeper(t)
	name := fmt.Sprintf("/proc/%d/mem", victim.Process.Pid)
	for _, open := range []struct {
		path string
		flag int
	}{{"/proc/self/mem", os.O_RDONLY}, {"/proc/meminfo", os.O_RDONLY}, {name, os.O_RDWR}} {
		f, err := os.OpenFile(open.path, open.flag, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	e := r.byCall(t, event.ProcessTrace, os.Getpid(), "open", nil)
	expect(t, e, map[string]string{
		"call.object": name, "call.flags": "O_RDWR", "target.pid": fmt.Sprint(victim.Process.Pid), "target.exe": sleepPath(t), "target.uid": "0",
	}, "event.errno", "call.request")
}

func TestDeviceOpen(t *testing.T) {
	r := newRecording(t, only(event.DeviceOpen))
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	if err := unix.Mknod(disk, unix.S_IFBLK|0o600, int(unix.Mkdev(7, 255))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/dev/null", "/dev/urandom"} { // everyday
		if f, err := os.Open(name); err == nil {
			_ = f.Close()
		}
	}
	char := firstDevice(t)
	f, err := os.OpenFile(char, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	e := r.find(t, event.DeviceOpen, func(e *event.Event) bool { return e.Process.PID == uint32(os.Getpid()) })
	expect(t, e, map[string]string{
		"call.name": "open", "call.flags": "O_RDONLY", "file.path": char, "device.type": "char",
		"device.major": fmt.Sprint(unix.Major(st.Rdev)), "device.minor": fmt.Sprint(unix.Minor(st.Rdev)),
		"device.number": fmt.Sprint(kernelDev(st.Rdev)),
	}, "event.errno", "file.size")
	d, err := os.OpenFile(disk, os.O_RDONLY, 0)
	if err != nil {
		t.Skip("no loop devices here: ", err)
	}
	_ = d.Close()
	e = r.find(t, event.DeviceOpen, func(e *event.Event) bool { return e.File.Path == disk })
	expect(t, e, map[string]string{"device.type": "block", "device.major": "7", "device.minor": "255"})
}

// firstDevice returns a device that is safe to open and not of every day.
func firstDevice(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"/dev/net/tun", "/dev/fuse", "/dev/kmsg", "/dev/loop-control"} {
		if f, err := os.Open(name); err == nil {
			_ = f.Close()
			return name
		}
	}
	t.Skip("no device here that can be opened without harm")
	return ""
}

func TestSysctl(t *testing.T) {
	require(t, "root", os.Geteuid() == 0, "needs root to load eBPF programs")
	if CgroupRoot() == "" {
		t.Skip("no cgroup v2 is mounted")
	}
	const name = "/proc/sys/net/ipv4/ip_default_ttl"
	now, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r := newRecording(t, only(event.HostSysctl))
	if err := os.WriteFile(name, now, 0); err != nil {
		t.Skip("settings cannot be written here: ", err)
	}
	e := r.byCall(t, event.HostSysctl, os.Getpid(), "write", nil)
	expect(t, e, map[string]string{"sysctl.name": "net/ipv4/ip_default_ttl", "sysctl.value": strings.TrimSpace(string(now))}, "event.errno")
}

func TestCgroupCreate(t *testing.T) {
	require(t, "root", os.Geteuid() == 0, "needs root to load eBPF programs")
	root := CgroupRoot()
	if root == "" {
		t.Skip("no cgroup v2 is mounted")
	}
	r := newRecording(t, only(event.CgroupCreate))
	group := fmt.Sprintf("/picket-test-%d", os.Getpid())
	if err := os.Mkdir(root+group, 0o755); err != nil {
		t.Skip("control groups cannot be made here: ", err)
	}
	if err := os.Remove(root + group); err != nil {
		t.Error(err)
	}
	e := r.byCall(t, event.CgroupCreate, os.Getpid(), "mkdir", nil)
	expect(t, e, map[string]string{"cgroup.path": group}, "event.errno")
}

func TestDeviceControl(t *testing.T) {
	r := newRecording(t, only(event.DeviceControl))
	char := firstDevice(t)
	f, err := os.Open(char)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	for range 5 { // means nothing to it
		if _, _, no := unix.Syscall(unix.SYS_IOCTL, f.Fd(), 0x7777, 0); no == 0 {
			t.Fatal("the device took a command that means nothing")
		}
	}
	total := uint32(0) // in one event, or two where the table was emptied between
	e := r.find(t, event.DeviceControl, func(e *event.Event) bool {
		if e.Process.PID == uint32(os.Getpid()) && e.Call.Request == "0x7777" {
			total += e.Count
		}
		return total == 5
	})
	expect(t, e, map[string]string{
		"call.name": "ioctl", "call.request": "0x7777", "file.path": char, "device.type": "char",
		"device.number": fmt.Sprint(kernelDev(st.Rdev)), "event.errno": fmt.Sprint(int(controlErrno(f))),
	})
}

// controlErrno returns how a device refuses a command that it does not know.
func controlErrno(f *os.File) syscall.Errno {
	_, _, no := unix.Syscall(unix.SYS_IOCTL, f.Fd(), 0x7777, 0)
	return no
}

func TestCapabilityUse(t *testing.T) {
	require(t, "root", os.Geteuid() == 0, "needs root to load eBPF programs")
	if !hasTracepoint(t, "cap_capable") {
		t.Skip("this kernel does not tell which capabilities are used")
	}
	r := newRecording(t, only(event.ProcessCapability))
	apart(t, func() error {
		if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
			return err
		}
		return unix.Sethostname([]byte("picket-test"))
	})
	me := uint32(os.Getpid())
	total := uint32(0) // one for unshare and one for sethostname at least
	e := r.find(t, event.ProcessCapability, func(e *event.Event) bool {
		if e.Process.PID == me && e.Call.Capability == "CAP_SYS_ADMIN" && e.Errno == 0 {
			total += e.Count
		}
		return total >= 2
	})
	expect(t, e, map[string]string{"capability.name": "CAP_SYS_ADMIN"}, "event.errno", "call.name")
}
