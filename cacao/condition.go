package cacao

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Dialect is how a condition is written.
type Dialect string

// The dialects, from the strictest to none at all.
const (
	STIX       Dialect = "stix"       // [__x__:value = '1'], the STIX patterning language
	Comparison Dialect = "comparison" // the same without the brackets
	Loose      Dialect = "loose"      // ==, words without quotes, a variable alone
	Question   Dialect = "question"   // text for a person, who answers it
)

// Condition is a condition that was read. It says what it was taken for: show that before it is used.
type Condition struct {
	Text    string
	Dialect Dialect
	Warning string // why a text that looks like an expression is taken for a question

	root node
}

// node is a part of a condition: *logic, *test, *bracket, *pair or *qualified.
type node any

// logic joins two comparisons by AND or OR, or turns one around by NOT (right is nil).
type logic struct {
	op          string
	left, right node
}

// test compares what stands at a path with literals, or with another path.
type test struct {
	path   path
	not    bool
	op     string // = != < <= > >= IN LIKE MATCHES ISSUBSET ISSUPERSET EXISTS
	values []Operand
	other  *path
	re     *regexp.Regexp // for LIKE and MATCHES
	net    netip.Prefix   // for ISSUBSET and ISSUPERSET
}

// bracket is an observation: what stands in brackets holds of one thing that was seen.
type bracket struct{ inside node }

// pair joins two observations by AND, OR or FOLLOWEDBY.
type pair struct {
	op          string
	left, right node
}

// path is where a value stands: of a variable, or of an object.
type path struct {
	text     string // as written, without what differs between dialects
	variable string // the name, where it is the value of a variable
	keys     []string
}

// maxCondition bounds a condition: its length, and how deep its brackets nest.
const (
	maxCondition = 64 << 10
	maxNesting   = 100
)

// ParseCondition reads a condition in the strictest dialect that fits. What is no expression is a
// question for a person, never false. An error is about an expression that is understood and cannot
// be evaluated, such as a regular expression of a kind that we do not have.
func ParseCondition(text string) (*Condition, error) {
	if len(text) > maxCondition {
		return nil, fmt.Errorf("the condition has %d bytes, at most %d are read", len(text), maxCondition)
	}
	if strings.TrimSpace(text) == "" {
		return nil, fmt.Errorf("the condition is empty")
	}
	toks, err := tokens(text)
	if err == nil {
		for _, d := range []Dialect{STIX, Comparison, Loose} {
			var root node
			p := &parser{text: text, toks: toks, loose: d == Loose}
			if root, err = p.all(d == STIX); err == nil {
				return &Condition{Text: text, Dialect: d, root: root}, nil
			}
			if at, ok := err.(*ConditionError); ok && at.broken { //nolint:errorlint // the parser returns it as it is
				return nil, err
			}
		}
	}
	if at, ok := err.(*ConditionError); ok && at.broken { //nolint:errorlint // the lexer returns it as it is
		return nil, err
	}
	c := &Condition{Text: text, Dialect: Question}
	if looksMeant(text) {
		c.Warning = err.Error()
	}
	return c, nil
}

// looksMeant reports whether a text that is no expression seems to want to be one.
func looksMeant(text string) bool {
	return reference.MatchString(text) || strings.HasPrefix(strings.TrimSpace(text), "[") || strings.ContainsAny(text, "=<>")
}

// ParsePattern reads a pattern of the STIX patterning language, and nothing looser.
func ParsePattern(text string) (*Condition, error) {
	if len(text) > maxCondition {
		return nil, fmt.Errorf("the pattern has %d bytes, at most %d are read", len(text), maxCondition)
	}
	toks, err := tokens(text)
	if err != nil {
		return nil, err
	}
	root, err := (&parser{text: text, toks: toks}).all(true)
	if err != nil {
		return nil, err
	}
	return &Condition{Text: text, Dialect: STIX, root: root}, nil
}

// Variables returns the names of the variables in the condition, sorted.
func (c *Condition) Variables() []string {
	names := map[string]bool{}
	visit(c.root, func(n node) {
		if t, ok := n.(*test); ok {
			names[t.path.variable] = true
			if t.other != nil {
				names[t.other.variable] = true
			}
		}
	})
	delete(names, "")
	out := make([]string, 0, len(names))
	for n := range names {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// Observes reports whether the condition speaks of several observations or of their times, which
// variables do not have.
func (c *Condition) Observes() bool {
	found := false
	visit(c.root, func(n node) {
		switch n := n.(type) {
		case *qualified:
			found = true
		case *pair:
			found = found || n.op == "FOLLOWEDBY"
		}
	})
	return found
}

// visit calls f for a node and all in it.
func visit(n node, f func(node)) {
	if n == nil {
		return
	}
	f(n)
	switch n := n.(type) {
	case *logic:
		visit(n.left, f)
		visit(n.right, f)
	case *pair:
		visit(n.left, f)
		visit(n.right, f)
	case *bracket:
		visit(n.inside, f)
	case *qualified:
		visit(n.inside, f)
	}
}
