package respond

import (
	"errors"
	"strings"
	"testing"
	"time"

	"picket/event"
)

const years = 10 * 365 * 24 * time.Hour

// A clock that was set forward lets a request expire, and nothing is done. One that was set back lets
// nothing stand for longer than it would have: neither a request nor an act.
func TestTheClockIsSet(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("stop", "container", "")), nil)
	request := func() Run {
		t.Helper()
		run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
		if err != nil || run.State != Waiting {
			t.Fatal(run.State, err)
		}
		return run
	}
	run := request()
	r.clock.add(years)
	if _, err := r.Approve(ctx, run.ID, "bob", run.Plan.Hash, ""); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("ten years later: %v", err)
	}
	run = request()
	r.clock.add(time.Minute - years) // to what it is
	o := r.o
	r.Close()
	r.Engine = start(t, o)
	if _, err := r.Reject(ctx, run.ID, "bob", ""); err != nil {
		t.Fatal(err)
	}
	run, err := r.Get(ctx, run.ID)
	if left := run.NotAfter.Sub(r.clock.now()); err != nil || left > time.Hour {
		t.Errorf("a request of an hour stands for %s: %v", left, err)
	}
	run = request()
	r.clock.add(-years)
	r.clock.add(2 * time.Hour)
	if _, err := r.with(ctx, run.ID, func(*live) error { return nil }); err != nil { // looked at, as once an hour
		t.Fatal(err)
	}
	r.clock.add(2 * time.Hour)
	if _, err := r.Approve(ctx, run.ID, "bob", run.Plan.Hash, ""); !errors.Is(err, ErrConflict) {
		t.Errorf("two hours after the clock was set back: %v", err)
	}
	if said := r.acts.list(); len(said) > 0 {
		t.Errorf("did %q", said)
	}
}

func TestWhatHoldsEndsThoughTheClockIsSetBack(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", `"duration": 60000`)), nil)
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	r.ends(t, run.ID, Succeeded)
	r.clock.add(-years)
	o := r.o
	r.Close()
	r.Engine = start(t, o)
	look := func() Run {
		t.Helper()
		run, err := r.with(ctx, run.ID, func(l *live) error { l.tick(); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
	if run = look(); len(run.Holds) != 1 || run.Holds[0].Until.Sub(r.clock.now()) > time.Minute {
		t.Fatalf("holds %+v at %s", run.Holds, r.clock.now())
	}
	r.clock.add(time.Minute)
	if run = look(); len(run.Holds) != 0 {
		t.Errorf("it still holds %+v", run.Holds)
	}
}

// While a question of a playbook that contains stands, what it contains does not go on by itself.
func TestContainmentOutlastsItsQuestions(t *testing.T) {
	for _, name := range []string{"access", "credentials", "escape", "miner", "model", "service", "weights"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("stop", "container", "")), nil)
			r.acts.do = r.acts.until(r.clock.now)
			run, err := r.Request(ctx, Request{Playbook: "contain-" + name, Incident: "incident1", By: "ada"})
			if err != nil {
				t.Fatal(err)
			}
			if bad := run.Plan.shortHolds(); len(bad) > 0 {
				t.Errorf("the plan warns: %v", bad)
			}
			for n := range 2 { // is it an attack, and: go on by hand
				run = r.until(t, run.ID, "asking", func(run Run) bool { return len(run.Asks) == 1 })
				holds := false
				for _, h := range run.Holds {
					holds = holds || !h.Until.Before(run.Asks[0].Until.Add(30*time.Minute)) // evidence is kept between them
				}
				if !holds {
					t.Errorf("question %d stands until %s, and all that is held ends before: %+v", n+1, run.Asks[0].Until, run.Holds)
				}
				r.clock.add(23 * time.Hour)
				if _, err := r.Answer(ctx, run.ID, "bob", Answer{Yes: true}); err != nil {
					t.Fatal(err)
				}
			}
			r.ends(t, run.ID, Succeeded)
		})
	}
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", ""), command{"manual", "Look.", ""}), nil)
	if p, err := r.Plan(ctx, "test", "incident1", nil, nil); err != nil || !strings.Contains(strings.Join(p.Warnings, "\n"), "isolate ends by itself after 1h0m0s, and a question stands for 24h0m0s") {
		t.Errorf("nobody is told: %v %v", p, err)
	}
}

// A suggestion follows its incident; the plan of before is not approved any more.
func TestAPlanThatChangedIsNotApproved(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("stop", "container", "")), func(o *Options) { o.Config.Rules = []Rule{{Name: "r", Playbook: "test"}} })
	inc := sample()
	suggested := func() Run {
		t.Helper()
		if err := r.Respond(ctx, inc, nil); err != nil {
			t.Fatal(err)
		}
		runs, err := r.Runs(ctx, Query{})
		if err != nil || len(runs) != 1 {
			t.Fatalf("%d runs, %v", len(runs), err)
		}
		return runs[0]
	}
	old := suggested()
	inc.Processes = append(inc.Processes, event.ProcessNode{UID: "new", PID: 60, Start: at.Add(time.Minute), Container: "c2"})
	inc.Findings = append(inc.Findings, event.FindingRef{Host: "gpu-1", Process: "new"})
	now := suggested()
	if now.Plan.Hash == old.Plan.Hash {
		t.Fatal("the plan is the old one")
	}
	if _, err := r.Approve(ctx, old.ID, "bob", old.Plan.Hash, ""); !errors.Is(err, ErrConflict) || len(r.acts.list()) > 0 {
		t.Errorf("the old plan was approved: %v %v", err, r.acts.list())
	}
	if _, err := r.Approve(ctx, old.ID, "bob", now.Plan.Hash, ""); err != nil {
		t.Fatal(err)
	}
	r.ends(t, old.ID, Succeeded)
	if said := strings.Join(r.acts.list(), ", "); said != "kill container c1 on gpu-1, kill container c2 on gpu-1" {
		t.Errorf("did %s", said)
	}
}

// A playbook that was changed in the database between its approval and a restart does not go on.
func TestAPlaybookThatWasChangedInTheJournalEnds(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("stop", "container", "")), nil)
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	o := r.o
	r.Close()
	k := r.journal.runs[run.ID]
	k.Plan = []byte(strings.ReplaceAll(string(k.Plan), "A test", "A tost"))
	r.journal.runs[run.ID] = k
	r.Engine = start(t, o)
	if _, err := r.Approve(ctx, run.ID, "bob", run.Plan.Hash, ""); err != nil {
		t.Fatal(err)
	}
	if run = r.ends(t, run.ID, Failed); !strings.Contains(run.Failure, "changed in the database") || len(r.acts.list()) > 0 {
		t.Errorf("%s: %v", run.Failure, r.acts.list())
	}
}
