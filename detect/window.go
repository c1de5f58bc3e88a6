package detect

import (
	"container/list"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"picket/event"
)

// window watches one Sequence: a group for each container or lineage in which it has begun.
type window struct {
	rule   *rule
	def    *Sequence
	fields []event.Field
	groups map[string]*group
	order  *list.List // of *group, longest untouched first
	bytes  int        // what the groups hold, about
}

// group is how far a sequence has come in one container or lineage.
type group struct {
	Key   string    `json:"key"`
	Steps []step    `json:"steps"`
	Quiet time.Time `json:"quiet"` // no further finding before this
	Last  time.Time `json:"last"`

	place *list.Element
	bytes int
}

// step is one rule of the sequence. Start is when the chain that ends in it began: of several
// chains the latest counts, as it leaves most time for what must follow.
type step struct {
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"` // last match
	Count   int       `json:"count"`
	Matches []match   `json:"matches,omitempty"` // the first and the last few
}

// Bounds of what sequences keep.
const (
	maxGroups  = 4096     // per sequence
	maxBytes   = 16 << 20 // per sequence, about
	maxMatches = 4        // per step
)

func newWindow(r *rule, def *Sequence) *window {
	w := &window{rule: r, def: def, groups: map[string]*group{}, order: list.New()}
	for _, name := range def.GroupBy {
		f, _ := event.Lookup(name) // known: the parser looked
		w.fields = append(w.fields, f.Field)
	}
	return w
}

// feed tells that step n's rule r fired on e, and returns the finding if that completes the
// sequence. It reports what it had to give up for want of room.
func (w *window) feed(n int, r *rule, e *event.Event) (f *event.Finding, evicted int) {
	key, ok := w.def.groupKey(nil, w.fields, e)
	if !ok {
		return nil, 0
	}
	w.expire(e.Time)
	g := w.groups[string(key)]
	if g == nil {
		if n > 0 {
			return nil, 0 // nothing to follow
		}
		for len(w.groups) >= maxGroups {
			w.drop(w.order.Front().Value.(*group))
			evicted++
		}
		g = &group{Key: string(key), Steps: make([]step, len(w.def.Rules))}
		w.groups[g.Key] = g
		g.place = w.order.PushBack(g)
	}
	if !g.take(n, r, e, w.def.Timespan) {
		return nil, evicted
	}
	if e.Time.After(g.Last) {
		g.Last = e.Time
	}
	w.order.MoveToBack(g.place)
	w.weigh(g)
	for w.bytes > maxBytes && len(w.groups) > 1 {
		w.drop(w.order.Front().Value.(*group))
		evicted++
	}
	if n < len(g.Steps)-1 || e.Time.Before(g.Quiet) {
		return nil, evicted
	}
	g.Quiet = e.Time.Add(w.def.Timespan)
	done := w.finding(g)
	return &done, evicted
}

// take records a match of step n, and reports whether it continues the sequence.
func (g *group) take(n int, r *rule, e *event.Event, span time.Duration) bool {
	s := &g.Steps[n]
	start := e.Time
	if n > 0 {
		before := &g.Steps[n-1]
		if before.Count == 0 || e.Time.Before(before.End) && e.Time.Before(before.firstEnd()) || e.Time.Sub(before.Start) > span {
			return false
		}
		start = before.Start
	}
	for len(s.Matches) > 0 && e.Time.Sub(s.Matches[0].Time) > span { // what is past cannot be part of it
		s.Matches = s.Matches[1:]
	}
	if s.Count > 0 && e.Time.Sub(s.End) > span {
		s.Count = 0
	}
	s.Count++
	if start.After(s.Start) || s.Count == 1 {
		s.Start = start
	}
	if e.Time.After(s.End) {
		s.End = e.Time
	}
	switch m := len(s.Matches); {
	case m < maxMatches:
		s.Matches = append(s.Matches, r.matchOf(e))
	case s.Count < 64 || s.Count%64 == 0 || n == len(g.Steps)-1: // a flood of reads costs little
		s.Matches[m-1] = r.matchOf(e)
	}
	return true
}

// firstEnd is when the step was first reached: what follows must not be before that.
func (s *step) firstEnd() time.Time {
	if len(s.Matches) > 0 {
		return s.Matches[0].Time
	}
	return s.End
}

func (w *window) finding(g *group) event.Finding {
	var matches []match
	count := 0
	clauses := make([]string, 0, len(g.Steps))
	var at time.Time
	for i := range g.Steps {
		s := &g.Steps[i]
		matches = append(matches, s.Matches...)
		count += s.Count
		m := s.Matches[len(s.Matches)-1]
		clause := m.Clause
		if i > 0 {
			clause = "then, " + gap(m.Time.Sub(at)) + " later, " + clause
		}
		clauses, at = append(clauses, clause), m.Time
	}
	return w.rule.finding(matches, count, sentence(strings.Join(clauses, "; ")))
}

// gap says a length of time in words.
func gap(d time.Duration) string {
	switch {
	case d < time.Second:
		return "less than a second"
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", math.Round(d.Seconds()))
	}
	return fmt.Sprintf("%.0f min", math.Round(d.Minutes()))
}

// expire drops the groups in which nothing can follow any more at now.
func (w *window) expire(now time.Time) {
	for front := w.order.Front(); front != nil; front = w.order.Front() {
		g := front.Value.(*group)
		if now.Sub(g.Last) <= w.def.Timespan {
			return
		}
		w.drop(g)
	}
}

// weigh counts anew what g holds.
func (w *window) weigh(g *group) {
	n := len(g.Key)
	for i := range g.Steps {
		for j := range g.Steps[i].Matches {
			n += g.Steps[i].Matches[j].size()
		}
	}
	w.bytes += n - g.bytes
	g.bytes = n
}

// size is about how much memory a match takes.
func (m *match) size() int {
	n := 512 + len(m.Record) + len(m.Clause) + 64*len(m.Entities)
	for _, p := range m.Processes {
		n += 256 + len(p.Cmdline) + len(p.Exe)
	}
	return n
}

func (w *window) drop(g *group) {
	w.bytes -= g.bytes
	w.order.Remove(g.place)
	delete(w.groups, g.Key)
}

// snapshot is the state of all sequences, by the id of their rule.
type snapshot struct {
	Version   int                `json:"version"`
	Sequences map[string][]group `json:"sequences"`
}

const snapshotVersion = 1

// state returns the groups, longest untouched first.
func (w *window) state() []group {
	out := make([]group, 0, len(w.groups))
	for el := w.order.Front(); el != nil; el = el.Next() {
		out = append(out, *el.Value.(*group))
	}
	return out
}

// restore takes over groups of a sequence with as many steps. Groups that do not fit are left out.
func (w *window) restore(groups []group) {
	for i := range groups {
		g := &groups[i]
		if len(g.Steps) != len(w.def.Rules) || w.groups[g.Key] != nil || len(w.groups) >= maxGroups || !g.sound() {
			continue
		}
		w.groups[g.Key] = g
		g.place = w.order.PushBack(g)
		g.bytes = 0
		w.weigh(g)
	}
}

func (w *window) reset() {
	clear(w.groups)
	w.order.Init()
	w.bytes = 0
}

// sound reports whether a group that was read back can be gone on with.
func (g *group) sound() bool {
	for _, s := range g.Steps {
		if s.Count < 0 || s.Count > 0 && len(s.Matches) == 0 || len(s.Matches) > maxMatches {
			return false
		}
		for _, m := range s.Matches {
			if !json.Valid(m.Record) {
				return false
			}
		}
	}
	return true
}
