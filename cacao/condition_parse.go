package cacao

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// qualified is an observation with a bound on its times or its number.
type qualified struct {
	inside      node
	within      float64 // seconds, or 0
	repeats     int     // or 0
	start, stop time.Time
}

// parser reads the tokens of a condition in one dialect.
type parser struct {
	text  string
	toks  []token
	at    int
	depth int
	loose bool
}

func (p *parser) peek() token { return p.toks[p.at] }

func (p *parser) take() token {
	t := p.toks[p.at]
	if t.kind != endToken {
		p.at++
	}
	return t
}

func (p *parser) errorf(t token, format string, args ...any) *ConditionError {
	return columnError(p.text, t.from, format, args...)
}

func (p *parser) broken(t token, format string, args ...any) error {
	e := p.errorf(t, format, args...)
	e.broken = true
	return e
}

// is reports whether the next token is a sign, or a word that the grammar has; loosely in any case.
func (p *parser) is(words ...string) bool {
	t := p.peek()
	switch t.kind {
	case signToken:
		return slices.Contains(words, t.text)
	case wordToken:
		word := t.text
		if p.loose {
			word = strings.ToUpper(word)
		}
		return slices.Contains(words, word)
	}
	return false
}

func (p *parser) accept(words ...string) bool {
	if p.is(words...) {
		p.at++
		return true
	}
	return false
}

func (p *parser) expect(sign string) error {
	if p.accept(sign) {
		return nil
	}
	return p.errorf(p.peek(), "expected %q, found %s", sign, p.found())
}

func (p *parser) found() string {
	t := p.peek()
	if t.kind == endToken {
		return "the end"
	}
	return strconv.Quote(p.text[t.from:t.to])
}

// all reads the whole text, as observations or as a comparison.
func (p *parser) all(observations bool) (node, error) {
	read := p.or
	if observations {
		read = p.followed
	}
	n, err := read()
	if err == nil && p.peek().kind != endToken {
		err = p.errorf(p.peek(), "expected an operator or the end, found %s", p.found())
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (p *parser) deeper() error {
	if p.depth++; p.depth > maxNesting {
		return p.broken(p.peek(), "nested deeper than %d levels", maxNesting)
	}
	return nil
}

// followed, either and both read observations: AND binds tighter than OR, that tighter than FOLLOWEDBY.
func (p *parser) followed() (node, error) { return p.pairs("FOLLOWEDBY", p.either) }
func (p *parser) either() (node, error)   { return p.pairs("OR", p.both) }
func (p *parser) both() (node, error)     { return p.pairs("AND", p.observation) }

func (p *parser) pairs(op string, operand func() (node, error)) (node, error) {
	left, err := operand()
	for err == nil && p.accept(op) {
		var right node
		right, err = operand()
		left = &pair{op, left, right}
	}
	return left, err
}

func (p *parser) observation() (node, error) {
	var n node
	var err error
	switch {
	case p.accept("["):
		if n, err = p.or(); err == nil {
			n, err = &bracket{n}, p.expect("]")
		}
	case p.accept("("):
		if err = p.deeper(); err != nil {
			return nil, err
		}
		if n, err = p.followed(); err == nil {
			err = p.expect(")")
		}
		p.depth--
	default:
		err = p.errorf(p.peek(), "expected an observation in brackets, found %s", p.found())
	}
	for err == nil && p.is("WITHIN", "REPEATS", "START") {
		n, err = p.qualifier(n)
	}
	return n, err
}

func (p *parser) qualifier(inside node) (node, error) {
	q := &qualified{inside: inside}
	switch p.take().text {
	case "WITHIN":
		t := p.take()
		f, err := strconv.ParseFloat(t.text, 64)
		if t.kind != numberToken || err != nil || f <= 0 {
			return nil, p.broken(t, "WITHIN wants a number of seconds above 0")
		}
		q.within = f
		return q, p.expect("SECONDS")
	case "REPEATS":
		t := p.take()
		n, err := strconv.Atoi(t.text)
		if t.kind != numberToken || err != nil || n <= 0 {
			return nil, p.broken(t, "REPEATS wants a whole number above 0")
		}
		q.repeats = n
		return q, p.expect("TIMES")
	}
	var err error
	if q.start, err = p.time(); err != nil {
		return nil, err
	}
	if err := p.expect("STOP"); err != nil {
		return nil, err
	}
	t := p.peek()
	if q.stop, err = p.time(); err != nil {
		return nil, err
	}
	if !q.start.Before(q.stop) {
		return nil, p.broken(t, "STOP must be after START")
	}
	return q, nil
}

func (p *parser) time() (time.Time, error) {
	t := p.take()
	if t.kind != timeToken {
		return time.Time{}, p.broken(t, "expected a timestamp such as t'2026-01-31T08:00:00Z'")
	}
	return time.Parse(time.RFC3339Nano, t.text)
}

// or and and read comparisons: AND binds tighter than OR.
func (p *parser) or() (node, error)  { return p.logic("OR", "||", p.and) }
func (p *parser) and() (node, error) { return p.logic("AND", "&&", p.comparison) }

func (p *parser) logic(op, sign string, operand func() (node, error)) (node, error) {
	left, err := operand()
	for err == nil && (p.accept(op) || p.loose && p.accept(sign)) {
		var right node
		right, err = operand()
		left = &logic{op, left, right}
	}
	return left, err
}

func (p *parser) comparison() (node, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	switch {
	case p.accept("("):
		n, err := p.or()
		if err != nil {
			return nil, err
		}
		return n, p.expect(")")
	case p.loose && p.accept("!", "NOT"):
		n, err := p.comparison()
		return &logic{op: "NOT", left: n}, err
	case p.accept("EXISTS"):
		at, err := p.path()
		return &test{path: at, op: "EXISTS"}, err
	case p.accept("NOT"): // NOT EXISTS
		if err := p.expect("EXISTS"); err != nil {
			return nil, err
		}
		at, err := p.path()
		return &test{path: at, op: "EXISTS", not: true}, err
	}
	return p.test()
}

// operators of a comparison; the loose dialect has three more names for two of them.
var operators = []string{"=", "!=", "<", "<=", ">", ">=", "IN", "LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET"}

func (p *parser) test() (node, error) {
	at, err := p.path()
	if err != nil {
		return nil, err
	}
	t := &test{path: at, not: p.accept("NOT")}
	switch {
	case p.is(operators...):
		t.op = strings.ToUpper(p.take().text)
	case p.is("=="):
		if !p.loose {
			return nil, p.errorf(p.peek(), "STIX compares with one =")
		}
		p.take()
		t.op = "="
	case p.is("<>"): // STIX has it as another way to write !=
		p.take()
		t.op = "!="
	case p.loose && !t.not && at.variable != "":
		t.op, t.values = "=", []Operand{{Type: "bool", Text: "true"}}
		return t, nil
	default:
		return nil, p.errorf(p.peek(), "expected a comparison, found %s", p.found())
	}
	return t, p.right(t)
}

// right reads what a test compares with, and prepares it.
func (p *parser) right(t *test) error {
	at := p.peek()
	if t.op == "IN" {
		if err := p.expect("("); err != nil {
			return err
		}
		for {
			v, err := p.literal()
			if err != nil {
				return err
			}
			t.values = append(t.values, v)
			if !p.accept(",") {
				break
			}
		}
		return p.expect(")")
	}
	if p.loose && p.atPath() {
		other, err := p.path()
		t.other = &other
		return err
	}
	v, err := p.literal()
	if err != nil {
		return err
	}
	t.values = []Operand{v}
	return p.prepare(t, at, v.Text)
}

// prepare compiles what LIKE, MATCHES and the relations of networks compare with.
func (p *parser) prepare(t *test, at token, text string) error {
	var err error
	switch t.op {
	case "LIKE":
		t.re = like(text)
	case "MATCHES":
		if t.re, err = regexp.Compile(text); err != nil {
			why := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
			return p.broken(at, "the regular expression cannot be used: %s; look-around and back-references do not exist here (RE2)", why)
		}
	case "ISSUBSET", "ISSUPERSET":
		if t.net, err = parsePrefix(text); err != nil {
			return p.broken(at, "%q is no address or network such as 10.0.0.0/8", text)
		}
	}
	return nil
}

// like makes a regular expression of a LIKE pattern: % is any text, _ any one character.
func like(pattern string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for _, r := range pattern {
		switch r {
		case '%':
			b.WriteString(".*")
		case '_':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return regexp.MustCompile(b.String() + `\z`)
}

var literalTypes = map[tokenKind]string{textToken: "string", hexToken: "hexstring", binaryToken: "hexstring", timeToken: "timestamp"}

// literal reads a constant; loosely, a word or an address without quotes is a text.
func (p *parser) literal() (Operand, error) {
	t := p.take()
	switch kind, known := literalTypes[t.kind]; {
	case t.double && !p.loose:
		return Operand{}, p.errorf(t, "STIX writes texts in single quotes")
	case known:
		return Operand{Type: kind, Text: t.text}, nil
	case t.kind == wordToken && (t.text == "true" || t.text == "false"):
		return Operand{Type: "bool", Text: t.text}, nil
	case !p.loose && t.kind == numberToken:
		return Operand{Type: numberType(t.text), Text: t.text}, nil
	case !p.loose || t.kind != numberToken && t.kind != wordToken:
		p.at = max(p.at-1, 0)
		return Operand{}, p.errorf(t, "expected a value, found %s", p.found())
	}
	end := t.to
	for p.peek().from == end && p.peek().kind != endToken && !p.is(")", ",", "]", "&&", "||") { // 10.0.0.1, a:b, host.name
		end = p.take().to
	}
	text := p.text[t.from:end]
	if t.kind == numberToken && end == t.to {
		return Operand{Type: numberType(text), Text: text}, nil
	}
	if lower := strings.ToLower(text); lower == "true" || lower == "false" {
		return Operand{Type: "bool", Text: lower}, nil
	}
	return Operand{Type: "string", Text: text}, nil
}

func numberType(s string) string {
	if strings.Contains(s, ".") {
		return "float"
	}
	return "long"
}
