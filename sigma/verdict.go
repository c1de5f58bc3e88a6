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

// verdict tells whether n is the same for all events. It finds the plain contradictions: x and
// not x, x or not x, and a field that must be absent and have a value.
func (n *node) verdict() truth {
	switch n.op {
	case opLeaf:
		return maybe
	case opNot:
		return n.kids[0].verdict().negated()
	}
	stop, pass := never, always // of and; or is its mirror
	if n.op == opOr {
		stop, pass = always, never
	}
	result := pass
	parts := n.flat(nil)
	for _, kid := range parts {
		switch kid.verdict() {
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
	if n.op == opAnd && contradict(parts) {
		return never
	}
	return result
}

// flat returns the kids of n, and of those kids that combine in the same way.
func (n *node) flat(list []*node) []*node {
	for _, kid := range n.kids {
		switch {
		case kid.op == n.op || kid.op != opNot && len(kid.kids) == 1:
			list = kid.flat(append(list, kid))
		default:
			list = append(list, kid)
		}
	}
	return list
}

// contradict reports whether a field must be absent and have a value. Two different texts do not
// contradict each other: a field may have several values.
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
