package respond

import (
	"fmt"
	"time"
)

// clockSlack is how far a clock may be set back, or two servers' clocks differ, without anything following it.
const clockSlack = 5 * time.Minute

// look returns when a run at rest is looked at that is due at a time: then, and once an hour, as the clock
// may be set meanwhile. Taken from now, it stays as far away then.
func (e *Engine) look(due time.Time) time.Time {
	if due.IsZero() {
		return due
	}
	now := e.o.Now()
	return now.Add(min(due.Sub(now), time.Hour))
}

// followClock moves what the run waits for with a clock that was set back since the run was kept: a
// request that stands for an hour would else stand for years, and so would an act. A clock that was set
// forward cannot be told from a server that was off: what is due by then expires, and nothing is done.
func (l *live) followClock() {
	r, now := l.run, l.e.o.Now()
	back := r.Changed.Sub(now)
	if back < clockSlack {
		return
	}
	move := func(t *time.Time) {
		if !t.IsZero() {
			*t = t.Add(-back)
		}
	}
	move(&r.NotAfter)
	for n := range r.Asks {
		move(&r.Asks[n].Since)
		move(&r.Asks[n].Until)
	}
	for n := range r.Holds {
		move(&r.Holds[n].Until)
	}
	for task, at := range r.timers {
		r.timers[task] = at.Add(-back)
	}
	r.Changed = now.UTC()
	l.note("clock", "", "", fmt.Sprintf("the clock was set back by %s: what the run waits for moves with it", back.Round(time.Second)), nil)
}
