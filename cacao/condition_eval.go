package cacao

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Operand is a value with its type, one of those that variables have, or timestamp.
type Operand struct {
	Type string
	Text string
}

// Answer is what a condition comes to.
type Answer int

// The answers. Ask means that a person has to be asked, with the text of the condition.
const (
	False Answer = iota
	True
	Ask
)

func (a Answer) String() string { return [...]string{"false", "true", "ask"}[a] }

// Eval evaluates the condition over the variables that its step sees. A variable without a value is
// an error, not false, except for EXISTS; what stands right of a decided AND or OR is not looked at.
func (c *Condition) Eval(vars Variables) (Answer, error) {
	if c.Dialect == Question {
		return Ask, nil
	}
	if c.Observes() {
		return False, fmt.Errorf("condition %q: FOLLOWEDBY, WITHIN, REPEATS and START speak of observations, not of variables", short(c.Text))
	}
	ok, err := truth(c.root, func(p path) ([]Operand, error) { return vars.at(p) })
	if err != nil {
		return False, fmt.Errorf("condition %q: %w", short(c.Text), err)
	}
	if ok {
		return True, nil
	}
	return False, nil
}

// lookup returns the values at a path, or none.
type lookup func(path) ([]Operand, error)

// truth evaluates a node over one set of values; observations are all taken of the same.
func truth(n node, at lookup) (bool, error) {
	switch n := n.(type) {
	case *bracket:
		return truth(n.inside, at)
	case *pair:
		return joined(n.op, n.left, n.right, at)
	case *logic:
		if n.op == "NOT" {
			ok, err := truth(n.left, at)
			return !ok, err
		}
		return joined(n.op, n.left, n.right, at)
	case *test:
		return n.holds(at)
	}
	return false, fmt.Errorf("%T cannot be evaluated here", n)
}

func joined(op string, left, right node, at lookup) (bool, error) {
	ok, err := truth(left, at)
	if err != nil || ok == (op == "OR") {
		return ok, err
	}
	return truth(right, at)
}

// at returns the value of a variable, or of what its keys lead to in a dictionary.
func (v Variables) at(p path) ([]Operand, error) {
	if p.variable == "" {
		return nil, fmt.Errorf("%s is no variable: a playbook has nothing else", p.text)
	}
	x, err := v.Get(p.variable)
	if err != nil {
		return nil, err
	}
	if len(p.keys) == 0 {
		return []Operand{{Type: x.Type, Text: x.Value.Text}}, nil
	}
	tree, err := readTree([]byte(x.Value.Text))
	if err != nil {
		return nil, fmt.Errorf("variable %s: %w", p.variable, err)
	}
	for _, key := range p.keys {
		o, _ := tree.(object)
		inner, has := o[key]
		if !has {
			return nil, fmt.Errorf("%s %w: there is no %q in it", p.text, ErrUnknown, key)
		}
		tree = inner
	}
	return operand(p, tree)
}

func operand(p path, v any) ([]Operand, error) {
	switch v := v.(type) {
	case string:
		return []Operand{{"string", v}}, nil
	case bool:
		return []Operand{{"bool", strconv.FormatBool(v)}}, nil
	case json.Number:
		return []Operand{{numberType(v.String()), v.String()}}, nil
	case []any:
		var out []Operand
		for _, item := range v {
			one, err := operand(p, item)
			if err != nil {
				return nil, err
			}
			out = append(out, one...)
		}
		return out, nil
	case nil:
		return nil, fmt.Errorf("%s %w", p.text, ErrUnknown)
	}
	return nil, fmt.Errorf("%s is an object, which compares with nothing", p.text)
}

// holds evaluates one comparison: it holds where it does so for any of the values at the path.
func (t *test) holds(at lookup) (bool, error) {
	left, err := at(t.path)
	if t.op == "EXISTS" {
		return (err == nil && len(left) > 0) != t.not, nil
	}
	if err != nil {
		return false, err
	}
	right := t.values
	if t.other != nil {
		if right, err = at(*t.other); err != nil {
			return false, err
		}
	}
	for _, l := range left {
		for _, r := range right {
			ok, err := t.one(l, r)
			if err != nil {
				return false, err
			}
			if ok {
				return !t.not, nil
			}
		}
	}
	return t.not && len(left) > 0, nil
}

// one compares one value with one other.
func (t *test) one(l, r Operand) (bool, error) {
	switch t.op {
	case "LIKE", "MATCHES":
		if t.other == nil {
			return t.re.MatchString(l.Text), nil
		}
		prepared := *t
		prepared.other = nil
		if err := (&parser{}).prepare(&prepared, token{}, r.Text); err != nil {
			return false, err
		}
		return prepared.re.MatchString(l.Text), nil
	case "ISSUBSET", "ISSUPERSET":
		return networks(t.op, l.Text, r.Text), nil
	case "IN":
		return order("=", l, r) || networks("ISSUBSET", l.Text, r.Text) && strings.HasPrefix(l.Type, "ipv"), nil
	}
	return order(t.op, l, r), nil
}

// networks says whether the network or address l is a part of r, or the other way round.
func networks(op, l, r string) bool {
	a, err1 := parsePrefix(l)
	b, err2 := parsePrefix(r)
	if op == "ISSUPERSET" {
		a, b = b, a
	}
	return err1 == nil && err2 == nil && b.Bits() <= a.Bits() && b.Contains(a.Addr())
}

// order compares by the type of l. Values that do not compare are unequal, and neither is less.
func order(op string, l, r Operand) bool {
	n, comparable := compare(l, r)
	switch op {
	case "=":
		return comparable && n == 0
	case "!=":
		return !comparable || n != 0
	}
	if !comparable || l.Type == "bool" {
		return false
	}
	switch op {
	case "<":
		return n < 0
	case "<=":
		return n <= 0
	case ">":
		return n > 0
	}
	return n >= 0
}

func compare(l, r Operand) (int, bool) {
	switch l.Type {
	case "integer", "long", "float":
		return numbers(l.Text, r.Text)
	case "bool":
		return strings.Compare(l.Text, strings.ToLower(r.Text)), r.Type == "bool" || r.Type == "string"
	case "ipv4-addr", "ipv6-addr":
		return addresses(l.Text, r.Text)
	case "mac-addr":
		return strings.Compare(bareHex(l.Text), bareHex(r.Text)), true
	case "hash", "md5-hash", "sha256-hash", "hexstring", "uuid":
		return strings.Compare(strings.ToLower(l.Text), strings.ToLower(r.Text)), true
	case "timestamp":
		a, err1 := time.Parse(time.RFC3339Nano, l.Text)
		b, err2 := time.Parse(time.RFC3339Nano, r.Text)
		return a.Compare(b), err1 == nil && err2 == nil
	}
	if r.Type == "bool" {
		return 0, false
	}
	return strings.Compare(l.Text, r.Text), true
}

var hexOnly = strings.NewReplacer(":", "", "-", "", ".", "")

func bareHex(s string) string { return strings.ToLower(hexOnly.Replace(s)) }

// numbers compares whole numbers exactly, others as floating point.
func numbers(l, r string) (int, bool) {
	a, err1 := strconv.ParseInt(l, 10, 64)
	b, err2 := strconv.ParseInt(r, 10, 64)
	if err1 == nil && err2 == nil {
		return cmp.Compare(a, b), true
	}
	x, err1 := strconv.ParseFloat(l, 64)
	y, err2 := strconv.ParseFloat(r, 64)
	return cmp.Compare(x, y), err1 == nil && err2 == nil
}

func addresses(l, r string) (int, bool) {
	a, err1 := parsePrefix(l)
	b, err2 := parsePrefix(r)
	if err1 != nil || err2 != nil || a.Addr().Is4() != b.Addr().Is4() {
		return 0, false
	}
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits())), true
}
