package sigma

// position is a place in a rule file, from 1.
type position struct{ line, col int }

// Parse reads all YAML documents of one file. Rules that are in order are returned even if
// others are not; the error is then an Errors that says what is wrong with those.
func Parse(file string, src []byte) ([]*Rule, error) { return nil, nil }
