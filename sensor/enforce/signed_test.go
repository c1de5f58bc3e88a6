package enforce

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

// judged is what an enforcer under test is told of files, by their last letters.
type judged struct {
	mu    sync.Mutex
	is    map[string]Judgment
	asked int
}

func (j *judged) judge(o Opening, _ *Signed) Judgment {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked++
	for end, is := range j.is {
		if strings.HasSuffix(o.Path, end) {
			return is
		}
	}
	return Judgment{}
}

func (j *judged) know(end string, is Judgment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.is[end] = is
}

// newJudged is an enforcer with one model directory: a signed file, one without a signature, and one that is
// not judged yet.
func newJudged(t *testing.T) (r *told, j *judged, dir string) {
	t.Helper()
	gated(t)
	r = newTold(t)
	j = &judged{is: map[string]Judgment{
		"signed": {Known: true, Allowed: true}, "foreign": {Known: true, Artifact: event.Artifact{Signature: event.Unsigned, Verdict: "clean", Use: event.UseRead}},
	}}
	r.judge = j.judge
	dir = t.TempDir()
	for _, name := range []string{"/signed", "/foreign", "/new"} {
		if err := os.WriteFile(dir+name, []byte("weights"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return r, j, dir
}

// reads lets a real process in a cgroup read a file, and returns what it got.
func (r *told) reads(t *testing.T, group, file string) string {
	t.Helper()
	out, err := r.command(t, group, "cat", file).CombinedOutput()
	if err != nil {
		return strings.TrimSpace(string(out))
	}
	return string(out)
}

// A workload reads what is signed, and nothing else; others read what they like, and it writes what it likes.
func TestSignedModels(t *testing.T) {
	r, j, dir := newJudged(t)
	g, stranger := r.group(t, ""), r.group(t, "")
	inside := r.group(t, g)
	id := r.bind(t, g, "box", Rules{Enforce: true, Signed: &Signed{Dirs: []string{dir, dir + "/missing"}}})
	if got := r.Rungs()["signed"]; got != "fanotify" {
		t.Errorf("rung %q", got)
	}
	const denied = "Operation not permitted"
	for _, c := range []struct{ who, group, file, want string }{
		{"the workload, a signed one", g, "signed", "weights"},
		{"the workload, a foreign one", g, "foreign", denied},
		{"a cgroup below it", inside, "foreign", denied},
		{"a stranger", stranger, "foreign", "weights"},
		{"one that is not judged yet", g, "new", "weights"},
	} {
		if got := r.reads(t, c.group, dir+"/"+c.file); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.who, got, c.want)
		}
	}
	e := r.wait(t, "a foreign file", func(e *event.Event) bool { return e.File.Path == dir+"/foreign" })
	if *e.Policy != (event.Policy{Name: "box", Rule: "models", Action: "denied", Rung: "fanotify"}) || e.Artifact == nil || e.Artifact.Signature != event.Unsigned {
		t.Errorf("%+v %+v", e.Policy, e.Artifact)
	}
	if want := "was denied: it would have loaded " + dir + "/foreign, which is unsigned (policy box, fanotify)"; e.Breach() != want {
		t.Errorf("%q, want %q", e.Breach(), want)
	}
	if e.Process.PID == 0 || e.Process.Comm != "cat" {
		t.Errorf("process %+v", e.Process)
	}
	// A checkpoint is written over one that is not signed, and by who has it open for both it is read.
	if got := r.act(t, g, "write", dir+"/foreign", "more"); got != "ok" {
		t.Errorf("writing: %s", got)
	}
	if got := r.act(t, g, "open", dir+"/foreign"); got != eperm {
		t.Errorf("reading and writing: %s", got)
	}
	// What is found out later counts from the next open on.
	j.know("new", Judgment{Known: true, Artifact: event.Artifact{Signature: event.Invalid, Refusal: "it was changed"}})
	if got := r.reads(t, g, dir+"/new"); !strings.Contains(got, denied) {
		t.Errorf("judged since: %q", got)
	}
	// The policy goes, and with it the question.
	if err := r.Apply("box", Rules{Signed: &Signed{Dirs: []string{dir}}}); err != nil {
		t.Fatal(err)
	}
	if got := r.reads(t, g, dir+"/new"); got != "weights" {
		t.Errorf("observed: %q", got)
	}
	if err := r.Apply("box", Rules{Enforce: true, Signed: &Signed{Dirs: []string{dir}}}); err != nil {
		t.Fatal(err)
	}
	if got := r.reads(t, g, dir+"/new"); !strings.Contains(got, denied) {
		t.Errorf("enforced again: %q", got)
	}
	r.Release(id)
	if got := r.reads(t, g, dir+"/new"); got != "weights" {
		t.Errorf("released: %q", got)
	}
}

// With Hold who opens a file that is not judged waits until it is.
func TestAFileIsHeldUntilItIsJudged(t *testing.T) {
	r, j, dir := newJudged(t)
	g := r.group(t, "")
	r.bind(t, g, "box", Rules{Enforce: true, Signed: &Signed{Dirs: []string{dir}, Hold: true}})
	for _, c := range []struct {
		is   Judgment
		want string
	}{{Judgment{Known: true, Allowed: true}, "weights"}, {Judgment{Known: true}, "Operation not permitted"}} {
		j.know("new", Judgment{})
		got := make(chan string)
		go func() { got <- r.reads(t, g, dir+"/new") }()
		for start := time.Now(); j.number() == 0 && time.Since(start) < 10*time.Second; time.Sleep(time.Millisecond) {
		}
		if held := r.reads(t, g, dir+"/signed"); held != "weights" {
			t.Errorf("beside one that waits: %q", held)
		}
		select {
		case early := <-got:
			t.Errorf("it did not wait: %q", early)
			continue
		default:
		}
		j.know("new", c.is)
		if is := <-got; !strings.Contains(is, c.want) {
			t.Errorf("%+v: %q", c.is, is)
		}
	}
	// Of more than may wait the rest is refused, and all that wait go on when the enforcer lets go.
	j.know("new", Judgment{})
	const most, crowd = 3, 5
	id, _ := r.ID(g)
	r.Enforcer.mu.Lock()
	r.signedGates[id].mu.Lock()
	r.signedGates[id].most = most
	r.signedGates[id].mu.Unlock()
	r.Enforcer.mu.Unlock()
	var waiting sync.WaitGroup
	results := make(chan string, crowd)
	for range crowd {
		waiting.Go(func() { results <- r.reads(t, g, dir+"/new") })
	}
	for range crowd - most {
		if got := <-results; !strings.Contains(got, "Operation not permitted") {
			t.Fatalf("it did not wait: %q", got)
		}
	}
	e := r.wait(t, "one too many", func(e *event.Event) bool {
		return strings.Contains(e.Breach(), "of no known signature: it is not judged yet")
	})
	if e.Policy.Action != event.ActionDenied {
		t.Errorf("%+v", e.Policy)
	}
	r.Release(id)
	waiting.Wait()
	for range most {
		if got := <-results; got != "weights" {
			t.Errorf("let go: %q", got)
		}
	}
}

func (j *judged) number() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.asked
}

// A judge that never answers stops nobody for long; from the next look on it is asked again.
func TestAJudgeThatHangsIsPassed(t *testing.T) {
	r, _, dir := newJudged(t)
	g := r.group(t, "")
	hang := make(chan bool)
	var once sync.Once
	r.judge = func(Opening, *Signed) Judgment {
		once.Do(func() { <-hang })
		return Judgment{Known: true}
	}
	r.bind(t, g, "box", Rules{Enforce: true, Signed: &Signed{Dirs: []string{dir}}})
	for range 2 {
		if got := r.reads(t, g, dir+"/foreign"); got != "weights" {
			t.Errorf("got %q", got)
		}
	}
	close(hang)
	if err := r.Refresh(); err != nil {
		t.Error(err)
	}
	if got := r.reads(t, g, dir+"/foreign"); !strings.Contains(got, "Operation not permitted") {
		t.Errorf("after the next look: %q", got)
	}
}

// holdUntilKilled has whoever opens a file in a directory wait, until this process ends.
func holdUntilKilled(group, dir string) error {
	e, err := Open(Options{Judge: func(Opening, *Signed) Judgment { return Judgment{} }})
	if err != nil {
		return err
	}
	if err := e.Apply("box", Rules{Enforce: true, Signed: &Signed{Dirs: []string{dir}, Hold: true}}); err != nil {
		return err
	}
	if err := e.Bind(Target{Cgroup: group}, "box"); err != nil {
		return err
	}
	fmt.Println("held")
	time.Sleep(time.Hour)
	return nil
}

// When Picket is killed those that wait open their files at once.
func TestAKilledJudgeLetsGo(t *testing.T) {
	gated(t)
	r := newTold(t)
	g := r.group(t, "")
	dir, file, _ := weights(t)
	holder := exec.Command("/proc/self/exe", g, dir)
	holder.Env = append(os.Environ(), "ENFORCE_TEST_ROLE=hold-models")
	said, _ := speak(t, holder, func() { _ = holder.Process.Kill() })
	if strings.TrimSpace(said) != "held" {
		t.Fatal(said)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := r.command(t, g, "cat", file)
	reader := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	reader.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: cmd.SysProcAttr.CgroupFD}
	var out strings.Builder
	reader.Stdout = &out
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	waits := false
	for start := time.Now(); !waits && time.Since(start) < 10*time.Second; time.Sleep(time.Millisecond) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", reader.Process.Pid))
		waits = strings.Contains(string(b), "fanotify")
	}
	if !waits {
		t.Error("it does not wait")
	}
	if err := holder.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := reader.Wait(); err != nil || out.String() != "weights" {
		t.Errorf("read %q, %v", out.String(), err)
	}
}
