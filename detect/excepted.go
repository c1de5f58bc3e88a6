package detect

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"picket/event"
	"picket/sigma"
)

// Excepted is an exception as it concerns one rule: on which events the rule is quiet, and why.
type Excepted struct {
	Title   string     `json:"title"`
	Owner   string     `json:"owner"`
	Reason  string     `json:"reason"`
	Expires string     `json:"expires"` // the last day, or never
	File    string     `json:"file"`
	Line    int        `json:"line"`
	Selects sigma.Step `json:"selects"`

	ends time.Time
}

// Over reports whether the exception does nothing any more at a time.
func (x Excepted) Over(at time.Time) bool { return !x.ends.IsZero() && !at.Before(x.ends) }

// lastDay returns the last day on which the exception holds.
func (x *Exception) lastDay() string {
	if x.Expires.IsZero() {
		return "never"
	}
	return x.Expires.AddDate(0, 0, -1).Format(time.DateOnly)
}

// of returns the exceptions of a rule, in the order loaded.
func (xs *exceptions) of(r event.Rule) []Excepted {
	var out []Excepted
	for _, x := range xs.list {
		if !x.names(r) {
			continue
		}
		plan, _ := xs.engine.Explain(x.match)
		out = append(out, Excepted{
			Title: x.Title, Owner: x.Owner, Reason: x.Reason, Expires: x.lastDay(), File: x.File, Line: x.Line, Selects: plan.Condition, ends: x.Expires,
		})
	}
	return out
}

// LintExceptions tells what is probably not meant about exceptions, as it is at a time: that they
// name a rule which is not there, have expired, or leave nothing of a rule. The threats are all
// that are loaded.
func LintExceptions(list []*Exception, threats []Threat, now time.Time) []*sigma.Error {
	var out sigma.Errors
	if err := CheckExceptions(list, threats); err != nil {
		out = asFaults(err, "", 0)
	}
	for _, x := range list {
		if x.expired(now) {
			out = append(out, fault(x.File, x.Line, 1, fmt.Sprintf("expired on %s: %s fire there again", x.lastDay(), strings.Join(x.Rules, ", ")), "remove it, or give it a new day if it still holds"))
		}
		for _, t := range threats {
			for _, r := range t.Rules {
				if why := x.hidesAll(&t, r); why != "" {
					out = append(out, fault(x.File, x.Line, 1, fmt.Sprintf("%s of %s", why, ruleName(&r.Meta)), "select less, or do without the rule"))
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b *sigma.Error) int {
		if a.File != b.File {
			return strings.Compare(a.File, b.File)
		}
		return a.Line - b.Line
	})
	return out
}

// hidesAll says that the exception leaves nothing of a rule of t, or nothing that the rule's samples
// show; "" where it does not, or is for other rules.
func (x *Exception) hidesAll(t *Threat, r *sigma.Rule) string {
	if !x.names(event.Rule{ID: r.ID, Name: ruleName(&r.Meta)}) {
		return ""
	}
	if r.Covered(x.match, Schema()) {
		return "hides every event"
	}
	xs, err := newExceptions([]*Exception{x})
	if err != nil {
		return "" // it was compiled when it was read
	}
	v, hits := newView(), 0
	for _, s := range t.Samples {
		if s.Rule != ruleName(&r.Meta) || !s.Hit {
			continue
		}
		for _, e := range s.Events {
			hits++
			v.e = e
			if len(xs.look(v, time.Time{})) == 0 {
				return ""
			}
		}
	}
	if hits == 0 {
		return ""
	}
	return "hides every sample"
}
