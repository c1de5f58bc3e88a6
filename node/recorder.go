package node

import (
	"time"

	"picket/event"
)

const (
	recorderSize = 4096            // events kept
	recorderAge  = 2 * time.Minute // how far back a finding looks
)

// recorder is the agent's flight recorder: the newest events that are not worth sending by
// themselves. Around a finding those of the same lineage become evidence. It holds a fixed number
// of events by value, so that recording allocates nothing.
type recorder struct {
	ring []event.Event
	next int
}

func newRecorder() *recorder { return &recorder{ring: make([]event.Event, recorderSize)} }

// add records a copy of e over the oldest.
func (r *recorder) add(e *event.Event) {
	r.ring[r.next] = *e
	r.next = (r.next + 1) % len(r.ring)
}

// take hands to emit, oldest first, the recorded events that belong with e, and forgets them.
func (r *recorder) take(e *event.Event, emit func(*event.Event)) {
	for i := range r.ring {
		old := &r.ring[(r.next+i)%len(r.ring)]
		if old.Kind == event.KindNone || e.Time.Sub(old.Time) > recorderAge || !related(old.Process, e.Process) {
			continue
		}
		emit(old)
		old.Kind = event.KindNone
	}
}

// related reports whether two processes share a container, or one descends from the other.
func related(a, b *event.Process) bool {
	if a == nil || b == nil {
		return false
	}
	if a.Container != nil && b.Container != nil {
		return a.Container.ID == b.Container.ID
	}
	return a.Key() == b.Key() || descends(a, b.Key()) || descends(b, a.Key())
}

func descends(p *event.Process, from event.Key) bool {
	for a := range p.Ancestors {
		if a.Key() == from && a.PID > 1 {
			return true
		}
	}
	return false
}
