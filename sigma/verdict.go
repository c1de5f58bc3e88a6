package sigma

import (
	"slices"
	"strings"
)

// truth is what can be told about a part of a rule without an event.
type truth uint8

const (
	maybe truth = iota
	never
	always
)

func (t truth) negated() truth { return [...]truth{maybe: maybe, never: always, always: never}[t] }

// judge tells what a rule says of all events there can be.
type judge struct {
	absent func(field string) bool // no event has the field; nil where any may
	single func(field string) bool // an event has at most one value of the field; nil where it may have several
	schema Schema                  // where it tells which names are of one field; nil where names alone count
}

// verdict tells whether n is the same for all events. It finds the plain contradictions: x and
// not x, x or not x, a field that must be absent and have a value, and texts, lists of texts and
// bounds of one field that leave nothing over.
func (j judge) verdict(n *node) truth {
	switch n.op {
	case opLeaf:
		return j.item(n.item)
	case opNot:
		return j.verdict(n.kids[0]).negated()
	}
	stop, pass := never, always // of and; or is its mirror
	if n.op == opOr {
		stop, pass = always, never
	}
	result := pass
	parts := n.flat(n.op, nil)
	for _, kid := range parts {
		switch j.verdict(kid) {
		case stop:
			return stop
		case maybe:
			result = maybe
		}
		for _, other := range parts {
			if other.op == opNot && other.kids[0] == kid {
				return stop
			}
		}
	}
	if n.op == opAnd && (contradict(parts) || j.empty(parts)) {
		return never
	}
	return result
}

// flat returns the kids of n, and of those kids that combine in the same way as o: with it, or alone.
func (n *node) flat(o op, list []*node) []*node {
	for _, kid := range n.kids {
		list = append(list, kid)
		if kid.op == o || kid.op != opLeaf && kid.op != opNot && len(kid.kids) == 1 {
			list = kid.flat(o, list)
		}
	}
	return list
}

// item tells what an item says of events that lack the fields no event has.
func (j judge) item(it *item) truth {
	if j.absent == nil || it.field == "" || !j.absent(it.field) {
		if j.absent != nil && it.do == doFieldref && !it.expand && !it.neq && all(it.values, func(v value) bool { return v.kind == valueText && j.absent(v.text) }) {
			return never
		}
		return maybe
	}
	switch {
	case it.neq:
		return never // it wants a value
	case it.do == doExists:
		return truthOf(strings.EqualFold(it.values[0].text, "false"))
	case it.all:
		return truthOf(all(it.values, func(v value) bool { return v.kind == valueNull }))
	}
	return truthOf(slices.ContainsFunc(it.values, func(v value) bool { return v.kind == valueNull }))
}

func truthOf(holds bool) truth {
	if holds {
		return always
	}
	return never
}

func all(values []value, is func(value) bool) bool {
	return !slices.ContainsFunc(values, func(v value) bool { return !is(v) })
}

// CanFire reports whether there can be an event that r fires on, if no event has the fields that
// absent names. It errs on the side of true.
func (r *Rule) CanFire(absent func(field string) bool) bool {
	return r.cond == nil || judge{absent: absent}.verdict(r.cond) != never
}

// contradict reports whether a field must be absent and have a value.
func contradict(parts []*node) bool {
	for i, a := range parts {
		for _, b := range parts[:i] {
			if a.op == opLeaf && b.op == opLeaf && a.item.field == b.item.field && a.item.excludes(b.item) {
				return true
			}
		}
	}
	return false
}

// excludes reports whether the two items cannot both be true of a field.
func (it *item) excludes(other *item) bool {
	return it.field != "" && (it.needsValue() && other.needsAbsence() || it.needsAbsence() && other.needsValue())
}

func (it *item) needsAbsence() bool {
	if it.do == doExists {
		return strings.EqualFold(it.values[0].text, "false")
	}
	return it.do == doText && !it.neq && !slices.ContainsFunc(it.values, func(v value) bool { return v.kind != valueNull })
}

func (it *item) needsValue() bool {
	if it.do == doExists || it.all {
		return false
	}
	return it.neq || !slices.ContainsFunc(it.values, func(v value) bool { return v.kind == valueNull })
}
