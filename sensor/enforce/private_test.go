package enforce

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"picket/event"
)

// weights makes a directory of models with one below.
func weights(t testing.TB) (dir, file, below string) {
	t.Helper()
	dir = t.TempDir()
	file, below = dir+"/weights.safetensors", dir+"/llama/shard"
	if err := os.Mkdir(dir+"/llama", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{file, below} {
		if err := os.WriteFile(f, []byte("weights"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, file, below
}

// gated skips a test where the kernel does not ask before it opens a file.
func gated(t testing.TB) {
	t.Helper()
	require(t, "root", os.Geteuid() == 0, "needs root for fanotify")
	if err := tryGate(); err != nil {
		require(t, "fanotify", false, err.Error())
	}
}

// Nobody but the workload opens its weights, and who tried is told.
func TestPrivateModels(t *testing.T) {
	gated(t)
	r := newTold(t)
	g, stranger := r.group(t, ""), r.group(t, "")
	inside := r.group(t, g)
	dir, file, below := weights(t)
	id := r.bind(t, g, "box", Rules{Enforce: true, Private: []string{dir, dir + "/missing"}})
	if got := r.Rungs()["private"]; got != "fanotify" {
		t.Errorf("rung %q", got)
	}
	try := func(what, group, path, want string) {
		t.Helper()
		if got := r.act(t, group, "open", path); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	for _, path := range []string{file, below} {
		try("the workload", g, path, "ok")
		try("a cgroup below it", inside, path, "ok")
		try("a stranger", stranger, path, eperm)
	}
	if _, err := os.ReadFile(file); err != nil {
		t.Errorf("Picket itself: %v", err)
	}
	if err := exec.Command("cat", file).Run(); err == nil {
		t.Error("root on the host read it")
	}
	e := r.wait(t, "private", func(e *event.Event) bool { return e.File.Path == below })
	if d := cmp.Diff(&event.Policy{Name: "box", Rule: "private", Action: "denied", Rung: "fanotify"}, e.Policy); d != "" {
		t.Error(d)
	}
	if e.Process.PID == 0 || e.Process.Comm == "" || e.File.Ino == 0 || e.Count != 1 {
		t.Errorf("%+v by %+v", e.File, e.Process)
	}

	// What is made later in it is private from the next look on, at once where its directory was.
	later := dir + "/qwen/shard"
	if err := os.Mkdir(filepath.Dir(later), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{later, dir + "/new"} {
		if err := os.WriteFile(f, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	try("a new file", stranger, dir+"/new", eperm)
	if err := r.Refresh(); err != nil {
		t.Error(err)
	}
	try("a new directory", stranger, later, eperm)

	// A second workload whose policy names it too.
	second := r.bind(t, stranger, "other", Rules{Enforce: true, Private: []string{dir}})
	try("named by two", stranger, file, "ok")
	try("named by two", g, file, "ok")
	r.Release(second)
	try("named by one again", stranger, file, eperm)
	if n := r.Counts()["fanotify denied"]; n < 6 {
		t.Errorf("counts %v", r.Counts())
	}
	r.Release(id)
	try("released", stranger, file, "ok")
	r.bind(t, g, "box", Rules{Private: []string{dir}})
	try("observed", stranger, file, "ok")
}

func TestWhatCannotBePrivate(t *testing.T) {
	gated(t)
	r := newTold(t)
	g := r.group(t, "")
	dir, _, _ := weights(t)
	link := t.TempDir() + "/link"
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/": "it is the host's /", "/etc": "it is the host's /etc", "/proc/self": "a link leads to", link: "a link leads to",
		link + "/llama": "a link leads to", "/sys/kernel": "its file system asks others",
	} {
		if err := r.Apply("box", Rules{Enforce: true, Private: []string{path}}); err != nil {
			t.Fatal(err)
		}
		if err := r.Bind(Target{Cgroup: g, Root: "/"}, "box"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
		if len(r.Bound()) != 0 || len(r.gates) != 0 {
			t.Fatalf("%s: it is bound", path)
		}
	}
	// A link below leads nowhere else.
	other, file, _ := weights(t)
	if err := os.Symlink(other, dir+"/away"); err != nil {
		t.Fatal(err)
	}
	r.bind(t, g, "box", Rules{Enforce: true, Private: []string{dir}})
	if err := exec.Command("cat", file).Run(); err != nil {
		t.Errorf("what a link leads to is private: %v", err)
	}
}

// An answer that does not come keeps nobody waiting for long, and others not at all after.
func TestAGateThatHangsOpens(t *testing.T) {
	gated(t)
	r := newTold(t)
	g, stranger := r.group(t, ""), r.group(t, "")
	dir, file, _ := weights(t)
	r.bind(t, g, "box", Rules{Enforce: true, Private: []string{dir}})
	hang := make(chan bool)
	r.Enforcer.mu.Lock()
	for _, gate := range r.gates {
		rules := *gate.rules.Load()
		rules.judge = func(int, int) ruling { <-hang; return ruling{} }
		gate.rules.Store(&rules)
	}
	r.Enforcer.mu.Unlock()
	start := time.Now()
	for range 2 {
		if got := r.act(t, stranger, "open", file); got != "ok" {
			t.Errorf("got %s", got)
		}
	}
	if took := time.Since(start); took < patience || took > 10*patience {
		t.Errorf("it took %s", took)
	}
	close(hang)
	if err := r.Refresh(); err == nil || !strings.Contains(err.Error(), "open to all") {
		t.Errorf("got %v", err)
	}
}

// reserveUntilKilled keeps a directory for a cgroup, and never answers when that is asked of it.
func reserveUntilKilled(group, dir string) error {
	e, err := Open(Options{})
	if err != nil {
		return err
	}
	if err := e.Apply("box", Rules{Enforce: true, Private: []string{dir}}); err != nil {
		return err
	}
	if err := e.Bind(Target{Cgroup: group}, "box"); err != nil {
		return err
	}
	fmt.Println("reserved")
	time.Sleep(time.Hour)
	return nil
}

// Who waits for an answer goes on when the one who owes it is killed.
func TestAKilledGateOpens(t *testing.T) {
	gated(t)
	r := newTold(t)
	g := r.group(t, "")
	dir, file, _ := weights(t)
	holder := exec.Command("/proc/self/exe", g, dir)
	holder.Env = append(os.Environ(), "ENFORCE_TEST_ROLE=reserve")
	said, _ := speak(t, holder, func() { _ = holder.Process.Kill() })
	if strings.TrimSpace(said) != "reserved" {
		t.Fatal(said)
	}
	if err := exec.Command("cat", file).Run(); err == nil {
		t.Fatal("it is not private")
	}
	if err := holder.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	reader := exec.Command("cat", file)
	out, err := reader.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(time.Millisecond) {
		if b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", reader.Process.Pid)); strings.Contains(string(b), "fanotify") {
			break
		}
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if got, err := bufio.NewReader(out).ReadString(0); got != "weights" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := reader.Wait(); err != nil {
		t.Error(err)
	}
}

// BenchmarkPrivate says what opening and closing a file costs a workload when its directory is
// private to it, in pairs: without, with.
func BenchmarkPrivate(b *testing.B) {
	gated(b)
	r := newTold(b)
	g := r.group(b, "")
	dir, file, _ := weights(b)
	each := func() float64 {
		ns, err := strconv.ParseFloat(r.act(b, g, "opens", file), 64)
		if err != nil {
			b.Fatal(err)
		}
		return ns
	}
	var added, without []float64
	for b.Loop() {
		before := each()
		id := r.bind(b, g, "box", Rules{Enforce: true, Private: []string{dir}})
		added, without = append(added, each()-before), append(without, before)
		r.Release(id)
	}
	slices.Sort(added)
	slices.Sort(without)
	b.ReportMetric(without[len(without)/2], "ns/open")
	b.ReportMetric(added[len(added)/2], "ns-added/open")
}
