package node

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"picket/event"
	"picket/respond"
	"picket/respond/action"
	"picket/store/state"
)

// counter is an executor that counts what it does, by request. It does not leave out what it has done
// before: that nothing is doubled is up to the engine.
type counter struct {
	mu    sync.Mutex
	did   map[string]int
	kinds map[string]action.Kind
	holds map[string]bool
}

// ServeHTTP answers the engine of another process.
func (c *counter) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	var r action.Request
	if err := json.NewDecoder(q.Body).Decode(&r); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var out any
	switch q.URL.Path {
	case "/Plan":
		t := r.Target
		t.CgroupID = 7
		out = action.Plan{Target: t, Class: map[action.Kind]action.Class{action.Kill: action.Destructive, action.Isolate: action.Reversible}[r.Kind]}
	case "/Do":
		time.Sleep(2 * time.Millisecond) // a death in the middle is a death while it is done
		c.did[r.ID]++
		c.kinds[r.ID], c.holds[r.ID] = r.Kind, true
		out = action.Result{ID: r.ID, State: action.Done, At: time.Now()}
	case "/Verify":
		out = c.holds[r.ID]
	case "/Undo":
		c.holds[r.ID] = false
		out = action.Result{ID: r.ID, State: action.Undone, At: time.Now()}
	}
	_ = json.NewEncoder(w).Encode(out)
}

// remote is the counter as an engine in another process has it.
type remote struct{ http.Client }

func askCounter[T any](ctx context.Context, r *remote, what string, q *action.Request) (T, error) {
	var out T
	body, err := json.Marshal(q)
	if err != nil {
		return out, err
	}
	req, err := http.NewRequestWithContext(ctx, "POST", "http://counter/"+what, strings.NewReader(string(body)))
	if err != nil {
		return out, err
	}
	answer, err := r.Client.Do(req)
	if err != nil {
		return out, err
	}
	defer answer.Body.Close()
	return out, json.NewDecoder(answer.Body).Decode(&out)
}

func (r *remote) Plan(ctx context.Context, q *action.Request) (*action.Plan, error) {
	p, err := askCounter[action.Plan](ctx, r, "Plan", q)
	return &p, err
}

func (r *remote) Do(ctx context.Context, q *action.Request) (*action.Result, error) {
	p, err := askCounter[action.Result](ctx, r, "Do", q)
	return &p, err
}

func (r *remote) Verify(ctx context.Context, q *action.Request) (bool, string, error) {
	holds, err := askCounter[bool](ctx, r, "Verify", q)
	return holds, "", err
}

func (r *remote) Undo(ctx context.Context, q *action.Request) (*action.Result, error) {
	p, err := askCounter[action.Result](ctx, r, "Undo", q)
	return &p, err
}

// dying is a journal that kills its process before or after a chosen write.
type dying struct {
	respond.Journal
	n, at int // the half-writes done so far, and the one at which it dies; 0 is never
}

func (d *dying) Save(ctx context.Context, fence uint64, k respond.Kept, records []respond.Record) error {
	d.step()
	defer d.step()
	return d.Journal.Save(ctx, fence, k, records)
}

func (d *dying) step() {
	if d.n++; d.n == d.at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

type oneIncident struct{}

func (oneIncident) Incident(context.Context, string) (event.Incident, error) {
	inc := event.Incident{ID: "incident1", Status: event.IncidentOpen, Severity: event.High, Hosts: []string{"gpu-1"}}
	for i := range 3 { // two of three things that are killed at once, in a container of their own
		uid := strconv.Itoa(i)
		inc.Processes = append(inc.Processes, event.ProcessNode{UID: uid, PID: uint32(100 + i), Container: "c" + uid})
		inc.Findings = append(inc.Findings, event.FindingRef{Host: "gpu-1", Process: uid})
	}
	return inc, nil
}

// killers is a playbook that isolates, then kills in two branches at once, twice each.
func killers() []byte {
	id := func(kind string, n int) string { return fmt.Sprintf("%s--00000000-0000-4000-8000-%012d", kind, n) }
	flow := map[string]any{
		id("start", 1): map[string]any{"type": "start", "on_completion": id("action", 1)},
		id("end", 1):   map[string]any{"type": "end"}, id("end", 2): map[string]any{"type": "end"}, id("end", 3): map[string]any{"type": "end"},
		id("parallel", 1): map[string]any{"type": "parallel", "next_steps": []string{id("action", 2), id("action", 4)}, "on_completion": id("end", 1)},
	}
	step := func(n int, action, next string) {
		flow[id("action", n)] = map[string]any{
			"type": "action", "agent": id("security-category", 1), "on_completion": next,
			"commands": []any{map[string]any{"type": "openc2-http", "command": "POST /x HTTP/1.1", "content": fmt.Sprintf(`{"action": %q, "target": {"x-picket": {"entity": "container"}}, "args": {}}`, action)}},
		}
	}
	step(1, "deny", id("parallel", 1))
	step(2, "stop", id("action", 3))
	step(3, "stop", id("end", 2))
	step(4, "stop", id("action", 5))
	step(5, "stop", id("end", 3))
	data, _ := json.Marshal(map[string]any{
		"type": "playbook", "spec_version": "cacao-2.0", "id": id("playbook", 1), "name": "killers", "created_by": id("identity", 1),
		"created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "workflow_start": id("start", 1), "workflow": flow,
		"agent_definitions": map[string]any{id("security-category", 1): map[string]any{"type": "security-category", "name": "Picket", "category": []string{"endpoint"}}},
	})
	return data
}

// TestRespondChild is the engine that dies; TestRunsOutliveTheServer starts it as a program of its own.
func TestRespondChild(t *testing.T) {
	dir, at, _ := strings.Cut(os.Getenv("PICKET_TEST_RESPOND"), "|")
	if dir == "" {
		t.Skip("it is a part of TestRunsOutliveTheServer")
	}
	ctx := t.Context()
	s, err := state.Open(ctx, state.Options{Dir: filepath.Join(dir, "state")})
	if err != nil {
		t.Fatal(err)
	}
	lib, err := respond.ReadLibrary(fstest.MapFS{"killers.json": &fstest.MapFile{Data: killers()}})
	if err != nil {
		t.Fatal(err)
	}
	j := &dying{Journal: NewJournal(s)}
	j.at, _ = strconv.Atoi(at)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "counter"))
	}
	e, err := respond.New(ctx, respond.Options{
		Journal: j, Library: lib, Incidents: oneIncident{}, Executor: &remote{http.Client{Transport: &http.Transport{DialContext: dial}}},
		Config: respond.Config{Rules: []respond.Rule{{Name: "all", Playbook: "killers", Mode: respond.Auto, Destructive: true}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	inc, _ := oneIncident{}.Incident(ctx, "")
	if err := e.Respond(ctx, inc, nil); err != nil {
		t.Fatal(err)
	}
	fmt.Println("up")
	for {
		runs, err := e.Runs(ctx, respond.Query{})
		if err != nil {
			t.Fatal(err)
		}
		if len(runs) == 1 && runs[0].State != respond.Running {
			fmt.Println("state:", runs[0].State, runs[0].Failure, "holds:", len(runs[0].Holds))
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// The engine is killed at each write of its journal, before it and after it, and at random: whatever
// it was, the next one goes on, nothing is killed twice, and nothing is forgotten.
func TestRunsOutliveTheServer(t *testing.T) {
	if testing.Short() {
		t.Skip("short: it starts an engine some fifty times")
	}
	for n := 1; ; n++ {
		if died := outlive(t, func(int) (int, time.Duration) { return n, 0 }); !died {
			if n < 10 {
				t.Errorf("only %d places to die at", n)
			}
			t.Logf("killed at each of %d places", n-1)
			break
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		outlive(t, func(int) (int, time.Duration) { return 0, time.Duration(5+r.IntN(60)) * time.Millisecond })
	}
}

// outlive lets one run be killed as how says, first at a write of the journal and after a time, until
// an engine brings it to its end; and looks at what was done.
func outlive(t *testing.T, how func(try int) (at int, after time.Duration)) (died bool) {
	t.Helper()
	dir := t.TempDir()
	c := &counter{did: map[string]int{}, kinds: map[string]action.Kind{}, holds: map[string]bool{}}
	l, err := net.Listen("unix", filepath.Join(dir, "counter"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: c}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	out := ""
	for try := 0; out == ""; try++ {
		at, after := how(try)
		if try > 0 && after == 0 || try > 5 {
			at, after = 0, 0
		}
		var killed bool
		out, killed = engineOf(t, dir, at, after)
		died = died || killed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	kinds := map[action.Kind]int{}
	for id, n := range c.did {
		kinds[c.kinds[id]]++
		if n != 1 && c.kinds[id] == action.Kill {
			t.Errorf("%s %s was done %d times", c.kinds[id], id, n)
		}
	}
	if kinds[action.Kill] != 12 || kinds[action.Isolate] != 3 || !strings.Contains(out, "state: succeeded  holds: 3") {
		t.Errorf("killed %d of 12, isolated %d of 3: %s", kinds[action.Kill], kinds[action.Isolate], out)
	}
	return died
}

// engineOf runs an engine in a process of its own and returns what it said of the run, "" where it died.
func engineOf(t *testing.T, dir string, at int, after time.Duration) (said string, killed bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestRespondChild$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("PICKET_TEST_RESPOND=%s|%d", dir, at))
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for in := bufio.NewScanner(pipe); in.Scan(); {
		lines = append(lines, in.Text())
		if in.Text() == "up" && after > 0 {
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
		if strings.HasPrefix(in.Text(), "state:") {
			said = in.Text()
		}
	}
	err = cmd.Wait()
	exit, _ := errors.AsType[*exec.ExitError](err)
	if exit != nil {
		killed = exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	}
	if err != nil && !killed {
		t.Fatalf("the engine failed: %v\n%s", err, strings.Join(lines, "\n"))
	}
	return said, killed
}
