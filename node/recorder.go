package node

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"picket/event"
	"picket/respond/action"
)

const (
	recorderSize = 4096            // events kept that were not sent
	recorderSent = 1024            // and that were
	recorderAge  = 2 * time.Minute // how far back a finding looks
)

// ring holds the newest events by value, so that recording allocates nothing.
type ring struct {
	events []event.Event
	next   int
}

// add records a copy of e over the oldest.
func (r *ring) add(e *event.Event) {
	r.events[r.next] = *e
	r.next = (r.next + 1) % len(r.events)
}

// each hands over what is held, the oldest first.
func (r *ring) each(f func(*event.Event)) {
	for i := range r.events {
		if e := &r.events[(r.next+i)%len(r.events)]; e.Kind != event.KindNone {
			f(e)
		}
	}
}

// recorder is the agent's flight recorder: the newest events that are not worth sending by
// themselves, and the newest of those that were sent. Around a finding those of the same lineage
// become evidence; of a workload that is captured, all.
type recorder struct{ kept, sent ring }

func newRecorder() *recorder {
	return &recorder{ring{events: make([]event.Event, recorderSize)}, ring{events: make([]event.Event, recorderSent)}}
}

// take hands to emit, oldest first, the recorded events that belong with e and were not sent. They are
// taken for sent then.
func (r *recorder) take(e *event.Event, emit func(*event.Event)) {
	r.kept.each(func(old *event.Event) {
		if e.Time.Sub(old.Time) > recorderAge || !related(old.Process, e.Process) {
			return
		}
		emit(old)
		r.sent.add(old)
		old.Kind = event.KindNone
	})
}

// about returns what is recorded of processes, in the order in which it happened. It holds until the
// next event is recorded.
func (r *recorder) about(of func(*event.Process) bool) (out []*event.Event) {
	for _, one := range []*ring{&r.kept, &r.sent} {
		one.each(func(e *event.Event) {
			if e.Process != nil && of(e.Process) {
				out = append(out, e)
			}
		})
	}
	slices.SortStableFunc(out, func(a, b *event.Event) int { return a.Time.Compare(b.Time) })
	return out
}

// recorded tells what the sensor saw lately of a target.
func (a *agent) recorded(ctx context.Context, t *action.Target, tell func(json.RawMessage)) error {
	select {
	case <-a.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { a.turn <- struct{}{} }()
	for _, e := range a.recorder.about(func(p *event.Process) bool { return meant(p, t) }) {
		tell(e.AppendRecord(nil))
	}
	return nil
}

// meant reports whether a process is one of a target, or was when it lived.
func meant(p *event.Process, t *action.Target) bool {
	pinned := func(p *event.Process) bool {
		return int(p.PID) == t.Process.PID && (t.Process.Start == 0 || action.Ticks(p.StartBoot) == t.Process.Start)
	}
	switch {
	case t.Cgroup != "":
		return p.CgroupPath == t.Cgroup || strings.HasPrefix(p.CgroupPath, t.Cgroup+"/")
	case t.Container != "":
		return p.Container != nil && action.IsContainers(p.Container.ID, t.Container)
	case t.Process == nil:
		return false
	case pinned(p):
		return true
	}
	for a := range p.Ancestors {
		if t.Lineage && pinned(a) {
			return true
		}
	}
	return false
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
