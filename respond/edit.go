package respond

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"picket/event"
	"picket/respond/action"
)

// id names an act by its command and by its target as the incident has it, before an agent pins that.
func (a *Act) id() string {
	target, _ := json.Marshal(a.Target) //nolint:errchkjson // numbers and texts
	return event.HashID("target", a.Playbook, a.Step, fmt.Sprint(a.Index), string(a.Kind), string(target))[:12]
}

// leave leaves acts out of a plan, by their ids, and takes all others in.
func (p *Plan) leave(ids []string) error {
	for _, id := range ids {
		if id == "" || !slices.ContainsFunc(p.Acts, func(a Act) bool { return a.ID == id }) {
			return fmt.Errorf("the plan has no act %q that could be left out: %w: look at it again", id, ErrConflict)
		}
	}
	p.Class = action.Observe
	for i := range p.Acts {
		a := &p.Acts[i]
		a.LeftOut = a.ID != "" && slices.Contains(ids, a.ID)
		if !a.LeftOut {
			p.Class = worse(p.Class, a.Class)
		}
	}
	return nil
}

// kept returns the acts that are not left out.
func (p *Plan) kept() []Act {
	return slices.DeleteFunc(slices.Clone(p.Acts), func(a Act) bool { return a.LeftOut })
}

// Edit leaves acts out of the plan of a run that waits for a person, and takes all others in. It is that
// plan with another hash: what was approved before counts no more. Where something in it cannot be taken
// back, who chose its targets does not approve it.
func (e *Engine) Edit(ctx context.Context, id, by, hash string, leave []string, reason string) (Run, error) {
	was, err := e.Get(ctx, id)
	if err != nil {
		return was, err
	}
	if was.State != Waiting && was.State != Suggested {
		return was, fmt.Errorf("run %s is %s, its targets are chosen before it is approved: %w", id, was.State, ErrConflict)
	}
	inc, err := e.o.Incidents.Incident(ctx, was.Incident)
	if err != nil {
		return was, fmt.Errorf("incident %s: %w", was.Incident, err)
	}
	plan := *was.Plan
	plan.Acts = slices.Clone(plan.Acts)
	if err := plan.leave(leave); err != nil {
		return was, err
	}
	short := was.Plan.shortHolds()
	plan.Warnings = slices.DeleteFunc(slices.Clone(plan.Warnings), func(w string) bool { return slices.Contains(short, w) })
	plan.Warnings = append(plan.Warnings, plan.shortHolds()...)
	plan.Costs = all0(e.costs(ctx, &inc, &plan))
	if plan.Hash, err = plan.hash(); err != nil {
		return was, err
	}
	return e.with(ctx, id, func(l *live) error {
		r := l.run
		if err := l.approvable(hash); err != nil {
			return err
		}
		if plan.Hash == r.Plan.Hash {
			return fmt.Errorf("%w: these are the targets that the plan has", ErrInvalid)
		}
		var out []string
		for _, a := range plan.Acts {
			if a.LeftOut {
				out = append(out, string(a.Kind)+" "+Describe(a.Target, a.Params))
			}
		}
		text := fmt.Sprintf("plan %s instead of %s, with all targets", plan.Hash, hash)
		if len(out) > 0 {
			text = fmt.Sprintf("plan %s instead of %s, without: %s", plan.Hash, hash, strings.Join(out, "; "))
		}
		r.Plan, r.Approvals, r.EditedBy, l.replanned = &plan, nil, by, true
		l.note("edit", "", by, strings.TrimSuffix(text+": "+reason, ": "), leave)
		return nil
	})
}

// approvable says why the plan with a hash is not one that waits for a person's word.
func (l *live) approvable(hash string) error {
	switch r := l.run; {
	case r.State != Waiting && r.State != Suggested:
		return fmt.Errorf("run %s is %s: %w", r.ID, r.State, ErrConflict)
	case hash != r.Plan.Hash:
		return fmt.Errorf("the plan of run %s has hash %s, not the one that was seen: %w", r.ID, r.Plan.Hash, ErrConflict)
	case r.State == Waiting && !l.e.o.Now().Before(r.NotAfter):
		return fmt.Errorf("the request expired at %s: %w: ask anew", r.NotAfter.Format("2006-01-02T15:04:05Z07:00"), ErrConflict)
	}
	return nil
}

// shaper is who said last what the plan of a run is: who asked for it, or who chose its targets.
func (r *Run) shaper() string {
	if r.EditedBy != "" {
		return r.EditedBy
	}
	return r.By
}
