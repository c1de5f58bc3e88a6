package falco

import (
	"fmt"
	"slices"
	"strings"
)

// op says what a node of a condition is.
type op uint8

const (
	opAnd op = iota
	opOr
	opNot
	opCheck // one comparison
	opMacro // a name, until it is expanded
)

// node is a part of a Falco condition. Trees share nodes once macros are expanded, and are not
// changed after that.
type node struct {
	op     op
	kids   []*node
	check  *check
	macro  string // opMacro: its name; otherwise the macro or exception that the node came from
	offset int
	size   int // comparisons below, counted as often as they are reached
	depth  int
}

// check is one comparison of a field.
type check struct {
	field  string // proc.aname
	arg    string // 2 of proc.aname[2], "" without
	hasArg bool
	change []string // transformers, outermost first
	op     string   // = != < <= > >= in contains …
	values []value
	other  *check // val(field) on the right side
	place  position
}

// value is one value of a comparison, or the name of a list before it is expanded.
type value struct {
	text   string
	quoted bool
}

// name returns the field as written.
func (c *check) name() string {
	if c.hasArg {
		return c.field + "[" + c.arg + "]"
	}
	return c.field
}

// String returns the comparison as Falco writes it, cut to what fits a message.
func (c *check) String() string {
	texts := make([]string, 0, 4)
	for i, v := range c.values {
		if i == 3 {
			texts = append(texts, "…")
			break
		}
		texts = append(texts, v.text)
	}
	right := strings.Join(texts, ", ")
	if c.other != nil {
		right = "val(" + c.other.name() + ")"
	}
	return shorten(strings.TrimSpace(c.name()+" "+c.op+" "+right), 80)
}

// Bounds on one condition. Falco itself stops at a depth of 100.
const (
	maxDepth     = 100
	maxCondition = 1 << 20 // bytes
)

// The operators by what follows them.
var (
	textOps   = []string{"glob", "iglob", "contains", "icontains", "bcontains", "startswith", "istartswith", "bstartswith", "endswith", "iendswith", "regex"}
	listOps   = []string{"in", "intersects", "pmatch"}
	transform = []string{"tolower", "toupper", "b64", "basename", "len"}
)

type parser struct {
	lexer
	depth int
}

// parseCondition reads a condition. It returns either a tree or what is wrong.
func parseCondition(text string) (*node, *fault) {
	if len(text) > maxCondition {
		return nil, &fault{0, fmt.Sprintf("the condition is longer than %d bytes", maxCondition), "split the rule"}
	}
	p := &parser{lexer: lexer{text: text}}
	n, bad := p.or()
	if bad != nil {
		return nil, bad
	}
	t, bad := p.next()
	if bad == nil && t.kind != tokEnd {
		bad = &fault{t.offset, "unexpected " + t.describe(), "join comparisons with and, or"}
	}
	if bad != nil {
		return nil, bad
	}
	return n, nil
}

func (p *parser) peek() (token, *fault) {
	before := p.pos
	t, bad := p.next()
	p.pos = before
	return t, bad
}

// accept takes the next token where it is that word.
func (p *parser) accept(word string) bool {
	t, bad := p.peek()
	if bad != nil || !t.is(word) {
		return false
	}
	p.pos = t.end
	return true
}

func (p *parser) or() (*node, *fault)  { return p.chain(opOr, "or", p.and) }
func (p *parser) and() (*node, *fault) { return p.chain(opAnd, "and", p.not) }

func (p *parser) chain(o op, word string, operand func() (*node, *fault)) (*node, *fault) {
	first, bad := operand()
	if bad != nil {
		return nil, bad
	}
	n := &node{op: o, kids: []*node{first}, offset: first.offset}
	for p.accept(word) {
		kid, bad := operand()
		if bad != nil {
			return nil, bad
		}
		n.kids = append(n.kids, kid)
	}
	if len(n.kids) == 1 {
		return first, nil
	}
	return n, nil
}

func (p *parser) not() (*node, *fault) {
	p.blank()
	start, negated := p.pos, false
	for p.accept("not") {
		negated = !negated
	}
	n, bad := p.operand()
	if bad != nil || !negated {
		return n, bad
	}
	return &node{op: opNot, kids: []*node{n}, offset: start}, nil
}

func (p *parser) operand() (*node, *fault) {
	t, bad := p.next()
	if bad != nil {
		return nil, bad
	}
	if t.kind == tokOpen {
		return p.group(t)
	}
	if t.kind != tokWord || slices.Contains([]string{"and", "or", "not"}, t.text) {
		return nil, &fault{t.offset, t.describe() + " where a comparison is expected", "write a field and an operator, the name of a macro, or a parenthesis"}
	}
	if slices.Contains(transform, t.text) {
		if after, _ := p.peek(); after.kind == tokOpen {
			return p.comparison(t)
		}
	}
	if strings.Contains(t.text, ".") || strings.Contains(t.text, "[") {
		return p.comparison(t)
	}
	return &node{op: opMacro, macro: t.text, offset: t.offset}, nil
}

func (p *parser) group(open token) (*node, *fault) {
	if p.depth++; p.depth > maxDepth {
		return nil, &fault{open.offset, fmt.Sprintf("the condition is nested more than %d deep", maxDepth), "give parts of it a name with a macro"}
	}
	defer func() { p.depth-- }()
	n, bad := p.or()
	if bad != nil {
		return nil, bad
	}
	t, bad := p.next()
	if bad != nil {
		return nil, bad
	}
	if t.kind != tokClose {
		return nil, &fault{open.offset, "the parenthesis is not closed: " + t.describe() + " where ) is expected", "close it, or join with and, or"}
	}
	return n, nil
}

// comparison reads what follows a field, with the token of the field already taken.
func (p *parser) comparison(t token) (*node, *fault) {
	c := &check{}
	if bad := p.left(c, t); bad != nil {
		return nil, bad
	}
	n := &node{op: opCheck, check: c, offset: t.offset, size: 1, depth: 1}
	t, bad := p.next()
	if bad != nil {
		return nil, bad
	}
	c.op = t.text
	switch {
	case t.is("exists"):
		return n, nil
	case t.kind == tokOp && t.text != "!" || t.kind == tokWord && slices.Contains(textOps, t.text):
		if c.op == "==" {
			c.op = "="
		}
		return n, p.right(c)
	case t.kind == tokWord && slices.Contains(listOps, t.text):
		return n, p.list(c)
	}
	known := "known are = != < <= > >= exists " + strings.Join(listOps, " ") + " " + strings.Join(textOps, " ")
	if t.kind == tokEnd {
		return nil, &fault{t.offset, "the condition ends where an operator is expected", known}
	}
	return nil, &fault{t.offset, "unknown operator " + t.describe(), known}
}

// left reads a field, or a transformer around one.
func (p *parser) left(c *check, t token) *fault {
	for slices.Contains(transform, t.text) {
		open, bad := p.next()
		if bad != nil {
			return bad
		}
		if open.kind != tokOpen {
			return &fault{open.offset, open.describe() + " where ( is expected", "write " + t.text + "(field)"}
		}
		if c.change = append(c.change, t.text); len(c.change) > 8 {
			return &fault{t.offset, "too many transformers", "one or two are enough"}
		}
		if t, bad = p.next(); bad != nil {
			return bad
		}
	}
	if bad := c.setField(t); bad != nil {
		return bad
	}
	for range c.change {
		shut, bad := p.next()
		if bad != nil {
			return bad
		}
		if shut.kind != tokClose {
			return &fault{shut.offset, shut.describe() + " where ) is expected", "close the parenthesis of the transformer"}
		}
	}
	return nil
}

func (c *check) setField(t token) *fault {
	c.field = t.text
	if i := strings.IndexByte(t.text, '['); i >= 0 {
		c.field, c.arg, c.hasArg = t.text[:i], strings.Trim(t.text[i+1:len(t.text)-1], `"'`), true
	}
	if t.kind != tokWord || !strings.Contains(c.field, ".") || strings.HasPrefix(c.field, ".") || strings.HasSuffix(c.field, ".") {
		return &fault{t.offset, t.describe() + " where a field is expected", "fields are such as proc.name or fd.name"}
	}
	return nil
}

// right reads the single value after an operator, or val(field).
func (p *parser) right(c *check) *fault {
	t, bad := p.value()
	if bad != nil {
		return bad
	}
	if t.is("val") {
		if open, _ := p.peek(); open.kind == tokOpen {
			p.pos = open.end
			return p.fieldValue(c)
		}
	}
	if t.kind != tokWord && t.kind != tokQuoted {
		return &fault{t.offset, t.describe() + " where a value is expected", "quote values that have blanks, commas, quotes or parentheses"}
	}
	c.values = []value{{t.text, t.kind == tokQuoted}}
	return nil
}

func (p *parser) fieldValue(c *check) *fault {
	t, bad := p.next()
	if bad != nil {
		return bad
	}
	c.other = &check{}
	if bad := p.left(c.other, t); bad != nil {
		return bad
	}
	if t, bad = p.next(); bad == nil && t.kind != tokClose {
		bad = &fault{t.offset, t.describe() + " where ) is expected", "write val(field)"}
	}
	return bad
}

// list reads (a, b, c), or the name of one list.
func (p *parser) list(c *check) *fault {
	t, bad := p.value()
	if bad != nil {
		return bad
	}
	if t.kind == tokWord {
		c.values = []value{{text: t.text}}
		return nil
	}
	if t.kind != tokOpen {
		return &fault{t.offset, t.describe() + " where a list is expected", "write (a, b, c)"}
	}
	open := t
	for {
		if t, bad = p.value(); bad != nil {
			return bad
		}
		if t.kind == tokClose && len(c.values) == 0 {
			return nil
		}
		if t.kind != tokWord && t.kind != tokQuoted {
			return &fault{t.offset, t.describe() + " where a value is expected", "write (a, b, c), with quotes around values that have blanks"}
		}
		c.values = append(c.values, value{t.text, t.kind == tokQuoted})
		if t, bad = p.next(); bad != nil {
			return bad
		}
		switch t.kind {
		case tokClose:
			return nil
		case tokComma:
		case tokEnd:
			return &fault{open.offset, "the parenthesis of the list is not closed", "close it"}
		default:
			return &fault{t.offset, t.describe() + " where , or ) is expected", "separate values by commas"}
		}
	}
}
