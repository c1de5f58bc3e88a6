package action

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// deed is an act on a file: done, the file has one more line; undone, it is gone.
type deed struct {
	kind  Kind
	class Class
	dieIn string // before or after the deed
}

func (d deed) Kind() Kind   { return d.kind }
func (d deed) Class() Class { return d.class }

func (d deed) Plan(_ context.Context, r *Request) (*Plan, error) {
	if strings.Contains(r.Target.File.Path, "gone") {
		return nil, fmt.Errorf("file: %w", ErrGone)
	}
	if strings.Contains(r.Target.File.Path, "init") {
		return nil, fmt.Errorf("file: %w", ErrProtected)
	}
	return &Plan{Target: r.Target, Class: d.class, Hits: []string{r.Target.File.Path}}, nil
}

func (d deed) Do(_ context.Context, r *Request) (*Result, error) {
	if d.dieIn == "before" {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	f, err := os.OpenFile(r.Target.File.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString("done\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	if d.dieIn == "after" {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return &Result{State: Done, Detail: "a line is there"}, nil
}

func (d deed) Verify(_ context.Context, r *Request) (bool, string, error) {
	if d.kind == "blind" {
		return false, "", errors.New("it cannot be told")
	}
	_, err := os.Stat(r.Target.File.Path)
	return err == nil, "looked", nil
}

func (d deed) Undo(_ context.Context, r *Request) (*Result, error) {
	if err := os.Remove(r.Target.File.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return &Result{State: Undone, Detail: "it is gone"}, nil
}

// deeds are the acts of these tests.
func deeds(die string) []Action {
	return []Action{
		deed{"hold", Reversible, die}, deed{"break", Destructive, die}, deed{"blind", Destructive, die},
	}
}

// running opens an executor that runs until the test ends.
func running(t *testing.T, dir string, told func(Request, Result)) *Local {
	t.Helper()
	l, err := Open(Options{Dir: dir, Host: "h", BootID: "b", Told: told}, deeds("")...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, l.Close()); err != nil {
			t.Error(err)
		}
	})
	return l
}

func request(id string, k Kind, file string) *Request {
	return &Request{ID: id, Kind: k, By: "alice", Target: Target{File: &FilePin{Path: file}}}
}

func lines(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Count(string(b), "\n")
}

func do(t *testing.T, l *Local, r *Request, want State) *Result {
	t.Helper()
	res, err := l.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if res.State != want {
		t.Fatalf("%s is %s (%s), want %s", r.ID, res.State, res.Detail, want)
	}
	return res
}

func TestAnIDIsDoneOnce(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	func() {
		l := running(t, dir, nil)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if res, err := l.Do(t.Context(), request("a", "break", file)); err != nil || res.State != Done {
					t.Errorf("%+v %v", res, err)
				}
			})
		}
		all.Wait()
		if _, err := l.Do(t.Context(), request("a", "break", file+"x")); !errors.Is(err, ErrInvalid) {
			t.Errorf("another act under the same id: %v", err)
		}
	}()
	do(t, running(t, dir, nil), request("a", "break", file), Done)
	if n := lines(t, file); n != 1 {
		t.Errorf("done %d times", n)
	}
}

func TestWhatMakesNoSenseIsRefusedWithoutATrace(t *testing.T) {
	l := running(t, t.TempDir(), nil)
	long := request("a", "break", "/x")
	long.Reason = strings.Repeat("x", maxRequest)
	for name, r := range map[string]*Request{
		"no id":       request("", "break", "/x"),
		"a path":      request("../x", "break", "/x"),
		"a kind":      request("a", "explode", "/x"),
		"nobody":      {ID: "a", Kind: "break", Target: Target{File: &FilePin{Path: "/x"}}},
		"another":     {ID: "a", Kind: "break", By: "x", Target: Target{Host: "other", File: &FilePin{Path: "/x"}}},
		"a long text": long,
		"too long":    {ID: "a", Kind: "hold", By: "x", TTL: 8 * 24 * time.Hour, Target: Target{File: &FilePin{Path: "/x"}}},
		"an end":      {ID: "a", Kind: "break", By: "x", TTL: time.Hour, Target: Target{File: &FilePin{Path: "/x"}}},
	} {
		if res, err := l.Do(t.Context(), r); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v %v", name, res, err)
		}
	}
	if got := l.Records(); len(got) != 0 {
		t.Errorf("kept %+v", got)
	}
}

func TestProtectedAndGone(t *testing.T) {
	l, dir := running(t, t.TempDir(), nil), t.TempDir()
	do(t, l, request("a", "break", dir+"/init"), Refused)
	do(t, l, request("b", "break", dir+"/gone"), Gone)
	harmless := request("c", "break", dir+"/file")
	harmless.Class = Reversible // as it was approved
	do(t, l, harmless, Refused)
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("done all the same: %v", files)
	}
}

func TestALowerFenceIsRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	ask := func(id string, fence uint64) *Request {
		r := request(id, "break", file)
		r.Run, r.Fence = "run1", fence
		return r
	}
	l := running(t, dir, nil)
	do(t, l, ask("a", 2), Done)
	do(t, l, ask("b", 1), Refused)
	do(t, l, ask("b", 2), Done) // the holder's own, though the one before asked for it in vain
	l = running(t, dir, nil)
	do(t, l, ask("c", 1), Refused) // also after a restart
	do(t, l, ask("d", 3), Done)
	if res, err := l.Undo(t.Context(), ask("a", 2)); err != nil || res.State != Refused {
		t.Errorf("an old holder takes back: %+v %v", res, err)
	}
	if n := lines(t, file); n != 3 {
		t.Errorf("done %d times, want 3", n)
	}
}

func TestAnActEndsInTimeAndIsTold(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	told := make(chan State, 10)
	l := running(t, dir, func(_ Request, r Result) { told <- r.State })
	r := request("a", "hold", file)
	r.TTL = 50 * time.Millisecond
	if res := do(t, l, r, Done); res.Until.IsZero() {
		t.Error("it has no end")
	}
	for _, want := range []State{Done, Undone} {
		if got := <-told; got != want {
			t.Errorf("told %s, want %s", got, want)
		}
	}
	if lines(t, file) != 0 {
		t.Error("it holds still")
	}
}

func TestTheTimeThatIsOverAtAStartFiresAtOnce(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	l, err := Open(Options{Dir: dir, Host: "h", BootID: "b"}, deeds("")...)
	if err != nil {
		t.Fatal(err)
	}
	close(l.settled) // it carries acts out, and ends before their time
	r := request("a", "hold", file)
	r.TTL = time.Millisecond
	do(t, l, r, Done)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	told := make(chan Result, 1)
	running(t, dir, func(_ Request, r Result) { told <- r })
	if got := <-told; got.State != Undone || !strings.HasPrefix(got.Detail, "its time was over") {
		t.Errorf("%+v", got)
	}
	if lines(t, file) != 0 {
		t.Error("it holds still")
	}
}

func TestExtendAndUndo(t *testing.T) {
	l := running(t, t.TempDir(), nil)
	file := filepath.Join(t.TempDir(), "f")
	r := request("a", "hold", file)
	r.TTL = time.Hour
	first := do(t, l, r, Done)
	longer, err := l.Extend(t.Context(), "a", 2*time.Hour, "bob")
	if err != nil || longer.Until.Sub(first.Until) < 59*time.Minute {
		t.Errorf("%+v %v", longer, err)
	}
	do(t, l, request("b", "hold", file), Done)
	undo := &Request{ID: "a", By: "bob", Reason: "a mistake"}
	if res, err := l.Undo(t.Context(), undo); err != nil || !strings.Contains(res.Detail, "act b holds it on") || lines(t, file) == 0 {
		t.Errorf("%+v %v", res, err)
	}
	undo.ID = "b"
	for range 2 { // the second changes nothing
		res, err := l.Undo(t.Context(), undo)
		if err != nil || res.State != Undone || res.Detail != "taken back by bob: a mistake; it is gone" {
			t.Errorf("%+v %v", res, err)
		}
	}
	if lines(t, file) != 0 {
		t.Error("it holds still")
	}
	do(t, l, request("c", "break", file), Done)
	for id, want := range map[string]error{"c": ErrInvalid, "none": ErrNotFound} {
		if _, err := l.Undo(t.Context(), &Request{ID: id, By: "bob"}); !errors.Is(err, want) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, err := l.Extend(t.Context(), "a", time.Hour, "bob"); !errors.Is(err, ErrInvalid) {
		t.Errorf("what is taken back is extended: %v", err)
	}
}

func TestTheStopSwitch(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	l := running(t, dir, nil)
	do(t, l, request("held", "hold", file), Done)
	if err := l.Stop("alice", "too much"); err != nil {
		t.Fatal(err)
	}
	if res := do(t, l, request("a", "break", file+"x"), Refused); !strings.Contains(res.Detail, "by alice: too much") {
		t.Error(res.Detail)
	}
	if res, err := l.Undo(t.Context(), &Request{ID: "held", By: "alice"}); err != nil || res.State != Undone {
		t.Errorf("what was done cannot be taken back: %+v %v", res, err)
	}
	if err := l.Resume("alice"); err != nil {
		t.Fatal(err)
	}
	do(t, l, request("b", "break", file+"x"), Done)
	if err := os.WriteFile(filepath.Join(dir, StopFile), nil, 0o600); err != nil { // by hand
		t.Fatal(err)
	}
	do(t, l, request("c", "break", file+"x"), Refused)
}

func TestKillsThatRunWildAreDisarmed(t *testing.T) {
	dir := t.TempDir()
	l := running(t, dir, nil)
	for i := range 5 {
		for again := range 2 { // the same target counts once
			do(t, l, request(fmt.Sprintf("a%d-%d", i, again), "break", fmt.Sprintf("%s/%d", dir, i)), Done)
		}
	}
	do(t, l, request("b", "break", dir+"/5"), Refused)
	do(t, l, request("c", "hold", dir+"/6"), Done) // of another kind
	l = running(t, dir, nil)
	if res := do(t, l, request("d", "break", dir+"/1"), Refused); !strings.Contains(res.Detail, "disarmed") { // also after a restart
		t.Error(res.Detail)
	}
	if a := l.Answer(t.Context(), Command{Op: OpList}); !strings.Contains(a.Stopped, "break is disarmed") {
		t.Errorf("%q", a.Stopped)
	}
	if err := l.Resume("alice"); err != nil {
		t.Fatal(err)
	}
	do(t, running(t, dir, nil), request("e", "break", dir+"/1"), Done)
}

// TestMain plays an agent that is killed while it acts.
func TestMain(m *testing.M) {
	if dir := os.Getenv("ACTION_TEST_DIR"); dir != "" {
		l, err := Open(Options{Dir: dir, Host: "h", BootID: "b"}, deeds(os.Getenv("ACTION_TEST_DIE"))...)
		if err != nil {
			panic(err)
		}
		close(l.settled)
		_, err = l.Do(context.Background(), request("a", Kind(os.Getenv("ACTION_TEST_KIND")), filepath.Join(dir, "f")))
		panic(fmt.Sprint("it lives: ", err))
	}
	os.Exit(m.Run())
}

func TestAnAgentThatIsKilledWhileItActs(t *testing.T) {
	for _, c := range []struct {
		kind  Kind
		die   string
		want  State
		lines int
	}{
		{"break", "before", Failed, 0},
		{"break", "after", Done, 1},
		{"hold", "before", Failed, 0},
		{"hold", "after", Done, 1},
		{"blind", "before", Unknown, 0},
		{"blind", "after", Unknown, 1},
	} {
		t.Run(string(c.kind)+" "+c.die, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), "ACTION_TEST_DIR="+dir, "ACTION_TEST_DIE="+c.die, "ACTION_TEST_KIND="+string(c.kind))
			out, err := cmd.CombinedOutput()
			if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || st.Signal() != syscall.SIGKILL {
				t.Fatalf("%v: %s", err, out)
			}
			l := running(t, dir, nil)
			for range 2 { // nobody does it again
				do(t, l, request("a", c.kind, filepath.Join(dir, "f")), c.want)
			}
			if n := lines(t, filepath.Join(dir, "f")); n != c.lines {
				t.Errorf("done %d times, want %d", n, c.lines)
			}
		})
	}
}

func TestOverTheWire(t *testing.T) {
	l, file := running(t, t.TempDir(), nil), filepath.Join(t.TempDir(), "f")
	var r Executor = Remote{Ask: func(ctx context.Context, c Command) (Answer, error) { return l.Answer(ctx, c), nil }}
	if p, err := r.Plan(t.Context(), &Request{Kind: "hold", Target: Target{File: &FilePin{Path: file}}}); err != nil || p.Class != Reversible || lines(t, file) != 0 {
		t.Errorf("%+v %v", p, err)
	}
	if res, err := r.Do(t.Context(), request("a", "hold", file)); err != nil || res.State != Done {
		t.Errorf("%+v %v", res, err)
	}
	if holds, _, err := r.Verify(t.Context(), request("a", "hold", file)); err != nil || !holds {
		t.Errorf("%t %v", holds, err)
	}
	if res, err := r.Undo(t.Context(), request("a", "hold", file)); err != nil || res.State != Undone {
		t.Errorf("%+v %v", res, err)
	}
	if _, err := r.Undo(t.Context(), request("none", "hold", file)); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := r.Plan(t.Context(), request("a", "explode", file)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "it knows blind, break, hold") {
		t.Errorf("%v", err)
	}
	for _, c := range []Command{{Op: "x"}, {Op: OpDo}, {Op: OpShow, ID: "none"}} {
		if a := l.Answer(t.Context(), c); a.Err() == nil {
			t.Errorf("%+v is answered", c)
		}
	}
}
