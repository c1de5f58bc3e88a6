package detect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"picket/event"
)

// Overview counts what became of the rules of some threats.
type Overview struct {
	Loaded   int               `json:"loaded"`
	Alerting int               `json:"alerting"` // of Loaded: yield findings by themselves
	Blocks   int               `json:"blocks"`   // of Loaded: informational and low, yield none
	Inactive []event.RuleGroup `json:"inactive"` // most first
	Warnings int               `json:"warnings"`
	Wrong    int               `json:"wrong"`
}

// OverviewOf counts the rules of threats; err is what LoadThreats said of them.
func OverviewOf(threats []Threat, err error) Overview {
	o := Overview{}
	groups := map[event.RuleGroup]int{}
	count := func(level string) {
		o.Loaded++
		if event.ParseSeverity(level) >= event.Medium {
			o.Alerting++
		} else {
			o.Blocks++
		}
	}
	for _, t := range threats {
		for _, r := range t.Rules {
			count(r.Level)
		}
		for range t.Correlations {
			o.Loaded++
			o.Alerting++
		}
		for _, r := range t.Inactive {
			g := event.RuleGroup{Reason: r.Reason}
			if r.Reason == noSensor {
				g.About = r.About
			}
			groups[g]++
		}
		o.Warnings += len(t.Warnings)
	}
	for g, n := range groups {
		g.Rules = n
		o.Inactive = append(o.Inactive, g)
	}
	slices.SortFunc(o.Inactive, func(a, b event.RuleGroup) int {
		return cmp.Or(cmp.Compare(b.Rules, a.Rules), cmp.Compare(a.About, b.About), cmp.Compare(a.Reason, b.Reason))
	})
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		o.Wrong = len(list.Unwrap())
	} else if err != nil {
		o.Wrong = 1
	}
	return o
}

// Resting is how many rules are inactive.
func (o Overview) Resting() int {
	n := 0
	for _, g := range o.Inactive {
		n += g.Rules
	}
	return n
}

// String says it in one line.
func (o Overview) String() string {
	s := fmt.Sprintf("%d rules loaded (%d alert, %d are building blocks: informational and low ones yield no finding by themselves)", o.Loaded, o.Alerting, o.Blocks)
	if n := o.Resting(); n > 0 {
		s += fmt.Sprintf(", %d inactive", n)
	}
	if o.Warnings > 0 {
		s += fmt.Sprintf(", %d warnings", o.Warnings)
	}
	if o.Wrong > 0 {
		s += fmt.Sprintf(", %d wrong", o.Wrong)
	}
	return s
}

// Lines says why rules are inactive, most first, at most limit lines.
func (o Overview) Lines(limit int) []string {
	var out []string
	for i, g := range o.Inactive {
		if i == limit {
			left := 0
			for _, g := range o.Inactive[i:] {
				left += g.Rules
			}
			return append(out, fmt.Sprintf("%d for %d other reasons", left, len(o.Inactive)-i))
		}
		out = append(out, fmt.Sprintf("%d %s", g.Rules, strings.TrimPrefix(g.About+": "+g.Reason, ": ")))
	}
	return out
}
