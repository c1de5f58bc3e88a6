package sigma

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Meta is what rules, correlations and filters have in common: who wrote them, and where.
type Meta struct {
	ID, Name, Title, Status, Description string
	Author, License, Date, Modified      string
	Level                                string // as written: informational, low, medium, high, critical
	Tags, References, FalsePositives     []string
	Related                              []Related
	Custom                               map[string]*yaml.Node // top-level keys that Sigma does not define

	SourceFile string
	Line       int // where the document begins

	at    map[string]position // top-level keys, and section.<key>
	lines []string            // of the file, to show them in errors
}

// Rule is one Sigma detection rule, as Parse read it. It is not changed once parsed and may be
// given to several engines.
type Rule struct {
	Meta
	Logsource Logsource

	searches []*search    // in the order written
	cond     *node        // conditions of a list joined by or
	vars     placeholders // given by pipelines
}

// Related names another rule and how this one relates to it.
type Related struct{ ID, Type string }

// Logsource says where an event comes from, or which events a rule is about. In a rule an empty
// member stands for any.
type Logsource struct{ Category, Product, Service string }

// Covers reports whether a rule about l applies to events of source src.
func (l Logsource) Covers(src Logsource) bool {
	return (l.Category == "" || l.Category == src.Category) &&
		(l.Product == "" || l.Product == src.Product) &&
		(l.Service == "" || l.Service == src.Service)
}

// LineOf returns the line of a part of the document: a top-level key such as "level", or one below
// it such as "detection.selection". It returns the line of the document if the part is not there.
func (m *Meta) LineOf(part string) int {
	if p, ok := m.at[part]; ok {
		return p.line
	}
	return m.Line
}

// fault is an error at a part of the document, or at its beginning if the part is not there.
func (m *Meta) fault(part, hint, format string, args ...any) *Error {
	pos, ok := m.at[part]
	if !ok {
		pos = position{m.Line, 1}
	}
	return &Error{
		File: m.SourceFile, Line: pos.line, Col: pos.col,
		Msg: fmt.Sprintf(format, args...), Hint: hint, Source: m.sourceLine(pos.line),
	}
}

// Fields returns the names of the fields the rule reads, sorted, each once.
func (r *Rule) Fields() []string {
	var names []string
	for _, it := range r.items() {
		names = append(names, it.fields()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// items returns all field tests of the rule, in the order written.
func (r *Rule) items() []*item {
	var items []*item
	for _, s := range r.searches {
		s.expr.walk(func(it *item) { items = append(items, it) })
	}
	return items
}

// walk calls visit with the items below n.
func (n *node) walk(visit func(*item)) {
	if n.op == opLeaf {
		visit(n.item)
	}
	for _, kid := range n.kids {
		kid.walk(visit)
	}
}

// fields returns the names of the fields the item reads.
func (it *item) fields() []string {
	var names []string
	if it.field != "" {
		names = append(names, it.field)
	}
	if it.do == doFieldref && !it.expand {
		for _, v := range it.values {
			names = append(names, v.text)
		}
	}
	return names
}

func (m *Meta) sourceLine(n int) string {
	if n < 1 || n > len(m.lines) {
		return ""
	}
	return shorten(m.lines[n-1])
}
