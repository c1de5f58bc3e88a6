package sigma

// Kind says which member of a Value holds it.
type Kind uint8

// The kinds of value.
const (
	Absent Kind = iota // the event does not have the field
	Null               // the field is there, with null in it
	Text
	Integer
	Boolean
	List // a test is true of a list if it is true of any element
)

// Value is the content of an event's field.
type Value struct {
	Kind Kind
	Str  string   // Text
	Int  int64    // Integer; Boolean: 0 or 1
	List []string // List, not changed by this package
}

// NoField is the id of no field.
const NoField = 1<<16 - 1

// Event is what rules are matched against. Strings it hands out must stay valid, and its answers
// the same, until Match returns. It is used by one goroutine at a time.
type Event interface {
	// Value returns the content of the field that the Schema numbers id.
	Value(id uint16) Value
	// Extra returns the content of a field that the Schema does not know.
	Extra(name string) Value
	// Logsources returns the log sources the event belongs to. A rule applies if it fits any.
	Logsources() []Logsource
	// An event may also have a method Plain() bool. Where it returns true, no field outside the
	// schema has a value, and Extra is not asked for what only such fields could tell.

	// EachText calls visit with each leaf value as text, for rules that search keywords, until
	// visit returns false. The values of a field that the Schema calls Searched are told with its
	// id, all others with NoField.
	EachText(visit func(id uint16, text string) bool)
}

// Schema numbers the fields that events have. Names are case-sensitive.
type Schema interface {
	Field(name string) (id uint16, ok bool)
}

// A Searched schema says which of its fields have all of their values, and nothing else, told by
// EachText with their id. Such a value is looked through once, for keywords and for the rules of the
// field.
type Searched interface {
	Searched(id uint16) bool
}
