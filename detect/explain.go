package detect

import (
	"slices"

	"picket/event"
	"picket/sigma"
)

// Explanation is what becomes of a rule: which events it is about, what makes the engine look at
// it and what is then evaluated.
type Explanation struct {
	RuleInfo
	Logsource string       `json:"logsource,omitempty"`
	Kinds     []event.Kind `json:"-"`
	Events    []string     `json:"events"`           // the kinds, by name
	Missing   []string     `json:"missing"`          // fields it reads that no event carries
	Plan      *sigma.Plan  `json:"plan,omitempty"`   // nil where it is inactive or a correlation
	Paths     []string     `json:"paths,omitempty"`  // beginnings, one of which the path of a file has; none: any
	Steps     []string     `json:"steps,omitempty"`  // of a correlation: its rules, in order
	Window    string       `json:"window,omitempty"` // of a correlation: its time span
	Groups    []string     `json:"groups,omitempty"` // of a correlation: what its events have in common
	Excepted  []Excepted   `json:"excepted,omitempty"`
}

// Explain returns what becomes of the rules called name, by name, id or title, active or not. It
// returns none where no rule is called so.
func (e *Engine) Explain(name string) []Explanation {
	e.mu.Lock()
	set := e.set
	e.mu.Unlock()
	called := func(r event.Rule) bool { return r.Name == name || r.ID == name || r.Title == name }
	var out []Explanation
	for _, info := range e.Rules() {
		if called(info.Rule) {
			out = append(out, set.explain(info))
		}
	}
	for _, r := range set.inactive {
		if called(r.Rule) {
			out = append(out, Explanation{RuleInfo: r.Info(), Logsource: r.About, Events: []string{}, Missing: []string{}, Excepted: set.except.of(r.Rule)})
		}
	}
	return out
}

// explain fills in what is known of an active rule.
func (s *ruleset) explain(info RuleInfo) Explanation {
	x := Explanation{RuleInfo: info, Events: []string{}, Missing: []string{}, Excepted: s.except.of(info.Rule)}
	for r, made := range s.rules {
		if made.info.ID != info.ID {
			continue
		}
		x.Logsource, x.Kinds = logsourceText(r.Logsource), KindsOf(r.Logsource)
		x.Missing = append(x.Missing, missing(r)...)
		if plan, ok := s.match.Explain(r); ok {
			x.Plan = &plan
		}
		if slices.ContainsFunc(x.Kinds, isFile) {
			x.Paths = s.match.Beginnings(r, pathFields...)
		}
	}
	for c, made := range s.correlations {
		if made.info.ID != info.ID {
			continue
		}
		x.Steps, x.Groups, x.Window = c.Rules, c.GroupBy, c.Timespan.String()
		for _, part := range s.all {
			if part != made && (slices.Contains(c.Rules, part.info.Name) || slices.Contains(c.Rules, part.info.ID)) {
				x.Kinds = append(x.Kinds, s.explain(RuleInfo{Rule: part.info}).Kinds...)
			}
		}
		slices.Sort(x.Kinds)
		x.Kinds = slices.Compact(x.Kinds)
	}
	for _, k := range x.Kinds {
		x.Events = append(x.Events, k.String())
	}
	return x
}

// pathFields are the names of the path of a file.
var pathFields = []string{"file.path", "TargetFilename"}

func isFile(k event.Kind) bool { return k.Class() == "file" }
