package action

import (
	"context"
	"sync"
	"time"
)

// lookEvery bounds how long an act may outlast its time where the clock was set forward.
const lookEvery = 5 * time.Second

// Run settles what an earlier run began, and then takes acts back when their time is over, until ctx
// ends. What is held then goes on as its kind has it: freeze and isolate end with the program.
func (l *Local) Run(ctx context.Context) error {
	l.settleAll(ctx)
	close(l.settled)
	var doubts sync.WaitGroup
	defer doubts.Wait()
	doubts.Go(func() { l.lookAgain(ctx) })
	for {
		next := l.expire(ctx, time.Now())
		t := time.NewTimer(min(max(next, time.Millisecond), lookEvery))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-l.wake:
			t.Stop()
		case <-t.C:
		}
	}
}

// expire takes back what is over, and says when the next is.
func (l *Local) expire(ctx context.Context, now time.Time) (next time.Duration) {
	next = lookEvery
	for _, rec := range l.timedRecords() {
		if left := rec.Result.Until.Sub(now); left > 0 {
			next = min(next, left)
			continue
		}
		id := rec.Request.ID
		if tried, ok := l.failed[id]; ok && now.Sub(tried) < retryUndo {
			continue
		}
		if cur, ok := l.record(id); !ok || !cur.timed() || now.Before(cur.Result.Until) {
			continue // taken back, or extended, while another was
		}
		if _, err := l.undo(context.WithoutCancel(ctx), id, "its time was over"); err != nil {
			if _, again := l.failed[id]; !again {
				l.o.Log.Error("an act whose time is over could not be taken back; it is tried again and again", "id", id, "error", err)
			}
			l.failed[id] = now
			continue
		}
		delete(l.failed, id)
	}
	return next
}

// endsWithProgram reports whether an act holds only as long as this program runs.
func endsWithProgram(a Action) bool {
	_, ends := a.(interface{ endsWithProgram() })
	return ends
}

// leavesNoTrace reports whether nothing shows later that an act was done.
func leavesNoTrace(a Action) bool {
	_, silent := a.(interface{ leavesNoTrace() })
	return silent
}

// settleAll finds out what became of acts that an earlier run began, without doing any of them again
// that it may have done, and holds on to those whose time is not over.
func (l *Local) settleAll(ctx context.Context) {
	now := time.Now()
	for _, rec := range l.Records() {
		act := l.acts[rec.Request.Kind]
		if act == nil {
			continue // a newer version knew it
		}
		if rec.Result.State == "" {
			l.observe(ctx, act, &rec)
		}
		l.followClock(&rec, now)
		if rec.held() && rec.timed() && endsWithProgram(act) && now.Before(rec.Result.Until) {
			l.holdOn(ctx, act, rec)
		}
	}
}

// observe looks what became of an act that was begun and not seen to its end.
func (l *Local) observe(ctx context.Context, act Action, rec *Record) {
	const began = "the agent ended while it was carried out: "
	holds, detail, err := act.Verify(ctx, &rec.Request)
	res := &Result{State: Failed, Detail: began + detail}
	switch {
	case leavesNoTrace(act):
		res.State, res.Detail = Unknown, began+"what it is done to does not show whether it was"
	case err != nil:
		res.State, res.Detail, res.Until = Unknown, began+err.Error(), rec.Result.Until
	case holds:
		res.State, res.Until = Done, rec.Result.Until
	case act.Class() == Reversible:
		if _, err := takeBack(ctx, act, &rec.Request); err != nil { // a part of it may hold
			res.State, res.Detail, res.Until = Unknown, began+err.Error(), rec.Result.Until
		}
	}
	if res, err = l.settle(rec, res); err == nil {
		rec.Result = *res
	}
}

// holdOn does an act again that ended with the program that did it, for the time that is left.
func (l *Local) holdOn(ctx context.Context, act Action, rec Record) {
	if _, err := takeBack(ctx, act, &rec.Request); err != nil { // an earlier run may have left a part of it
		l.o.Log.Error("what an earlier run held could not be let go", "id", rec.Request.ID, "error", err)
	}
	if rec.Boot != l.o.BootID {
		_, _ = l.settle(&rec, &Result{State: Undone, Detail: "the host was started anew"}) // it has no way to fail
		return
	}
	r := rec.Request
	r.TTL = time.Until(rec.Result.Until)
	res, err := act.Do(ctx, &r)
	if err != nil {
		res = &Result{State: stateOf(err), Detail: "it could not be held on after the agent was started anew: " + err.Error()}
	} else {
		res.Until = rec.Result.Until
		res.Detail += " again, after the agent was started anew"
	}
	_, _ = l.settle(&rec, res) // it has no way to fail
}

// clockSlack is how far a clock may be set back, as it is now and then, without anything following it.
const clockSlack = 5 * time.Minute

// followClock has an act end when it would have, where the clock was set back while no agent ran: the
// time in the journal would else be years away. While one runs its own clock goes on.
func (l *Local) followClock(rec *Record, now time.Time) {
	back := rec.Result.At.Sub(now)
	if !rec.timed() || back < clockSlack {
		return
	}
	rec.Result.At, rec.Result.Until = now, rec.Result.Until.Add(-back)
	kept := *rec
	l.mu.Lock()
	err := l.journal.append(entry{Record: &kept})
	l.mu.Unlock()
	l.o.Log.Warn("the clock was set back: an act ends earlier by as much", "id", rec.Request.ID, "by", back, "error", err)
}
