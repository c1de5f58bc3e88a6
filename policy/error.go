package policy

import (
	"fmt"
	"strings"
)

// Error is one mistake in a policy, with its place.
type Error struct {
	File      string
	Line, Col int
	Msg       string
	Hint      string
	Source    string // the line at fault
}

// Error returns place and message, the line at fault and the hint, on one line each.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: %s", e.File, e.Line, e.Col, e.Msg)
	if e.Source != "" {
		fmt.Fprintf(&b, "\n  %4d | %s", e.Line, e.Source)
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "\n  hint: %s", e.Hint)
	}
	return b.String()
}
