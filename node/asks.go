package node

import (
	"time"

	"picket/event"
)

const (
	asksEvery = time.Minute
	asksMost  = 8 << 10 // remembered; more than that within a minute are told of again
)

// asks lets a process's look-up of a name reach the store once a minute, and its answer once.
type asks struct {
	told  map[ask]struct{}
	until time.Time
}

type ask struct {
	process    event.Key
	name, kind string
	answer     bool
}

// first reports whether an event is the first of its minute.
func (a *asks) first(e *event.Event) bool {
	d := e.Net.DNS
	if d == nil || e.Process == nil {
		return true
	}
	if a.told == nil || len(a.told) >= asksMost || !e.Time.Before(a.until) {
		a.told, a.until = map[ask]struct{}{}, e.Time.Add(asksEvery)
	}
	k := ask{e.Process.Key(), d.Name, d.Type, d.Answer}
	_, known := a.told[k]
	a.told[k] = struct{}{}
	return !known
}
