package kernel

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"picket/event"
)

// values returns the fields of an event by name, those that it does not have left out.
func values(e *event.Event, names ...string) map[string]string {
	out := map[string]string{}
	for _, name := range names {
		f, ok := event.Lookup(name)
		if !ok {
			panic("no field " + name)
		}
		if v := e.Value(f.Field); v.Kind != event.Absent {
			out[name] = v.String()
		}
	}
	return out
}

// expect compares fields of an event that are meant to be there, and of these alone those named.
func expect(t *testing.T, e *event.Event, want map[string]string, absent ...string) {
	t.Helper()
	names := absent
	for name := range want {
		names = append(names, name)
	}
	if d := cmp.Diff(want, values(e, names...)); d != "" {
		t.Errorf("%s: %s", e.Describe(), d)
	}
}

// byCall waits for a call of ours by name that fits.
func (r *recording) byCall(t *testing.T, k event.Kind, pid int, name string, fits func(*event.Event) bool) *event.Event {
	t.Helper()
	return r.wait(t, k.String()+" "+name, func(e *event.Event) bool {
		return e.Kind == k && e.Process.PID == uint32(pid) && e.Call.Name == name && (fits == nil || fits(e))
	})
}

// sleeper starts a program that does nothing until the test ends.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	await(t, cmd.Process.Pid)
	return cmd
}

// await returns once a process that was just started runs its program.
func await(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && exe == sleepPath(t) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("process %d does not run %s", pid, sleepPath(t))
}

func sleepPath(t *testing.T) string {
	t.Helper()
	path, err := filepath.EvalSymlinks("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTrace(t *testing.T) {
	r := newRecording(t, only(event.ProcessTrace))
	victim := sleeper(t)
	pid, me := victim.Process.Pid, os.Getpid()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceAttach(pid); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
		t.Fatal(err)
	}
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(pid, &regs); err != nil {
		t.Fatal(err)
	}
	word := make([]byte, 8)
	at := uintptr(stackPointer(&regs))
	if _, err := unix.PtracePeekData(pid, at, word); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.PtracePokeData(pid, at, word); err != nil {
		t.Fatal(err)
	}
	readMemory(pid, at)
	if err := unix.PtraceDetach(pid); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	got, err := unix.PidfdGetfd(fd, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(got)
	if err := unix.PtraceAttach(1<<22 - 3); err == nil {
		t.Fatal("a process that is not there was attached to")
	}

	target := map[string]string{
		"target.pid": fmt.Sprint(pid), "target.exe": sleepPath(t), "target.name": filepath.Base(sleepPath(t)), "target.uid": "0", "target.foreign": "false",
	}
	for _, c := range []struct{ call, request, object string }{
		{"ptrace", "PTRACE_ATTACH", ""},
		{"ptrace", "PTRACE_POKEDATA", ""},
		{"process_vm_readv", "", ""},
		{"pidfd_getfd", "", "descriptor 0"},
	} {
		e := r.byCall(t, event.ProcessTrace, me, c.call, func(e *event.Event) bool { return e.Call.Request == c.request })
		want := map[string]string{"call.name": c.call}
		maps.Copy(want, target)
		if c.request != "" {
			want["call.request"] = c.request
		}
		if c.object != "" {
			want["call.object"] = c.object
		}
		expect(t, e, want, "event.errno", "call.request", "call.object", "call.flags")
		if e.Call.Target.StartBoot == 0 || e.Call.Target.User != "root" {
			t.Errorf("target %+v", e.Call.Target)
		}
	}
	e := r.byCall(t, event.ProcessTrace, me, "ptrace", func(e *event.Event) bool { return e.Errno != 0 })
	expect(t, e, map[string]string{"call.request": "PTRACE_ATTACH", "event.errno": fmt.Sprint(int(unix.ESRCH))}, "target.pid", "target.exe")
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Call != nil && strings.Contains(e.Call.Request, "PEEK") {
			t.Errorf("%s: who only looks around with ptrace is not told of", e.Describe())
		}
	}
}

// readMemory reads eight bytes of another process.
func readMemory(pid int, at uintptr) {
	var b [8]byte
	local := unix.Iovec{Base: &b[0], Len: 8}
	remote := unix.RemoteIovec{Base: at, Len: 8}
	_, _, _ = unix.Syscall6(unix.SYS_PROCESS_VM_READV, uintptr(pid), uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
}

// TestTargetOfAnotherNamespace has a process name its victim by a number that means another
// process on the host.
func TestTargetOfAnotherNamespace(t *testing.T) {
	if os.Getenv("PICKET_TEST_ROLE") == "reader" {
		cmd := exec.Command("/bin/sleep", "60")
		if err := cmd.Start(); err != nil {
			os.Exit(1)
		}
		// The numbers of /proc here are the host's.
		time.Sleep(500 * time.Millisecond)
		readMemory(cmd.Process.Pid, 4096)
		fmt.Println(cmd.Process.Pid)
		_, _ = os.Stdin.Read(make([]byte, 1))
		_ = cmd.Process.Kill()
		os.Exit(0)
	}
	r := newRecording(t, only(event.ProcessTrace))
	cmd := exec.Command(os.Args[0], "-test.run=^TestTargetOfAnotherNamespace$")
	cmd.Env = append(os.Environ(), "PICKET_TEST_ROLE=reader")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := &strings.Builder{}
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e := r.byCall(t, event.ProcessTrace, cmd.Process.Pid, "process_vm_readv", nil)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.Call.Target.PID))
	if err != nil {
		t.Error(err)
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	inner, _, _ := strings.Cut(out.String(), "\n")
	if !strings.Contains(string(status), fmt.Sprintf("NSpid:\t%d\t%s\n", e.Call.Target.PID, inner)) {
		t.Errorf("target %d, which the caller knows as %s, is\n%s", e.Call.Target.PID, inner, status)
	}
	expect(t, e, map[string]string{"target.name": filepath.Base(sleepPath(t)), "target.exe": sleepPath(t), "event.errno": fmt.Sprint(int(unix.EFAULT))})
}
