package incident

import (
	"cmp"
	"slices"
	"strings"

	"picket/event"
)

// Bounds of what is in memory.
const (
	maxIncidents = 2000
	maxTook      = 1000
	maxRecent    = 8 << 10 // of each of two generations
)

// index makes an open incident be found by what it has, and a closed one no more.
func (c *Correlator) index(e *entry) {
	var now map[string][]span
	if e.inc.Status != event.IncidentClosed {
		now = links(&e.inc, c.window)
	}
	c.unlink(e, now)
	for k := range now {
		if c.keys[k] == nil {
			c.keys[k] = map[*entry]bool{}
		}
		c.keys[k][e] = true
	}
	e.links = now
}

// unlink takes e out of the index, but for the keys to keep.
func (c *Correlator) unlink(e *entry, keep map[string][]span) {
	for k := range e.links {
		if _, still := keep[k]; still {
			continue
		}
		delete(c.keys[k], e)
		if len(c.keys[k]) == 0 {
			delete(c.keys, k)
		}
	}
}

// join puts what other holds into e, and notes who has its findings. Those that an incident does not
// name are remembered apart, and not for ever.
func (c *Correlator) join(e *entry, other *event.Incident) {
	dropped := merge(&e.inc, other)
	for _, f := range other.Findings {
		c.seen[f.ID] = e.inc.ID
	}
	for _, id := range dropped {
		delete(c.seen, id)
		c.recent.add(id, e.inc.ID)
	}
}

// Restore takes over incidents of an earlier run. From then on the Correlator behaves like the one
// that made them. Where the earlier run ended between keeping an incident and closing its parts,
// the parts are closed now, and the next Process of that incident returns them.
func (c *Correlator) Restore(incidents []event.Incident) {
	var restored []*entry
	for i := range incidents {
		if !c.Has(incidents[i].ID) { // what is in memory is as new or newer
			restored = append(restored, &entry{inc: snapshot(&incidents[i])})
		}
	}
	slices.SortFunc(restored, func(a, b *entry) int { return stale(&a.inc, &b.inc) })
	for _, e := range restored {
		c.evict(nil)
		c.incidents[e.inc.ID] = e
	}
	slices.SortFunc(restored, func(a, b *entry) int { return older(&a.inc, &b.inc) }) // wholes before their parts
	for _, e := range restored {
		if c.incidents[e.inc.ID] != e || isPart(&e.inc) {
			continue
		}
		if whole := c.wholeOf(&e.inc); whole != nil {
			c.closePart(e, whole.inc.ID, whole.inc.LastSeen)
			c.owed[whole.inc.ID] = append(c.owed[whole.inc.ID], e.inc.ID)
			continue
		}
		for _, f := range e.inc.Findings {
			c.seen[f.ID] = e.inc.ID
		}
		c.index(e)
	}
}

// wholeOf returns the incident that took over inc before it could be closed, nil if none did: it
// is older and has inc's findings.
func (c *Correlator) wholeOf(inc *event.Incident) *entry {
	if inc.Status == event.IncidentClosed {
		return nil
	}
	for _, f := range inc.Findings {
		if e := c.incidents[c.seen[f.ID]]; e != nil && older(&e.inc, inc) < 0 {
			return e
		}
	}
	return nil
}

// evict makes room for one more incident: the stalest goes, but none of those to keep.
func (c *Correlator) evict(keep []*entry) {
	if len(c.incidents) < maxIncidents {
		return
	}
	var out *entry
	for _, e := range c.incidents {
		if (out == nil || stale(&e.inc, &out.inc) < 0) && !slices.Contains(keep, e) {
			out = e
		}
	}
	if out == nil {
		return
	}
	for _, f := range out.inc.Findings {
		if c.seen[f.ID] == out.inc.ID {
			delete(c.seen, f.ID)
		}
	}
	delete(c.incidents, out.inc.ID)
	delete(c.owed, out.inc.ID)
	c.unlink(out, nil)
	c.evicted.Inc()
}

// stale orders incidents by when they last grew.
func stale(a, b *event.Incident) int {
	return cmp.Or(a.LastSeen.Compare(b.LastSeen), strings.Compare(a.ID, b.ID))
}

// memory holds names of a kind that come and go, at least the newest maxRecent of them.
type memory struct{ young, old map[string]string }

func (m *memory) add(name, of string) {
	if len(m.young) >= maxRecent {
		m.old, m.young = m.young, nil
	}
	if m.young == nil {
		m.young = map[string]string{}
	}
	m.young[name] = of
}

func (m *memory) find(name string) string {
	return cmp.Or(m.young[name], m.old[name])
}

// move renames what names stand for.
func (m *memory) move(from, to string) {
	for _, gen := range []map[string]string{m.young, m.old} {
		for name, of := range gen {
			if of == from {
				gen[name] = to
			}
		}
	}
}
