package respond

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"picket/cacao"
	"picket/event"
	"picket/respond/action"
)

// Request asks for a run of a playbook.
type Request struct {
	Playbook string // name or id
	Incident string
	Given    map[string]string
	By       string
	Reason   string
	LeaveOut []string // acts, by their ids
	Hash     string   // of the plan that was seen; "" takes the plan of now
	ID       string   // of the request: the same of one who asks gives one run; "": each is a new one
}

// Request asks for a run. It begins at once where nothing in its plan is destructive: who asks for it
// has then approved the plan. Else it waits for others.
func (e *Engine) Request(ctx context.Context, q Request) (Run, error) {
	id := event.HashID("request", q.By, q.ID)
	if q.ID != "" {
		if was, err := e.before(ctx, id, &q); !errors.Is(err, ErrNotFound) {
			return was, err
		}
	}
	plan, bodies, err := e.plan(ctx, q.Playbook, q.Incident, q.Given, q.LeaveOut)
	if err != nil {
		return Run{}, err
	}
	if q.Hash != "" && q.Hash != plan.Hash {
		return Run{}, fmt.Errorf("the plan is another now than the one with hash %s: %w: look at it again", q.Hash, ErrConflict)
	}
	if q.ID == "" {
		id = event.HashID("run", plan.Hash, q.By, e.o.Now().UTC().Format(time.RFC3339Nano))
	}
	r := e.newRun(id, plan, bodies, q.By, q.Reason)
	r.Values = q.Given
	run, err := e.open(ctx, r, e.asked(r))
	if q.ID != "" && errors.Is(err, ErrConflict) { // the same came twice at the same time
		if run, err = e.kept(ctx, id); err == nil {
			run, err = e.before(ctx, id, &q)
		}
	}
	return run, err
}

// before returns the run that a request with an id gave before. An id that comes again with something
// else asked for is refused: whoever reads the answer would take the old run for what was asked for now.
func (e *Engine) before(ctx context.Context, id string, q *Request) (Run, error) {
	was, err := e.Get(ctx, id)
	if err != nil {
		return was, err
	}
	playbook := q.Playbook
	if b, err := e.o.Library.Book(playbook); err == nil {
		playbook = b.ID
	}
	if was.Plan.Playbook != playbook || was.Incident != q.Incident || !maps.Equal(was.Values, q.Given) || q.Hash != "" && q.Hash != was.Plan.Hash {
		return Run{}, fmt.Errorf("the id %q was given to another request, run %s of %q for incident %s (%w): take a new id", q.ID, was.ID, was.Plan.Name, was.Incident, ErrConflict)
	}
	return was, nil
}

func (e *Engine) newRun(id string, plan *Plan, bodies []json.RawMessage, by, reason string) *Run {
	now := e.o.Now().UTC()
	return &Run{
		ID: id, Incident: plan.Incident, By: by, Reason: reason, Plan: plan, Opened: now, Changed: now, bodies: bodies,
		NotAfter: now.Add(e.o.Config.Approval),
	}
}

// open makes a new run live and brings it to its first state. A run that is there already stays.
func (e *Engine) open(ctx context.Context, r *Run, state State) (Run, error) {
	r.State = state
	if state == Suggested {
		r.NotAfter = time.Time{}
	}
	m := message{func(l *live) error {
		l.note("open", "", r.By, fmt.Sprintf("%s: plan %s", state, r.Plan.Hash), nil)
		l.e.metrics.runs.WithLabelValues(string(state)).Inc()
		return nil
	}, make(chan reply, 1)}
	l, err := e.admit(r, &m, fresh)
	if err != nil {
		return Run{}, err
	}
	if l.run != r {
		return Run{}, fmt.Errorf("run %s: %w", r.ID, ErrConflict)
	}
	return m.answered(ctx)
}

// Approve approves the plan with a hash. A destructive one needs so many persons as the configuration
// says, none of whom asked for it or, where it was edited, chose its targets. The last one starts the run.
func (e *Engine) Approve(ctx context.Context, id, by, hash, reason string) (Run, error) {
	return e.with(ctx, id, func(l *live) error {
		r := l.run
		if err := l.approvable(hash); err != nil {
			return err
		}
		switch {
		case r.Plan.Class == action.Destructive && by == r.shaper():
			return fmt.Errorf("%w: %s asked for it, or chose its targets, and something in it cannot be taken back: another person approves it", ErrInvalid, by)
		case slices.ContainsFunc(r.Approvals, func(a Approval) bool { return a.By == by }):
			return fmt.Errorf("%s has approved it already: %w", by, ErrConflict)
		}
		r.Approvals = append(r.Approvals, Approval{by, l.e.o.Now().UTC(), hash, reason})
		l.note("approve", "", by, strings.TrimSuffix("plan "+hash+": "+reason, ": "), nil)
		if r.Plan.Class == action.Destructive && len(r.Approvals) < l.e.o.Config.Approvers {
			return nil
		}
		r.State = Running
		if err := l.resume(); err != nil {
			r.Failure = err.Error()
			l.finish(Failed, "", r.Failure)
		}
		return nil
	})
}

// Reject ends a request; a run that goes on is ended between two of its steps. What it did holds until
// it is taken back.
func (e *Engine) Reject(ctx context.Context, id, by, reason string) (Run, error) {
	return e.with(ctx, id, func(l *live) error {
		switch r := l.run; {
		case r.State.Over():
			return fmt.Errorf("run %s is %s: %w", id, r.State, ErrConflict)
		case r.State == Running:
			l.note("reject", "", by, reason, nil)
			l.machine.GiveUp(fmt.Sprintf("%s ended the run: %s", by, reason))
		default:
			l.note("reject", "", by, reason, nil)
			l.finish(Rejected, by, reason)
		}
		return nil
	})
}

// Answer is a person's answer to a question of a run.
type Answer struct {
	Task   string            // of the question; "" where there is only one
	Yes    bool              // it holds, it was done, it does
	Text   string            // why not
	Values map[string]string // for the variables that the question names
}

// Answer answers a question.
func (e *Engine) Answer(ctx context.Context, id, by string, a Answer) (Run, error) {
	return e.with(ctx, id, func(l *live) error {
		r := l.run
		n := slices.IndexFunc(r.Asks, func(q Ask) bool { return q.Task == a.Task || a.Task == "" && len(r.Asks) == 1 })
		if n < 0 {
			return fmt.Errorf("run %s has %d questions, none of them %q: %w", id, len(r.Asks), a.Task, ErrNotFound)
		}
		q := r.Asks[n]
		for name := range a.Values {
			if !slices.Contains(q.Assign, name) {
				return fmt.Errorf("%w: the question takes no value for %s", ErrInvalid, name)
			}
		}
		word := map[bool]string{true: "yes", false: "no"}[a.Yes]
		l.note("answer", q.Task, by, strings.TrimSpace(word+" "+a.Text), a.Values)
		switch q.What {
		case Decide:
			l.end(q.Task, cacao.Outcome{Yes: a.Yes})
		case DoIt:
			o := cacao.Outcome{Vars: a.Values}
			if !a.Yes {
				o.Failed = strings.TrimSpace(fmt.Sprintf("%s says that it was not done: %s", by, a.Text))
			}
			l.end(q.Task, o)
		case Holds:
			l.answerHolds(n, q, by, a.Yes)
		}
		return nil
	})
}

// answerHolds takes a person's word on the first act of a task whose outcome nobody knew.
func (l *live) answerHolds(n int, q Ask, by string, yes bool) {
	l.run.Asks = slices.Delete(l.run.Asks, n, n+1)
	w := l.run.work[q.Task]
	if w == nil {
		return
	}
	for _, i := range w.Items {
		if i.Asked && i.Result.State == action.Unknown {
			i.Result.State, i.Result.Detail = action.Failed, by+" says that it was not done"
			if yes {
				i.Result.State, i.Result.Detail = action.Done, by+" says that it was done"
			}
			l.settleHold(i.Request.ID, i.Result)
			break
		}
	}
	if !slices.ContainsFunc(w.Items, func(i *item) bool { return i.Result == nil || i.Result.State == action.Unknown }) {
		l.conclude(q.Task, w, outcome{})
	}
}

// extender is an executor that lets acts hold for longer.
type extender interface {
	Extend(ctx context.Context, r *action.Request, ttl time.Duration, by string) (*action.Result, error)
}

// Extend lets an act of a run that holds hold for a time from now. The act has the id of its request.
func (e *Engine) Extend(ctx context.Context, id, by, act string, ttl time.Duration) (Run, error) {
	if ttl <= 0 || ttl > maxTTL {
		return Run{}, fmt.Errorf("%w: a time of %s: an act holds for seven days at most", ErrInvalid, ttl)
	}
	return e.with(ctx, id, func(l *live) error {
		n := slices.IndexFunc(l.run.Holds, func(h Hold) bool { return h.Request.ID == act })
		if n < 0 {
			return fmt.Errorf("run %s holds no act %q any more: %w", id, act, ErrConflict)
		}
		h := &l.run.Holds[n]
		x, ok := e.o.Executor.(extender)
		if !ok {
			return fmt.Errorf("%w: no agent takes acts", ErrInvalid)
		}
		ctx, cancel := context.WithTimeout(ctx, undoTimeout)
		defer cancel()
		res, err := x.Extend(ctx, &h.Request, ttl, by)
		if err != nil {
			return fmt.Errorf("%w: the agent of %s lets it end when it did: %w", ErrInvalid, h.Request.Target.Host, err)
		}
		h.Until, h.Tries = res.Until, 0
		l.note("extend", "", by, fmt.Sprintf("%s %s holds until %s", h.Request.Kind, Describe(h.Request.Target, nil), res.Until.UTC().Format(time.RFC3339)), res)
		return nil
	})
}

// kept returns a run once it is kept, also one that was opened just now.
func (e *Engine) kept(ctx context.Context, id string) (Run, error) {
	return e.with(ctx, id, func(*live) error { return nil })
}

// Get returns a run.
func (e *Engine) Get(ctx context.Context, id string) (Run, error) {
	k, err := e.o.Journal.Run(ctx, id)
	if err != nil {
		return Run{}, fmt.Errorf("run %s: %w", id, err)
	}
	r, err := e.read(k)
	if err != nil {
		return Run{}, err
	}
	return r.clone(), nil
}

// Runs lists runs, the latest first.
func (e *Engine) Runs(ctx context.Context, q Query) ([]Run, error) {
	list, err := e.o.Journal.Runs(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("respond: %w", err)
	}
	out := make([]Run, 0, len(list))
	for _, k := range list {
		r, err := e.read(k)
		if err != nil {
			return nil, err
		}
		out = append(out, r.clone())
	}
	return out, nil
}

// Records returns what happened to a run, the first first.
func (e *Engine) Records(ctx context.Context, id string) ([]Record, error) {
	list, err := e.o.Journal.Records(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", id, err)
	}
	return list, nil
}

// Books returns the playbooks that may be run.
func (e *Engine) Books() []*Book { return e.o.Library.Books() }
