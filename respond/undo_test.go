package respond

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"picket/event"
	"picket/respond/action"
)

// many are an executor whose agents answer when all that are asked at the same time have been.
type many struct {
	*recorder
	mu     sync.Mutex
	asked  int
	enough chan struct{}
	want   int
	most   time.Duration
}

func (m *many) meet(ctx context.Context) error {
	m.mu.Lock()
	if m.asked++; m.asked == m.want {
		close(m.enough)
	}
	m.mu.Unlock()
	select {
	case <-m.enough:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(m.most):
		return errors.New("they are not asked at the same time")
	}
}

func (m *many) Plan(ctx context.Context, r *action.Request) (*action.Plan, error) {
	if err := m.meet(ctx); err != nil {
		return nil, err
	}
	return m.recorder.Plan(ctx, r)
}

// spread is an incident with containers on hosts.
func spread(hosts, on int) event.Incident {
	inc := sample()
	inc.Processes, inc.Findings, inc.Hosts = nil, nil, nil
	for h := range hosts {
		host := fmt.Sprintf("gpu-%02d", h)
		inc.Hosts = append(inc.Hosts, host)
		for c := range on {
			uid := fmt.Sprintf("%s-%d", host, c)
			inc.Processes = append(inc.Processes, event.ProcessNode{UID: uid, PID: uint32(100 + c), Start: at, Exe: "/bin/sh", Container: "c" + uid})
			inc.Findings = append(inc.Findings, event.FindingRef{Host: host, Process: uid})
		}
	}
	return inc
}

// All agents of a plan are asked at the same time, and its acts stand in their order.
func TestAPlanAsksAgentsAtTheSameTime(t *testing.T) {
	m := &many{recorder: newRecorder(), enough: make(chan struct{}), want: 12, most: 4 * time.Second}
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", "")), func(o *Options) {
		o.Executor, o.Incidents = m, known1{spread(12, 1)}
	})
	p, err := r.Plan(ctx, "test", "incident1", nil)
	if err != nil || len(p.Acts) != 12 {
		t.Fatalf("%+v %v", p, err)
	}
	for n, a := range p.Acts {
		if want := fmt.Sprintf("gpu-%02d", n); a.Target.Host != want || a.Error != "" || a.Target.CgroupID != 42 {
			t.Errorf("act %d: %+v", n, a)
		}
	}
}

// mute is an executor one of whose agents says nothing to plans, or does not take anything back.
type mute struct {
	*recorder
	host  string
	mu    sync.Mutex
	plans int
	wrong error // that taking back fails with
}

func (m *mute) Plan(ctx context.Context, r *action.Request) (*action.Plan, error) {
	if r.Target.Host != m.host {
		return m.recorder.Plan(ctx, r)
	}
	m.mu.Lock()
	m.plans++
	m.mu.Unlock()
	<-ctx.Done()
	return nil, ctx.Err()
}

func (m *mute) Undo(ctx context.Context, r *action.Request) (*action.Result, error) {
	m.mu.Lock()
	err := m.wrong
	m.mu.Unlock()
	if err != nil && r.Target.Host == m.host {
		return nil, err
	}
	return m.recorder.Undo(ctx, r)
}

func (m *mute) mend() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrong = nil
}

// An agent that says nothing is waited for once, also where it would carry out more acts than are asked
// for at the same time; the others are planned.
func TestASilentAgentIsWaitedForOnce(t *testing.T) {
	m := &mute{recorder: newRecorder(), host: "gpu-00"}
	commands := []command{openc2("deny", "container", ""), openc2("contain", "container", ""), openc2("stop", "container", "")}
	r := newRig(t, book(t, "http://192.0.2.1", nil, commands...), func(o *Options) { o.Executor, o.Incidents = m, known1{spread(2, 10)} })
	p, err := r.Plan(ctx, "test", "incident1", nil)
	if err != nil || len(p.Acts) != 60 {
		t.Fatalf("%+v %v", p, err)
	}
	for _, a := range p.Acts {
		if (a.Error != "") != (a.Target.Host == "gpu-00") {
			t.Errorf("on %s: %q", a.Target.Host, a.Error)
		}
	}
	if m.plans > abreast {
		t.Errorf("it was asked %d times", m.plans)
	}
}

// A step that takes back fails where an act was not taken back, and the run with it; the act stays owed,
// and is taken back when it can be.
func TestARestoreThatFailsIsNoSuccess(t *testing.T) {
	m := &mute{recorder: newRecorder(), host: "gpu-00", wrong: errors.New("the agent is not connected")}
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", ""), openc2("restore", "incident", "")), func(o *Options) {
		o.Incidents = known1{spread(2, 1)}
		o.Executor = quick{m}
	})
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	run = r.ends(t, run.ID, Failed)
	if !strings.Contains(run.Failure, "isolate container cgpu-00-0 on gpu-00 was not taken back, and is tried again: the agent is not connected") {
		t.Errorf("the run failed by %q", run.Failure)
	}
	if len(run.Holds) != 1 || run.Holds[0].Request.Target.Host != "gpu-00" || run.Holds[0].Tries != 1 {
		t.Errorf("it holds %+v", run.Holds)
	}
	m.mend()
	r.clock.add(2 * time.Minute)
	r.setDue(run.ID, r.clock.now())
	r.until(t, run.ID, "without holds", func(run Run) bool { return len(run.Holds) == 0 })
}

// quick plans as a recorder does.
type quick struct{ *mute }

func (q quick) Plan(ctx context.Context, r *action.Request) (*action.Plan, error) {
	return q.recorder.Plan(ctx, r)
}

// A false positive ends runs for it, one that asks and one that waits: what they hold is taken back, and
// nothing further is done.
func TestAFalsePositiveEndsTheRun(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", ""), command{"manual", "Is it one?", ""}, openc2("contain", "container", "")), nil)
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	r.until(t, run.ID, "asking", func(run Run) bool { return len(run.Asks) == 1 })
	waits, err := r.Request(ctx, Request{Playbook: "end-workload", Incident: "incident1", By: "ada"})
	if err != nil || waits.State != Waiting {
		t.Fatalf("%+v %v", waits, err)
	}
	if err := r.UndoIncident(ctx, "incident1", "policy:false positive"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{run.ID, waits.ID} {
		now := r.ends(t, id, Cancelled)
		if len(now.Holds) > 0 || len(now.Asks) > 0 || !strings.Contains(now.Cancel, "false positive") {
			t.Errorf("%+v", now)
		}
	}
	if _, err := r.Answer(ctx, run.ID, "ada", Answer{Yes: true}); !errors.Is(err, ErrNotFound) {
		t.Errorf("its question is answered: %v", err)
	}
	if _, err := r.Approve(ctx, waits.ID, "bob", waits.Plan.Hash, ""); !errors.Is(err, ErrConflict) {
		t.Errorf("it is approved: %v", err)
	}
	if got := strings.Join(r.acts.list(), ", "); got != "isolate container c1 on gpu-1, undo isolate" {
		t.Errorf("did %s", got)
	}
}

// What is under way when a false positive ends its run is waited for, and taken back after.
func TestAFalsePositiveTakesBackWhatIsUnderWay(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", ""), openc2("contain", "container", "")), nil)
	began, goOn := make(chan struct{}), make(chan struct{})
	r.acts.do = func(a *action.Request) (*action.Result, error) {
		close(began)
		<-goOn
		r.acts.done[a.ID], r.acts.holds[a.ID] = true, true
		r.acts.say("%s late", a.Kind)
		return &action.Result{ID: a.ID, State: action.Done}, nil
	}
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	<-began
	if err := r.UndoIncident(ctx, "incident1", "policy:false positive"); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	if now := r.ends(t, run.ID, Cancelled); len(now.Holds) > 0 {
		t.Errorf("it holds %+v", now.Holds)
	}
	if got := strings.Join(r.acts.list(), ", "); got != "isolate late, undo isolate" {
		t.Errorf("did %s", got)
	}
}

// A server that ended between a verdict and what follows from it ends the run at its next start.
func TestAFalsePositiveIsNotForgottenOverARestart(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", ""), command{"manual", "Is it one?", ""}, openc2("contain", "container", "")), nil)
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	r.until(t, run.ID, "asking", func(run Run) bool { return len(run.Asks) == 1 })
	o := r.o
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	inc := sample()
	inc.Status, inc.Verdict = event.IncidentClosed, event.FalsePositive
	o.Incidents, o.Registerer = known1{inc}, nil
	r.Engine = start(t, o)
	if now := r.ends(t, run.ID, Cancelled); len(now.Holds) > 0 {
		t.Errorf("it holds %+v", now.Holds)
	}
	if got := strings.Join(r.acts.list(), ", "); got != "isolate container c1 on gpu-1, undo isolate" {
		t.Errorf("did %s", got)
	}
}
