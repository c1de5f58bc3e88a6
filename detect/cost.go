package detect

import (
	"cmp"
	"slices"
	"time"

	"picket/event"
	"picket/sigma"
)

// Cost is what a rule takes on a recording.
type Cost struct {
	Rule      string  `json:"rule"`
	Threat    string  `json:"threat"`
	Events    int     `json:"events"`    // of the kinds that the rule is about
	Evaluated int     `json:"evaluated"` // of Events: had a text that makes the engine look at the rule
	Hits      int     `json:"hits"`
	Nanos     float64 `json:"ns_per_event"` // of Events, above what an engine without rules takes
}

// Meter measures rules. Clock tells the time that has passed; it is handed in, as this package has
// none.
type Meter struct {
	Clock  func() time.Duration
	Budget time.Duration // for each rule; 20 ms if 0
}

// rounds is how often each rule is measured; the quickest counts, as the others were disturbed.
const rounds = 5

// Measure tells what each rule takes on the events, dearest first, and what all of them take
// together. Each rule is measured in an engine of its own, over the events it is about, less what
// an engine without rules takes. Rules share work: together they take less than the sum.
func (m Meter) Measure(threats []Threat, events []*event.Event) (each []Cost, all Cost) {
	byKind := map[event.Kind][]*event.Event{}
	for _, e := range events {
		byKind[e.Kind] = append(byKind[e.Kind], e)
	}
	var every []*sigma.Rule
	for _, t := range threats {
		for _, r := range t.Rules {
			every = append(every, r)
			var about []*event.Event
			for _, k := range KindsOf(r.Logsource) {
				about = append(about, byKind[k]...)
			}
			c := m.one([]*sigma.Rule{r}, t.Placeholders, about)
			c.Rule, c.Threat = ruleName(&r.Meta), t.Name
			each = append(each, c)
		}
	}
	slices.SortStableFunc(each, func(a, b Cost) int {
		return cmp.Or(cmp.Compare(b.total(), a.total()), cmp.Compare(a.Rule, b.Rule))
	})
	return each, m.one(every, valuesFor(threats...), events)
}

func (c Cost) total() float64 { return c.Nanos * float64(c.Events) }

// one measures rules together over events that they are about.
func (m Meter) one(rules []*sigma.Rule, values map[string][]string, events []*event.Event) Cost {
	c := Cost{Events: len(events)}
	engine, err := sigma.Options{Placeholders: values}.Compile(rules, Schema())
	if err != nil || len(events) == 0 {
		return c // such rules are not loaded either
	}
	v := newView()
	for _, e := range events {
		v.e = e
		engine.Match(v, func(*sigma.Rule) { c.Hits++ })
		if len(rules) == 1 && engine.Candidate(rules[0], v) {
			c.Evaluated++
		}
	}
	empty, _ := sigma.Compile(nil, Schema()) // nothing in it can be wrong
	c.Nanos = max(0, m.time(engine, v, events)-m.time(empty, v, events))
	return c
}

// time returns the nanoseconds that matching an event takes.
func (m Meter) time(engine *sigma.Engine, v *view, events []*event.Event) float64 {
	best := -1.0
	slice := cmp.Or(m.Budget, 20*time.Millisecond) / rounds
	for range rounds {
		n, began, spent := 0, m.Clock(), time.Duration(0)
		for spent < slice || n == 0 {
			for _, e := range events {
				v.e = e
				engine.Match(v, func(*sigma.Rule) {})
			}
			n += len(events)
			if spent = m.Clock() - began; spent <= 0 && n > 1<<20 {
				break // a clock that stands still
			}
		}
		if ns := float64(spent.Nanoseconds()) / float64(n); best < 0 || ns < best {
			best = ns
		}
	}
	return best
}

// SampleEvents returns the sample events of threats.
func SampleEvents(threats []Threat) []*event.Event {
	var out []*event.Event
	for _, t := range threats {
		for _, s := range t.Samples {
			out = append(out, s.Events...)
		}
	}
	return out
}
