package sigma

import "strings"

// mostPairs bounds how many pairs of parts of two rules are compared.
const mostPairs = 10_000

// Covered reports whether x fires on every event that r fires on, their log sources aside, so that
// nothing of r is left where x takes away. It errs on the side of false. The schema may be nil.
func (r *Rule) Covered(x *Rule, schema Schema) bool {
	if r.cond == nil || x.cond == nil {
		return false
	}
	j := judge{schema: schema}
	if s, ok := schema.(SingleValued); ok {
		j.single = s.Single
	}
	left := mostPairs
	return j.verdict(r.cond) != never && j.covered(r.cond, x.cond, &left)
}

// covered reports whether there can be no event of which r is true and x is not.
func (j judge) covered(r, x *node, left *int) bool {
	if *left--; *left < 0 {
		return false
	}
	if x.op == opAnd { // each part is true
		for _, kid := range x.kids {
			if !j.covered(r, kid, left) {
				return false
			}
		}
		return true
	}
	if r.op == opOr { // whichever is true
		for _, kid := range r.kids {
			if !j.covered(kid, x, left) {
				return false
			}
		}
		return true
	}
	if x.op == opOr {
		for _, kid := range x.kids {
			if j.covered(r, kid, left) {
				return true
			}
		}
	}
	other := &node{op: opNot, kids: []*node{x}}
	if x.op == opNot {
		other = x.kids[0]
	}
	return j.verdict(&node{op: opAnd, kids: []*node{r, other}}) == never
}

// within reports whether each text that p matches is matched by q. It errs on the side of false.
func (p pattern) within(q pattern) bool {
	if text, plain := p.plain(); plain {
		return q.match(text)
	}
	lit, front, back := q.edges()
	switch e := p.ends(); {
	case p.equal(q):
		return true
	case lit == nil:
		return false
	case front && back:
		for _, t := range p {
			if t.wild == literal && strings.Contains(t.text, *lit) {
				return true
			}
		}
		return *lit == ""
	case front:
		return strings.HasSuffix(e.last, *lit)
	case back:
		return strings.HasPrefix(e.first, *lit)
	}
	return false
}

// edges returns the literal of a pattern that has one at most, and whether it may be preceded and
// followed by anything; nil where it is of another form.
func (p pattern) edges() (lit *string, front, back bool) {
	text := ""
	for i, t := range p {
		switch {
		case t.wild == literal && text == "":
			text = t.text
		case t.wild == anyRun && i == 0:
			front = true
		case t.wild == anyRun && i == len(p)-1:
			back = true
		default:
			return nil, false, false
		}
	}
	if text == "" && len(p) == 1 {
		back = true // a run alone is open at both ends
	}
	return &text, front, back
}

func (p pattern) equal(q pattern) bool {
	if len(p) != len(q) {
		return false
	}
	for i := range p {
		if p[i] != q[i] || p[i].wild == variable {
			return false
		}
	}
	return true
}
