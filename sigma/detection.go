package sigma

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// op says how the kids of a node combine.
type op uint8

const (
	opLeaf op = iota
	opAnd
	opOr
	opNot
)

// node is a part of what a rule says. A leaf is an item; all others have kids.
type node struct {
	op   op
	kids []*node
	item *item
}

// search is an identifier of the detection section and what it stands for.
type search struct {
	name string
	pos  position
	expr *node
	used bool // by the condition
}

// maxValues bounds the values of one rule.
const maxValues = 10_000

// detection reads the section of that name into rule.searches and rule.cond.
func (r *reader) detection(rule *Rule, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.fault(at(n), "write identifiers and a condition: below it", "detection must be a map, not %s", kindName(n))
		return
	}
	before := len(r.errs)
	var condition *yaml.Node
	left := maxValues
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		rule.at["detection."+key.Value] = at(key)
		switch key.Value {
		case "condition":
			condition = value
		case "timeframe":
			r.fault(at(key), "use a correlation with timespan", "timeframe belongs to the old aggregations")
		default:
			s := &search{name: key.Value, pos: at(key)}
			s.expr = r.search(key.Value, value, &left)
			rule.searches = append(rule.searches, s)
		}
	}
	if left < 0 {
		r.fault(at(n), "split the rule", "the rule has more than %d values", maxValues)
	}
	if condition == nil {
		r.fault(at(n), "add condition: selection", "detection has no condition")
		return
	}
	if len(r.errs) == before {
		rule.cond = r.conditions(rule, condition)
	}
}

// search reads what an identifier stands for.
func (r *reader) search(name string, n *yaml.Node, left *int) *node {
	switch n.Kind {
	case yaml.MappingNode:
		return r.entries(name, n, left)
	case yaml.SequenceNode:
		return r.alternatives(name, n, left)
	}
	return r.keywords([]*yaml.Node{n}, at(n), left)
}

// alternatives reads a list: maps and keywords, any of which will do.
func (r *reader) alternatives(name string, n *yaml.Node, left *int) *node {
	if len(n.Content) == 0 {
		r.fault(at(n), "remove it, or give it values", "%s is an empty list", name)
		return nil
	}
	or := &node{op: opOr}
	var words []*yaml.Node
	for _, kid := range n.Content {
		switch kid.Kind {
		case yaml.MappingNode:
			or.kids = append(or.kids, r.entries(name, kid, left))
		case yaml.ScalarNode:
			words = append(words, kid)
		default:
			r.fault(at(kid), "one list of keywords or maps is enough", "a list inside the list of %s", name)
			return nil
		}
	}
	if len(words) > 0 {
		or.kids = append(or.kids, r.keywords(words, at(words[0]), left))
	}
	return or
}

// keywords reads values that are searched in the whole event.
func (r *reader) keywords(words []*yaml.Node, pos position, left *int) *node {
	it := &item{pos: pos}
	r.finish(it, words, left)
	return &node{item: it}
}

// entries reads a map of field tests, all of which must be true.
func (r *reader) entries(name string, n *yaml.Node, left *int) *node {
	if len(n.Content) == 0 {
		r.fault(at(n), "remove it, or give it a field and a value", "%s is an empty map", name)
		return nil
	}
	and := &node{op: opAnd}
	for i := 0; i+1 < len(n.Content); i += 2 {
		and.kids = append(and.kids, r.fieldTest(n.Content[i], n.Content[i+1], left))
	}
	return and
}

// fieldTest reads "field|modifier: values".
func (r *reader) fieldTest(key, value *yaml.Node, left *int) *node {
	parts := strings.Split(key.Value, "|")
	it := &item{field: parts[0], pos: at(key)}
	for _, m := range parts[1:] {
		it.mods = append(it.mods, strings.TrimSpace(m))
	}
	values := []*yaml.Node{value}
	switch value.Kind {
	case yaml.SequenceNode:
		if it.listed = true; len(value.Content) == 0 {
			r.fault(at(value), "remove it, or give it values", "%s has an empty list", key.Value)
			return nil
		}
		values = value.Content
	case yaml.MappingNode:
		r.fault(at(value), "fields of nested records are written with dots: record.field", "%s has a map where values are expected", key.Value)
		return nil
	}
	r.finish(it, values, left)
	return &node{item: it}
}

// finish gives it its values and checks them against its modifiers.
func (r *reader) finish(it *item, nodes []*yaml.Node, left *int) {
	*left -= len(nodes)
	if *left < 0 {
		return // noted by detection
	}
	if err := it.modify(); err != nil {
		r.fault(it.pos, err.hint, "%s", err.msg)
		return
	}
	for _, n := range nodes {
		if n.Kind != yaml.ScalarNode {
			r.fault(at(n), "values are texts, numbers, true, false or null", "%s where a value is expected", kindName(n))
			return
		}
		v := value{kind: kindOf(n), text: n.Value, pos: at(n)}
		it.values = append(it.values, v)
		if err := it.check(v); err != nil {
			r.fault(v.pos, err.hint, "%s", err.msg)
		}
	}
}

func kindOf(n *yaml.Node) valueKind {
	switch n.ShortTag() {
	case "!!null":
		return valueNull
	case "!!bool":
		return valueBool
	case "!!int", "!!float":
		return valueNumber
	}
	return valueText
}
