package cacao

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says what a problem means for the one who wants to run the playbook.
type Severity int

// The severities. A playbook with an error must not be run.
const (
	Warning Severity = iota
	Error
)

func (s Severity) String() string {
	if s == Error {
		return "error"
	}
	return "warning"
}

// MarshalText writes the severity as a word.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Problem is one thing that is wrong with a playbook.
type Problem struct {
	Pointer  string   `json:"pointer"` // where, as a JSON pointer; "" is the whole document
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"` // what to do about it
}

func (p Problem) String() string {
	at := p.Pointer
	if at == "" {
		at = "/"
	}
	s := fmt.Sprintf("%s: %s: %s", at, p.Severity, p.Message)
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// Problems are what was found in one playbook, in the order of their places.
type Problems []Problem //nolint:errname // it is a list of findings first, and an error only where Parse refuses

// Error lists the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// Errors returns the problems that keep a playbook from being run.
func (p Problems) Errors() Problems {
	return slices.DeleteFunc(slices.Clone(p), func(x Problem) bool { return x.Severity != Error })
}

func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Pointer, b.Pointer), cmp.Compare(b.Severity, a.Severity), strings.Compare(a.Message, b.Message))
	})
	return slices.Compact(p)
}

func (p *Problems) err(pointer, message, hint string) {
	*p = append(*p, Problem{pointer, Error, message, hint})
}

func (p *Problems) warn(pointer, message, hint string) {
	*p = append(*p, Problem{pointer, Warning, message, hint})
}
