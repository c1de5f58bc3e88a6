// Package incident gathers findings that belong together into incidents: one attack, one story.
//
// A Correlator is a function of the findings it is given: it has no clock, does no I/O and starts
// no goroutine. The same findings give the same incidents with the same ids, however often and in
// whatever order within the window they arrive.
package incident

import (
	"errors"
	"fmt"
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

// Bounds of one incident. What is beyond is counted in FindingN, and still raises risk and severity.
const (
	maxFindings  = 500
	maxProcesses = 200
	maxEntities  = 200
	maxPassages  = 200
	maxLog       = 1000
	maxIncidents = 2000 // in memory; the stalest goes first
	maxRecent    = 4096 // finding ids of one incident that a repeat is known by
	maxKeys      = 4096 // of one incident
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
	incidents map[string]*event.Incident
	keys      map[string]string   // what findings can share → incident
	seen      map[string]string   // finding → incident
	recent    map[string][]string // incident → its findings in seen, oldest first
	held      map[string]int      // incident → how many keys name it

	opened, joined, merged prometheus.Counter
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
		log: o.Log, window: o.Window,
		incidents: map[string]*event.Incident{}, keys: map[string]string{}, seen: map[string]string{},
		recent: map[string][]string{}, held: map[string]int{},
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
	return c
}

// Process takes a finding and returns the incident that it belongs to, and others that it showed to
// be part of the same, now closed and named in its log. changed is false for a finding that was
// taken before: then nothing changes.
func (c *Correlator) Process(f event.Finding) (inc event.Incident, absorbed []event.Incident, changed bool) {
	if id, ok := c.seen[f.ID]; ok {
		if old := c.incidents[id]; old != nil {
			return snapshot(old), nil, false
		}
	}
	into, others := c.match(f)
	if into == nil {
		into = &event.Incident{
			ID: event.HashID("incident", f.ID), Status: event.IncidentOpen, FirstSeen: f.Time, LastSeen: f.Time,
			Log: []event.Change{{Time: f.Time, Who: "picket", What: "opened"}},
		}
		c.evict()
		c.incidents[into.ID] = into
		c.opened.Inc()
	} else {
		c.joined.Inc()
	}
	for _, o := range others {
		absorbed = append(absorbed, c.absorb(into, o, f.Time))
	}
	add(into, f)
	tell(into)
	into.Version++
	c.remember(f.ID, into.ID)
	for _, k := range findingKeys(f) {
		c.point(k, into.ID)
	}
	return snapshot(into), absorbed, true
}

// remember notes that a finding was taken. Of each incident the newest are known.
func (c *Correlator) remember(finding, incident string) {
	c.seen[finding] = incident
	r := append(c.recent[incident], finding)
	if len(r) > maxRecent {
		delete(c.seen, r[0])
		r = append(r[:0:0], r[1:]...)
	}
	c.recent[incident] = r
}

// point makes a key name an incident.
func (c *Correlator) point(key, incident string) {
	old, ok := c.keys[key]
	if ok && old == incident || c.held[incident] >= maxKeys {
		return
	}
	if ok {
		c.held[old]--
	}
	c.keys[key] = incident
	c.held[incident]++
}

// forget removes what names an incident.
func (c *Correlator) forget(id string) {
	for k, of := range c.keys {
		if of == id {
			delete(c.keys, k)
		}
	}
	for _, f := range c.recent[id] {
		if c.seen[f] == id {
			delete(c.seen, f)
		}
	}
	delete(c.recent, id)
	delete(c.held, id)
}

// match returns the incident that f belongs to and others that it connects with it, oldest first.
func (c *Correlator) match(f event.Finding) (into *event.Incident, others []*event.Incident) {
	var found []*event.Incident
	for _, k := range findingKeys(f) {
		inc := c.incidents[c.keys[k]]
		if inc == nil || inc.Status == event.IncidentClosed || slices.Contains(found, inc) || !c.near(inc, f.Time, window(k, c.window)) {
			continue
		}
		found = append(found, inc)
	}
	if len(found) == 0 {
		return nil, nil
	}
	slices.SortFunc(found, func(a, b *event.Incident) int {
		if d := a.FirstSeen.Compare(b.FirstSeen); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	return found[0], found[1:]
}

// near reports whether t is within w of the incident, before it or after.
func (c *Correlator) near(inc *event.Incident, t time.Time, w time.Duration) bool {
	return !t.After(inc.LastSeen.Add(w)) && !t.Before(inc.FirstSeen.Add(-w))
}

// absorb moves what other holds into inc and closes other.
func (c *Correlator) absorb(inc, other *event.Incident, at time.Time) event.Incident {
	inc.Log = capped(append(inc.Log, event.Change{Time: at, Who: "picket", What: "took over " + short(other.ID), Note: other.Title}), maxLog)
	merge(inc, other)
	other.Status = event.IncidentClosed
	other.Log = capped(append(other.Log, event.Change{Time: at, Who: "picket", What: "closed", Note: "part of incident " + short(inc.ID)}), maxLog)
	other.Version++
	var keys []string
	for k, id := range c.keys {
		if id == other.ID {
			keys = append(keys, k)
		}
	}
	findings := c.recent[other.ID]
	c.forget(other.ID)
	for _, k := range keys {
		c.point(k, inc.ID)
	}
	for _, f := range findings {
		c.remember(f, inc.ID)
	}
	c.merged.Inc()
	return snapshot(other)
}

// Has reports whether the incident is in memory.
func (c *Correlator) Has(id string) bool { return c.incidents[id] != nil }

// Restore takes over incidents of an earlier run.
func (c *Correlator) Restore(incidents []event.Incident) {
	for _, in := range incidents {
		inc := in
		c.evict()
		c.incidents[inc.ID] = &inc
		for _, f := range inc.Findings {
			c.remember(f.ID, inc.ID)
		}
		if inc.Status == event.IncidentClosed {
			continue
		}
		for _, k := range incidentKeys(&inc) {
			if old := c.incidents[c.keys[k]]; old == nil || old.LastSeen.Before(inc.LastSeen) {
				c.point(k, inc.ID)
			}
		}
	}
}

// evict makes room for one more incident.
func (c *Correlator) evict() {
	if len(c.incidents) < maxIncidents {
		return
	}
	var stalest *event.Incident
	for _, inc := range c.incidents {
		if stalest == nil || inc.LastSeen.Before(stalest.LastSeen) {
			stalest = inc
		}
	}
	delete(c.incidents, stalest.ID)
	c.forget(stalest.ID)
}

// Update is a change that a person makes. Empty fields stay as they are.
type Update struct {
	Status  event.IncidentStatus
	Verdict event.Verdict
	Note    string
	Version int64 // the version that the person saw; 0 is not compared
}

// Update changes an incident in the name of who at time now.
func (c *Correlator) Update(id, who string, u Update, now time.Time) (event.Incident, error) {
	inc := c.incidents[id]
	switch {
	case inc == nil:
		return event.Incident{}, fmt.Errorf("%w: %s", ErrNotFound, id)
	case u.Version != 0 && u.Version != inc.Version:
		return snapshot(inc), ErrConflict
	case u.Status == event.IncidentClosed && u.Verdict == "":
		return snapshot(inc), fmt.Errorf("%w: closing needs a verdict, %s or %s", ErrInvalid, event.TruePositive, event.FalsePositive)
	case u.Verdict != "" && u.Verdict != event.TruePositive && u.Verdict != event.FalsePositive:
		return snapshot(inc), fmt.Errorf("%w: unknown verdict %q", ErrInvalid, u.Verdict)
	case u.Verdict != "" && u.Status != event.IncidentClosed && inc.Status != event.IncidentClosed:
		return snapshot(inc), fmt.Errorf("%w: a verdict belongs to a closed incident", ErrInvalid)
	case u.Status == "" && u.Verdict == "" && u.Note == "":
		return snapshot(inc), fmt.Errorf("%w: nothing to change", ErrInvalid)
	}
	what := "noted"
	switch u.Status {
	case "":
		if u.Verdict != "" {
			what, inc.Verdict = "closed as "+words(u.Verdict), u.Verdict
		}
	case event.IncidentOpen:
		what, inc.Status, inc.Verdict = "reopened", u.Status, ""
	case event.IncidentAcknowledged:
		what, inc.Status, inc.Verdict = "acknowledged", u.Status, ""
	case event.IncidentClosed:
		what, inc.Status, inc.Verdict = "closed as "+words(u.Verdict), u.Status, u.Verdict
	default:
		return snapshot(inc), fmt.Errorf("%w: unknown status %q", ErrInvalid, u.Status)
	}
	inc.Log = capped(append(inc.Log, event.Change{Time: now, Who: who, What: what, Note: u.Note}), maxLog)
	inc.Version++
	return snapshot(inc), nil
}

func words(v event.Verdict) string { return strings.ReplaceAll(string(v), "_", " ") }

// snapshot returns a copy that later changes do not reach: what they append to is cut to size.
func snapshot(inc *event.Incident) event.Incident {
	s := *inc
	s.Hosts, s.Story, s.Techniques = slices.Clone(s.Hosts), slices.Clone(s.Story), slices.Clone(s.Techniques)
	s.Entities, s.Processes = slices.Clone(s.Entities), slices.Clone(s.Processes)
	s.Findings, s.Log = slices.Clone(s.Findings), slices.Clone(s.Log)
	return s
}

// capped keeps the first element, which says how it began, and the newest.
func capped[T any](s []T, n int) []T {
	if len(s) <= n {
		return s
	}
	return append(s[:1], s[len(s)-n+1:]...)
}

func short(id string) string { return id[:min(8, len(id))] }
