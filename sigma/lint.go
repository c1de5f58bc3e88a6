package sigma

import (
	"fmt"
)

// Problem is something legal about a rule that is probably not meant.
type Problem struct {
	Rule *Rule
	Line int
	Msg  string
	Hint string
}

// String returns position, message and hint on one line.
func (p Problem) String() string {
	s := fmt.Sprintf("%s:%d: %s", p.Rule.SourceFile, p.Line, p.Msg)
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// Lint looks for what is legal but probably not meant. Rules may come from several files;
// schema may be nil if it is not known.
func Lint(rules []*Rule, schema Schema) []Problem { return nil }

func unknownField(rule *Rule, it *item, name string) Problem {
	return Problem{Rule: rule, Line: it.pos.line, Msg: fmt.Sprintf("field %s is not known, so it is never present", name),
		Hint: "field names are case-sensitive"}
}
