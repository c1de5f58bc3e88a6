package respond

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"picket/respond/action"
)

// At each write of the journal the server ends, before it or after it, and another takes over: a run
// comes to its end, and the executor, which leaves nothing out by itself, was asked once for each act.
func TestTakeOverAtEachWrite(t *testing.T) {
	for n := 1; ; n++ {
		died := false
		r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", ""), openc2("stop", "container", ""), openc2("stop", "lineage", "")), nil)
		count := map[string]int{}
		r.acts.do = func(q *action.Request) (*action.Result, error) { count[q.ID]++; return nil, nil }
		o := r.o
		writes := 0
		r.journal.fail = func(Kept, []Record) error {
			if writes++; writes == n {
				died = true
				return errors.New("the server ends")
			}
			return nil
		}
		run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
		for try := 0; err != nil && try < 3; try++ { // nothing was kept of a request that failed
			run, err = r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Approve(ctx, run.ID, "bob", run.Plan.Hash, ""); err != nil && !died {
			t.Fatal(err)
		}
		r.Close()
		r.Engine = start(t, o)
		if now, err := r.Get(ctx, run.ID); err == nil && now.State == Waiting {
			if _, err := r.Approve(ctx, run.ID, "bob", run.Plan.Hash, ""); err != nil {
				t.Fatal(err)
			}
		}
		r.ends(t, run.ID, Succeeded)
		want := []string{"isolate container c1 on gpu-1", "kill container c1 on gpu-1", "kill process 50 and what it started on gpu-1"}
		if d := cmp.Diff(want, r.acts.list()); d != "" {
			t.Errorf("ended at write %d: %s", n, d)
		}
		for id, times := range count {
			if times != 1 {
				t.Errorf("ended at write %d: act %s was asked for %d times", n, id, times)
			}
		}
		r.Close()
		if !died {
			return
		}
	}
}

// A server that was held up while another took over keeps nothing, and its acts are refused.
func TestAnOldServerIsFenced(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", "")), nil)
	old := r.Engine
	r.Engine = start(t, r.o)
	if _, err := old.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"}); !errors.Is(err, ErrFenced) {
		t.Errorf("got %v", err)
	}
	if said := r.acts.list(); len(said) > 0 {
		t.Errorf("it did %q", said)
	}
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if run = r.ends(t, run.ID, Succeeded); run.Fence != 2 {
		t.Errorf("fence %d", run.Fence)
	}
}

// An act that was begun before the server ended and cannot be looked at is asked about, not done again.
func TestWhatCannotBeLookedAtIsAsked(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("stop", "container", "")), nil)
	began, block := make(chan bool), make(chan bool)
	r.acts.do = func(*action.Request) (*action.Result, error) {
		began <- true
		<-block
		return nil, errors.New("nobody hears the answer")
	}
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Approve(ctx, run.ID, "bob", run.Plan.Hash, ""); err != nil {
		t.Fatal(err)
	}
	<-began
	go close(block)
	o := r.o
	r.Close()
	o.Executor = blind{r.acts}
	r.Engine = start(t, o)
	run = r.until(t, run.ID, "asking", func(run Run) bool { return len(run.Asks) == 1 })
	if run.Asks[0].What != Holds {
		t.Errorf("asks %+v", run.Asks)
	}
	if _, err := r.Answer(ctx, run.ID, "bob", Answer{Yes: false}); err != nil {
		t.Fatal(err)
	}
	r.ends(t, run.ID, Failed)
}

// blind is an executor that cannot look at what it did.
type blind struct{ *recorder }

func (b blind) Verify(context.Context, *action.Request) (bool, string, error) {
	return false, "", fmt.Errorf("the host is away")
}

// half is an executor one of whose agents cannot plan.
type half struct{ *recorder }

func (h half) Plan(ctx context.Context, r *action.Request) (*action.Plan, error) {
	if r.Target.Process != nil {
		return nil, errors.New("the agent is away")
	}
	return h.recorder.Plan(ctx, r)
}

// A step that could not be planned for one of its targets is done to none, and owes nothing.
func TestAStepIsNotHalfDone(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "workload", "")), func(o *Options) { o.Executor = half{o.Executor.(*recorder)} })
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	run = r.ends(t, run.ID, Failed)
	if len(run.Holds) > 0 || len(r.acts.list()) > 0 {
		t.Errorf("holds %+v, did %q", run.Holds, r.acts.list())
	}
	records, _ := r.Records(ctx, run.ID)
	for _, rec := range records {
		if rec.What == "intent" {
			t.Errorf("it began: %+v", rec)
		}
	}
}

// What the agent never had, or refused, has nothing to be taken back, and is not owed for ever.
func TestWhatWasNeverDoneIsNotOwed(t *testing.T) {
	for _, said := range []error{action.ErrNotFound, action.ErrInvalid, errors.New("the agent is away")} {
		r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", "")), func(o *Options) { o.Executor = forgets{o.Executor.(*recorder), said} })
		run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
		if err != nil {
			t.Fatal(err)
		}
		r.ends(t, run.ID, Succeeded)
		run, err = r.Undo(ctx, run.ID, "ada")
		if away := !errors.Is(said, action.ErrNotFound) && !errors.Is(said, action.ErrInvalid); err != nil || away != (len(run.Holds) == 1) {
			t.Errorf("%v: %v, holds %+v", said, err, run.Holds)
		}
	}
}

// forgets is an executor that does not take back.
type forgets struct {
	*recorder
	err error
}

func (f forgets) Undo(context.Context, *action.Request) (*action.Result, error) { return nil, f.err }
