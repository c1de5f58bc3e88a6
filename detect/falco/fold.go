package falco

import (
	"fmt"
	"slices"
	"strings"

	"picket/event"
)

// condOp says what a condition of Sigma is, before it is written as named selections.
type condOp uint8

const (
	isTrue condOp = iota
	isFalse
	isLeaf
	isAnd
	isOr
	isNot
	isLost // a comparison that cannot be told here
)

// cond is a condition over Picket's fields.
type cond struct {
	op    condOp
	kids  []*cond
	leaf  *leaf
	lost  *loss
	label string // the macro that it came from
	sum   string // what id returned
}

// leaf is one entry of a Sigma selection.
type leaf struct {
	field  string
	mods   []string
	values []string
	tag    string // of the values in YAML; "" for text
}

// loss says which comparison was lost and why.
type loss struct {
	check *check
	why   string
	neg   bool // under a not: an exclusion
}

var (
	always = &cond{op: isTrue}
	never  = &cond{op: isFalse}
)

func constant(b bool) *cond {
	if b {
		return always
	}
	return never
}

func (l *leaf) key() string { return strings.Join(append([]string{l.field}, l.mods...), "|") }

func (l *leaf) has(mod string) bool { return slices.Contains(l.mods, mod) }

// merges reports whether two leaves of one key can be one with the values of both under an or.
func (l *leaf) merges() bool {
	alone := slices.ContainsFunc([]string{"neq", "exists", "all", "lt", "lte", "gt", "gte"}, l.has)
	return !alone && l.tag != "!!null"
}

// id is the same for conditions that ask the same in the same words. It is a digest, so that a
// large condition is not written out again for each part that holds it.
func (c *cond) id() string {
	switch c.op {
	case isTrue:
		return "true"
	case isFalse:
		return "false"
	}
	if c.sum != "" {
		return c.sum
	}
	parts := []string{string('0' + rune(c.op))}
	switch c.op {
	case isLeaf:
		parts = append(append(parts, c.leaf.key(), c.leaf.tag), c.leaf.values...)
	case isLost:
		parts = append(parts, c.lost.check.name(), fmt.Sprintf("%p %t", c.lost.check, c.lost.neg))
	}
	for _, kid := range c.kids {
		parts = append(parts, kid.id())
	}
	c.sum = event.HashID(parts...)
	return c.sum
}

// both returns the conjunction, simplified.
func both(kids ...*cond) *cond { return join(isAnd, kids) }

// either returns the disjunction, simplified.
func either(kids ...*cond) *cond { return join(isOr, kids) }

func join(o condOp, kids []*cond) *cond {
	stop, pass := isFalse, isTrue // of and; or is its mirror
	if o == isOr {
		stop, pass = isTrue, isFalse
	}
	var flat []*cond
	seen := map[string]bool{}
	add := func(k *cond) {
		if id := k.id(); !seen[id] {
			seen[id] = true
			flat = append(flat, k)
		}
	}
	for _, k := range kids {
		switch k.op {
		case stop:
			return k
		case pass:
		case o:
			for _, grandkid := range k.kids {
				add(grandkid)
			}
		default:
			add(k)
		}
	}
	flat = mergeLeaves(o, flat)
	if slices.ContainsFunc(flat, func(k *cond) bool { return k.op == stop }) {
		return &cond{op: stop}
	}
	switch len(flat) {
	case 0:
		return &cond{op: pass}
	case 1:
		return flat[0]
	}
	return &cond{op: o, kids: flat}
}

// mergeLeaves makes one leaf of those that test one field in one way: alternatives under an or,
// unwanted values under an and.
func mergeLeaves(o condOp, kids []*cond) []*cond {
	type group struct {
		leaf leaf
		at   int
		seen map[string]bool
		n    int
	}
	groups := map[string]*group{}
	var out []*cond
	for _, k := range kids {
		if k.op != isLeaf || o == isOr && !k.leaf.merges() || o == isAnd && !k.leaf.has("neq") {
			out = append(out, k)
			continue
		}
		key := k.leaf.key() + k.leaf.tag
		g := groups[key]
		if g == nil {
			g = &group{leaf: leaf{field: k.leaf.field, mods: k.leaf.mods, tag: k.leaf.tag}, at: len(out), seen: map[string]bool{}}
			groups[key] = g
			out = append(out, k)
		}
		g.n++
		for _, v := range k.leaf.values {
			if !g.seen[v] {
				g.seen[v] = true
				g.leaf.values = append(g.leaf.values, v)
			}
		}
	}
	for _, g := range groups {
		switch {
		case o == isOr && g.leaf.has("cidr") && !g.leaf.has("neq") && g.seen[everyIPv4] && g.seen[everyIPv6]:
			out[g.at] = always
		case g.n > 1:
			out[g.at] = &cond{op: isLeaf, leaf: &g.leaf, label: out[g.at].label}
		}
	}
	return out
}

// The networks that stand for a whole address family.
const (
	everyIPv4 = "0.0.0.0/0"
	everyIPv6 = "::/0"
)

func negate(k *cond) *cond {
	switch k.op {
	case isTrue:
		return never
	case isFalse:
		return always
	case isNot:
		return k.kids[0]
	case isLeaf:
		if k.leaf.tag == "!!null" {
			return exists(k.leaf.field).named(k.label)
		}
		if k.leaf.has("exists") {
			return absent(k.leaf.field).named(k.label)
		}
	}
	return &cond{op: isNot, kids: []*cond{k}}
}

// without returns c with what was lost taken as false, as Falco takes a field that is not there.
func (c *cond) without() *cond {
	switch c.op {
	case isLost:
		return never
	case isNot:
		return negate(c.kids[0].without()).named(c.label)
	case isAnd, isOr:
		kids := make([]*cond, len(c.kids))
		for i, k := range c.kids {
			kids[i] = k.without()
		}
		return join(c.op, kids).named(c.label)
	}
	return c
}

// losses returns what was lost below c.
func (c *cond) losses() []*loss {
	if c.op == isLost {
		return []*loss{c.lost}
	}
	var out []*loss
	for _, k := range c.kids {
		out = append(out, k.losses()...)
	}
	return out
}

// named returns c with a label where it has none.
func (c *cond) named(label string) *cond {
	if label == "" || c.label != "" || c.op == isTrue || c.op == isFalse || c.op == isLost {
		return c
	}
	n := *c
	n.label = label
	return &n
}
