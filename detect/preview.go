package detect

import (
	"slices"

	"picket/event"
)

// Hidden is what an exception would have hidden.
type Hidden struct {
	Exception string   `json:"exception"` // its title
	File      string   `json:"file"`
	Line      int      `json:"line"`
	Rule      string   `json:"rule"`
	Fired     int      `json:"fired"`    // how often the rule fired in the recording
	Hidden    int      `json:"hidden"`   // of Fired: the exception selects the event
	Examples  []string `json:"examples"` // what happened in the first of Hidden, in words
	Expired   bool     `json:"expired"`  // at the last event: it would have hidden nothing any more
}

// maxExamples is how many events are told of.
const maxExamples = 5

// Preview tells what exceptions would have hidden of a recording: by exception, in the order given,
// and by the rules it names. Dates are not looked at but told of in Expired.
func Preview(threats []Threat, list []*Exception, events []*event.Event) ([]Hidden, error) {
	e, err := New(Options{Threats: threats, MinLevel: event.Informational})
	if err != nil {
		return nil, err
	}
	p, err := newPreview(list)
	if err != nil {
		return nil, err
	}
	for _, ev := range events {
		e.view.e, e.fired = ev, e.fired[:0]
		e.set.match.Match(e.view, e.hit)
		for _, fired := range e.fired {
			r := e.set.rules[fired]
			p.count(r.info, ev, func() string { return sentence(r.clause(ev)) })
		}
	}
	return p.rows(), nil
}

// PreviewFindings is Preview for findings that were kept: the last of the events that a finding
// carries is what an exception would have looked at.
func PreviewFindings(list []*Exception, findings []event.Finding) ([]Hidden, error) {
	p, err := newPreview(list)
	if err != nil {
		return nil, err
	}
	for _, f := range findings {
		if len(f.Events) == 0 {
			continue
		}
		ev, err := event.ParseRecord(f.Events[len(f.Events)-1])
		if err != nil {
			continue // evidence of another version of the program
		}
		if ev.Time.IsZero() {
			ev.Time = f.Time
		}
		p.count(f.Rule, ev, func() string { return f.Summary })
	}
	return p.rows(), nil
}

// preview gathers what exceptions would have hidden.
type preview struct {
	set  *exceptions
	view *view
	by   map[previewKey]*Hidden
	last *event.Event
}

type previewKey struct {
	x    *exception
	rule string
}

func newPreview(list []*Exception) (*preview, error) {
	set, err := newExceptions(list)
	return &preview{set: set, view: newView(), by: map[previewKey]*Hidden{}}, err
}

// count takes one event that a rule fired on.
func (p *preview) count(r event.Rule, ev *event.Event, words func() string) {
	p.view.e = ev
	if p.last == nil || ev.Time.After(p.last.Time) {
		p.last = ev
	}
	p.set.matched = p.set.matched[:0]
	p.set.engine.Match(p.view, p.set.hit)
	for _, x := range p.set.list {
		if !x.names(r) {
			continue
		}
		key := previewKey{x, r.Name}
		h := p.by[key]
		if h == nil {
			h = &Hidden{Exception: x.Title, File: x.File, Line: x.Line, Rule: r.Name, Examples: []string{}}
			p.by[key] = h
		}
		h.Fired++
		if slices.Contains(p.set.matched, x) {
			if h.Hidden++; len(h.Examples) < maxExamples {
				h.Examples = append(h.Examples, words())
			}
		}
	}
}

// rows returns what was gathered; a rule that never fired has a row too.
func (p *preview) rows() []Hidden {
	out := []Hidden{}
	for _, x := range p.set.list {
		fired := false
		var names []string
		for key := range p.by {
			if key.x == x {
				names = append(names, key.rule)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			h := *p.by[previewKey{x, name}]
			h.Expired, fired = x.expired(p.last.Time), true
			out = append(out, h)
		}
		if !fired {
			out = append(out, Hidden{Exception: x.Title, File: x.File, Line: x.Line, Rule: x.Rules[0], Examples: []string{}})
		}
	}
	return out
}
