package respond

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"picket/respond/action"
)

// ids returns those of the acts of a kind that may be left out.
func ids(p *Plan, k action.Kind) (out []string) {
	for _, a := range p.Acts {
		if a.Kind == k && a.ID != "" {
			out = append(out, a.ID)
		}
	}
	return out
}

// What is left out is not done, makes another hash, and does not count for how much harm the plan does.
func TestTargetsAreLeftOut(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "workload", ""), openc2("stop", "workload", ""), openc2("copy", "container", "")), nil)
	whole, err := r.Plan(ctx, "test", "incident1", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	leave := append(ids(whole, action.Kill), ids(whole, action.Isolate)[1])
	p, err := r.Plan(ctx, "test", "incident1", nil, leave)
	if err != nil {
		t.Fatal(err)
	}
	if whole.Class != action.Destructive || p.Class != action.Reversible || p.Hash == whole.Hash {
		t.Errorf("class %s and then %s, hash %s and then %s", whole.Class, p.Class, whole.Hash, p.Hash)
	}
	if _, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada", LeaveOut: leave, Hash: whole.Hash}); !errors.Is(err, ErrConflict) {
		t.Errorf("the hash of the whole plan is taken for another: %v", err)
	}
	for _, id := range []string{"", "nothing"} {
		if _, err := r.Plan(ctx, "test", "incident1", nil, []string{id}); !errors.Is(err, ErrConflict) {
			t.Errorf("act %q is left out: %v", id, err)
		}
	}
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada", LeaveOut: leave, Hash: p.Hash})
	if err != nil {
		t.Fatal(err)
	}
	r.ends(t, run.ID, Succeeded)
	if d := cmp.Diff([]string{"isolate container c1 on gpu-1", "capture container c1 on gpu-1"}, r.acts.list()); d != "" {
		t.Error(d)
	}
	records, err := r.Records(ctx, run.ID)
	if err != nil || !slices.ContainsFunc(records, func(r Record) bool { return r.What == "skip" && strings.Contains(r.Text, "left all of it out") }) {
		t.Errorf("nothing says that a step was left out: %+v %v", records, err)
	}
}

// Whose word counts goes by who chose the targets last; what was approved before counts no more, and the
// edited plan is the one that is kept.
func TestTheTargetsOfAPlanThatWaitsAreChosen(t *testing.T) {
	var o Options
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("stop", "workload", "")), func(p *Options) { p.Config.Approvers = 2; o = *p })
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	old, leave := run.Plan.Hash, ids(run.Plan, action.Kill)[1:]
	if run, err = r.Approve(ctx, run.ID, "bob", old, ""); err != nil || len(run.Approvals) != 1 {
		t.Fatalf("approvals %+v %v", run.Approvals, err)
	}
	for _, c := range []struct {
		hash  string
		leave []string
		is    error
	}{{"another", leave, ErrConflict}, {old, []string{"nothing"}, ErrConflict}, {old, nil, ErrInvalid}} {
		if _, err := r.Edit(ctx, run.ID, "cy", c.hash, c.leave, ""); !errors.Is(err, c.is) {
			t.Errorf("%s without %v: %v", c.hash, c.leave, err)
		}
	}
	if run, err = r.Edit(ctx, run.ID, "cy", old, leave, "that one is ours"); err != nil {
		t.Fatal(err)
	}
	if run.State != Waiting || len(run.Approvals) != 0 || run.Plan.Hash == old || run.EditedBy != "cy" || run.By != "ada" {
		t.Fatalf("%s, approvals %+v, hash as before: %t, edited by %q", run.State, run.Approvals, run.Plan.Hash == old, run.EditedBy)
	}

	r.Close()
	o.Journal, o.Executor = r.journal, r.acts
	again := start(t, o) // the plan is read from what was kept
	for who, hash := range map[string]string{"bob": old, "cy": run.Plan.Hash} {
		if _, err := again.Approve(ctx, run.ID, who, hash, ""); err == nil {
			t.Errorf("%s approved %s", who, hash)
		}
	}
	for _, who := range []string{"ada", "bob"} {
		if _, err := again.Approve(ctx, run.ID, who, run.Plan.Hash, ""); err != nil {
			t.Fatal(err)
		}
	}
	r.Engine = again
	r.ends(t, run.ID, Succeeded)
	if d := cmp.Diff([]string{"kill container c1 on gpu-1"}, r.acts.list()); d != "" {
		t.Error(d)
	}
	if _, err := again.Edit(ctx, run.ID, "cy", run.Plan.Hash, nil, ""); !errors.Is(err, ErrConflict) {
		t.Errorf("the targets of a run that is over were chosen: %v", err)
	}
}
