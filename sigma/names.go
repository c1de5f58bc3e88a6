package sigma

import (
	"slices"
	"strings"
)

// Names numbers the fields that a Record is read for. It is the Schema of an engine whose events
// are records. It does not change and is safe for concurrent use.
//
// A name with dots is looked for as it stands and as a path through nested objects: of
// "process.parent.name" the key "process.parent.name" is meant, or the key "name" in
// "process.parent", or "name" in "parent" in "process". The one with the fewest steps wins.
type Names struct {
	list []string
	ids  map[string]uint16
	root *branch
	size int // branches
}

// branch is an object in which names are looked for.
type branch struct {
	id    int
	keys  map[string]key
	below []int32 // fields in it, at any depth
}

// key is what a key of an object leads to: a field, an object that holds fields, or both.
type key struct {
	field int32 // -1 for none
	next  *branch
}

var nothing = key{field: -1}

// Bounds on names: those that are too many are not known, and dots past the first few are not
// taken apart.
const (
	maxNames = 1 << 15
	maxSteps = 12
)

// NewNames returns the table of the fields given. A field may be given more than once.
func NewNames(fields []string) *Names {
	n := &Names{ids: map[string]uint16{}}
	branches := map[string]*branch{}
	n.root = n.branch(branches, "")
	for _, name := range fields {
		if _, ok := n.ids[name]; ok || name == "" || len(n.list) == maxNames {
			continue
		}
		n.ids[name] = uint16(len(n.list))
		n.add(branches, name, int32(len(n.list)))
		n.list = append(n.list, name)
	}
	return n
}

// FieldsOf returns the names of the fields that rules read, sorted, each once.
func FieldsOf(rules []*Rule) []string {
	var names []string
	for _, r := range rules {
		names = append(names, r.Fields()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Len returns how many fields there are. Their numbers are below it.
func (n *Names) Len() int { return len(n.list) }

// Name returns the field of a number below Len.
func (n *Names) Name(id uint16) string { return n.list[id] }

// Field implements Schema.
func (n *Names) Field(name string) (uint16, bool) {
	id, ok := n.ids[name]
	return id, ok
}

func (n *Names) branch(known map[string]*branch, path string) *branch {
	b, ok := known[path]
	if !ok {
		b = &branch{id: n.size, keys: map[string]key{}}
		n.size++
		known[path] = b
	}
	return b
}

// add makes each way in which name can be split into keys lead to field.
func (n *Names) add(branches map[string]*branch, name string, field int32) {
	steps := strings.SplitN(name, ".", maxSteps)
	for from := range steps {
		b := n.branch(branches, strings.Join(steps[:from], "."))
		if from > 0 {
			b.below = append(b.below, field)
		}
		for to := from + 1; to <= len(steps); to++ {
			word := strings.Join(steps[from:to], ".")
			k, ok := b.keys[word]
			if !ok {
				k = nothing
			}
			if to == len(steps) {
				k.field = field
			} else {
				k.next = n.branch(branches, strings.Join(steps[:to], "."))
			}
			b.keys[word] = k
		}
	}
}
