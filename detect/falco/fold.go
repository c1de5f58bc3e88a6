package falco

import (
	"fmt"
	"slices"
	"strings"
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
	for _, m := range []string{"neq", "exists", "all", "lt", "lte", "gt", "gte"} {
		if l.has(m) {
			return false
		}
	}
	return l.tag != "!!null"
}

// text tells conditions apart.
func (c *cond) text() string {
	switch c.op {
	case isLeaf:
		return fmt.Sprintf("%s:%q:%s", c.leaf.key(), c.leaf.values, c.leaf.tag)
	case isLost:
		return "lost:" + c.lost.check.String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d(", c.op)
	for _, kid := range c.kids {
		b.WriteString(kid.text())
		b.WriteByte(',')
	}
	b.WriteByte(')')
	return b.String()
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
		if t := k.text(); !seen[t] {
			seen[t] = true
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
	first := map[string]int{}
	var out []*cond
	for _, k := range kids {
		if k.op != isLeaf || o == isOr && !k.leaf.merges() || o == isAnd && !k.leaf.has("neq") {
			out = append(out, k)
			continue
		}
		i, ok := first[k.leaf.key()]
		if !ok || out[i].leaf.tag != k.leaf.tag {
			first[k.leaf.key()] = len(out)
			out = append(out, k)
			continue
		}
		merged := *out[i].leaf
		merged.values = slices.Clone(merged.values)
		for _, v := range k.leaf.values {
			if !slices.Contains(merged.values, v) {
				merged.values = append(merged.values, v)
			}
		}
		out[i] = &cond{op: isLeaf, leaf: &merged, label: out[i].label}
		if o == isOr && merged.has("cidr") && slices.Contains(merged.values, everyIPv4) && slices.Contains(merged.values, everyIPv6) {
			out[i] = always
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
