package respond

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"picket/respond/action"
)

// Many approve and one rejects at the same moment: it is done once, by so many as are needed, or not at
// all, and a word that comes again afterwards does nothing.
func TestApprovalsRace(t *testing.T) {
	for round := range 20 {
		r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("stop", "container", "")), func(o *Options) { o.Config.Approvers = 2 })
		run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		var mu sync.Mutex
		taken := 0
		begin := make(chan struct{})
		for n := range 8 {
			all.Go(func() {
				<-begin
				_, err := r.Approve(ctx, run.ID, fmt.Sprint("person", n%4), run.Plan.Hash, "") // each twice
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					taken++
				} else if !errors.Is(err, ErrConflict) {
					t.Error(err)
				}
			})
		}
		var rejected error
		all.Go(func() {
			<-begin
			if round%2 == 0 {
				_, rejected = r.Reject(ctx, run.ID, "eve", "no")
			}
		})
		close(begin)
		all.Wait()
		run = r.until(t, run.ID, "over", func(run Run) bool { return run.State.Over() })
		did := slices.Clone(r.acts.list())
		switch {
		case run.State == Succeeded && taken == 2 && len(run.Approvals) == 2 && len(did) == 1:
		case round%2 == 0 && run.State == Rejected && rejected == nil && taken < 2 && len(did) == 0:
		case round%2 == 0 && run.State == Failed && rejected == nil && taken == 2 && len(did) <= 1: // rejected while it ran
		default:
			t.Errorf("%s, %d approvals taken, %v, rejected %v, did %q", run.State, taken, run.Approvals, rejected, did)
		}
		if _, err := r.Approve(ctx, run.ID, "mia", run.Plan.Hash, ""); !errors.Is(err, ErrConflict) {
			t.Errorf("a word on a run that is over: %v", err)
		}
		if again := r.acts.list(); !slices.Equal(did, again) {
			t.Errorf("did %q, then %q", did, again)
		}
	}
}

// A request whose time is over is not approved, also where nobody has looked at it since.
func TestALateApprovalIsRefused(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("stop", "container", "")), nil)
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	r.clock.add(time.Hour)
	if _, err := r.Approve(ctx, run.ID, "bob", run.Plan.Hash, ""); !errors.Is(err, ErrConflict) || len(r.acts.list()) > 0 {
		t.Errorf("%v, did %q", err, r.acts.list())
	}
}

// What is taken back for a false positive is tried anew where the run was changed meanwhile; what then
// cannot be is told.
func TestAFalsePositiveIsTakenBackThoughTheRunChanges(t *testing.T) {
	for _, fails := range []int{1, undoTries} {
		r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", "")), nil)
		run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
		if err != nil {
			t.Fatal(err)
		}
		r.ends(t, run.ID, Succeeded)
		r.journal.mu.Lock()
		r.journal.fail = func(Kept, []Record) error {
			if fails--; fails >= 0 {
				return ErrConflict
			}
			return nil
		}
		told := fails == undoTries
		r.journal.mu.Unlock()
		err = r.UndoIncident(ctx, "incident1", "policy:false positive")
		now, _ := r.Get(ctx, run.ID)
		if told != errors.Is(err, ErrConflict) || told != (len(now.Holds) == 1) {
			t.Errorf("it holds %+v, and %v was told", now.Holds, err)
		}
	}
}

// An id is for one request: with another playbook, incident, values or plan it is refused.
func TestAnIDOfAnotherRequestIsRefused(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("contain", "container", "")), nil)
	q := Request{ID: "h1", Playbook: "test", Incident: "incident1", By: "hook:soar", Given: map[string]string{"__said__": "a"}}
	first, err := r.Request(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	did := len(r.acts.list())
	for _, c := range []struct {
		name   string
		change func(*Request)
		same   bool
	}{
		{"the same", func(*Request) {}, true},
		{"the same plan", func(q *Request) { q.Hash = first.Plan.Hash }, true},
		{"the playbook by its id", func(q *Request) { q.Playbook = first.Plan.Playbook }, true},
		{"playbook", func(q *Request) { q.Playbook = "contain-weights" }, false},
		{"no such playbook", func(q *Request) { q.Playbook = "nothing" }, false},
		{"incident", func(q *Request) { q.Incident = "incident2" }, false},
		{"value", func(q *Request) { q.Given = map[string]string{"__said__": "b"} }, false},
		{"no values", func(q *Request) { q.Given = nil }, false},
		{"plan", func(q *Request) { q.Hash = "other" }, false},
	} {
		other := q
		c.change(&other)
		run, err := r.Request(ctx, other)
		if c.same && (err != nil || run.ID != first.ID) || !c.same && !errors.Is(err, ErrConflict) {
			t.Errorf("%s: run %s, %v", c.name, run.ID, err)
		}
	}
	r.until(t, first.ID, "over", func(run Run) bool { return run.State.Over() })
	if runs, _ := r.Runs(ctx, Query{}); len(runs) != 1 {
		t.Errorf("%d runs, %d acts before", len(runs), did)
	}
}

// until does what is asked, and says that it holds for its time from now.
func (x *recorder) until(now func() time.Time) func(*action.Request) (*action.Result, error) {
	return func(r *action.Request) (*action.Result, error) {
		res := &action.Result{ID: r.ID, State: action.Done}
		if r.TTL > 0 {
			res.Until = now().Add(r.TTL)
		}
		return res, nil
	}
}

// Who changes a run just when another has is not told that it changed meanwhile: what was read before is
// read again.
func TestARunIsNotChangedAsItWasBefore(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", "")), nil)
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	r.ends(t, run.ID, Succeeded)
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for range 100 {
				if _, err := r.with(ctx, run.ID, func(l *live) error { l.note("extend", "", fmt.Sprint(n), "", nil); return nil }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	records, err := r.Records(ctx, run.ID)
	n := 0
	for _, rec := range records {
		if rec.What == "extend" {
			n++
		}
	}
	if err != nil || n != 800 {
		t.Errorf("%d changes are kept of 800: %v", n, err)
	}
}
