package sigma

// Problem is something legal about a rule that is probably not meant.
type Problem struct {
	Rule *Rule
	Line int
	Msg  string
	Hint string
}

// String returns position, message and hint on one line.
func (p Problem) String() string { return p.Msg }

// Lint looks for what is legal but probably not meant. Rules may come from several files;
// schema may be nil if it is not known.
func Lint(rules []*Rule, schema Schema) []Problem { return nil }
