package sigma

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.yaml.in/yaml/v3"
)

// Filter says which matches of rules are to be hidden. Its identifiers are its own: a rule's
// condition never sees them.
//
// Filters are written in two ways: "condition: selection" names what is hidden, and "condition: not
// selection" is the condition that the rule must fulfil besides. Both are understood. A condition
// whose outermost word is not is added to the rule's as it stands; any other is what is hidden. The
// attribute filter-mode, suppress or and, says it outright.
type Filter struct {
	Meta
	Logsource Logsource
	Rules     []string // ids or names; empty is every rule whose log source names what the filter's does
	Mode      string   // filter-mode: suppress, and, or "" to tell by the condition

	// Attributes of ours, beside Sigma's.
	Owner, Reason string
	Expires       time.Time // the filter hides nothing from then on; zero is never

	body *Rule // the selections and the condition
}

// filter reads a document with a section of that name.
func (r *reader) filter(doc *yaml.Node) *Filter {
	f := &Filter{Meta: r.newMeta(doc)}
	for i := 0; i+1 < len(doc.Content); i += 2 {
		switch key, value := doc.Content[i], doc.Content[i+1]; key.Value {
		case "logsource":
			f.Logsource = r.logsource(&f.Meta, value)
		case "filter":
			r.filterBody(f, value)
		case "detection", "correlation":
			r.fault(at(key), "write them as documents of their own, with --- between", "a filter has no %s", key.Value)
		case "filter-mode":
			if f.Mode = r.text(key.Value, value); f.Mode != "suppress" && f.Mode != "and" {
				r.fault(at(value), "suppress: what matches is hidden; and: what does not match is", "unknown filter-mode %q", f.Mode)
			}
		case "owner":
			f.Owner = r.text(key.Value, value)
		case "reason":
			f.Reason = r.text(key.Value, value)
		case "expires", "expiry":
			f.Expires = r.date(key.Value, value)
		default:
			r.entry(&f.Meta, key, value)
		}
	}
	r.require(&f.Meta, "logsource", "say which rules it is about, such as category: process_creation")
	return f
}

func (r *reader) filterBody(f *Filter, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.fault(at(n), "write rules:, a selection and a condition: below it", "filter must be a map, not %s", kindName(n))
		return
	}
	detection := *n
	detection.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Value != "rules" {
			detection.Content = append(detection.Content, key, value)
			continue
		}
		f.at["filter.rules"] = at(value)
		f.Rules = r.list("rules", value)
		if slices.Contains(f.Rules, "") {
			r.fault(at(value), "name rules by id or name, or write any", "an entry of rules is empty")
		}
		if value.Kind == yaml.ScalarNode && strings.EqualFold(value.Value, "any") {
			f.Rules = nil
		}
	}
	f.body = &Rule{Meta: f.Meta}
	r.detection(f.body, &detection)
}

// date reads a day, or a moment as in RFC 3339. A day ends with itself.
func (r *reader) date(key string, n *yaml.Node) time.Time {
	s := r.text(key, n)
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t.AddDate(0, 0, 1)
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		r.fault(at(n), "such as 2026-12-31", "%s must be a date, not %q", key, shorten(s))
	}
	return t
}

// hidden returns the tree that is true of the events to hide.
func (f *Filter) hidden() *node {
	cond := f.body.cond
	for cond.op == opOr && len(cond.kids) == 1 {
		cond = cond.kids[0]
	}
	switch {
	case f.Mode == "and", f.Mode == "" && cond.op == opNot:
		return &node{op: opNot, kids: []*node{cond}}
	}
	return cond
}

// mixed reports whether the condition can be read in both ways, and nothing says in which.
func (f *Filter) mixed() bool {
	cond := f.body.cond
	for cond.op == opOr && len(cond.kids) == 1 {
		cond = cond.kids[0]
	}
	if f.Mode != "" || cond.op == opNot {
		return false
	}
	return slices.ContainsFunc(cond.flat(cond.op, nil), func(n *node) bool { return n.op == opNot })
}

// Fields returns the names of the fields the filter reads, sorted, each once.
func (f *Filter) Fields() []string { return f.body.Fields() }

// attached is a filter on one rule.
type attached struct {
	filter  *Filter
	tree    tree
	expires int64 // Unix nanoseconds, 0 is never
	count   *atomic.Uint64
}

// filter attaches f to the rules it names, or notes why it cannot.
func (c *compiler) filter(f *Filter) {
	var to []int
	for _, name := range f.Rules {
		before := len(to)
		for n, rule := range c.engine.rules {
			if rule.ID == name || rule.Name == name {
				to = append(to, n)
			}
		}
		if len(to) == before {
			c.errs = append(c.errs, f.fault("filter.rules", "name a rule by its id or name", "there is no rule %q to filter", name))
			return
		}
	}
	if len(f.Rules) == 0 {
		for n := range c.engine.rules {
			to = append(to, n)
		}
	}
	x := &expander{rule: f.body, values: c.values, left: maxTests}
	e := x.expand(f.hidden())
	if x.bad != nil {
		c.fault(f.body, x.pos, x.bad.hint, "%s", x.bad.msg)
		return
	}
	made := attached{filter: f, tree: c.tree(e)}
	if !f.Expires.IsZero() {
		made.expires, c.engine.dated = f.Expires.UnixNano(), true
	}
	if c.engine.filters == nil {
		c.engine.filters = map[int32][]attached{}
	}
	slices.Sort(to)
	for _, n := range slices.Compact(to) {
		if f.Logsource.Covers(c.engine.rules[n].Logsource) {
			made.count = new(atomic.Uint64)
			c.engine.filters[int32(n)] = append(c.engine.filters[int32(n)], made)
		}
	}
	c.warn(f.body)
}

// hides reports whether a filter hides that rule n fired, and counts it.
func (e *Engine) hides(s *scratch, n int32) bool {
	hidden := false
	for i := range e.filters[n] {
		f := &e.filters[n][i]
		if e.dated && f.expires != 0 && e.now.Load() >= f.expires {
			continue
		}
		if s.holds(&f.tree) {
			f.count.Add(1)
			hidden = true
		}
	}
	return hidden
}

// Suppression says how often a filter hid a match of a rule.
type Suppression struct {
	Rule    *Rule
	Filter  *Filter
	Count   uint64
	Expired bool // the filter hides nothing any more
}

// Suppressions returns what the filters did: one entry for each rule that a filter applies to, in
// the order of the rules and within one of the filters.
func (e *Engine) Suppressions() []Suppression {
	var out []Suppression
	for n := range e.rules {
		for _, f := range e.filters[int32(n)] {
			expired := f.expires != 0 && e.now.Load() >= f.expires
			out = append(out, Suppression{e.rules[n], f.filter, f.count.Load(), expired})
		}
	}
	return out
}

// Advance tells the engine what time it is, for filters that expire. Without it none does. Time
// does not go back.
func (e *Engine) Advance(now time.Time) {
	for t := now.UnixNano(); e.dated; {
		old := e.now.Load()
		if t <= old || e.now.CompareAndSwap(old, t) {
			return
		}
	}
}
