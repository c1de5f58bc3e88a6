package sigma

import (
	"fmt"
	"strings"
)

// Error is one fault of a rule file.
type Error struct {
	File      string
	Line, Col int    // from 1; 0 if unknown
	Msg       string // what is wrong, lower case
	Hint      string // what to do about it, may be empty
	Source    string // the line at fault, may be empty
}

// Error returns position, message, the source line and the hint, on one line each.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: %s", e.File, e.Line, e.Col, e.Msg)
	if e.Source != "" {
		fmt.Fprintf(&b, "\n\t%s", e.Source)
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "\n\thint: %s", e.Hint)
	}
	return b.String()
}

// Errors are all faults found, in the order of the files.
type Errors []*Error

// Error returns the faults one after another.
func (es Errors) Error() string {
	var b strings.Builder
	for i, e := range es {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Error())
	}
	return b.String()
}

// Unwrap returns the faults, for errors.Is and errors.As.
func (es Errors) Unwrap() []error {
	list := make([]error, len(es))
	for i, e := range es {
		list[i] = e
	}
	return list
}

// asError returns es as an error: nil if there is none.
func (es Errors) asError() error {
	if len(es) == 0 {
		return nil
	}
	return es
}
