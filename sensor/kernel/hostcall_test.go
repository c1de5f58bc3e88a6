package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"picket/event"
)

func TestModule(t *testing.T) {
	r := newRecording(t, only(event.HostModule))
	file := filepath.Join(t.TempDir(), "rootkit.ko")
	if err := os.WriteFile(file, []byte("no module"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	errno := map[string]string{}
	fails := func(call string, err error) {
		no, ok := err.(syscall.Errno) //nolint:errorlint // it is what the call returned
		if !ok {
			t.Fatalf("%s: %v, want an error number", call, err)
		}
		errno[call] = fmt.Sprint(int(no))
	}
	fails("finit_module", unix.FinitModule(int(f.Fd()), "hide=1", unix.MODULE_INIT_IGNORE_VERMAGIC))
	fails("init_module", unix.InitModule([]byte("no module"), "hide=2"))
	fails("delete_module", unix.DeleteModule("picket_no_such", unix.O_NONBLOCK))
	for call, want := range map[string]map[string]string{
		"finit_module":  {"module.path": file, "ImageLoaded": file, "call.object": "hide=1", "call.flags": "MODULE_INIT_IGNORE_VERMAGIC"},
		"init_module":   {"call.object": "hide=2"},
		"delete_module": {"module.path": "picket_no_such"},
	} {
		want["event.errno"] = errno[call]
		expect(t, r.byCall(t, event.HostModule, os.Getpid(), call, nil), want, "module.path", "call.object", "call.flags")
	}
}

func TestBPF(t *testing.T) {
	r := newRecording(t, only(event.HostBPF))
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "picket_probe", Type: ebpf.SocketFilter, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	e := r.byCall(t, event.HostBPF, os.Getpid(), "bpf", func(e *event.Event) bool { return e.Call.BPF == "picket_probe" })
	expect(t, e, map[string]string{"call.request": "BPF_PROG_LOAD", "bpf.name": "picket_probe", "bpf.type": "socket_filter"}, "event.errno")
}

func TestKernelCalls(t *testing.T) {
	r := newRecording(t, only(event.HostKernel))
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	path, err := unix.BytePtrFromString(nowhere)
	if err != nil {
		t.Fatal(err)
	}
	apart(t, func() error {
		if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
			return err
		}
		return unix.Sethostname([]byte("picket-test"))
	})
	if _, err := unix.AddKey("user", "picket-test", []byte("x"), unix.KEY_SPEC_PROCESS_KEYRING); err != nil {
		t.Log(err)
	}
	_, _ = unix.KeyctlInt(unix.KEYCTL_GET_KEYRING_ID, unix.KEY_SPEC_PROCESS_KEYRING, 0, 0, 0)
	_, _, _ = unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(path)), 0, 0)
	victim := sleeper(t)
	attr := unix.PerfEventAttr{Type: 999, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}
	_, _ = unix.PerfEventOpen(&attr, victim.Process.Pid, -1, -1, 0)
	rest := []string{"call.object", "call.request", "target.pid"}
	for call, want := range map[string]map[string]string{
		"sethostname":     {"call.object": "picket-test"},
		"add_key":         {"call.request": "user", "call.object": "picket-test"},
		"keyctl":          {"call.request": "KEYCTL_GET_KEYRING_ID"},
		"swapon":          {"call.object": nowhere, "event.errno": "2"},
		"perf_event_open": {"target.pid": fmt.Sprint(victim.Process.Pid), "target.name": filepath.Base(sleepPath(t))},
	} {
		expect(t, r.byCall(t, event.HostKernel, os.Getpid(), call, nil), want, rest...)
	}
}

// TestSockets opens sockets that few programs have a use for, and some that all have.
func TestSockets(t *testing.T) {
	r := newRecording(t, only(event.HostKernel))
	opened := func(family, kind, protocol int, flags string) map[string]string {
		want := map[string]string{"call.flags": flags, "call.object": fmt.Sprint("protocol ", protocol)}
		fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
		if err == nil {
			_ = unix.Close(fd)
			return want
		}
		want["event.errno"] = fmt.Sprint(int(err.(syscall.Errno))) //nolint:errorlint // it is what the call returned
		return want
	}
	for _, everyday := range [][2]int{
		{unix.AF_UNIX, unix.SOCK_DGRAM}, {unix.AF_NETLINK, unix.SOCK_RAW}, {unix.AF_INET, unix.SOCK_STREAM}, {unix.AF_INET6, unix.SOCK_DGRAM},
	} {
		_ = opened(everyday[0], everyday[1], 0, "")
	}
	wants := map[string]map[string]string{
		"AF_PACKET": opened(unix.AF_PACKET, unix.SOCK_RAW, 3<<8, "SOCK_RAW"),
		"AF_INET":   opened(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, "SOCK_RAW"),
		"AF_VSOCK":  opened(unix.AF_VSOCK, unix.SOCK_STREAM, 0, "SOCK_STREAM"),
		"AF_ALG":    opened(unix.AF_ALG, unix.SOCK_SEQPACKET, 0, "SOCK_SEQPACKET"),
	}
	for family, want := range wants {
		expect(t, r.byCall(t, event.HostKernel, os.Getpid(), "socket", func(e *event.Event) bool { return e.Call.Request == family }), want, "event.errno")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if _, ok := wants[e.Call.Request]; e.Process.PID == uint32(os.Getpid()) && e.Call.Name == "socket" && !ok {
			t.Errorf("a socket as all open them is told of: %+v", e.Call)
		}
	}
}

func TestSignal(t *testing.T) {
	r := newRecording(t, only(event.ProcessSignal))
	victim := sleeper(t)
	pid, me := victim.Process.Pid, os.Getpid()
	for _, sig := range []syscall.Signal{0, syscall.SIGCHLD, syscall.SIGUSR1} {
		if err := unix.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Kill(me, syscall.SIGURG); err != nil { // to oneself is nobody's business
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("kill -KILL %d; exit 1", me))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := cmd.Run(); err == nil {
		t.Fatal("nobody killed root's process")
	}
	e := r.byCall(t, event.ProcessSignal, me, "kill", nil)
	expect(t, e, map[string]string{
		"signal.number": "10", "target.pid": fmt.Sprint(pid), "target.exe": sleepPath(t), "target.name": filepath.Base(sleepPath(t)), "target.uid": "0",
	}, "event.errno")
	e = r.byCall(t, event.ProcessSignal, cmd.ProcessState.Pid(), "kill", nil)
	expect(t, e, map[string]string{"signal.number": "9", "target.pid": fmt.Sprint(me), "event.errno": "1"})
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Process.PID == uint32(me) && e.Call.Number != 10 {
			t.Errorf("told of: %s, %d", e.Describe(), e.Call.Number)
		}
	}
}
