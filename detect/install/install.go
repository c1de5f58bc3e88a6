// Package install follows installers of packages (pip, uv, conda, npm and kin): what a package runs as it
// is installed, a build or a script of its own, has no business elsewhere than where the installer itself
// goes.
//
// A Watch is a function of what it is given: it has no clock and starts no goroutine. Its memory is bounded.
package install

import (
	"strings"
	"time"

	"picket/event"
)

// Bounds of what is remembered.
const (
	maxRuns   = 256
	maxPlaces = 64 // of a run: where the installer goes, and where else something went
	keep      = time.Hour
)

// Watch follows installers.
type Watch struct {
	host    string
	runs    map[event.Key]*run
	dropped uint64
}

// run is an installer at work.
type run struct {
	seen  time.Time
	index []string // where it went itself
	told  []string
}

// New returns a Watch that has seen nothing yet.
func New(host string) *Watch { return &Watch{host: host, runs: map[event.Key]*run{}} }

// Dropped counts runs that were given up for want of room.
func (w *Watch) Dropped() uint64 { return w.dropped }

// See takes an event of any kind, stamped, and returns what it shows, nil for nothing. Kinds other than
// NetConnect cost a comparison.
func (w *Watch) See(e *event.Event) *event.Event {
	if e.Kind != event.NetConnect || e.Process == nil {
		return nil
	}
	to := e.Net.Remote.Addr().Unmap()
	if !to.IsValid() || to.IsLoopback() || to.IsUnspecified() || e.Net.Remote.Port() == 53 { // who is asked for names
		return nil
	}
	outer := e.Process.OfInstaller()
	if outer == nil {
		return nil
	}
	r := w.run(outer.Key(), e.Time)
	places := [...]string{to.String(), e.Net.Hostname}
	if e.Process.Installer() != "" {
		for _, place := range places {
			r.index = add(r.index, place)
		}
		return nil
	}
	for _, place := range places {
		if has(r.index, place) || has(r.told, place) || len(r.told) >= maxPlaces-1 {
			return nil
		}
	}
	for _, place := range places {
		r.told = add(r.told, place)
	}
	d := &event.Deviation{What: event.DeviantInstall, Value: e.Net.Remote.String(), Usual: "the installer itself went nowhere"}
	if e.Net.Hostname != "" {
		d.Value = e.Net.Hostname + " (" + d.Value + ")"
	}
	if len(r.index) > 0 {
		d.Usual = "the installer itself went to " + strings.Join(r.index[:min(len(r.index), 4)], ", ")
	}
	return &event.Event{Kind: event.ProfileDeviation, Time: e.Time, Host: w.host, Process: e.Process, Deviation: d, Net: e.Net}
}

func has(list []string, s string) bool {
	for _, one := range list {
		if one == s && s != "" {
			return true
		}
	}
	return false
}

func add(list []string, s string) []string {
	if s == "" || has(list, s) || len(list) >= maxPlaces {
		return list
	}
	return append(list, s)
}

func (w *Watch) run(key event.Key, now time.Time) *run {
	r := w.runs[key]
	if r == nil {
		if len(w.runs) >= maxRuns {
			w.evict()
		}
		r = &run{}
		w.runs[key] = r
	}
	r.seen = now
	return r
}

func (w *Watch) evict() {
	var oldest event.Key
	for key, r := range w.runs {
		if old := w.runs[oldest]; old == nil || r.seen.Before(old.seen) {
			oldest = key
		}
	}
	delete(w.runs, oldest)
	w.dropped++
}

// Advance forgets what is over.
func (w *Watch) Advance(now time.Time) {
	for key, r := range w.runs {
		if now.Sub(r.seen) > keep {
			delete(w.runs, key)
		}
	}
}
