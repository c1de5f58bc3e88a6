package kernel

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"picket/event"
)

func TestProbe(t *testing.T) {
	require(t, "root", os.Geteuid() == 0, "needs root to load eBPF programs")
	for _, c := range Probe() {
		t.Logf("%-20s %-5v %s", c.Name, c.OK, c.Detail)
		want := c.Name != "lsm"
		switch c.Name {
		case "send-bytes", "receive-bytes", "dns", "tls":
			want = hasTracepoint(t, "sock_send_length")
		case "file-bytes-mapped":
			want = hasTracepoint(t, "mm_filemap_map_pages")
		case "capabilities":
			want = hasTracepoint(t, "cap_capable")
		case "connect-unix-otherwise":
			want = hasUnixHook(t)
		}
		if c.OK != want {
			t.Errorf("%s: %v, %s", c.Name, c.OK, c.Detail)
		}
	}
}

func TestProcessStart(t *testing.T) {
	r := newRecording(t, only(event.ProcessStart, event.ProcessFork, event.ProcessExit))
	cmd := exec.Command("/bin/sh", "-c", "exit 42", "--token=hunter2", "zwei")
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"LD_LIBRARY_PATH=/nowhere", "SECRET=x", "LD_PRELOAD="}
	if err := cmd.Run(); err == nil {
		t.Fatal("want exit status 42")
	}
	pid := uint32(cmd.ProcessState.Pid())
	e := r.find(t, event.ProcessStart, func(e *event.Event) bool { return e.Process.PID == pid })
	p := e.Process
	exe, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(exe, &st); err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(cmd.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if e.Host != "testhost" || e.Truncated {
		t.Errorf("event = %+v", e)
	}
	if p.Exe != exe || p.Invoked != "/bin/sh" || p.Script || p.Memfd || p.CWD != dir || p.Comm != "sh" {
		t.Errorf("exe %q invoked %q script %v memfd %v cwd %q comm %q", p.Exe, p.Invoked, p.Script, p.Memfd, p.CWD, p.Comm)
	}
	if want := []string{"/bin/sh", "-c", "exit 42", "--token=***", "zwei"}; !cmp.Equal(p.Args, want) {
		t.Errorf("args %q", p.Args)
	}
	if p.Preload != "LD_LIBRARY_PATH=/nowhere LD_PRELOAD=" {
		t.Errorf("preload %q", p.Preload)
	}
	if p.ExeIno != st.Ino || p.ExeDev != kernelDev(st.Dev) {
		t.Errorf("inode %d dev %x, want %d %x", p.ExeIno, p.ExeDev, st.Ino, kernelDev(st.Dev))
	}
	self := selfNamespaces(t)
	if p.NS != self {
		t.Errorf("namespaces %+v, want %+v", p.NS, self)
	}
	if p.PPID != uint32(os.Getpid()) || p.PStart == 0 || p.StartBoot == 0 || p.TID != pid {
		t.Errorf("parent %d start %d tid %d", p.PPID, p.PStart, p.TID)
	}
	if p.User != "root" || p.Cred.UID != 0 || p.Cred.CapEff == 0 || p.Cred.CapBnd == 0 || p.NSPID == 0 {
		t.Errorf("credentials %+v user %q nspid %d", p.Cred, p.User, p.NSPID)
	}
	if root := CgroupRoot(); root != "" {
		if err := unix.Stat(root+p.CgroupPath, &st); err != nil || st.Ino != p.CgroupID {
			t.Errorf("cgroup %d path %q: %v", p.CgroupID, p.CgroupPath, err)
		}
	}
	x := r.find(t, event.ProcessExit, func(e *event.Event) bool { return e.Process.PID == pid })
	if x.Process.Key() != p.Key() || x.Process.ExitCode != 42 || x.Process.ExitSignal != 0 {
		t.Errorf("exit %+v", x.Process)
	}
	f := r.find(t, event.ProcessFork, func(e *event.Event) bool { return e.Process.PID == pid })
	if f.Process.Key() != p.Key() || f.Process.PPID != p.PPID || f.Process.PStart != p.PStart {
		t.Errorf("fork %+v", f.Process)
	}
	if !f.Time.Before(e.Time) || !e.Time.Before(x.Time) {
		t.Errorf("fork %v exec %v exit %v", f.Time, e.Time, x.Time)
	}
}

func selfNamespaces(t *testing.T) (ns event.Namespaces) {
	t.Helper()
	for name, to := range map[string]*uint32{"pid": &ns.PID, "mnt": &ns.Mnt, "net": &ns.Net, "uts": &ns.UTS, "ipc": &ns.IPC, "cgroup": &ns.Cgroup, "user": &ns.User} {
		var st unix.Stat_t
		if err := unix.Stat("/proc/self/ns/"+name, &st); err != nil {
			t.Fatal(err)
		}
		*to = uint32(st.Ino)
	}
	return ns
}

func TestCredentialsOfAnotherUser(t *testing.T) {
	r := newRecording(t, only(event.ProcessStart))
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65533}}
	cmd.Dir = "/"
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	p := r.find(t, event.ProcessStart, func(e *event.Event) bool { return e.Process.PID == uint32(cmd.ProcessState.Pid()) }).Process
	c := p.Cred
	if c.UID != 65534 || c.EUID != 65534 || c.SUID != 65534 || c.FSUID != 65534 || c.GID != 65533 || c.EGID != 65533 || c.CapEff != 0 || p.User != "nobody" || p.CWD != "/" {
		t.Errorf("credentials %+v user %q cwd %q", c, p.User, p.CWD)
	}
}

func TestLongArguments(t *testing.T) {
	r := newRecording(t, only(event.ProcessStart))
	long := strings.Repeat("\u00e4\x1b\n<", 4096) // 20 KB
	for _, c := range []struct {
		arg string
		cut bool
	}{{long, false}, {strings.Repeat("x", 100_000), true}} {
		cmd := exec.Command("/bin/true", c.arg)
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		e := r.find(t, event.ProcessStart, func(e *event.Event) bool { return e.Process.PID == uint32(cmd.ProcessState.Pid()) })
		if e.Truncated != c.cut || len(e.Process.Args) != 2 || !strings.HasPrefix(c.arg, e.Process.Args[1]) || !c.cut && e.Process.Args[1] != c.arg {
			t.Errorf("truncated %v, %d arguments, %d bytes", e.Truncated, len(e.Process.Args), len(e.Process.Cmdline))
		}
	}
}

func TestScriptAndMemfd(t *testing.T) {
	r := newRecording(t, only(event.ProcessStart))
	script := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(script)
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	p := r.find(t, event.ProcessStart, func(e *event.Event) bool { return e.Process.PID == uint32(cmd.ProcessState.Pid()) }).Process
	if !p.Script || p.Invoked != script || p.Memfd {
		t.Errorf("script %v invoked %q exe %q", p.Script, p.Invoked, p.Exe)
	}

	fd, err := unix.MemfdCreate("payload", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	program, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(fd, program); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(fd), "payload")}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	p = r.find(t, event.ProcessStart, func(e *event.Event) bool { return e.Process.PID == uint32(cmd.ProcessState.Pid()) }).Process
	if !p.Memfd {
		t.Errorf("memfd %v invoked %q exe %q", p.Memfd, p.Invoked, p.Exe)
	}
}

func TestOddStarts(t *testing.T) {
	r := newRecording(t, only(event.ProcessStart))
	loader, _ := filepath.Glob("/lib*/ld-linux*.so.*")
	if len(loader) == 0 {
		t.Skip("no loader of glibc is here")
	}
	f, err := os.Open("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		name string
		cmd  *exec.Cmd
		want map[string]string
	}{
		{"usual", exec.Command("/bin/true"), map[string]string{"process.loader": "false", "process.masked": "false"}},
		{"loader", exec.Command(loader[0], "/bin/true"), map[string]string{"process.loader": "true", "process.masked": "false"}},
		{"login shell", &exec.Cmd{Path: "/bin/sh", Args: []string{"-sh", "-c", "exit 0"}}, map[string]string{"process.masked": "false"}},
		{"called a kernel thread", &exec.Cmd{Path: "/bin/true", Args: []string{"[kworker/0:1]"}}, map[string]string{"process.masked": "true", "process.loader": "false"}},
	} {
		if err := c.cmd.Run(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		e := r.find(t, event.ProcessStart, func(e *event.Event) bool { return e.Process.PID == uint32(c.cmd.ProcessState.Pid()) })
		expect(t, e, c.want, "process.fd_exec")
	}
	pid := byDescriptor(t, int(f.Fd()))
	e := r.find(t, event.ProcessStart, func(e *event.Event) bool {
		return e.Process.PID == uint32(pid) && strings.HasSuffix(e.Process.Exe, "/true")
	})
	expect(t, e, map[string]string{"process.fd_exec": "true", "process.masked": "false", "process.memfd": "false"})
}

// byDescriptor starts a program by its descriptor, in a child made of this test.
func byDescriptor(t *testing.T, fd int) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestRoleOfExecveat$")
	cmd.Env = append(os.Environ(), "PICKET_TEST_ROLE=execveat")
	cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(dup(t, fd)), "program")}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.Pid()
}

func dup(t *testing.T, fd int) int {
	t.Helper()
	n, err := unix.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRoleOfExecveat is no test of its own: it becomes the program behind descriptor 3.
func TestRoleOfExecveat(t *testing.T) {
	if os.Getenv("PICKET_TEST_ROLE") != "execveat" {
		t.Skip("only a part of TestOddStarts")
	}
	empty, _ := unix.BytePtrFromString("")
	name, _ := unix.BytePtrFromString("true")
	argv := []*byte{name, nil}
	_, _, no := unix.Syscall6(unix.SYS_EXECVEAT, 3, uintptr(unsafe.Pointer(empty)), uintptr(unsafe.Pointer(&argv[0])), 0, unix.AT_EMPTY_PATH, 0)
	t.Fatal(no)
}

func TestExitBySignal(t *testing.T) {
	r := newRecording(t, only(event.ProcessExit))
	cmd := exec.Command("/bin/sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Fatal(err)
	}
	p := r.find(t, event.ProcessExit, func(e *event.Event) bool { return e.Process.PID == uint32(cmd.ProcessState.Pid()) }).Process
	if p.ExitSignal != 9 || p.ExitCode != 0 {
		t.Errorf("signal %d code %d", p.ExitSignal, p.ExitCode)
	}
}

func TestExitWithItsMemoryDumped(t *testing.T) {
	r := newRecording(t, only(event.ProcessStart, event.ProcessExit))
	for _, limit := range []string{"unlimited", "0"} {
		cmd := exec.Command("/bin/sh", "-c", "ulimit -c "+limit+" && kill -ABRT $$")
		cmd.Dir = t.TempDir()
		if err := cmd.Run(); err == nil {
			t.Fatal("it ended well")
		}
		is, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if !ok || !is.Signaled() {
			t.Skip("this shell may not raise its limit: ", cmd.ProcessState)
		}
		if limit != "0" && !is.CoreDump() {
			t.Skip("this host dumps no memory: ", cmd.ProcessState)
		}
		e := r.find(t, event.ProcessExit, func(e *event.Event) bool { return e.Process.PID == uint32(cmd.ProcessState.Pid()) })
		if e.Process.CoreDumped != is.CoreDump() || e.Process.ExitSignal != int32(is.Signal()) {
			t.Errorf("%s: signal %d, dumped %v", cmd.ProcessState, e.Process.ExitSignal, e.Process.CoreDumped)
		}
	}
}

func TestSeen(t *testing.T) {
	cmd := exec.Command("/bin/sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	r := newRecording(t, only(event.ProcessSeen, event.ProcessFork))
	p := r.find(t, event.ProcessSeen, func(e *event.Event) bool { return e.Process.PID == uint32(cmd.Process.Pid) }).Process
	if p.Cmdline != "/bin/sleep 60" || p.PPID != uint32(os.Getpid()) || p.ExeIno == 0 || p.CgroupPath == "" {
		t.Errorf("%+v", p)
	}
	index := map[event.Key]int{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, e := range r.events {
		if e.Kind != event.ProcessSeen {
			continue
		}
		if _, twice := index[e.Process.Key()]; twice {
			t.Errorf("pid %d came twice", e.Process.PID)
		}
		index[e.Process.Key()] = i
	}
	for k, i := range index {
		q := r.events[i].Process
		if parent, ok := index[event.Key{PID: q.PPID, Start: q.PStart}]; ok && parent > i {
			t.Errorf("pid %d came before its parent", k.PID)
		}
	}
}
