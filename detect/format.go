package detect

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"picket/event"
)

// formatFiles holds a table for each format of recordings: where it keeps what rules ask for, and
// what tells its log sources apart.
//
//go:embed formats/*.yml
var formatFiles embed.FS

// formatOrder is the order in which a recording is tried for its format: the one that is named
// most plainly first.
var formatOrder = [...]string{"picket", "sysmon", "auditd", "kubernetes", "ecs", "sigma"}

// ownFormat is read as events, not as records.
const ownFormat = "picket"

// format is how a program writes its events as JSON. Names in conditions and fields are those of
// Sigma or of the format; a name with dots is a path.
type format struct {
	Name      string              `yaml:"-"`
	About     string              `yaml:"about"`
	Recognise []condition         `yaml:"recognise"` // one is enough
	Time      []string            `yaml:"time"`      // fields that hold it, the best first
	Products  []choice            `yaml:"products"`  // the first that fits
	Service   string              `yaml:"service"`   // of all its log sources
	Sources   []choice            `yaml:"sources"`   // all that fit; one without a condition where no other does
	Under     []string            `yaml:"under"`     // objects in which fields are looked for too
	Pairs     []pair              `yaml:"pairs"`     // lists of names and of their texts
	Arguments []arguments         `yaml:"arguments"` // the first that is there
	Decode    []string            `yaml:"decode"`    // fields whose text may be hexadecimal
	Present   []string            `yaml:"present"`   // names of which $present lists those that are there
	Fields    map[string][]string `yaml:"fields"`    // by the name in rules, where it stands, the best first
}

// What the fields of a format can be made of, besides fields of the record.
const (
	fromArguments = "$arguments" // the arguments, joined by one space
	fromPresent   = "$present"
)

// choice is a log source, or its product, that applies when a condition holds.
type choice struct {
	When     condition `yaml:"when"`
	Product  string    `yaml:"product"`
	Category string    `yaml:"category"`
	Service  string    `yaml:"service"` // in place of the format's
	Kind     string    `yaml:"kind"`    // what such an event is for Picket, "" if it has no word for it
}

// pair is two lists that belong together: names of fields and their texts.
type pair struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
}

// arguments says where a program's arguments stand: in a list, or each in a field with its number.
type arguments struct {
	List string    `yaml:"list"`
	Each string    `yaml:"each"`
	When condition `yaml:"when"`
}

// condition holds if each of its fields has one of the texts given. An asterisk at the beginning
// or end of a text stands for anything.
type condition []test

type test struct {
	name  string
	want  globs
	field *wanted
}

// UnmarshalYAML reads a map from names to texts.
func (c *condition) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: a condition is a map", n.Line)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		t := test{name: n.Content[i].Value}
		if err := n.Content[i+1].Decode(&t.want); err != nil {
			return err
		}
		*c = append(*c, t)
	}
	return nil
}

type globs []glob

type glob struct {
	text        string
	front, back bool // open there
}

// UnmarshalYAML reads one text or a list of them.
func (g *globs) UnmarshalYAML(n *yaml.Node) error {
	var list []string
	if err := n.Decode(&list); err != nil {
		var one string
		if err := n.Decode(&one); err != nil {
			return err
		}
		list = []string{one}
	}
	for _, s := range list {
		var one glob
		s, one.front = strings.CutPrefix(s, "*")
		one.text, one.back = strings.CutSuffix(s, "*")
		*g = append(*g, one)
	}
	return nil
}

func (g globs) match(s string) bool {
	for i := range g {
		if g[i].match(s) {
			return true
		}
	}
	return false
}

func (g *glob) match(s string) bool {
	n := len(g.text)
	if n > len(s) {
		return false
	}
	switch {
	case g.front && g.back:
		for i := 0; i+n <= len(s); i++ {
			if strings.EqualFold(s[i:i+n], g.text) {
				return true
			}
		}
		return false
	case g.front:
		return strings.EqualFold(s[len(s)-n:], g.text)
	case g.back:
		return strings.EqualFold(s[:n], g.text)
	}
	return n == len(s) && strings.EqualFold(s, g.text)
}

// Formats returns the names of the formats that recordings may have, with a word about each.
func Formats() [][2]string {
	var out [][2]string
	for _, name := range formatOrder {
		f, err := loadFormat(name)
		if err != nil {
			continue // a test loads each
		}
		out = append(out, [2]string{name, f.About})
	}
	return out
}

func loadFormat(name string) (*format, error) {
	if !slices.Contains(formatOrder[:], name) {
		return nil, fmt.Errorf("there is no format %q: known are %s", name, strings.Join(formatOrder[:], ", "))
	}
	src, err := formatFiles.ReadFile(path.Join("formats", name+".yml"))
	if err != nil {
		return nil, err
	}
	f, err := parseFormat(src)
	if err != nil {
		return nil, fmt.Errorf("format %s: %w", name, err)
	}
	f.Name = name
	return f, nil
}

func parseFormat(src []byte) (*format, error) {
	f := &format{}
	dec := yaml.NewDecoder(bytes.NewReader(src))
	dec.KnownFields(true)
	if err := dec.Decode(f); err != nil {
		return nil, err
	}
	for _, s := range f.Sources {
		if _, ok := event.ParseKind(s.Kind); !ok && s.Kind != "" {
			return nil, fmt.Errorf("kind %q is not known", s.Kind)
		}
	}
	if f.About == "" || len(f.Recognise) == 0 {
		return nil, errors.New("it lacks about or recognise")
	}
	return f, nil
}

// names returns every field of a record that the format may look at, in a fixed order.
func (f *format) names() []string {
	set := map[string]bool{}
	add := func(names ...string) {
		for _, n := range names {
			if n != "" && !strings.HasPrefix(n, "$") {
				set[n] = true
			}
		}
	}
	for _, c := range f.conditions() {
		for _, t := range c {
			add(f.places(t.name)...)
		}
	}
	for _, a := range f.Arguments {
		add(a.List)
		for i := 0; i < maxArguments && a.Each != ""; i++ {
			add(fmt.Sprint(a.Each, i))
		}
	}
	for _, p := range f.Pairs {
		add(p.Name, p.Value)
	}
	for _, name := range f.Time {
		add(f.places(name)...)
	}
	add(f.Present...)
	out := make([]string, 0, len(set))
	for n := range set {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// conditions returns all conditions of the format.
func (f *format) conditions() []condition {
	list := slices.Clone(f.Recognise)
	for _, c := range slices.Concat(f.Products, f.Sources) {
		list = append(list, c.When)
	}
	for _, a := range f.Arguments {
		list = append(list, a.When)
	}
	return list
}

// places returns where a field of a rule may stand in a record, the best first.
func (f *format) places(name string) []string {
	out := append(slices.Clone(f.Fields[name]), name)
	for _, u := range f.Under {
		out = append(out, u+"."+name)
	}
	return out
}
