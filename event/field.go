package event

import (
	"net/netip"
	"strconv"
)

// Field is the number of a field of the catalogue.
type Field uint16

// ValueKind says which member of a Value holds it.
type ValueKind uint8

// The kinds of value. Absent: the event does not have the field.
const (
	Absent ValueKind = iota
	Text
	Integer
	Boolean
	List // true for a rule if any element is
)

// Value is the content of a field, read without allocating.
type Value struct {
	Kind ValueKind
	Str  string   // Text
	Int  int64    // Integer; Boolean: 0 or 1
	List []string // List, not to be changed
}

// Append appends the value as text: integers in decimal, booleans as true or false, lists with
// one space between elements.
func (v Value) Append(dst []byte) []byte {
	switch v.Kind {
	case Text:
		return append(dst, v.Str...)
	case Integer:
		return strconv.AppendInt(dst, v.Int, 10)
	case Boolean:
		return strconv.AppendBool(dst, v.Int != 0)
	case List:
		for i, s := range v.List {
			if i > 0 {
				dst = append(dst, ' ')
			}
			dst = append(dst, s...)
		}
	}
	return dst
}

// String returns the value as text.
func (v Value) String() string {
	if v.Kind == Text {
		return v.Str
	}
	return string(v.Append(nil))
}

// Info describes a field.
type Info struct {
	Field Field
	Name  string // as stored and queried: process.cmdline
	Sigma string // the Sigma taxonomy's name, "" if it has none: CommandLine
	Type  ValueKind
	Doc   string

	get func(*Event) Value
	set func(*Event, string) error

	derived bool // from fields that are recorded, so that it need not be
}

// Value returns the content of f in e.
func (e *Event) Value(f Field) Value {
	if int(f) < len(catalogue) {
		return catalogue[f].get(e)
	}
	return Value{}
}

// Set gives f its content from text, as foreign and recorded events carry it.
func (e *Event) Set(f Field, text string) error { return catalogue[f].set(e, text) }

// Fields returns the catalogue in order of Field. It is not to be changed.
func Fields() []Info { return catalogue }

// Lookup finds a field by its name or its Sigma name. Names are case-sensitive.
func Lookup(name string) (Info, bool) {
	i, ok := byName[name]
	if !ok {
		return Info{}, false
	}
	return catalogue[i], true
}

var byName map[string]int

func init() { // the catalogue's get functions refer to it: an initialiser would be a cycle
	catalogue = append(catalogue, callFields...)
	byName = make(map[string]int, 2*len(catalogue))
	for i := range catalogue {
		catalogue[i].Field = Field(i)
		byName[catalogue[i].Name] = i
		if s := catalogue[i].Sigma; s != "" {
			byName[s] = i
		}
	}
}

func text(s string) Value {
	if s == "" {
		return Value{}
	}
	return Value{Kind: Text, Str: s}
}

func integer(i int64) Value { return Value{Kind: Integer, Int: i} }

// count is an integer that is absent when it is 0: there is no pid, inode or port 0.
func count[T ~uint16 | ~uint32 | ~uint64 | ~int64](i T) Value {
	if i == 0 {
		return Value{}
	}
	return integer(int64(i))
}

func boolean(b bool) Value {
	v := Value{Kind: Boolean}
	if b {
		v.Int = 1
	}
	return v
}

func list(l []string) Value {
	if len(l) == 0 {
		return Value{}
	}
	return Value{Kind: List, List: l}
}

func addr(a netip.AddrPort) Value {
	if !a.IsValid() {
		return Value{}
	}
	return Value{Kind: Text, Str: a.Addr().Unmap().String()}
}
