package sigma

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// conditions reads the condition, or a list of them, any of which will do.
func (r *reader) conditions(rule *Rule, n *yaml.Node) *node {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	if len(list) == 0 {
		r.fault(at(n), "add condition: selection", "the list of conditions is empty")
		return nil
	}
	or := &node{op: opOr}
	for _, c := range list {
		if c.Kind != yaml.ScalarNode || c.ShortTag() == "!!null" {
			r.fault(at(c), "write it as in: selection and not filter", "a condition must be a text, not %s", kindName(c))
			return nil
		}
		cond, bad := parseCondition(c.Value, rule.searches)
		if bad != nil {
			r.fault(inScalar(c, bad.offset), bad.hint, "%s", bad.msg)
			return nil
		}
		or.kids = append(or.kids, cond)
	}
	return or
}

// inScalar returns the position of an offset in the value of n, as well as it can be told.
func inScalar(n *yaml.Node, offset int) position {
	pos := at(n)
	switch n.Style {
	case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
		offset++
	case yaml.LiteralStyle:
		return position{pos.line + 1 + strings.Count(n.Value[:offset], "\n"), 0}
	case yaml.FoldedStyle:
		return position{pos.line + 1, 0}
	}
	pos.col += offset
	return pos
}

// badCondition says what is wrong with a condition, and where in its text.
type badCondition struct {
	refusal
	offset int
}

// conditionParser reads: or < and < not < 1 of, all of < parentheses.
type conditionParser struct {
	tokens   []condToken
	next     int
	depth    int
	end      int // length of the text
	searches []*search
	bad      *badCondition
}

type condToken struct {
	text   string
	offset int
}

func (t condToken) is(word string) bool { return strings.EqualFold(t.text, word) }

// maxWords bounds the length of a condition.
const maxWords = 2000

// parseCondition reads one condition over the identifiers given and marks those it uses.
func parseCondition(text string, searches []*search) (*node, *badCondition) {
	p := &conditionParser{end: len(text), searches: searches}
	p.scan(text)
	if len(p.tokens) > maxWords {
		p.fail(p.tokens[maxWords], "use 1 of or all of with a pattern", "the condition has more than %d words", maxWords)
		return nil, p.bad
	}
	n := p.or()
	if p.bad == nil && p.next < len(p.tokens) {
		p.fail(p.peek(), "join them with and, or", "unexpected %q", p.peek().text)
	}
	return n, p.bad
}

func (p *conditionParser) fail(t condToken, hint, format string, args ...any) {
	if p.bad == nil {
		p.bad = &badCondition{refusal: *refuse(hint, format, args...), offset: t.offset}
	}
}

// scan splits text into words and parentheses.
func (p *conditionParser) scan(text string) {
	for i := 0; i < len(text); {
		c := text[i]
		t := condToken{offset: i}
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case c == '(' || c == ')':
			t.text = text[i : i+1]
		case c == '|':
			p.fail(t, "use a correlation, such as type: event_count", "aggregations after | are not part of Sigma 2")
			return
		case identByte(c):
			j := i
			for j < len(text) && identByte(text[j]) {
				j++
			}
			t.text = text[i:j]
		default:
			p.fail(t, "use identifiers, and, or, not, 1 of, all of and parentheses", "unexpected character %q", []rune(text[i:])[0])
			return
		}
		p.tokens = append(p.tokens, t)
		i += len(t.text)
	}
}

func identByte(c byte) bool {
	return wordByte(c) || c == '-' || c == '.' || c == '*' || c >= 0x80
}

func (p *conditionParser) peek() condToken {
	if p.next < len(p.tokens) {
		return p.tokens[p.next]
	}
	return condToken{offset: p.end}
}

func (p *conditionParser) take(word string) bool {
	if p.next < len(p.tokens) && p.tokens[p.next].is(word) {
		p.next++
		return true
	}
	return false
}

func (p *conditionParser) or() *node  { return p.chain(opOr, "or", p.and) }
func (p *conditionParser) and() *node { return p.chain(opAnd, "and", p.not) }

func (p *conditionParser) chain(o op, word string, operand func() *node) *node {
	first := operand()
	n := &node{op: o, kids: []*node{first}}
	for p.bad == nil && p.take(word) {
		n.kids = append(n.kids, operand())
	}
	if len(n.kids) == 1 {
		return first
	}
	return n
}

func (p *conditionParser) not() *node {
	if p.depth++; p.depth > maxDepth {
		p.fail(p.peek(), "give parts of it a name of their own", "the condition is nested too deeply")
		return nil
	}
	defer func() { p.depth-- }()
	if p.take("not") {
		return &node{op: opNot, kids: []*node{p.not()}}
	}
	return p.operand()
}

func (p *conditionParser) operand() *node {
	t := p.peek()
	if p.bad != nil || t.text == "" {
		p.fail(t, "add an identifier", "the condition ends where an identifier is expected")
		return nil
	}
	if p.take("(") {
		n := p.or()
		if !p.take(")") {
			p.fail(p.peek(), "close the parenthesis", "a parenthesis is not closed")
		}
		return n
	}
	p.next++
	if p.take("of") {
		return p.quantified(t)
	}
	if slices.ContainsFunc([]string{"and", "or", "not", "of", ")"}, t.is) {
		p.fail(t, "add an identifier", "%q where an identifier is expected", t.text)
		return nil
	}
	for _, s := range p.searches {
		if s.name == t.text {
			s.used = true
			return s.expr
		}
	}
	p.fail(t, "the rule has "+p.names(), "unknown identifier %q", t.text)
	return nil
}

// quantified reads what follows "1 of" or "all of".
func (p *conditionParser) quantified(count condToken) *node {
	n := &node{op: opOr}
	switch {
	case count.is("all"):
		n.op = opAnd
	case !count.is("1") && !count.is("any"):
		p.fail(count, "write 1 of or all of", "%q of is not part of Sigma", count.text)
		return nil
	}
	t := p.peek()
	p.next++
	for _, s := range p.searches {
		if selects(t, s.name) {
			s.used = true
			n.kids = append(n.kids, s.expr)
		}
	}
	if len(n.kids) == 0 {
		p.fail(t, "the rule has "+p.names(), "%q stands for no identifier", t.text)
	}
	return n
}

// selects reports whether "of t" reaches the identifier name. Identifiers that begin with an
// underscore are reached only by patterns that do too.
func selects(t condToken, name string) bool {
	hidden := strings.HasPrefix(name, "_")
	if t.is("them") {
		return !hidden
	}
	if hidden && !strings.HasPrefix(t.text, "_") {
		return false
	}
	var p pattern
	for i, part := range strings.Split(t.text, "*") {
		if i > 0 {
			p = p.add(token{wild: anyRun})
		}
		p = p.add(token{text: part})
	}
	return p.match(name)
}

func (p *conditionParser) names() string {
	var names []string
	for _, s := range p.searches {
		names = append(names, s.name)
	}
	if len(names) == 0 {
		return "no identifiers"
	}
	return shorten(strings.Join(names, ", "))
}
