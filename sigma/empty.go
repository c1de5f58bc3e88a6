package sigma

import "strings"

// choice is a set of texts, one of which a field must have.
type choice struct {
	field string
	cased bool
	texts []pattern // folded
}

// most bounds the comparisons between the texts of one rule: linting is not to take long.
const most = 100_000

// empty reports whether the parts of an and leave no text over that a field could have. Of a field
// that may have several values only what a filter takes away altogether counts.
func (j judge) empty(parts []*node) bool {
	var want, not []choice
	var bounds []*item
	for _, part := range parts {
		leaf, negated := part, part.op == opNot
		for leaf.op != opLeaf && len(leaf.kids) == 1 && (leaf.op != opNot || leaf == part) {
			leaf = leaf.kids[0]
		}
		switch {
		case leaf.op != opLeaf:
		case negated:
			if c := leaf.item.choices(); len(c) == 1 && !c[0].cased {
				not = append(not, c[0])
			}
		case leaf.item.do == doCompare && leaf.item.part == noPart && len(leaf.item.values) == 1 && !leaf.item.expand:
			bounds = append(bounds, leaf.item)
		default:
			want = append(want, leaf.item.choices()...)
		}
	}
	j.oneName(want, not)
	left := most
	for _, c := range want {
		if j.nothingLeft(c, want, not, &left) {
			return true
		}
	}
	for _, a := range bounds {
		for _, b := range bounds {
			if a.field == b.field && j.isSingle(a.field) && apart(a, b) {
				return true
			}
		}
	}
	return false
}

// oneName calls fields that the schema knows by two names by one of them.
func (j judge) oneName(lists ...[]choice) {
	if j.schema == nil {
		return
	}
	names := map[uint16]string{}
	for _, list := range lists {
		for i := range list {
			id, ok := j.schema.Field(list[i].field)
			if !ok {
				continue
			}
			if names[id] == "" {
				names[id] = list[i].field
			}
			list[i].field = names[id]
		}
	}
}

func (j judge) isSingle(field string) bool { return j.single != nil && j.single(field) }

// choices returns what a text item asks of its field; none where that is not a matter of text.
func (it *item) choices() []choice {
	if it.do != doText || it.neq || it.expand || it.field == "" {
		return nil
	}
	var list []choice
	for i, v := range it.values {
		pats, bad := it.patterns(v, nil)
		if v.kind == valueNull || bad != nil {
			return nil
		}
		if i == 0 || it.all {
			list = append(list, choice{field: it.field, cased: it.cased})
		}
		c := &list[len(list)-1]
		for _, p := range pats {
			c.texts = append(c.texts, p.fold())
		}
	}
	return list
}

// nothingLeft reports whether no text of c is one that the others allow too.
func (j judge) nothingLeft(c choice, want, not []choice, left *int) bool {
	for _, p := range c.texts {
		if !j.excluded(c.field, p, want, not, left) {
			return false
		}
	}
	return len(c.texts) > 0
}

// excluded reports whether p is none of the texts wanted of its field, or one that is filtered out.
func (j judge) excluded(field string, p pattern, want, not []choice, left *int) bool {
	for _, n := range not {
		for _, q := range n.texts {
			if *left--; *left < 0 {
				return false
			}
			if n.field == field && p.within(q) {
				return true
			}
		}
	}
	if !j.isSingle(field) {
		return false
	}
	for _, w := range want {
		if w.field != field {
			continue
		}
		apart := true
		for _, q := range w.texts {
			if *left--; *left < 0 {
				return false
			}
			if apart = disjoint(p, q); !apart {
				break
			}
		}
		if apart {
			return true
		}
	}
	return false
}

// plain returns the text of a pattern without wildcards.
func (p pattern) plain() (string, bool) {
	switch {
	case len(p) == 0:
		return "", true
	case len(p) == 1 && p[0].wild == literal:
		return p[0].text, true
	}
	return "", false
}

// disjoint reports whether no text matches both patterns. It errs on the side of false.
func disjoint(p, q pattern) bool {
	if text, ok := p.plain(); ok {
		return !q.match(text)
	}
	if text, ok := q.plain(); ok {
		return !p.match(text)
	}
	a, b := p.ends(), q.ends()
	return !strings.HasPrefix(a.first, b.first) && !strings.HasPrefix(b.first, a.first) ||
		!strings.HasSuffix(a.last, b.last) && !strings.HasSuffix(b.last, a.last)
}

// ends are the texts that a pattern with wildcards begins and ends with, "" for any.
type ends struct{ first, last string }

func (p pattern) ends() ends {
	var e ends
	if p[0].wild == literal {
		e.first = p[0].text
	}
	if last := p[len(p)-1]; last.wild == literal {
		e.last = last.text
	}
	return e
}

// apart reports whether no number is below the bound a and above the bound b.
func apart(a, b *item) bool {
	upper, ok := ruleNumber(a.values[0])
	lower, ok2 := ruleNumber(b.values[0])
	if !ok || !ok2 || a.cmp != less && a.cmp != lessEqual || b.cmp != greater && b.cmp != greaterEqual {
		return false
	}
	order := upper.compare(lower)
	return order < 0 || order == 0 && (a.cmp == less || b.cmp == greater)
}
