package detect

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"picket/event"
	"picket/sigma"
)

// Bounds of what correlations keep. A group's contributors are records with their processes, and
// weigh more than all else.
const (
	maxGroups   = 8192     // of one correlation
	maxBytes    = 32 << 20 // of all, about
	keptMatches = 3        // the first so many, and the last, of each rule of a group
	sparseAfter = 64       // a flood of reads costs little
)

// correlator makes the part of set that follows correlations.
func (e *Engine) correlator(rules []*sigma.Rule, list []*sigma.Correlation) (*sigma.Correlator[*match], error) {
	return sigma.NewCorrelator(rules, list, sigma.CorrelatorOptions[*match]{
		Schema: Schema(), MaxGroups: maxGroups, MaxBytes: maxBytes, Keep: keptMatches, Sparse: sparseAfter,
		Token:  func(_ sigma.Event, r *sigma.Rule) *match { return e.match(r) },
		Derive: func(f *sigma.Firing[*match]) *match { return derived(f) },
		Size:   (*match).size,
		Encode: func(m *match) ([]byte, error) { return json.Marshal(m) },
		Decode: func(b []byte) (*match, error) {
			m := &match{}
			if err := json.Unmarshal(b, m); err != nil {
				return nil, err
			}
			if !json.Valid(m.Record) {
				return nil, errors.New("the record of an event is not JSON")
			}
			return m, nil
		},
	})
}

// match describes that r fired on the event at hand. All that ask share it.
func (e *Engine) match(r *sigma.Rule) *match {
	for _, m := range e.made {
		if m.rule == r {
			return m.match
		}
	}
	m := e.set.rules[r].matchOf(e.view.e)
	e.made = append(e.made, madeMatch{r, &m})
	return &m
}

// madeMatch is a match of the event at hand.
type madeMatch struct {
	rule  *sigma.Rule
	match *match
}

// correlated makes a finding of a correlation that fired, nil if it is only a building block.
func (e *Engine) correlated(f *sigma.Firing[*match]) *event.Finding {
	r := e.set.correlations[f.Correlation]
	r.hits++
	matches := evidence(f)
	if !r.alerts || len(matches) == 0 {
		return nil
	}
	made := r.finding(matches, int(min(f.Total, math.MaxInt32)), sentence(story(f)))
	return &made
}

// derived makes of a correlation that fired what one that is made of it keeps.
func derived(f *sigma.Firing[*match]) *match {
	matches := evidence(f)
	if len(matches) == 0 {
		return &match{ID: event.HashID("correlation", f.Correlation.ID), Time: f.Time, Clause: story(f), Record: json.RawMessage("null")}
	}
	whole := (&rule{}).finding(matches, 1, "")
	last := matches[len(matches)-1]
	last.ID, last.Clause = event.HashID("correlation", f.Correlation.ID, whole.ID), story(f)
	last.Entities, last.Processes = whole.Entities, whole.Processes
	return &last
}

// evidence returns the matches a finding shows, by time: those the story tells, and as many of the
// first and last others as there is room for.
func evidence(f *sigma.Firing[*match]) []match {
	told := chain(f)
	all := slices.Clone(f.Contributors)
	for len(all) > maxEvidence {
		i := len(all) / 2
		for step := 0; step < len(all) && slices.ContainsFunc(told, func(c sigma.Contributor[*match]) bool { return c.Token == all[i].Token }); step++ {
			i = (i + 1) % len(all)
		}
		all = slices.Delete(all, i, i+1)
	}
	out := make([]match, 0, len(all))
	for _, c := range all {
		if len(out) == 0 || out[len(out)-1].ID != c.Token.ID || !out[len(out)-1].Time.Equal(c.Token.Time) {
			out = append(out, *c.Token)
		}
	}
	return out
}

// chain returns one contributor for each rule that a firing is made of, by time: of a sequence the
// latest that still come one after another, else the last of each.
func chain(f *sigma.Firing[*match]) (out []sigma.Contributor[*match]) {
	if f.Correlation.Type != sigma.TemporalOrdered {
		for _, c := range slices.Backward(f.Contributors) {
			if !slices.ContainsFunc(out, func(have sigma.Contributor[*match]) bool { return have.Part == c.Part }) {
				out = append(out, c)
			}
		}
		slices.Reverse(out)
		return out
	}
	next := len(f.Contributors)
	for part := range slices.Backward(f.Correlation.Rules) {
		i := next - 1
		for i >= 0 && f.Contributors[i].Part != part {
			i--
		}
		if i < 0 { // it is not kept any more
			continue
		}
		out, next = append(out, f.Contributors[i]), i
	}
	slices.Reverse(out)
	return out
}

// story says in one clause what a correlation saw.
func story(f *sigma.Firing[*match]) string {
	if len(f.Contributors) == 0 {
		return f.Correlation.Title
	}
	c := f.Correlation
	if c.Type == sigma.Temporal || c.Type == sigma.TemporalOrdered {
		var clauses []string
		var before time.Time
		for i, m := range chain(f) {
			clause := m.Token.Clause
			if i > 0 {
				clause = "then, " + gap(m.Time.Sub(before)) + " later, " + clause
			}
			clauses, before = append(clauses, clause), m.Time
		}
		return strings.Join(clauses, "; ")
	}
	field := strings.Join(c.Condition.Fields, ", ")
	what := map[sigma.CorrelationType]string{
		sigma.EventCount:      fmt.Sprintf("%.0f events", f.Figure),
		sigma.ValueCount:      fmt.Sprintf("%.0f different values of %s", f.Figure, field),
		sigma.ValueSum:        fmt.Sprintf("%s adds up to %.6g", field, f.Figure),
		sigma.ValueAvg:        fmt.Sprintf("%s is %.6g on average", field, f.Figure),
		sigma.ValuePercentile: fmt.Sprintf("percentile %g of %s is %.6g", c.Condition.Percentile, field, f.Figure),
	}[c.Type]
	last := f.Contributors[len(f.Contributors)-1]
	return what + " within " + span(c.Timespan) + ", the last of them: " + last.Token.Clause
}

// gap says how long it was between two events.
func gap(d time.Duration) string {
	if d < time.Second {
		return "less than a second"
	}
	return span(d)
}

// span says a length of time in words.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", math.Round(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", math.Round(d.Minutes()))
	}
	return fmt.Sprintf("%.0f h", math.Round(d.Hours()))
}

// size is about how much memory a match takes.
func (m *match) size() int {
	n := 512 + len(m.Record) + len(m.Clause) + 64*len(m.Entities)
	for _, p := range m.Processes {
		n += 256 + len(p.Cmdline) + len(p.Exe)
	}
	return n
}
