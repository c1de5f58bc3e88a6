package falco

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// detection writes a condition as Sigma's named selections and a line that joins them.
type detection struct {
	names  []string
	nodes  map[string]*yaml.Node
	counts map[string]int // selections by the name they asked for
}

// Bounds on the lists of maps that alternatives are written as; what is larger gets names.
const (
	maxMaps    = 24
	maxEntries = 96
	maxNames   = 200 // selections among which one like another is looked for
)

// selections is a list of maps, any of which will do.
type selections [][]*leaf

// detectionOf returns the detection section of a rule.
func detectionOf(c *cond) *yaml.Node {
	d := &detection{nodes: map[string]*yaml.Node{}, counts: map[string]int{}}
	parts := []*cond{c}
	if c.op == isAnd {
		parts = c.kids
	}
	line := d.positive(parts)
	line = append(line, d.filters(parts)...)
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, name := range d.names {
		n.Content = append(n.Content, plain(name), d.nodes[name])
	}
	n.Content = append(n.Content, plain("condition"), plain(strings.Join(line, " and ")))
	return n
}

// positive writes what must be true: plain tests in one selection, alternatives in one each.
func (d *detection) positive(parts []*cond) (line []string) {
	var tests []*cond
	var rest []*cond
	for _, p := range parts {
		switch p.op {
		case isLeaf:
			tests = append(tests, p)
		case isNot:
		default:
			rest = append(rest, p)
		}
	}
	line = d.maps("selection", tests)
	for _, p := range rest {
		line = append(line, d.name(p, label(p, "any_of")))
	}
	return line
}

// maps writes tests that must all be true as few selections. Two tests with one key need two.
func (d *detection) maps(name string, tests []*cond) (line []string) {
	var groups [][]*leaf
	for _, t := range tests {
		i := slices.IndexFunc(groups, func(g []*leaf) bool { return fits(g, t.leaf) != nil })
		if i < 0 {
			groups = append(groups, []*leaf{t.leaf})
			continue
		}
		groups[i] = fits(groups[i], t.leaf)
	}
	for _, g := range groups {
		line = append(line, d.add(name, selections{g}))
	}
	return line
}

// fits returns g with l added, nil where one map cannot hold both. Several texts that must all be
// found become one entry with all.
func fits(g []*leaf, l *leaf) []*leaf {
	for i, have := range g {
		if have.field != l.field {
			continue
		}
		if have.key() == l.key()+"|all" && len(l.values) == 1 {
			more := *have
			more.values = append(slices.Clone(have.values), l.values...)
			return replace(g, i, &more)
		}
		if have.key() != l.key() {
			continue
		}
		if len(have.values) != 1 || len(l.values) != 1 || !have.has("contains") {
			return nil
		}
		all := *have
		all.mods = append(slices.Clone(have.mods), "all")
		all.values = []string{have.values[0], l.values[0]}
		return replace(g, i, &all)
	}
	return append(slices.Clip(g), l)
}

func replace(g []*leaf, i int, l *leaf) []*leaf {
	g = slices.Clone(g)
	g[i] = l
	return g
}

// filters writes what must not be true. Exclusions are a filter each, so that one can be taken
// out, and are asked for together.
func (d *detection) filters(parts []*cond) (line []string) {
	var simple []string
	for _, p := range parts {
		if p.op != isNot {
			continue
		}
		for _, x := range exclusions(p.kids[0]) {
			base := "filter_" + label(x, "main")
			if s, ok := disjunction(x); ok {
				simple = append(simple, d.add(base, s))
				continue
			}
			line = append(line, "not "+d.name(x, strings.TrimPrefix(base, "filter_")))
		}
	}
	switch len(simple) {
	case 0:
	case 1:
		line = append(line, "not "+simple[0])
	default:
		line = append(line, "not 1 of filter_*")
	}
	return line
}

// exclusions returns the parts of what is excluded that can be written apart.
func exclusions(x *cond) []*cond {
	if x.op != isOr || x.label != "" {
		return []*cond{x}
	}
	named := 0
	for _, k := range x.kids {
		if k.label != "" {
			named++
		}
	}
	if _, ok := disjunction(x); ok && named < 2 {
		return []*cond{x}
	}
	return x.kids
}

// name returns how the condition line asks for c: an identifier, or an expression of several.
func (d *detection) name(c *cond, base string) string {
	if s, ok := disjunction(c); ok {
		return d.add(base, s)
	}
	switch c.op {
	case isNot:
		return "not " + d.name(c.kids[0], label(c.kids[0], base))
	case isAnd:
		var tests, rest []*cond
		for _, k := range c.kids {
			if k.op == isLeaf {
				tests = append(tests, k)
			} else {
				rest = append(rest, k)
			}
		}
		line := d.maps(base, tests)
		for _, k := range rest {
			line = append(line, d.name(k, label(k, base)))
		}
		return "(" + strings.Join(line, " and ") + ")"
	}
	return "(" + strings.Join(d.alternatives(c, base), " or ") + ")"
}

// alternatives names the parts of an or: those that came from no macro share lists of maps as far
// as these stay short.
func (d *detection) alternatives(c *cond, base string) (line []string) {
	var list selections
	flush := func() {
		if len(list) > 0 {
			line = append(line, d.add(base, list))
		}
		list = nil
	}
	for _, k := range c.kids {
		s, ok := disjunction(k)
		if !ok || k.label != "" {
			line = append(line, d.name(k, label(k, base)))
			continue
		}
		if !slices.Concat(list, s).small() {
			flush()
		}
		list = append(list, s...)
	}
	flush()
	return line
}

// disjunction returns c as a list of maps, if it can be and stays short.
func disjunction(c *cond) (selections, bool) {
	switch c.op {
	case isLeaf:
		return selections{{c.leaf}}, true
	case isOr:
		var out selections
		for _, k := range c.kids {
			s, ok := disjunction(k)
			if !ok {
				return nil, false
			}
			out = append(out, s...)
		}
		return out, out.small()
	case isAnd:
		out := selections{nil}
		for _, k := range c.kids {
			s, ok := disjunction(k)
			if !ok {
				return nil, false
			}
			if out, ok = out.times(s); !ok {
				return nil, false
			}
		}
		return out, true
	}
	return nil, false
}

func (s selections) small() bool {
	n := 0
	for _, m := range s {
		n += len(m)
	}
	return len(s) <= maxMaps && n <= maxEntries
}

// times returns what both lists of maps ask.
func (s selections) times(other selections) (selections, bool) {
	if len(s)*len(other) > maxMaps {
		return nil, false
	}
	var out selections
	for _, a := range s {
		for _, b := range other {
			m := a
			for _, l := range b {
				if m = fits(m, l); m == nil {
					return nil, false
				}
			}
			out = append(out, m)
		}
	}
	return out, out.small()
}

// label returns the name of a part: that of its macro, or else.
func label(c *cond, other string) string {
	if s := slug(c.label); s != "" {
		return s
	}
	return other
}

// add writes a selection under a name that is free.
func (d *detection) add(base string, s selections) string {
	switch base { // what a condition line takes for its own words
	case "and", "or", "not", "of", "all", "any", "them", "condition", "timeframe", "1":
		base += "_"
	}
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for _, m := range s {
		n.Content = append(n.Content, mapOf(m))
	}
	if len(s) == 1 {
		n = n.Content[0]
	}
	for _, name := range d.names[:min(len(d.names), maxNames)] {
		if have := d.nodes[name]; strings.TrimRight(name, "_0123456789") == strings.TrimRight(base, "_0123456789") && same(have, n) {
			return name
		}
	}
	name := base
	for d.nodes[name] != nil {
		d.counts[base]++
		name = base + "_" + strconv.Itoa(d.counts[base]+1)
	}
	d.names = append(d.names, name)
	d.nodes[name] = n
	return name
}

// same reports whether two selections are written alike.
func same(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.Value != b.Value || a.Tag != b.Tag || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !same(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}

func mapOf(m []*leaf) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, l := range m {
		n.Content = append(n.Content, plain(l.key()), l.yaml())
	}
	return n
}

func (l *leaf) yaml() *yaml.Node {
	tag := l.tag
	if tag == "" {
		tag = "!!str"
	}
	var values []*yaml.Node
	for _, v := range l.values {
		values = append(values, &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: v})
	}
	if len(values) == 1 {
		return values[0]
	}
	return &yaml.Node{Kind: yaml.SequenceNode, Content: values}
}

func plain(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

// slug returns s in lower case, with an underscore for each run of other characters than letters
// and digits.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
	}
	return strings.TrimRight(shorten(b.String(), 80), "_…")
}
