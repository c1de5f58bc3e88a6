package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"picket/respond"
	"picket/respond/action"
)

// writes are the calls that change what is on the disk: what a program did before one is all that the next
// one finds.
const writes = "write,pwrite64,fsync,fdatasync,ftruncate,rename,renameat,unlink,unlinkat"

// way is how something is killed.
type way struct {
	role   string // engine or agent
	random bool   // at a random time, else at a call that writes
}

func (w way) String() string {
	return w.role + map[bool]string{true: " at random", false: " at a write"}[w.random]
}

var ways = []way{{"engine", false}, {"engine", true}, {"agent", false}, {"agent", true}}

// tally is what came of it.
type tally struct {
	kills  map[way]int
	places map[string]bool // what stood on the disk when something was killed
	calls  int             // calls that write, of an engine that brings one run to its end
	ended  map[respond.State]int
	acts   int // lines of effects
	asked  int // questions whether something was done
}

func (t *tally) killed() (n int) {
	for _, k := range t.kills {
		n += k
	}
	return n
}

func (t *tally) String() string {
	var parts []string
	for _, w := range ways {
		parts = append(parts, fmt.Sprintf("%s %d", w, t.kills[w]))
	}
	for _, s := range []respond.State{respond.Succeeded, respond.Failed} {
		parts = append(parts, fmt.Sprintf("runs that %s %d", s, t.ended[s]))
	}
	return fmt.Sprintf("%s; %d states of the disk, %d calls that write in a run; %d effects, none twice and none lost; %d times a person was asked whether something was done",
		strings.Join(parts, ", "), len(t.places), t.calls, t.acts, t.asked)
}

// killer kills.
type killer struct {
	dir, desk string

	mu    sync.Mutex // of what follows, while a run goes on
	rand  *rand.Rand
	tally tally
	next  map[string]int // by role: the call at which it was killed last
}

// kill kills n times and says what came of it. An error is a thing that was doubled or lost.
func kill(dir string, n int, seed uint64, logf func(string, ...any)) (*tally, error) {
	dir, err := os.MkdirTemp(dir, "picket-crash-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a directory of the benchmark's own
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	desk := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var body struct{ Case string }
		err := json.NewDecoder(io.LimitReader(q.Body, 1000)).Decode(&body)
		if err == nil {
			err = (deed{file: effects(dir)}).write("do", body.Case)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	defer desk.Close()
	k := &killer{dir: dir, desk: desk.URL, rand: rand.New(rand.NewPCG(seed, seed)), next: map[string]int{}} //nolint:gosec // no secret
	k.tally = tally{kills: map[way]int{}, places: map[string]bool{}, ended: map[respond.State]int{}}
	if k.tally.calls, err = k.count(); err != nil {
		return nil, err
	}
	for run := 1; k.tally.killed() < n; run++ {
		said, err := k.run(fmt.Sprint("r", run))
		if err != nil {
			return nil, fmt.Errorf("run %d, after %d were killed: %w", run, k.tally.killed(), err)
		}
		if err := k.check(said); err != nil {
			b, _ := json.MarshalIndent(said, "", " ")
			return nil, fmt.Errorf("run %d, after %d were killed: %w\n%s", run, k.tally.killed(), err, b)
		}
		if run%20 == 0 {
			logf("%d killed: %s", k.tally.killed(), &k.tally)
		}
	}
	return &k.tally, nil
}

// start starts a program, under strace with its options where there are any.
func (k *killer) start(role, run string, strace ...string) (*exec.Cmd, *bytes.Buffer, io.Reader, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, nil, err
	}
	cmd := exec.Command(self)
	if len(strace) > 0 {
		cmd = exec.Command("strace", append(append([]string{"-f", "-qq"}, strace...), self)...)
	}
	cmd.Env = append(os.Environ(), "PICKET_CRASH_ROLE="+role, "PICKET_CRASH_DIR="+k.dir, "PICKET_CRASH_DESK="+k.desk, "PICKET_CRASH_RUN="+run)
	var wrong bytes.Buffer
	cmd.Stderr = &wrong
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // strace and what it looks at
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	return cmd, &wrong, out, err
}

// count says how many calls that write an engine makes, from its start to the end of a run.
func (k *killer) count() (int, error) {
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() { stopped <- k.hands(stop, false) }()
	defer func() { close(stop); <-stopped }() //nolint:errcheck // killed on purpose
	log := filepath.Join(k.dir, "strace")
	cmd, wrong, out, err := k.start("engine", "r0", "-o", log, "-e", "trace="+writes)
	if err != nil {
		return 0, fmt.Errorf("strace: %w", err)
	}
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("a run without anything killed: %w: %s", err, wrong)
	}
	b, err := os.ReadFile(log)
	return bytes.Count(b, []byte("\n")), err
}

// limit is how long one program may take, and a run with all that is killed in it many times as long; most
// is how often one is killed in a run, so that there are many runs.
const (
	limit = 5 * time.Minute
	most  = 12
)

// run brings a run to its end, and kills the engine or the agent again and again meanwhile.
func (k *killer) run(id string) (*report, error) {
	victim := "engine"
	if k.rand.IntN(3) == 0 {
		victim = "agent"
	}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() { stopped <- k.hands(stop, victim == "agent") }()
	said, err := k.brain(id, victim == "engine")
	close(stop)
	return said, errors.Join(err, <-stopped)
}

// hands keeps an agent running until it is stopped.
func (k *killer) hands(stop <-chan struct{}, kill bool) error {
	for n := 0; ; n++ {
		w, options := k.how("agent", kill && n < most)
		cmd, wrong, _, err := k.start("agent", "", options...)
		if err != nil {
			return err
		}
		if w.random {
			defer k.later(cmd).Stop()
		}
		died := make(chan error, 1)
		go func() { died <- cmd.Wait() }()
		select {
		case <-stop:
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // or it has just been killed
			<-died                                              //nolint:errcheck // as it was killed
			return nil
		case err := <-died:
			if !killed(err) {
				return fmt.Errorf("the agent failed: %w: %s", err, wrong)
			}
			k.note(w)
		}
	}
}

// brain starts engines until one has brought the run to its end.
func (k *killer) brain(id string, kill bool) (*report, error) {
	began := time.Now()
	for n := 0; time.Since(began) < (most+1)*limit; n++ {
		w, options := k.how("engine", kill && n < most)
		cmd, wrong, out, err := k.start("engine", id, options...)
		if err != nil {
			return nil, err
		}
		stuck := time.AfterFunc(limit, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT) })
		var said *report
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			switch text := lines.Text(); {
			case text == "up" && w.random:
				defer k.later(cmd).Stop()
			case strings.HasPrefix(text, "{"):
				err = json.Unmarshal([]byte(text), &said)
			}
		}
		died := cmd.Wait()
		stuck.Stop()
		switch {
		case said != nil || err != nil:
			return said, err
		case !killed(died):
			return nil, fmt.Errorf("the engine failed: %w: %s", died, wrong)
		}
		k.note(w)
	}
	return nil, fmt.Errorf("it did not end within %s", time.Since(began).Round(time.Second))
}

// how chooses how a program is killed, and strace's options for it. Calls are counted by thread.
func (k *killer) how(role string, kill bool) (w way, options []string) {
	if w.role = role; !kill {
		return w, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if w.random = k.rand.IntN(3) == 0; w.random {
		return w, nil
	}
	if k.next[role]++; k.next[role] > furthest {
		k.next[role] = 1
	}
	return w, []string{"-o", "/dev/null", "-e", "trace=" + writes, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", writes, k.next[role])}
}

// furthest is the last call of a thread at which it is killed: few threads make more in one run.
const furthest = 60

// later kills a program in a moment.
func (k *killer) later(cmd *exec.Cmd) *time.Timer {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.AfterFunc(time.Duration(k.rand.IntN(300))*time.Millisecond, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
}

// killed reports whether a program ended so. What strace looks at takes strace along.
func killed(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	st, ok := exit.Sys().(syscall.WaitStatus)
	return ok && st.Signal() == syscall.SIGKILL
}

// note counts that something was killed, and what stood on the disk then.
func (k *killer) note(w way) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tally.kills[w]++
	k.place()
}

// place notes what stands on the disk now.
func (k *killer) place() {
	var at []string
	for _, name := range []string{"state/audit.db", "state/audit.db-wal", "agent/actions.journal", "effects"} {
		if st, err := os.Stat(filepath.Join(k.dir, name)); err == nil {
			at = append(at, fmt.Sprint(name, st.Size()))
		}
	}
	k.tally.places[strings.Join(at, " ")] = true
}

// check says what is wrong with a run that is over: a thing done twice, not taken back or taken back
// twice, lost without a word, or an end that nobody can explain.
func (k *killer) check(r *report) error {
	done := map[action.Kind]int{}
	for id, a := range r.Acts {
		if a.Kind == respond.HTTP || a.Kind == respond.Undo {
			continue
		}
		did, undid, err := counted(effects(k.dir), id)
		if err != nil {
			return err
		}
		k.tally.acts += did
		done[a.Kind] += did
		destructive := a.Kind == action.Kill
		switch {
		case did > 1 || undid > 1:
			return fmt.Errorf("%s %s was done %d times and taken back %d times", a.Kind, id, did, undid)
		case !destructive && did != undid:
			return fmt.Errorf("%s %s was done %d times and taken back %d times", a.Kind, id, did, undid)
		case a.Outcome == "":
			return fmt.Errorf("%s %s was begun, and nobody says how it came out", a.Kind, id)
		case destructive && a.Outcome == action.Failed && did > 0, destructive && a.Outcome == action.Done && did == 0:
			return fmt.Errorf("%s %s is %s, and was done %d times", a.Kind, id, a.Outcome, did)
		}
	}
	posts, _, err := counted(effects(k.dir), r.Incident)
	if err != nil {
		return err
	}
	byHand := slices.ContainsFunc(r.Asked, func(s string) bool { return s == "Open the case by hand." })
	for _, q := range r.Asked {
		if strings.HasPrefix(q, "Was this done") {
			k.tally.asked++
		}
	}
	switch k.tally.ended[r.State]++; {
	case posts > 1:
		return fmt.Errorf("the case was opened %d times", posts)
	case r.State == respond.Succeeded && (done[action.Kill] != 6 || done[action.Isolate] != 4 || done[action.Freeze] != 2 || posts == 0 && !byHand):
		return fmt.Errorf("it succeeded, and did %v, with %d cases", done, posts)
	case r.State == respond.Failed && r.Failure == "", r.State != respond.Succeeded && r.State != respond.Failed:
		return fmt.Errorf("it is %s, and does not say why", r.State)
	}
	return nil
}
