package enforce

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// box is a cgroup of a test, and what acts on it.
type box struct {
	*Cgroups
	group string
}

func newBox(t *testing.T) *box {
	t.Helper()
	require(t, "root", os.Geteuid() == 0, "needs root to make cgroups")
	c, err := OpenCgroups()
	if err != nil {
		t.Fatal(err)
	}
	b := &box{Cgroups: c}
	b.group = b.told().group(t, "")
	return b
}

// told makes and fills cgroups as the tests of policies do.
func (b *box) told() *told { return &told{Enforcer: &Enforcer{Cgroups: b.Cgroups}} }

// speak starts a command that says a first line when it is ready, and has end called when the test
// ends. It returns that line, and what the command says after it.
func speak(t *testing.T, cmd *exec.Cmd, end func()) (first string, rest *bufio.Reader) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end()
		_ = out.Close()
		_ = cmd.Wait()
	})
	rest = bufio.NewReader(out)
	if first, err = rest.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return first, rest
}

// script runs a shell inside a cgroup, in a session of its own, until the test ends. It returns once
// the script has said a first line.
func (b *box) script(t *testing.T, group, text string) *exec.Cmd {
	t.Helper()
	cmd := b.told().command(t, group, "bash", "-c", text)
	speak(t, cmd, func() { _ = cmd.Process.Kill() })
	return cmd
}

// counter is a script that counts in a file. advances reports whether that goes on.
func counter(file string) string {
	return "echo; i=0; while :; do i=$((i+1)); echo $i > " + file + "; done"
}

func advances(t *testing.T, file string) bool {
	t.Helper()
	limit := 500 * time.Millisecond
	if os.Getenv("PICKET_TEST_SLOW") != "" { // an emulated machine
		limit = 5 * time.Second
	}
	before, _ := os.ReadFile(file)
	for start := time.Now(); time.Since(start) < limit; time.Sleep(10 * time.Millisecond) {
		if now, _ := os.ReadFile(file); len(now) > 0 && string(now) != string(before) {
			return true
		}
	}
	return false
}

func TestFreezeAndThaw(t *testing.T) {
	b := newBox(t)
	below := b.told().group(t, b.group)
	file := t.TempDir() + "/n"
	b.script(t, below, counter(file))
	if !advances(t, file) {
		t.Fatal("it does not run before")
	}
	for range 2 { // the second changes nothing
		if err := b.Freeze(b.group); err != nil {
			t.Fatal(err)
		}
	}
	if is, err := b.Frozen(below); err != nil || !is {
		t.Errorf("frozen %t, %v", is, err)
	}
	if advances(t, file) {
		t.Error("a frozen process goes on")
	}
	if was, err := b.Thaw(b.group); err != nil || !was {
		t.Errorf("thawed %t, %v", was, err)
	}
	if !advances(t, file) {
		t.Error("a thawed process stands still")
	}
	if was, err := b.Thaw(b.group); err != nil || was {
		t.Errorf("thawed twice: %t, %v", was, err)
	}
}

// What somebody else froze is not ours to thaw.
func TestFreezeOfAnother(t *testing.T) {
	b := newBox(t)
	if err := os.WriteFile(b.root+b.group+"/cgroup.freeze", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Freeze(b.group); err == nil || !strings.Contains(err.Error(), "frozen already, and not by Picket") {
		t.Errorf("got %v", err)
	}
	if is, err := b.Frozen(b.group); err != nil || !is {
		t.Errorf("it was thawed: %t, %v", is, err)
	}
}

// A process that is killed while it holds a cgroup frozen leaves none frozen.
func TestFreezeEndsWithItsHolder(t *testing.T) {
	b := newBox(t)
	file := t.TempDir() + "/n"
	b.script(t, b.group, counter(file))
	holder := exec.Command("/proc/self/exe", b.group)
	holder.Env = append(os.Environ(), "ENFORCE_TEST_ROLE=freeze")
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if is, err := b.Frozen(b.group); err != nil || !is {
		t.Fatalf("frozen %t, %v", is, err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	if by := holder.ProcessState.Sys().(syscall.WaitStatus).Signal(); by != syscall.SIGKILL {
		t.Errorf("the holder ended before it was killed: %s", holder.ProcessState)
	}
	for start := time.Now(); !advances(t, file); {
		if time.Since(start) > 10*time.Second {
			t.Fatal("it stays frozen")
		}
	}
}

func TestKill(t *testing.T) {
	for name, kill := range map[string]func(b *box) error{
		"cgroup.kill": func(b *box) error { _, err := b.Kill(b.group); return err },
		"frozen":      func(b *box) error { _, err := b.Kill(b.group); return err },
		"sweep":       func(b *box) error { return b.sweep(b.group) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			for range 3 { // each starts others as fast as it can
				b.script(t, b.group, "echo; trap '' TERM; while :; do (sleep 60 &); sleep 0.001; done")
			}
			if name == "frozen" {
				if err := b.Freeze(b.group); err != nil {
					t.Fatal(err)
				}
				defer b.thawAll()
			}
			for range 2 { // the second finds nobody
				if err := kill(b); err != nil {
					t.Fatal(err)
				}
			}
			if list, err := b.Processes(b.group); err != nil || len(list) != 0 {
				t.Errorf("left: %v, %v", list, err)
			}
		})
	}
}

// A process is gathered with all it started and put back; what runs beside it is not touched, and
// what it starts meanwhile belongs to it.
func TestGather(t *testing.T) {
	b := newBox(t)
	other := b.told().group(t, b.group)
	beside := b.script(t, b.group, "echo; sleep 600; :")
	for i := range 20 {
		// The one writes into another cgroup of its own; another forks all the time.
		cmd := b.script(t, b.group, "sleep 60 & while :; do (:); done & (echo $BASHPID > "+b.root+other+"/cgroup.procs; sleep 600; :) & sleep 0.05; echo; wait")
		pid := cmd.Process.Pid
		l, err := b.Gather(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := b.Gather(pid, 0); err != nil || !slices.Equal(again.Cgroups, l.Cgroups) {
			t.Fatalf("again: %v %v, %v", again, l, err)
		}
		if len(l.Cgroups) != 2 || path.Dir(l.Cgroups[0]) != b.group || path.Dir(l.Cgroups[1]) != other {
			t.Fatalf("%d: gathered in %v", i, l.Cgroups)
		}
		list, err := b.Descendants(pid, 0)
		if err != nil || len(list) < 5 {
			t.Fatalf("descendants %v, %v", list, err)
		}
		for _, p := range list {
			if !slices.Contains(l.Cgroups, p.Cgroup) {
				t.Errorf("%d: %+v is not gathered", i, p)
			}
		}
		if p, err := processOf(beside.Process.Pid); err != nil || p.Cgroup != b.group {
			t.Errorf("what runs beside it is in %s, %v", p.Cgroup, err)
		}
		if err := b.Scatter(l.Cgroups); err != nil {
			t.Fatal(err)
		}
		list, err = b.Descendants(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			if p.Cgroup != b.group && p.Cgroup != other {
				t.Errorf("put back: %+v", p)
			}
		}
		if l, err = b.Gather(pid, list[0].Start); err != nil {
			t.Fatal(err)
		}
		for _, g := range l.Cgroups {
			if _, err := b.Kill(g); err != nil {
				t.Error(err)
			}
		}
		if _, err := b.Gather(pid, list[0].Start+1); err == nil {
			t.Error("another process with the number was taken")
		}
		if err := b.Scatter(l.Cgroups); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
	}
	if list, err := b.Processes(b.group); err != nil || len(list) == 0 || !slices.ContainsFunc(list, func(p Process) bool { return p.PID == beside.Process.Pid }) {
		t.Errorf("what ran beside was killed: %v, %v", list, err)
	}
}

func TestKillProcess(t *testing.T) {
	b := newBox(t)
	one, beside := b.script(t, b.group, "echo; sleep 60; :"), b.script(t, b.group, "echo; sleep 60; :")
	p, err := b.Process(one.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Process(p.PID, p.Start+1); !errors.Is(err, ErrGone) {
		t.Errorf("another process with the number: %v", err)
	}
	if err := b.KillProcess(p.PID, p.Start+1); err != nil {
		t.Error(err)
	}
	if _, err := processOf(p.PID); err != nil {
		t.Fatal("a process was killed by the number alone")
	}
	for range 2 { // the second finds nobody
		if err := b.KillProcess(p.PID, p.Start); err != nil {
			t.Error(err)
		}
	}
	if _, err := processOf(p.PID); err == nil {
		t.Error("it lives")
	}
	if _, err := processOf(beside.Process.Pid); err != nil {
		t.Error("what ran beside it was killed")
	}
	for _, pid := range []int{1, os.Getpid(), os.Getppid()} {
		if err := b.KillProcess(pid, 0); !errors.Is(err, ErrProtected) {
			t.Errorf("%d: %v", pid, err)
		}
	}
}

// What was gathered is found again by the process alone.
func TestGathered(t *testing.T) {
	b := newBox(t)
	cmd := b.script(t, b.group, "sleep 60 & echo; wait")
	l, err := b.Gather(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	p, err := processOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Gathered(p.PID, p.Start); err != nil || !slices.Equal(got, l.Cgroups) {
		t.Errorf("%v, %v; want %v", got, err, l.Cgroups)
	}
	if got, err := b.Gathered(p.PID, p.Start+1); err != nil || len(got) != 0 {
		t.Errorf("of another: %v, %v", got, err)
	}
	if err := b.Scatter(l.Cgroups); err != nil {
		t.Error(err)
	}
}

// A chain of processes, each of which starts the next and ends, has nobody outside once its living
// end is gathered.
func TestGatherAChain(t *testing.T) {
	b := newBox(t)
	for range 10 {
		file := t.TempDir() + "/pid"
		cmd := b.script(t, b.group, `hop() { while :; do (sleep 0.01; exec bash -c :) & wait $!; done; }; for i in 1 2 3 4; do hop & done; echo; wait`)
		l, err := b.Gather(cmd.Process.Pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strconv.Itoa(l.Lost)), 0o600); err != nil {
			t.Fatal(err)
		}
		pids, err := procs(b.root + b.group)
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range pids {
			if p, err := processOf(pid); err == nil && l.Lost == 0 {
				t.Errorf("%+v got away", p)
			}
		}
		if _, err := b.Kill(l.Cgroups[0]); err != nil {
			t.Error(err)
		}
		if err := b.Scatter(l.Cgroups); err != nil {
			t.Error(err)
		}
	}
}

// Nothing is done to Picket, to init, or to what holds them.
func TestProtected(t *testing.T) {
	b := newBox(t)
	own, err := processOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	held := exec.Command("/proc/self/exe", b.group)
	held.Env = append(os.Environ(), "ENFORCE_TEST_ROLE=protected")
	dir, err := os.Open(b.root + b.group)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	held.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if out, err := held.CombinedOutput(); err != nil || string(out) != "ok" {
		t.Errorf("a cgroup that holds who acts: %s %v", out, err)
	}
	for _, bad := range []string{"/", own.Cgroup, "", "x", b.group + "/../..", b.group + "/", b.group + "/none"} {
		_, killed := b.Kill(bad)
		_, cut := b.Cut(bad, Filter{})
		_, listed := b.Processes(bad)
		for what, err := range map[string]error{"freeze": b.Freeze(bad), "kill": killed, "cut": cut, "list": listed} {
			if err == nil {
				t.Errorf("%s of %q", what, bad)
			}
		}
	}
	for _, pid := range []int{1, os.Getpid(), os.Getppid(), 0, 1 << 30} {
		if l, err := b.Gather(pid, 0); err == nil || len(l.Cgroups) > 0 {
			t.Errorf("gathered %d: %v", pid, l)
		}
	}
	if err := b.Scatter([]string{b.group + "/none"}); err == nil {
		t.Error("a cgroup that Picket did not make was dissolved")
	}
}

// actOnOwn tries to freeze and to kill the cgroup that it is in.
func actOnOwn(group string) error {
	c, err := OpenCgroups()
	if err != nil {
		return err
	}
	if err := c.Freeze(group); err == nil {
		return fmt.Errorf("%s was frozen", group)
	}
	_, err = c.Kill(group)
	if err == nil || !strings.Contains(err.Error(), "Picket itself") {
		return fmt.Errorf("kill: %w", err)
	}
	return nil
}
