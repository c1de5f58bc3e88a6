package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/respond/action"
)

// actor is the acts of this host, with a cgroup of a test's own.
type actor struct {
	*acts
	cfg         *Config
	group, root string
	told        chan action.State
	stop        func()
}

func newActor(t testing.TB) *actor {
	t.Helper()
	if os.Geteuid() != 0 {
		if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "root") {
			t.Fatal("needs root to make cgroups")
		}
		t.Skip("needs root to make cgroups")
	}
	root := ""
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if before, _, ok := strings.Cut(line, " - cgroup2 "); ok {
			root = strings.Fields(before)[4]
		}
	}
	if root == "" {
		t.Skip("no cgroup v2")
	}
	a := &actor{cfg: Default(), group: fmt.Sprintf("/picket-act-test-%d-%d", os.Getpid(), time.Now().UnixNano()), root: root}
	a.cfg.Data, a.cfg.Host = t.TempDir(), "h"
	if err := errors.Join(os.Mkdir(a.cfg.dir("agent"), 0o700), os.Mkdir(root+a.group, 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeCgroup(t, root+a.group) })
	a.start(t)
	return a
}

// removeCgroup ends what is in a cgroup and removes it with those below.
func removeCgroup(t testing.TB, dir string) {
	t.Helper()
	_ = os.WriteFile(dir+"/cgroup.freeze", []byte("0"), 0)
	for range 500 {
		_ = os.WriteFile(dir+"/cgroup.kill", []byte("1"), 0)
		var dirs []string
		_ = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			return nil
		})
		for _, d := range slices.Backward(dirs) {
			_ = os.Remove(d)
		}
		if _, err := os.Stat(dir); err != nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%s could not be removed", dir)
}

// start starts the acts, as an agent does.
func (a *actor) start(t testing.TB) {
	t.Helper()
	p := newPolicies(a.cfg, slog.New(slog.DiscardHandler))
	a.told = make(chan action.State, 100)
	a.acts = openActs(a.cfg, slog.New(slog.DiscardHandler), p.needed, nil, func(_ action.Request, r action.Result) { a.told <- r.State })
	if a.wrong != nil {
		t.Fatal(a.wrong)
	}
	l, err := listenPrivate(actSocket(a.cfg))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { a.run(ctx, l); close(ended) }()
	stopped := false
	a.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		<-ended
		if err := errors.Join(a.close(), p.close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(a.stop)
}

// sleeper runs a shell in the cgroup, or one below it, that counts in a file.
func (a *actor) sleeper(t testing.TB, below string) (cmd *exec.Cmd, file string) {
	t.Helper()
	if err := os.MkdirAll(a.root+a.group+below, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(a.root + a.group + below)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	file = t.TempDir() + "/n"
	cmd = exec.Command("bash", "-c", "(i=0; while :; do i=$((i+1)); echo $i > "+file+"; sleep 0.01; done) & echo; wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reaped := make(chan struct{})
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-reaped })
	_, err = bufio.NewReader(out).ReadString('\n')
	go func() { _ = cmd.Wait(); close(reaped) }()
	if err != nil {
		t.Fatal(err)
	}
	return cmd, file
}

// advances reports whether a sleeper goes on.
func advances(t testing.TB, file string) bool {
	t.Helper()
	before, _ := os.ReadFile(file)
	for start := time.Now(); time.Since(start) < 500*time.Millisecond; time.Sleep(5 * time.Millisecond) {
		if now, _ := os.ReadFile(file); len(now) > 0 && string(now) != string(before) {
			return true
		}
	}
	return false
}

// ask asks over the agent's socket, as the command line does.
func (a *actor) ask(t testing.TB, c action.Command) (action.Answer, error) {
	t.Helper()
	out, err := AskAgent(context.Background(), a.cfg, c)
	if err == nil {
		err = out.Err()
	}
	return out, err
}

func (a *actor) do(t testing.TB, r *action.Request, want action.State) *action.Result {
	t.Helper()
	r.By = "alice"
	out, err := a.ask(t, action.Command{Op: action.OpDo, Request: r})
	if err != nil {
		t.Fatalf("%s: %v", r.ID, err)
	}
	if out.Result.State != want {
		t.Fatalf("%s of %s is %s: %s; want %s", r.Kind, r.Target, out.Result.State, out.Result.Detail, want)
	}
	return out.Result
}

func (a *actor) undo(t testing.TB, id string) {
	t.Helper()
	if out, err := a.ask(t, action.Command{Op: action.OpUndo, Request: &action.Request{ID: id, By: "alice"}}); err != nil || out.Result.State != action.Undone {
		t.Fatalf("undo %s: %+v %v", id, out.Result, err)
	}
}

func cgroupOf(t testing.TB, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if c, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSpace(c)
		}
	}
	return ""
}

func lineageOf(pid int) action.Target {
	return action.Target{Process: &action.ProcessPin{PID: pid}, Lineage: true}
}
