// Package incident gathers findings that belong together into incidents: one attack, one story.
//
// A Correlator is a function of the findings it is given: it has no clock, does no I/O and starts
// no goroutine. The same findings give the same incidents with the same ids, however often and in
// whatever order within the window they arrive.
package incident

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
)

var (
	// ErrNotFound says that no incident of that id is in memory.
	ErrNotFound = errors.New("no such incident")
	// ErrConflict says that the incident changed since the caller read it.
	ErrConflict = errors.New("the incident changed meanwhile: read it again")
	// ErrInvalid says that a change makes no sense.
	ErrInvalid = errors.New("invalid change")
)

// Options tunes a Correlator. The zero value is ready.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Window     time.Duration // how long after its last finding an incident takes related ones; 0: 30 min
}

// Correlator joins findings. It is not safe for concurrent use.
type Correlator struct {
	log       *slog.Logger
	window    time.Duration
	incidents map[string]*entry
	keys      map[string]map[*entry]bool // what findings can share → the open incidents that have it
	seen      map[string]string          // finding that an incident names → incident
	recent    memory                     // findings that their incident names no more
	took      map[string][]string        // finding → incidents that it showed to be part of another
	owed      map[string][]string        // incident → parts of it that Restore closed and nobody was told of

	opened, joined, merged, evicted prometheus.Counter
}

// entry is an incident in memory.
type entry struct {
	inc   event.Incident
	links map[string][]span // as indexed in Correlator.keys
}

// New returns a Correlator.
func New(o Options) *Correlator {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Window <= 0 {
		o.Window = 30 * time.Minute
	}
	c := &Correlator{
		log: o.Log, window: o.Window, incidents: map[string]*entry{}, keys: map[string]map[*entry]bool{},
		seen: map[string]string{}, took: map[string][]string{}, owed: map[string][]string{},
	}
	counter := func(name, help string) prometheus.Counter {
		m := prometheus.NewCounter(prometheus.CounterOpts{Name: "picket_incident_" + name + "_total", Help: help})
		if o.Registerer != nil {
			o.Registerer.MustRegister(m)
		}
		return m
	}
	c.opened = counter("opened", "Incidents opened.")
	c.joined = counter("joined", "Findings that joined an incident that was there.")
	c.merged = counter("merged", "Incidents that turned out to be part of another.")
	c.evicted = counter("evicted", "Incidents that left the memory to make room. They stay stored, and take no more findings.")
	return c
}

// Process takes a finding and returns the incident that it belongs to, and others that it showed to
// be part of the same, now closed and named in its log. An incident is named after its earliest
// finding, so one that arrives late and is earlier than all opens an incident that takes over the
// old one. changed is false for a finding that was taken before: then nothing changes, and absorbed
// is what it was, for a caller who failed to keep it.
func (c *Correlator) Process(f event.Finding) (inc event.Incident, absorbed []event.Incident, changed bool) {
	if e := c.holder(f.ID); e != nil {
		return snapshot(&e.inc), c.tellTaken(f.ID, e.inc.ID), false
	}
	single := alone(f)
	found := c.related(&single)
	var into *entry
	if len(found) == 0 || older(&single, &found[0].inc) < 0 {
		into = &entry{inc: single}
		c.seen[f.ID] = single.ID
		c.opened.Inc()
	} else {
		into, found = found[0], found[1:]
		c.join(into, &single)
		c.joined.Inc()
	}
	for _, o := range found {
		c.absorb(into, o, f.Time)
		c.take(f.ID, o.inc.ID)
	}
	tell(&into.inc)
	into.inc.Version++
	if c.incidents[into.inc.ID] == nil {
		c.evict(found)
		c.incidents[into.inc.ID] = into
	}
	c.index(into)
	return snapshot(&into.inc), c.tellTaken(f.ID, into.inc.ID), true
}

// holder returns the incident that took the finding, nil if none in memory did.
func (c *Correlator) holder(finding string) *entry {
	if id, ok := c.seen[finding]; ok {
		return c.incidents[id]
	}
	return c.incidents[c.recent.find(finding)]
}

// related returns the open incidents that share something with single within its window, oldest first.
func (c *Correlator) related(single *event.Incident) []*entry {
	var found []*entry
	for k, spans := range links(single, c.window) {
		for e := range c.keys[k] {
			if !slices.Contains(found, e) && near(spans, e.links[k], reach(k, c.window)) {
				found = append(found, e)
			}
		}
	}
	slices.SortFunc(found, func(a, b *entry) int { return older(&a.inc, &b.inc) })
	return found
}

// older orders incidents by their earliest finding.
func older(a, b *event.Incident) int {
	return cmp.Or(a.FirstSeen.Compare(b.FirstSeen), strings.Compare(a.ID, b.ID))
}

// absorb moves what other holds into e and closes other. What people wrote and decided goes with it:
// if somebody works on one of the two, somebody works on both.
func (c *Correlator) absorb(e, other *entry, at time.Time) {
	inc, part := &e.inc, &other.inc
	c.join(e, part)
	for _, ch := range part.Log {
		if ch.Who != self {
			inc.Log = append(inc.Log, ch)
		}
	}
	if part.Status == event.IncidentAcknowledged {
		inc.Status = part.Status
	}
	inc.Log = capped(append(inc.Log, event.Change{Time: at, Who: self, What: "took over " + short(part.ID), Note: part.Title}), maxLog)
	c.recent.move(part.ID, inc.ID)
	if parts := c.owed[part.ID]; parts != nil {
		delete(c.owed, part.ID)
		c.owed[inc.ID] = append(c.owed[inc.ID], parts...)
	}
	c.closePart(other, inc.ID, at)
}

// closePart closes an incident that is part of another. It has no verdict: the whole will have one.
func (c *Correlator) closePart(e *entry, whole string, at time.Time) {
	e.inc.Status = event.IncidentClosed
	e.inc.Log = capped(append(e.inc.Log, event.Change{Time: at, Who: self, What: "closed", Note: "part of incident " + short(whole)}), maxLog)
	e.inc.Version++
	c.index(e)
	c.merged.Inc()
	c.log.Info("an incident is part of another", "incident", whole, "part", e.inc.ID)
}

// isPart reports whether the incident was taken over by another: people close with a verdict only.
func isPart(inc *event.Incident) bool {
	return inc.Status == event.IncidentClosed && inc.Verdict == ""
}

// take notes that a finding showed an incident to be part of another.
func (c *Correlator) take(finding, part string) {
	if len(c.took) >= maxTook {
		clear(c.took) // it only serves a caller who tries again, at once
	}
	c.took[finding] = append(c.took[finding], part)
}

// tellTaken returns the incidents that went into another with this finding.
func (c *Correlator) tellTaken(finding, whole string) []event.Incident {
	for _, part := range c.owed[whole] {
		c.take(finding, part)
	}
	delete(c.owed, whole)
	var out []event.Incident
	for _, part := range c.took[finding] {
		if e := c.incidents[part]; e != nil {
			out = append(out, snapshot(&e.inc))
		}
	}
	return out
}

// Has reports whether the incident is in memory.
func (c *Correlator) Has(id string) bool { return c.incidents[id] != nil }

// snapshot returns a copy that later changes do not reach.
func snapshot(inc *event.Incident) event.Incident {
	s := *inc
	s.Hosts, s.Story, s.Techniques = slices.Clone(s.Hosts), slices.Clone(s.Story), slices.Clone(s.Techniques)
	s.Entities, s.Processes = slices.Clone(s.Entities), slices.Clone(s.Processes)
	s.Findings, s.Log = slices.Clone(s.Findings), slices.Clone(s.Log)
	return s
}

const self = "picket" // who changes an incident when no person does

func short(id string) string { return id[:min(8, len(id))] }
