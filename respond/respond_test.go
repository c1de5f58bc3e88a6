package respond

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/event"
	"picket/playbooks"
	"picket/respond/action"
)

// memory is a journal that lasts as long as the test.
type memory struct {
	mu      sync.Mutex
	fence   uint64
	stopped string
	runs    map[string]Kept
	records map[string][]Record
	fail    func(k Kept, records []Record) error // before anything is kept
}

func newMemory() *memory {
	return &memory{runs: map[string]Kept{}, records: map[string][]Record{}}
}

func (m *memory) TakeOver(context.Context) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fence++
	return m.fence, nil
}

func (m *memory) Save(_ context.Context, fence uint64, k Kept, records []Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if fence != m.fence {
		return ErrFenced
	}
	if m.fail != nil {
		if err := m.fail(k, records); err != nil {
			return err
		}
	}
	if k.Plan == nil {
		k.Plan = m.runs[k.ID].Plan
	}
	for _, r := range records {
		if n := len(m.records[k.ID]); r.Seq != int64(n+1) {
			return fmt.Errorf("record %d after %d: %w", r.Seq, n, ErrConflict)
		}
		m.records[k.ID] = append(m.records[k.ID], r)
	}
	m.runs[k.ID] = k
	return nil
}

func (m *memory) Run(_ context.Context, id string) (Kept, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, has := m.runs[id]
	if !has {
		return k, ErrNotFound
	}
	return k, nil
}

func (m *memory) Runs(_ context.Context, q Query) ([]Kept, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Kept
	for _, k := range m.runs {
		if (q.Incident == "" || k.Incident == q.Incident) && (!q.Open || k.Open) {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b Kept) int { return b.Opened.Compare(a.Opened) })
	return out, nil
}

func (m *memory) Records(_ context.Context, run string) ([]Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.records[run]), nil
}

func (m *memory) Stopped(context.Context) (string, error) { return m.stopped, nil }

func (m *memory) SetStopped(_ context.Context, by string) error { m.stopped = by; return nil }

// recorder is an executor that writes down what it is asked to do. Like an agent it does a request
// once, and refuses an old fence.
type recorder struct {
	mu    sync.Mutex
	said  []string
	done  map[string]bool // by request
	holds map[string]bool
	fence uint64
	do    func(r *action.Request) (*action.Result, error) // instead of doing it
	gone  bool                                            // all processes have ended
}

func newRecorder() *recorder {
	return &recorder{done: map[string]bool{}, holds: map[string]bool{}}
}

func (x *recorder) say(format string, args ...any) {
	x.said = append(x.said, fmt.Sprintf(format, args...))
}

func (x *recorder) Plan(_ context.Context, r *action.Request) (*action.Plan, error) {
	t := r.Target
	if t.Process != nil && x.gone {
		return nil, fmt.Errorf("process %d: %w", t.Process.PID, action.ErrGone)
	}
	if t.Process != nil {
		pin := *t.Process
		pin.BootID, pin.Start, pin.Exe = "boot", 7, "/usr/bin/curl (deleted)" // it may hide so
		t.Process = &pin
	}
	if t.Container != "" {
		t.CgroupID = 42
	}
	return &action.Plan{Target: t, Class: actClass[r.Kind], Effects: []string{"It would be done."}, Hits: []string{"7 curl"}, Undo: "it is taken back"}, nil
}

func (x *recorder) Do(_ context.Context, r *action.Request) (*action.Result, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if r.Fence < x.fence {
		return &action.Result{ID: r.ID, State: action.Refused, Detail: "an old fence"}, nil
	}
	x.fence = r.Fence
	if x.do != nil {
		if res, err := x.do(r); res != nil || err != nil {
			return res, err
		}
	}
	if !x.done[r.ID] {
		x.done[r.ID], x.holds[r.ID] = true, true
		x.say("%s %s", r.Kind, Describe(r.Target, nil))
	}
	res := &action.Result{ID: r.ID, State: action.Done, Detail: "It was done."}
	if r.TTL > 0 {
		res.Until = at.Add(r.TTL)
	}
	return res, nil
}

func (x *recorder) Verify(_ context.Context, r *action.Request) (bool, string, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.holds[r.ID], "It was looked at.", nil
}

func (x *recorder) Undo(_ context.Context, r *action.Request) (*action.Result, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.holds[r.ID] {
		x.holds[r.ID] = false
		x.say("undo %s", r.Kind)
	}
	return &action.Result{ID: r.ID, State: action.Undone, Detail: "It was taken back."}, nil
}

func (x *recorder) Extend(_ context.Context, r *action.Request, ttl time.Duration, by string) (*action.Result, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.holds[r.ID] {
		return nil, action.ErrInvalid
	}
	x.say("extend %s by %s", r.Kind, by)
	return &action.Result{ID: r.ID, State: action.Done, Until: at.Add(ttl)}, nil
}

func (x *recorder) list() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.said)
}

var (
	ctx = context.Background()
	at  = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
)

// sample is an incident: a shell in a container started curl, a program beside it acted too.
func sample() event.Incident {
	return event.Incident{
		ID: "incident1", Title: "Weights $(reboot) sent out", Status: event.IncidentOpen, Severity: event.High, Hosts: []string{"gpu-1"},
		Entities: []event.Entity{{Kind: event.EntityWorkload, ID: "w", Name: "llama-70b"}, {Kind: event.EntityAddress, ID: "203.0.113.9", Name: "203.0.113.9"}},
		Processes: []event.ProcessNode{
			{UID: "sh", PID: 40, Start: at, Exe: "/bin/sh", Container: "c1"},
			{UID: "curl", ParentUID: "sh", PID: 41, Start: at.Add(time.Second), Exe: "/usr/bin/curl", Container: "c1"},
			{UID: "out", PID: 50, Start: at.Add(2 * time.Second), Exe: "/usr/bin/curl"},
		},
		Findings: []event.FindingRef{{Rule: "weights_sent_out", Host: "gpu-1", Process: "sh"}, {Host: "gpu-1", Process: "curl"}, {Host: "gpu-1", Process: "out"}},
	}
}

type known1 struct{ inc event.Incident }

func (k known1) Incident(_ context.Context, id string) (event.Incident, error) {
	if id != k.inc.ID {
		return event.Incident{}, ErrNotFound
	}
	return k.inc, nil
}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// bench is an engine with all that it stands on.
type rig struct {
	*Engine
	journal *memory
	acts    *recorder
	clock   *clock
}

// command is a step of a test's playbook.
type command struct{ kind, text, content string }

func openc2(action, entity, args string) command {
	return command{"openc2-http", "POST /x HTTP/1.1", fmt.Sprintf(`{"action": %q, "target": {"x-picket": {"entity": %q}}, "args": {%s}}`, action, entity, args)}
}

// book writes a playbook that runs commands one after the other.
func book(t testing.TB, url string, out []string, commands ...command) []byte {
	t.Helper()
	id := func(kind string, n int) string { return fmt.Sprintf("%s--00000000-0000-4000-8000-%012d", kind, n) }
	flow := map[string]any{id("start", 1): map[string]any{"type": "start", "on_completion": id("action", 10)}, id("end", 2): map[string]any{"type": "end"}}
	for n, c := range commands {
		next := id("action", 10+n+1)
		if n == len(commands)-1 {
			next = id("end", 2)
		}
		agent := map[string]string{"manual": "group", "http-api": "http-api"}[c.kind]
		if agent == "" {
			agent = "security-category"
		}
		cmd := map[string]any{"type": c.kind, "command": c.text}
		if c.content != "" {
			cmd["content"], cmd["headers"] = c.content, map[string]any{"Content-Type": []string{"application/json"}}
		}
		s := map[string]any{"type": "action", "name": fmt.Sprintf("step %d", n+1), "agent": id(agent, 3), "commands": []any{cmd}, "on_completion": next}
		if c.kind == "http-api" && out != nil {
			s["out_args"] = out
		}
		flow[id("action", 10+n)] = s
	}
	data, err := json.Marshal(map[string]any{
		"type": "playbook", "spec_version": "cacao-2.0", "id": id("playbook", 1), "name": "A test", "created_by": id("identity", 1),
		"created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "workflow_start": id("start", 1), "workflow": flow,
		"playbook_variables": map[string]any{"__incident_title__": map[string]any{"type": "string"}, "__said__": map[string]any{"type": "string"}, "__status__": map[string]any{"type": "integer"}},
		"agent_definitions": map[string]any{
			id("group", 3):             map[string]any{"type": "group", "name": "on duty"},
			id("security-category", 3): map[string]any{"type": "security-category", "name": "Picket", "category": []string{"endpoint"}},
			id("http-api", 3):          map[string]any{"type": "http-api", "name": "desk", "address": map[string]any{"url": []string{url}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func newRig(t testing.TB, data []byte, change func(*Options)) *rig {
	t.Helper()
	lib, err := ReadLibrary(playbooks.FS, fstest.MapFS{"test.json": &fstest.MapFile{Data: data}})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{journal: newMemory(), acts: newRecorder(), clock: &clock{t: at}}
	o := Options{Now: r.clock.now, Journal: r.journal, Executor: r.acts, Incidents: known1{sample()}, Library: lib}
	if change != nil {
		change(&o)
	}
	r.Engine = start(t, o)
	return r
}

func start(t testing.TB, o Options) *Engine {
	t.Helper()
	e, err := New(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// until waits for a run to be as wanted.
func (r *rig) until(t testing.TB, id, what string, is func(Run) bool) Run {
	t.Helper()
	for range 5000 {
		run, err := r.Get(ctx, id)
		if err == nil && is(run) {
			return run
		}
		time.Sleep(time.Millisecond)
	}
	run, _ := r.Get(ctx, id)
	records, _ := r.Records(ctx, id)
	for _, l := range records {
		t.Logf("%d %s %s %s", l.Seq, l.What, l.Task, l.Text)
	}
	t.Fatalf("the run does not come to be %s: it is %s, asks %v", what, run.State, run.Asks)
	return Run{}
}

func (r *rig) ends(t testing.TB, id string, s State) Run {
	t.Helper()
	return r.until(t, id, string(s), func(run Run) bool { return run.State == s })
}

func TestPlan(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("contain", "lineage", `"duration": 60000`), openc2("stop", "workload", ""), openc2("deny", "address", `"x-picket": {"act": "cut"}`)), nil)
	p, err := r.Plan(ctx, "test", "incident1", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range p.Acts {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", a.Kind, Describe(a.Target, nil), a.Target.Address, a.TTL, a.Gone)))
	}
	want := []string{
		"freeze process 40 and what it started on gpu-1  1m0s process 40 is /usr/bin/curl now, not /bin/sh",
		"freeze process 50 and what it started on gpu-1  1m0s",
		"kill container c1 on gpu-1  0s",
		"kill process 50 and what it started on gpu-1  0s",
		"cut container c1 on gpu-1 203.0.113.9 0s",
		"cut process 50 and what it started on gpu-1 203.0.113.9 0s",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if p.Class != action.Destructive || p.Acts[1].Target.Process.Start != 7 {
		t.Errorf("class %s, pin %+v", p.Class, p.Acts[1].Target.Process)
	}
	again, err := r.Plan(ctx, "test", "incident1", nil, nil)
	if err != nil || again.Hash != p.Hash {
		t.Errorf("the same plan has another hash: %v", err)
	}
}

func TestAPlanThatCannotBeIsRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		cmd  command
		want string
	}{
		{"action", openc2("detonate", "workload", ""), `/workflow/action--00000000-0000-4000-8000-000000000010/commands/0: content/action: Picket does not carry out "detonate"`},
		{"act", openc2("stop", "workload", `"x-picket": {"act": "freeze"}`), `stop does not mean "freeze"`},
		{"entity", openc2("stop", "planet", ""), `"planet" is none of process`},
		{"argument", openc2("stop", "workload", `"now": true`), `unknown field "now"`},
		{"time", openc2("stop", "workload", `"duration": 5`), "does not end by itself"},
		{"sign", command{"openc2-http", "POST /x HTTP/1.1", `{"action": "stop", "target": {"device": {}}}`}, `a target of type "device"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, book(t, "http://192.0.2.1", nil, c.cmd), nil)
			if _, err := r.Plan(ctx, "test", "incident1", nil, nil); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What is reversible is run by who asks; it is taken back when its time is over.
func TestAReversibleRun(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", `"duration": 60000`), openc2("copy", "container", "")), nil)
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	run = r.ends(t, run.ID, Succeeded)
	if d := cmp.Diff([]string{"isolate container c1 on gpu-1", "capture container c1 on gpu-1"}, r.acts.list()); d != "" {
		t.Error(d)
	}
	if len(run.Holds) != 1 || !run.Holds[0].Until.Equal(at.Add(time.Minute)) {
		t.Errorf("holds %+v", run.Holds)
	}
	r.clock.add(time.Hour)
	r.setDue(run.ID, at)
	r.until(t, run.ID, "taken back", func(run Run) bool { return len(run.Holds) == 0 })
	if said := r.acts.list(); said[len(said)-1] != "undo isolate" {
		t.Errorf("did %q", said)
	}
}

func TestAnActHoldsForLonger(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", `"duration": 60000`)), nil)
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada", Reason: "weights leave"})
	if err != nil {
		t.Fatal(err)
	}
	run = r.ends(t, run.ID, Succeeded)
	if len(run.Approvals) != 1 || run.Approvals[0].Reason != "weights leave" {
		t.Errorf("approvals %+v", run.Approvals)
	}
	act := run.Holds[0].Request.ID
	for _, c := range []struct {
		act string
		ttl time.Duration
		is  error
	}{{act, 8 * 24 * time.Hour, ErrInvalid}, {act, 0, ErrInvalid}, {"other", time.Hour, ErrConflict}} {
		if _, err := r.Extend(ctx, run.ID, "bob", c.act, c.ttl); !errors.Is(err, c.is) {
			t.Errorf("%s for %s: %v", c.act, c.ttl, err)
		}
	}
	run, err = r.Extend(ctx, run.ID, "bob", act, 2*time.Hour)
	if err != nil || !run.Holds[0].Until.Equal(at.Add(2*time.Hour)) {
		t.Fatalf("holds %+v %v", run.Holds, err)
	}
	r.clock.add(time.Hour) // past the end of before
	run, err = r.with(ctx, run.ID, func(l *live) error { l.tick(); return nil })
	if err != nil || len(run.Holds) != 1 {
		t.Fatalf("it was taken back when its first time was over: %+v %v", run.Holds, err)
	}
	if _, err := r.Undo(ctx, run.ID, "bob"); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"isolate container c1 on gpu-1", "extend isolate by bob", "undo isolate"}, r.acts.list()); d != "" {
		t.Error(d)
	}
	records, err := r.Records(ctx, run.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range records {
		if (rec.What == "intent" || rec.What == "outcome") && rec.Step != run.Plan.Acts[0].Step {
			t.Errorf("%s belongs to step %q", rec.What, rec.Step)
		}
	}
}

// Of what ended before the plan was made nothing is left to contain: that keeps nothing from going on.
func TestWhatEndedBeforeIsGone(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("contain", "lineage", ""), openc2("deny", "container", "")), nil)
	r.acts.gone = true
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range run.Plan.Acts {
		if (a.Gone == "") != (a.Kind == action.Isolate) || a.Error != "" {
			t.Errorf("%s: gone %q, error %q", a.Kind, a.Gone, a.Error)
		}
	}
	r.ends(t, run.ID, Succeeded)
	if d := cmp.Diff([]string{"isolate container c1 on gpu-1"}, r.acts.list()); d != "" {
		t.Error(d)
	}
	records, err := r.Records(ctx, run.ID)
	if err != nil || !slices.ContainsFunc(records, func(r Record) bool {
		return r.What == "outcome" && strings.HasPrefix(r.Text, "freeze: gone. process 40")
	}) {
		t.Errorf("nothing says why nothing was done: %+v %v", records, err)
	}
}

func TestADestructiveRunNeedsAnotherPerson(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("stop", "container", "")), func(o *Options) { o.Config.Approvers = 2 })
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil || run.State != Waiting {
		t.Fatalf("%s %v", run.State, err)
	}
	for _, c := range []struct {
		by, hash, want string
		state          State
	}{
		{"ada", run.Plan.Hash, "another person approves it", Waiting},
		{"bob", "other", "not the one that was seen", Waiting},
		{"bob", run.Plan.Hash, "", Waiting},
		{"bob", run.Plan.Hash, "has approved it already", Waiting},
		{"eve", run.Plan.Hash, "", Succeeded},
	} {
		_, err := r.Approve(ctx, run.ID, c.by, c.hash, "")
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.by, err, c.want)
		}
		r.ends(t, run.ID, c.state)
	}
	if d := cmp.Diff([]string{"kill container c1 on gpu-1"}, r.acts.list()); d != "" {
		t.Error(d)
	}
	if _, err := r.Undo(ctx, run.ID, "ada"); !errors.Is(err, ErrConflict) {
		t.Errorf("a kill was taken back: %v", err)
	}
}

func TestARequestExpires(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("stop", "container", "")), nil)
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	r.clock.add(2 * time.Hour)
	r.setDue(run.ID, at)
	r.ends(t, run.ID, Expired)
	if _, err := r.Approve(ctx, run.ID, "bob", run.Plan.Hash, ""); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v", err)
	}
	if said := r.acts.list(); len(said) > 0 {
		t.Errorf("did %q", said)
	}
}

func TestTheBuiltInPlaybook(t *testing.T) {
	for answer, want := range map[bool][]string{
		true:  {"isolate container c1 on gpu-1", "isolate process 50 and what it started on gpu-1", "capture container c1 on gpu-1", "capture process 50 and what it started on gpu-1", "freeze container c1 on gpu-1", "freeze process 50 and what it started on gpu-1"},
		false: {"isolate container c1 on gpu-1", "isolate process 50 and what it started on gpu-1", "capture container c1 on gpu-1", "capture process 50 and what it started on gpu-1", "undo isolate", "undo isolate"},
	} {
		r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("stop", "container", "")), nil)
		run, err := r.Request(ctx, Request{Playbook: "contain-weights", Incident: "incident1", By: "ada"})
		if err != nil {
			t.Fatal(err)
		}
		asked := func(run Run) bool { return len(run.Asks) == 1 }
		r.until(t, run.ID, "asking", asked)
		if _, err := r.Answer(ctx, run.ID, "bob", Answer{Yes: answer}); err != nil {
			t.Fatal(err)
		}
		if answer {
			r.until(t, run.ID, "asking for recovery", asked)
			if _, err := r.Answer(ctx, run.ID, "bob", Answer{Yes: true}); err != nil {
				t.Fatal(err)
			}
		}
		run = r.ends(t, run.ID, Succeeded)
		if d := cmp.Diff(want, r.acts.list()); d != "" {
			t.Error(d)
		}
		if got := len(run.Holds); got != map[bool]int{true: 4, false: 0}[answer] {
			t.Errorf("it holds %d", got)
		}
	}
}

// A stop keeps acts from beginning, and undoing goes on.
func TestStop(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", "")), nil)
	if err := r.SetStopped(ctx, "ada", true); err != nil {
		t.Fatal(err)
	}
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil || run.State != Running {
		t.Fatal(run.State, err)
	}
	if records, _ := r.Records(ctx, run.ID); len(records) != 1 || len(r.acts.list()) > 0 {
		t.Fatalf("it acted: %+v", records)
	}
	if err := r.SetStopped(ctx, "ada", false); err != nil {
		t.Fatal(err)
	}
	r.ends(t, run.ID, Succeeded)
}

// Note 1.4: what an attacker chose stays a value. The request is real, over loopback.
func TestARequestOverHTTP(t *testing.T) {
	var got []string
	desk := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var body struct{ Title string }
		_ = json.NewDecoder(q.Body).Decode(&body)
		got = append(got, q.Method+" "+q.URL.RequestURI()+" "+body.Title)
		if q.URL.Path == "/moved" {
			http.Redirect(w, q, "/elsewhere", http.StatusFound)
			return
		}
		fmt.Fprint(w, "case-7")
	}))
	defer desk.Close()
	r := newRig(t, book(t, desk.URL, []string{"__said__", "__status__"}, command{"http-api", "GET /case?x=1 HTTP/1.1", ""}, command{"http-api", "POST /moved HTTP/1.1", `{"title": "__incident_title__:value"}`}), nil)
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil || run.State != Waiting || len(got) > 0 {
		t.Fatalf("a POST cannot be taken back: %s %v %q", run.State, err, got)
	}
	if _, err := r.Approve(ctx, run.ID, "bob", run.Plan.Hash, ""); err != nil {
		t.Fatal(err)
	}
	run = r.ends(t, run.ID, Failed)
	if d := cmp.Diff([]string{"GET /case?x=1 ", "POST /moved Weights $(reboot) sent out"}, got); d != "" {
		t.Error(d)
	}
	if !strings.Contains(run.Failure, "302 Found") {
		t.Errorf("failed for %q", run.Failure)
	}
}

func TestMetadataServersAreOutOfReach(t *testing.T) {
	r := newRig(t, book(t, "http://169.254.169.254", nil, command{"http-api", "GET /latest/ HTTP/1.1", ""}), nil)
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if run = r.ends(t, run.ID, Failed); !strings.Contains(run.Failure, "must not reach 169.254.169.254") {
		t.Errorf("failed for %q", run.Failure)
	}
}

// A rule suggests, asks or runs; once for an incident, within its hours and its limit.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		name string
		rule Rule
		want State // "" is none
	}{
		{"suggest", Rule{}, Suggested},
		{"approve", Rule{Mode: Approve}, Waiting},
		{"auto asks where something is destructive", Rule{Mode: Auto}, Waiting},
		{"auto that need not ask", Rule{Mode: Auto, Destructive: true}, Succeeded},
		{"outside its hours", Rule{Mode: Approve, Hours: "18:00-08:00"}, Suggested},
		{"level", Rule{Level: event.Critical}, ""},
		{"threat", Rule{Threats: []string{"steal-weights"}}, Suggested},
		{"other threat", Rule{Threats: []string{"escape-container"}}, ""},
		{"rule", Rule{Rules: []string{"weights_sent_out"}}, Suggested},
		{"other rule", Rule{Rules: []string{"weights"}}, ""},
		{"entity", Rule{Entities: []string{"workload:llama-*"}}, Suggested},
		{"other entity", Rule{Entities: []string{"model:llama-*"}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.rule.Name, c.rule.Playbook = "r", "test"
			r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("stop", "container", "")), func(o *Options) { o.Config.Rules = []Rule{c.rule} })
			for range 2 {
				if err := r.Respond(ctx, sample(), []string{"steal-weights"}); err != nil {
					t.Fatal(err)
				}
			}
			runs, err := r.Runs(ctx, Query{})
			if err != nil || len(runs) != map[bool]int{true: 0, false: 1}[c.want == ""] {
				t.Fatalf("%d runs, %v", len(runs), err)
			}
			if c.want != "" {
				r.ends(t, runs[0].ID, c.want)
			}
		})
	}
}

// An outcome that nobody knows is a person's to tell; it is not done again.
func TestAnUnknownOutcomeIsAsked(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("stop", "container", "")), nil)
	r.acts.do = func(*action.Request) (*action.Result, error) { return nil, errors.New("the agent is away") }
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Approve(ctx, run.ID, "bob", run.Plan.Hash, ""); err != nil {
		t.Fatal(err)
	}
	run = r.until(t, run.ID, "asking", func(run Run) bool { return len(run.Asks) == 1 })
	if run.Asks[0].What != Holds || !strings.Contains(run.Asks[0].Text, "the agent is away") {
		t.Errorf("asks %+v", run.Asks)
	}
	if _, err := r.Answer(ctx, run.ID, "bob", Answer{Yes: true}); err != nil {
		t.Fatal(err)
	}
	r.ends(t, run.ID, Succeeded)
}
