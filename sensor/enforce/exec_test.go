package enforce

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"picket/event"
)

// creator writes a program whose first act, with no loader before it, is to create a file.
func creator(t *testing.T, file string) string {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the program is machine code of amd64")
	}
	const base, head = 0x400000, 64 + 56
	code := []byte{
		0xb8, 2, 0, 0, 0, // mov eax, open
		0x48, 0x8d, 0x3d, 25, 0, 0, 0, // lea rdi, [rip+25]
		0xbe, 0x41, 0, 0, 0, // mov esi, O_CREAT|O_WRONLY
		0xba, 0xa4, 1, 0, 0, // mov edx, 0644
		0x0f, 0x05, // syscall
		0xb8, 60, 0, 0, 0, // mov eax, exit
		0x31, 0xff, // xor edi, edi
		0x0f, 0x05, // syscall
		0x90, 0x90, 0x90, 0x90,
	}
	code = append(append(code, file...), 0)
	le := binary.LittleEndian
	b := []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	b = le.AppendUint16(b, 2)  // executable
	b = le.AppendUint16(b, 62) // x86-64
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, base+head)
	b = le.AppendUint64(b, 64) // program headers
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, 0)
	for _, n := range []uint16{64, 56, 1, 0, 0, 0} {
		b = le.AppendUint16(b, n)
	}
	b = le.AppendUint32(b, 1) // load
	b = le.AppendUint32(b, 5) // read, execute
	for _, n := range []uint64{0, base, base, uint64(head + len(code)), uint64(head + len(code)), 0x1000} {
		b = le.AppendUint64(b, n)
	}
	name := filepath.Join(t.TempDir(), "creator")
	if err := os.WriteFile(name, append(b, code...), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// killed reports whether a command ended by SIGKILL, or was refused where there is LSM.
func (r *told) killed(err error) bool {
	if r.Rungs()["exec"] == "bprm_check_security" {
		return errors.Is(err, syscall.EPERM)
	}
	e, ok := errors.AsType[*exec.ExitError](err)
	return ok && e.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
}

func TestNoInstructionOfAForbiddenProgramRuns(t *testing.T) {
	r := newTold(t)
	g := r.group(t, "")
	made := filepath.Join(t.TempDir(), "made")
	program := creator(t, made)
	if err := r.command(t, g, program).Run(); err != nil {
		t.Fatalf("the program does not work: %v", err)
	}
	if err := os.Remove(made); err != nil {
		t.Fatal(err)
	}
	id := r.bind(t, g, "box", Rules{Enforce: true, Exec: []string{"/bin/true"}})
	for i := range 200 {
		if err := r.command(t, g, program).Run(); !r.killed(err) {
			t.Fatalf("run %d: %v, want it killed", i, err)
		}
		if _, err := os.Lstat(made); err == nil {
			t.Fatalf("run %d created its file", i)
		}
	}
	rung, action := r.Rungs()["exec"], "killed"
	if rung != "sched_process_exec" {
		action = "denied"
	}
	if n := r.Counts()[rung+" "+action]; n != 200 {
		t.Errorf("%d counted", n)
	}
	e := r.wait(t, "exec", func(e *event.Event) bool { return e.File.Path == program })
	if d := cmp.Diff(&event.Policy{Name: "box", Rule: "exec", Action: action, Rung: rung}, e.Policy); d != "" {
		t.Error(d)
	}
	if e.Process.CgroupID != id || e.Process.StartBoot == 0 || e.Process.PPID != uint32(os.Getpid()) || e.File.Ino == 0 {
		t.Errorf("%+v by %+v", e.File, e.Process)
	}
	if err := r.command(t, g, "/bin/true").Run(); err != nil {
		t.Errorf("an allowed program: %v", err)
	}
	if err := exec.Command(program).Run(); err != nil {
		t.Errorf("outside of the cgroup: %v", err)
	}
	_ = os.Remove(made)
	r.Release(id)
	if err := r.command(t, g, program).Run(); err != nil {
		t.Errorf("released: %v", err)
	}
	if _, err := os.Lstat(made); err != nil {
		t.Errorf("released, it does not create its file: %v", err)
	}
	for _, m := range []string{"programs", "scripts", "bound"} {
		if n := entries(t, r.Enforcer, m); n != 0 {
			t.Errorf("%d entries are left in %s", n, m)
		}
	}
}

func TestObservingLetsProgramsRun(t *testing.T) {
	r := newTold(t)
	g := r.group(t, "")
	made := filepath.Join(t.TempDir(), "made")
	program := creator(t, made)
	r.bind(t, g, "box", Rules{Exec: []string{"/bin/true"}})
	if err := r.command(t, g, program).Run(); err != nil {
		t.Errorf("observed: %v", err)
	}
	if e := r.wait(t, "exec", func(e *event.Event) bool { return e.File.Path == program }); e.Policy.Action != "seen" {
		t.Errorf("%+v", e.Policy)
	}
}

func TestScripts(t *testing.T) {
	r := newTold(t)
	g := r.group(t, "")
	dir := t.TempDir()
	script := func(name, interpreter string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("#!"+interpreter+"\nexit 0\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return file
	}
	ours, other := script("ours.sh", "/bin/sh"), script("other.sh", "/bin/sh")
	r.bind(t, g, "box", Rules{Enforce: true, Exec: []string{ours}})
	if err := r.command(t, g, ours).Run(); err != nil {
		t.Errorf("an allowed script: %v", err)
	}
	if err := r.command(t, g, other).Run(); !r.killed(err) {
		t.Errorf("another script of the same interpreter: %v", err)
	}
	if err := r.command(t, g, "/bin/sh", "-c", "exit 0").Run(); !r.killed(err) {
		t.Errorf("the interpreter by itself: %v", err)
	}
	// Who can write the script's name over a program of his own does not get it run.
	evil, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(ours); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ours, evil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := r.command(t, g, ours).Run(); !r.killed(err) {
		t.Errorf("a program under the script's name: %v", err)
	}
}

func TestWhatIsAllowedIsTheFileAndNotItsName(t *testing.T) {
	r := newTold(t)
	g := r.group(t, "")
	dir := t.TempDir()
	b, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	one := filepath.Join(dir, "one")
	if err := os.WriteFile(one, b, 0o755); err != nil {
		t.Fatal(err)
	}
	r.bind(t, g, "box", Rules{Enforce: true, Exec: []string{filepath.Join(dir, "*")}})
	link := filepath.Join(dir, "link")
	if err := os.Link(one, link); err != nil {
		t.Fatal(err)
	}
	if err := r.command(t, g, link).Run(); err != nil {
		t.Errorf("another name of the same file: %v", err)
	}
	if err := os.Remove(one); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(one, b, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := r.command(t, g, one).Run(); !r.killed(err) {
		t.Errorf("a new file under the old name: %v", err)
	}
	if err := r.Refresh(); err != nil {
		t.Fatal(err)
	}
	if err := r.command(t, g, one).Run(); err != nil {
		t.Errorf("after a refresh: %v", err)
	}
}

func TestProgramsOfAnOverlay(t *testing.T) {
	r := newTold(t)
	g := r.group(t, "")
	top := t.TempDir()
	if err := unix.Mount("tmpfs", top, "tmpfs", 0, ""); err != nil {
		t.Skip("cannot mount tmpfs:", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(top, unix.MNT_DETACH) })
	for _, d := range []string{"lower/bin", "upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(top, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile("/bin/busybox")
	require(t, "runc", err == nil, "needs busybox: apt install busybox-static")
	for _, name := range []string{"ours", "other"} {
		if err := os.WriteFile(filepath.Join(top, "lower/bin", name), b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root := filepath.Join(top, "root")
	err = unix.Mount("overlay", root, "overlay", 0, strings.NewReplacer("TOP", top).Replace("lowerdir=TOP/lower,upperdir=TOP/upper,workdir=TOP/work"))
	require(t, "overlay", err == nil, "cannot mount an overlay")
	t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
	if err := r.Apply("box", Rules{Enforce: true, Exec: []string{"/bin/ours"}}); err != nil {
		t.Fatal(err)
	}
	if err := r.Bind(Target{Cgroup: g, Root: root}, "box"); err != nil {
		t.Fatal(err)
	}
	run := func(name string) error {
		cmd := r.command(t, g, name, "true")
		cmd.Args[0] = "true"
		cmd.Args = cmd.Args[:1]
		cmd.SysProcAttr.Chroot, cmd.Dir = root, "/"
		return cmd.Run()
	}
	if err := run("/bin/ours"); err != nil {
		t.Errorf("allowed: %v", err)
	}
	if err := run("/bin/other"); !r.killed(err) {
		t.Errorf("not allowed: %v", err)
	}
}
