package sigma

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Options say how rules are compiled. The zero value compiles without placeholders.
type Options struct {
	// Placeholders are the values of %name% in rules with the modifier expand. Several values
	// are alternatives; wildcards in them are active.
	Placeholders map[string][]string
	// Filters hide matches of the rules they name.
	Filters []*Filter
}

// Engine matches events against a set of rules. It does not change and is safe for concurrent use.
type Engine struct {
	rules     []*Rule
	warnings  []Problem
	trees     []tree   // by rule
	witnesses [][]need // by rule
	atoms     []atom
	slots     []slotSpec
	groups    map[Logsource][]int32 // rules by what they name

	scratch sync.Pool
	routes  atomic.Pointer[map[Logsource]*route]
	widen   sync.Mutex        // held to add a route
	shared  map[string]*route // by the groups they join

	filters map[int32][]attached // by rule
	dated   bool                 // a filter expires
	now     atomic.Int64         // as Advance said
}

// tree is a rule, down to atoms.
type tree struct {
	op   op
	kids []tree
	atom int32
	cost int32
	one  bool  // all atoms are of one slot, so that its value alone decides
	slot int32 // that slot
	bit  int32 // where a memo keeps what a value decides, for trees with kids
	// absent is what an event without the slot decides, where it alone does.
	absent bool
}

// atom is a test that all rules share.
type atom struct {
	*test
	slot, other int32
	bit         int32 // where a memo of its slot keeps the result
}

// slotSpec is a field that rules read.
type slotSpec struct {
	name  string
	id    uint16
	known bool  // to the schema
	all   bool  // every text of the event
	bits  int32 // that a memo of one of its values has
	// searched says that EachText tells its values with its id.
	searched bool
}

// Compile is Options{}.Compile.
func Compile(rules []*Rule, schema Schema) (*Engine, error) {
	return Options{}.Compile(rules, schema)
}

// Compile makes an engine of rules. The engine always holds the rules that are in order; the
// error, if any, is an Errors about the others: unknown placeholders, ids used twice and filters of
// rules that are not there.
func (o Options) Compile(rules []*Rule, schema Schema) (*Engine, error) {
	c := &compiler{
		engine: &Engine{groups: map[Logsource][]int32{}, shared: map[string]*route{}}, schema: schema, values: o.Placeholders,
		atoms: map[string]int32{}, slots: map[string]int32{}, ids: map[string]*Rule{},
	}
	for _, rule := range rules {
		c.add(rule)
	}
	for _, f := range o.Filters {
		c.filter(f)
	}
	e := c.engine
	e.routes.Store(&map[Logsource]*route{})
	e.scratch.New = func() any { return newScratch(e) }
	return e, c.errs.asError()
}

// Rules returns the rules the engine matches, in the order given. It is not to be changed.
func (e *Engine) Rules() []*Rule { return e.rules }

// Warnings returns what is legal but probably not meant: fields the schema does not know. Such
// a field is looked for with Event.Extra.
func (e *Engine) Warnings() []Problem { return e.warnings }

// compiler makes an engine.
type compiler struct {
	engine *Engine
	schema Schema
	values placeholders
	atoms  map[string]int32
	slots  map[string]int32
	ids    map[string]*Rule
	errs   Errors
}

// add compiles one rule, or notes why it cannot.
func (c *compiler) add(rule *Rule) {
	if rule.cond == nil {
		return // not made by Parse
	}
	if first, ok := c.ids[rule.ID]; ok && rule.ID != "" {
		c.fault(rule, rule.at["id"], "give each rule an id of its own",
			"id %s is used twice, first in %s:%d", rule.ID, first.SourceFile, first.LineOf("id"))
		return
	}
	x := &expander{rule: rule, values: rule.vars.with(c.values), left: maxTests}
	e := x.expand(rule.cond)
	if x.bad != nil {
		c.fault(rule, x.pos, x.bad.hint, "%s", x.bad.msg)
		return
	}
	if rule.ID != "" {
		c.ids[rule.ID] = rule
	}
	n := int32(len(c.engine.rules))
	c.engine.rules = append(c.engine.rules, rule)
	t := c.tree(e)
	c.engine.trees = append(c.engine.trees, t)
	c.engine.witnesses = append(c.engine.witnesses, c.witness(&t))
	c.engine.groups[rule.Logsource] = append(c.engine.groups[rule.Logsource], n)
	c.warn(rule)
}

func (c *compiler) fault(rule *Rule, pos position, hint, format string, args ...any) {
	c.errs = append(c.errs, &Error{
		File: rule.SourceFile, Line: pos.line, Col: pos.col,
		Msg: fmt.Sprintf(format, args...), Hint: hint, Source: rule.sourceLine(pos.line),
	})
}

func (c *compiler) warn(rule *Rule) {
	for _, it := range rule.items() {
		for _, name := range it.fields() {
			if _, ok := c.field(name); !ok {
				c.engine.warnings = append(c.engine.warnings, unknownField(&rule.Meta, it, name))
			}
		}
	}
}

func (c *compiler) field(name string) (uint16, bool) {
	if c.schema == nil {
		return 0, false
	}
	return c.schema.Field(name)
}

// maxTests bounds the tests of one rule, counted as often as its condition names them.
const maxTests = 100_000

// expander turns the parsed tree of a rule into tests.
type expander struct {
	left   int // tests that the rule may still have
	rule   *Rule
	values placeholders
	bad    *refusal
	pos    position
}

func (x *expander) expand(n *node) *expr {
	if n.op == opLeaf {
		e, bad := n.item.expr(x.values)
		if bad != nil {
			x.bad, x.pos = bad, n.item.pos
			return &expr{op: opOr}
		}
		if x.left -= e.tests(); x.left < 0 {
			x.bad, x.pos = refuse("split the rule", "the rule stands for more than %d tests", maxTests), n.item.pos
		}
		return e
	}
	e := &expr{op: n.op}
	for _, kid := range n.kids {
		if x.bad == nil {
			e.kids = append(e.kids, x.expand(kid))
		}
	}
	return e
}

// tests returns how many leaves e has.
func (e *expr) tests() int {
	if e.op == opLeaf {
		return 1
	}
	sum := 0
	for _, kid := range e.kids {
		sum += kid.tests()
	}
	return sum
}

// tree interns the tests of e, flattens it and puts what is cheap to tell first.
func (c *compiler) tree(e *expr) tree {
	if e.op == opLeaf {
		n := c.atom(e.test)
		return tree{atom: n, cost: e.test.cost(), one: e.test.kind != likeField, slot: c.engine.atoms[n].slot, absent: e.test.kind == isNull}
	}
	t := tree{op: e.op}
	for _, kid := range e.kids {
		k := c.tree(kid)
		if k.op == e.op && e.op != opNot {
			t.kids = append(t.kids, k.kids...)
		} else {
			t.kids = append(t.kids, k)
		}
	}
	if e.op == opNot {
		return c.close(t)
	}
	if len(t.kids) == 1 {
		return t.kids[0]
	}
	return c.close(c.group(t))
}

// group puts the kids of t that are about one slot together, where there are others, so that its
// value decides them all at once.
func (c *compiler) group(t tree) tree {
	bySlot := map[int32][]tree{}
	for _, k := range t.kids {
		if k.one {
			bySlot[k.slot] = append(bySlot[k.slot], k)
		}
	}
	var kids []tree
	for _, k := range t.kids {
		of := bySlot[k.slot]
		switch {
		case !k.one || len(of) == 1 || len(of) == len(t.kids):
			kids = append(kids, k)
		case len(of) > 1:
			kids = append(kids, c.close(tree{op: t.op, kids: of}))
			bySlot[k.slot] = nil
		}
	}
	t.kids = kids
	return t
}

// close works out what follows from the kids of t.
func (c *compiler) close(t tree) tree {
	if t.slot = -1; len(t.kids) > 0 {
		t.one, t.slot = true, t.kids[0].slot
	}
	for _, k := range t.kids {
		t.cost += k.cost
		t.one = t.one && k.one && k.slot == t.slot
	}
	if t.one {
		t.bit, t.absent = c.bit(t.slot), t.without()
	}
	slices.SortStableFunc(t.kids, func(a, b tree) int { return cmp.Compare(a.cost, b.cost) })
	return t
}

// without returns what the kids of t decide in an event that lacks their field.
func (t *tree) without() bool {
	switch t.op {
	case opNot:
		return !t.kids[0].absent
	case opOr:
		return slices.ContainsFunc(t.kids, func(k tree) bool { return k.absent })
	}
	return !slices.ContainsFunc(t.kids, func(k tree) bool { return !k.absent })
}

// cost is a guess of how long the test takes, to compare tests by.
func (t *test) cost() int32 {
	cost := [...]int32{
		isNull: 1, isThere: 1, hasValue: 1, equals: 2, hasPrefix: 2, hasSuffix: 2, contains: 6,
		ordered: 4, inPrefix: 20, likeField: 8, matchesPattern: 20, matchesRegexp: 400,
	}[t.kind]
	if t.field == "" {
		cost *= 20
	}
	return cost
}

// atom returns the number of a test, the same for equal tests.
func (c *compiler) atom(t *test) int32 {
	key := t.key()
	if n, ok := c.atoms[key]; ok {
		return n
	}
	n := int32(len(c.engine.atoms))
	a := atom{test: t, slot: c.slot(t.field)}
	if t.kind == likeField {
		a.other = c.slot(t.other)
	}
	a.bit = c.bit(a.slot)
	c.engine.atoms = append(c.engine.atoms, a)
	c.atoms[key] = n
	return n
}

// bit gives a memo of the slot's values room for one more result.
func (c *compiler) bit(slot int32) int32 {
	c.engine.slots[slot].bits++
	return c.engine.slots[slot].bits - 1
}

func (c *compiler) slot(name string) int32 {
	if n, ok := c.slots[name]; ok {
		return n
	}
	spec := slotSpec{name: name, all: name == ""}
	if !spec.all {
		spec.id, spec.known = c.field(name)
		by, ok := c.schema.(Searched)
		spec.searched = spec.known && ok && by.Searched(spec.id)
	}
	n := int32(len(c.engine.slots))
	c.engine.slots = append(c.engine.slots, spec)
	c.slots[name] = n
	return n
}
