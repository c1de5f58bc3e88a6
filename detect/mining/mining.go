// Package mining says how much what a process does on a GPU looks like mining, by signs that are each
// told with what was seen and how much they count, and for how long it has been busy or idle there.
//
// A Watch is a function of what it is given: it has no clock and starts no goroutine. Its memory is
// bounded, whatever processes do.
package mining

import (
	"sync/atomic"
	"time"

	"picket/event"
)

// Bounds of what is remembered.
const (
	window     = 5 * time.Minute // that a load is judged by
	points     = 60              // kept of it
	maxUsers   = 1024            // processes on GPUs
	maxHabits  = 4096            // processes that may use a GPU later
	forgetUser = time.Minute     // after it was last seen on its GPU
	busyFrom   = 80              // percent
	Suspicious = 70              // of 100: from there on it is taken for a miner
	loadAlone  = 60              // the most that the load by itself comes to
)

// user is a process on a GPU.
type user struct {
	seen       time.Time
	busy, idle time.Time // since when, zero where it is not
	habit      habit
	ring       [points]point
	next, n    int
}

// point is what was measured at one time.
type point struct {
	at                                      time.Time
	util, memory, power, limit, bus, tensor event.Measure
	total                                   int64
}

type place struct {
	gpu  string
	proc event.Key
}

// Watch follows the processes that use GPUs.
type Watch struct {
	users   map[place]*user
	on      map[event.Key]int    // on how many GPUs a process is
	habits  map[event.Key]*habit // of others
	dropped atomic.Uint64
}

// New returns a Watch that has seen nothing yet.
func New() *Watch {
	return &Watch{users: map[place]*user{}, on: map[event.Key]int{}, habits: map[event.Key]*habit{}}
}

// Dropped counts the processes that were not followed, as too many are.
func (w *Watch) Dropped() uint64 { return w.dropped.Load() }

// Sample takes what process p used of a GPU at a time, and fills in what that means: u.Busy, u.Idle,
// u.Mining and u.Reasons. p is stamped.
func (w *Watch) Sample(now time.Time, p *event.Process, g *event.GPU, u *event.GPUUse) {
	at := place{g.UUID, p.Key()}
	one := w.users[at]
	if one == nil {
		if len(w.users) >= maxUsers {
			w.dropped.Add(1)
			return
		}
		one = &user{}
		if h := w.habits[p.Key()]; h != nil {
			one.habit = *h
		}
		w.users[at] = one
		w.on[p.Key()]++
	}
	one.seen = now
	u.Busy = since(&one.busy, now, u.Util.Known && u.Util.N >= busyFrom)
	u.Idle = since(&one.idle, now, u.Util.Known && u.Util.N == 0 && u.Memory.N > 0)
	last := one.ring[(one.next+points-1)%points]
	if one.n == 0 || now.Sub(last.at) >= window/points {
		one.ring[one.next] = point{now, u.Util, u.Memory, g.Power, g.PowerLimit, g.PCIe, g.Tensor, g.MemoryTotal.N}
		one.next, one.n = (one.next+1)%points, min(one.n+1, points)
	}
	u.Mining, u.Reasons = one.score(now, p)
}

// since says for how long something has held, and notes whether it holds now.
func since(from *time.Time, now time.Time, holds bool) time.Duration {
	switch {
	case !holds:
		*from = time.Time{}
		return 0
	case from.IsZero():
		*from = now
	}
	return now.Sub(*from)
}

// Advance forgets who has left its GPU.
func (w *Watch) Advance(now time.Time) {
	for at, one := range w.users {
		if now.Sub(one.seen) < forgetUser {
			continue
		}
		delete(w.users, at)
		if w.on[at.proc]--; w.on[at.proc] <= 0 {
			delete(w.on, at.proc)
		}
	}
}
