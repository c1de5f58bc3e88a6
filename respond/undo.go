package respond

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"picket/respond/action"
)

// Undo takes back all that a run did and that can be, the latest first.
func (e *Engine) Undo(ctx context.Context, id, by string) (Run, error) {
	return e.with(ctx, id, func(l *live) error {
		if len(l.run.Holds) == 0 {
			return fmt.Errorf("run %s holds nothing that could be taken back: %w", id, ErrConflict)
		}
		l.undo(by, by+" asked for it", nil)
		return nil
	})
}

// UndoIncident takes back what all runs for an incident did: it was a false alarm.
func (e *Engine) UndoIncident(ctx context.Context, incident, by string) error {
	list, err := e.Runs(ctx, Query{Incident: incident, Limit: 1000})
	if err != nil {
		return err
	}
	e.falsePositive(list)
	var errs []error
	for _, r := range list { // the latest first
		if len(r.Holds) == 0 {
			continue
		}
		if err := e.undoAll(ctx, r.ID, by); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// undoTries is how often what was changed under our hands is taken back anew.
const undoTries = 5

// undoAll takes back what a run holds, also where the run is changed meanwhile. One that holds nothing
// any more has nothing to be taken back.
func (e *Engine) undoAll(ctx context.Context, id, by string) error {
	for try := 1; ; try++ {
		_, err := e.Undo(ctx, id, by)
		if err == nil || !errors.Is(err, ErrConflict) {
			return err
		}
		now, got := e.Get(ctx, id)
		if got == nil && len(now.Holds) == 0 {
			return nil
		}
		if got != nil || try == undoTries {
			return errors.Join(err, got)
		}
	}
}

// undoTimeout is how long an agent may take to take one act back.
const undoTimeout = 30 * time.Second

// undo takes back what the run did and which says, the latest first. What cannot be taken back now
// stays, and is tried again.
func (l *live) undo(who, why string, which func(Hold) bool) {
	for n := len(l.run.Holds) - 1; n >= 0; n-- {
		h := &l.run.Holds[n]
		if which != nil && !which(*h) {
			continue
		}
		res, err := l.e.takeBack(h.Request)
		now := l.e.o.Now().UTC()
		if err == nil && (res.State == action.Failed || res.State == action.Unknown || res.State == action.Refused) {
			err = fmt.Errorf("%s: %s", res.State, res.Detail)
		}
		if never := errors.Is(err, action.ErrNotFound) || errors.Is(err, action.ErrInvalid); never && !l.underWay(h.Request.ID) {
			l.note("undo", "", who, fmt.Sprintf("%s %s has nothing to take back (%s): %v", h.Request.Kind, Describe(h.Request.Target, nil), why, err), &action.Result{ID: h.Request.ID, State: action.Gone, Detail: err.Error(), At: now})
			l.run.Holds = slices.Delete(l.run.Holds, n, n+1)
			continue
		}
		if err != nil {
			h.Tries++
			h.Until = now.Add(min(time.Duration(h.Tries)*time.Minute, 10*time.Minute))
			l.note("undo", "", who, fmt.Sprintf("%s %s was not taken back (%s), and is tried again: %v", h.Request.Kind, Describe(h.Request.Target, nil), why, err), h.Request)
			continue
		}
		l.e.metrics.acts.WithLabelValues(string(h.Request.Kind), string(action.Undone)).Inc()
		l.note("undo", "", who, fmt.Sprintf("%s %s was taken back: %s", h.Request.Kind, Describe(h.Request.Target, nil), why), res)
		l.run.Holds = slices.Delete(l.run.Holds, n, n+1)
	}
}

// underWay reports whether an act is being carried out: who carries it out may know of it only later.
func (l *live) underWay(id string) bool {
	for _, w := range l.run.work {
		if slices.ContainsFunc(w.Items, func(i *item) bool { return i.Request.ID == id && i.Result == nil }) {
			return true
		}
	}
	return false
}

func (e *Engine) takeBack(r action.Request) (*action.Result, error) {
	if e.o.Executor == nil {
		return nil, errors.New("no agent takes acts")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), undoTimeout)
	defer cancel()
	r.Fence = e.fence
	return e.o.Executor.Undo(ctx, &r)
}
