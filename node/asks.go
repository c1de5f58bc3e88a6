package node

import (
	"cmp"
	"time"

	"picket/event"
)

const (
	asksEvery = time.Minute
	asksMost  = 8 << 10 // remembered; more than that within a minute are told of again
)

// asks lets a process's look-up of a name reach the store once a minute, and its answer once; and so
// the name of a server that it begins TLS with.
type asks struct {
	told  map[ask]struct{}
	until time.Time
}

type ask struct {
	process    event.Key
	name, kind string
	answer     bool
}

// askOf returns what an event asks for. It reports false for one that is no ask.
func askOf(e *event.Event) (ask, bool) {
	if e.Process == nil {
		return ask{}, false
	}
	if d := e.Net.DNS; d != nil {
		return ask{e.Process.Key(), d.Name, d.Type, d.Answer}, true
	}
	if t := e.Net.TLS; t != nil {
		return ask{e.Process.Key(), cmp.Or(t.ServerName, e.Net.Remote.String()), "TLS", false}, true
	}
	return ask{}, false
}

// first reports whether an event is the first of its minute, as each is that is no ask.
func (a *asks) first(e *event.Event) bool {
	k, ok := askOf(e)
	if !ok {
		return true
	}
	if a.told == nil || len(a.told) >= asksMost || !e.Time.Before(a.until) {
		a.told, a.until = map[ask]struct{}{}, e.Time.Add(asksEvery)
	}
	_, known := a.told[k]
	a.told[k] = struct{}{}
	return !known
}
