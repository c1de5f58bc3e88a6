package respond

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"picket/event"
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

// UndoIncident takes back what all runs for an incident did, and ends those that go on or wait: it was a
// false alarm, and nothing further is done about it.
func (e *Engine) UndoIncident(ctx context.Context, incident, by string) error {
	list, err := e.Runs(ctx, Query{Incident: incident, Limit: 1000})
	if err != nil {
		return err
	}
	e.falsePositive(list)
	errs := make([]error, len(list))
	atOnce(len(list), func(n int) {
		if r := &list[n]; !r.State.Over() || len(r.Holds) > 0 {
			errs[n] = e.cancel(ctx, r.ID, by)
		}
	})
	return errors.Join(errs...)
}

// undoTries is how often what was changed under our hands is taken back anew.
const undoTries = 5

// cancel ends a run for a false positive and takes back what it holds, also where the run is changed
// meanwhile.
func (e *Engine) cancel(ctx context.Context, id, by string) (err error) {
	for range undoTries {
		_, err = e.with(ctx, id, func(l *live) error { l.cancel(by); return nil })
		if err == nil || !errors.Is(err, ErrConflict) {
			break
		}
	}
	return err
}

// falseAlarm is why a run is cancelled.
const falseAlarm = "its incident is a false positive: nothing further is done"

// cancel ends the run. What it has under way is waited for, as it may hold by then.
func (l *live) cancel(by string) {
	if r := l.run; !r.State.Over() && r.Cancel == "" {
		r.Cancel = falseAlarm
		l.note("cancel", "", by, falseAlarm, nil)
		if r.State != Running {
			l.finish(Cancelled, by, falseAlarm)
		} else {
			l.machine.GiveUp(falseAlarm)
		}
	}
	if l.run.State.Over() {
		l.undo(by, "it was a false positive", nil)
	}
}

// cancelled ends a run that was cancelled, once nothing of it is under way any more.
func (l *live) cancelled() {
	l.finish(Cancelled, "", l.run.Cancel)
	l.undo("", "it was a false positive", nil)
}

// wrongly reports whether a run is for a false positive. A server that ended may have had no time to
// cancel it.
func (e *Engine) wrongly(ctx context.Context, r *Run) bool {
	if e.o.Incidents == nil {
		return false
	}
	inc, err := e.o.Incidents.Incident(ctx, r.Incident)
	return err == nil && inc.Status == event.IncidentClosed && inc.Verdict == event.FalsePositive
}

// byVerdict is who cancels runs at the start.
const byVerdict = "policy:false positive"

// recall cancels runs that do not go on by themselves.
func (e *Engine) recall(runs []string) {
	for _, id := range runs {
		if err := e.cancel(e.ctx, id, byVerdict); err != nil && e.ctx.Err() == nil {
			e.o.Log.Error("a run whose incident is a false positive was not ended", "run", id, "error", err)
		}
	}
}

// abreast bounds what is asked of agents at the same time for one plan, run or incident.
const abreast = 16

// atOnce calls f for each number below n, some of them at the same time, and returns when all are done.
func atOnce(n int, f func(n int)) {
	var all sync.WaitGroup
	room := make(chan struct{}, abreast)
	for i := range n {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			f(i)
		})
	}
	all.Wait()
}

// undoTimeout is how long an agent may take to take one act back.
const undoTimeout = 30 * time.Second

// undo takes back what the run did and which says, the latest first. What cannot be taken back now
// stays, is tried again, and is returned with why.
func (l *live) undo(who, why string, which func(Hold) bool) (left []string) {
	var list []Hold
	for _, h := range slices.Backward(l.run.Holds) {
		if which == nil || which(h) {
			list = append(list, h)
		}
	}
	for i, a := range l.e.takeBack(list) {
		n := slices.IndexFunc(l.run.Holds, func(h Hold) bool { return h.Request.ID == list[i].Request.ID })
		h, now := &l.run.Holds[n], l.e.o.Now().UTC()
		what := fmt.Sprintf("%s %s", h.Request.Kind, Describe(h.Request.Target, nil))
		if never := errors.Is(a.err, action.ErrNotFound) || errors.Is(a.err, action.ErrInvalid); never && !l.underWay(h.Request.ID) {
			l.note("undo", "", who, fmt.Sprintf("%s has nothing to take back (%s): %v", what, why, a.err), &action.Result{ID: h.Request.ID, State: action.Gone, Detail: a.err.Error(), At: now})
			l.run.Holds = slices.Delete(l.run.Holds, n, n+1)
			continue
		}
		if a.err != nil {
			h.Tries++
			h.Until = now.Add(min(time.Duration(h.Tries)*time.Minute, 10*time.Minute))
			l.note("undo", "", who, fmt.Sprintf("%s was not taken back (%s), and is tried again: %v", what, why, a.err), h.Request)
			left = append(left, fmt.Sprintf("%s was not taken back, and is tried again: %v", what, a.err))
			continue
		}
		l.e.metrics.acts.WithLabelValues(string(h.Request.Kind), string(action.Undone)).Inc()
		l.note("undo", "", who, fmt.Sprintf("%s was taken back: %s", what, why), a.res)
		l.run.Holds = slices.Delete(l.run.Holds, n, n+1)
	}
	return left
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

// undone is what became of taking an act back.
type undone struct {
	res *action.Result
	err error
}

// takeBack has acts taken back: those of one host in their order, those of several at the same time.
func (e *Engine) takeBack(list []Hold) []undone {
	out, hosts, of := make([]undone, len(list)), []string{}, map[string][]int{}
	for n, h := range list {
		host := h.Request.Target.Host
		if of[host] == nil {
			hosts = append(hosts, host)
		}
		of[host] = append(of[host], n)
	}
	atOnce(len(hosts), func(i int) {
		for _, n := range of[hosts[i]] {
			out[n].res, out[n].err = e.takeOneBack(list[n].Request)
		}
	})
	return out
}

func (e *Engine) takeOneBack(r action.Request) (*action.Result, error) {
	if e.o.Executor == nil {
		return nil, errors.New("no agent takes acts")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), undoTimeout)
	defer cancel()
	r.Fence = e.fence
	res, err := e.o.Executor.Undo(ctx, &r)
	if err == nil && (res.State == action.Failed || res.State == action.Unknown || res.State == action.Refused) {
		err = fmt.Errorf("%s: %s", res.State, res.Detail)
	}
	return res, err
}
