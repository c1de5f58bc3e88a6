package falco

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"picket/event"
)

// made begins the first line of a file that an import wrote. What follows it tells whether the
// rest is still as it was.
const made = "# Made by picket rule import falco "

// Document returns the result's Sigma rules as one YAML file, nil where there is none. Its first
// lines say where the rules come from and what they lost.
func (r *Result) Document() []byte {
	if len(r.Rules) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# From rule %q at %s:%d. Carried over: %s.\n", r.Rule, oneLine(r.File), r.Line, r.Status)
	for _, s := range slices.Concat(r.Reasons, r.Remarks) {
		fmt.Fprintf(&b, "#   %s\n", oneLine(s))
	}
	for _, t := range r.Rules {
		b.WriteString("---\n" + t.YAML)
	}
	return []byte(made + digest(b.String()) + "\n" + b.String())
}

// oneLine keeps text from a rule file inside a comment.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func digest(s string) string { return event.HashID("falco import", s)[:16] }

// Unchanged reports whether content is a Document as it was written: made by an import and not
// edited since.
func Unchanged(content []byte) bool {
	line, rest, _ := bytes.Cut(content, []byte("\n"))
	sum, ok := bytes.CutPrefix(line, []byte(made))
	return ok && string(sum) == digest(string(rest))
}
