package falco

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// translate returns what a tree asks of the events of s. neg is set under an odd number of nots.
// Trees share the macros they use; a macro is translated once for each value of neg.
func (s *source) translate(n *node, neg bool, memo map[memoKey]*cond) *cond {
	key := memoKey{n, neg}
	if c := memo[key]; c != nil {
		return c
	}
	var c *cond
	switch n.op {
	case opCheck:
		c = s.compare(n.check, neg)
	case opNot:
		c = negate(s.translate(n.kids[0], !neg, memo))
	default:
		kids := make([]*cond, len(n.kids))
		for i, k := range n.kids {
			kids[i] = s.translate(k, neg, memo)
		}
		if c = both(kids...); n.op == opOr {
			c = either(kids...)
		}
	}
	c = c.named(n.macro)
	memo[key] = c
	return c
}

type memoKey struct {
	n   *node
	neg bool
}

// comparison is one check on its way to become a condition.
type comparison struct {
	*check
	target target
	op     string
	texts  []string
	fold   bool // compare without regard to case
}

// compare returns what a comparison asks of the events of s.
func (s *source) compare(c *check, neg bool) *cond {
	lost := func(why string) *cond {
		if c.op != "!=" && len(c.values) > 0 && !slices.ContainsFunc(c.values, func(v value) bool { return v.text != "<NA>" && v.text != "N/A" }) {
			return negate(&cond{op: isLost, lost: &loss{c, why, !neg}}) // is not there: a "not" makes it a requirement
		}
		return &cond{op: isLost, lost: &loss{c, why, neg}}
	}
	if len(c.values) == 0 && c.op != "exists" && c.other == nil {
		return never // in an empty list
	}
	if fact, ok := s.fact(c, neg); ok {
		return fact
	}
	cmp := comparison{check: c, op: c.op}
	for _, v := range c.values {
		cmp.texts = append(cmp.texts, v.text)
	}
	look := *c
	if why := cmp.transform(&look); why != "" {
		return lost(why)
	}
	t, known, why := s.target(&look)
	if !known {
		return never
	}
	if why != "" {
		return lost(why)
	}
	cmp.target = t
	if c.other != nil {
		return s.compareFields(&cmp, lost)
	}
	if c.field == "proc.cwd" {
		return cmp.directory(lost)
	}
	out, why := cmp.build()
	if why != "" {
		return lost(why)
	}
	return out
}

// transform applies the transformers of the left side, innermost first, to what is looked up.
func (cmp *comparison) transform(look *check) (why string) {
	for i, change := range slices.Backward(cmp.change) {
		switch change {
		case "tolower", "toupper":
			to := map[string]func(string) string{"tolower": strings.ToLower, "toupper": strings.ToUpper}[change]
			if slices.Contains([]string{"regex", "glob", "iglob", "bcontains", "bstartswith", "exists"}, cmp.op) || cmp.other != nil {
				return change + " cannot be combined with " + cmp.op + " here"
			}
			for _, v := range cmp.texts {
				if to(v) != v {
					return "a text that " + change + " never yields"
				}
			}
			cmp.fold = true
		case "basename":
			if i != len(cmp.change)-1 || look.field != "fd.name" {
				return "basename is known of fd.name only"
			}
			look.field = "fd.filename"
		default:
			return "the transformer " + change + " is not known here"
		}
	}
	return ""
}

// compareFields compares one field with another.
func (s *source) compareFields(cmp *comparison, lost func(string) *cond) *cond {
	t, known, why := s.target(cmp.other)
	mods := map[string][]string{
		"=": nil, "!=": {"neq"}, "contains": {"contains"}, "startswith": {"startswith"}, "endswith": {"endswith"},
	}
	mod, ok := mods[cmp.op]
	switch {
	case !known:
		return never
	case why != "":
		return lost(why)
	case !ok || len(t.names) != 1 || len(cmp.target.names) != 1 || len(cmp.other.change) > 0 || t.absent != "" || cmp.target.absent != "" || t.one != "":
		return lost("this comparison of two fields cannot be told here")
	}
	return &cond{op: isLeaf, leaf: &leaf{field: cmp.target.names[0], mods: append([]string{"fieldref", "cased"}, mod...), values: t.names}}
}

// build returns the comparison as entries of selections, or why it cannot be told.
func (cmp *comparison) build() (*cond, string) {
	t := cmp.target
	if cmp.op == "exists" {
		return cmp.present(), ""
	}
	if t.one != "" {
		return cmp.single()
	}
	if t.linked {
		return cmp.withLinks()
	}
	if t.absent != "" {
		return cmp.withAbsent()
	}
	if cmp.op == "!=" && len(t.names) > 1 { // both ends of a connection differ
		return cmp.differs()
	}
	kids := make([]*cond, len(t.names))
	for i, name := range t.names {
		k, why := cmp.field(name)
		if why != "" {
			return nil, why
		}
		kids[i] = k
	}
	return either(kids...), ""
}

// withLinks compares a path with what is given, and with what that is where the kernel has resolved it.
func (cmp *comparison) withLinks() (*cond, string) {
	same := *cmp
	same.target.linked = false
	var led []string
	for _, v := range cmp.texts {
		if rest, ok := strings.CutPrefix(v, "/var/run"); ok && (rest == "" || rest[0] == '/') {
			led = append(led, "/run"+rest)
		}
	}
	out, why := same.build()
	if why != "" || len(led) == 0 {
		return out, why
	}
	other, why := same.with(cmp.op, led...).build()
	if cmp.op == "!=" {
		return both(out, other), why
	}
	return either(out, other), why
}

// differs returns the opposite of the comparison for equality.
func (cmp *comparison) differs() (*cond, string) {
	equal, why := cmp.with("=").build()
	if why != "" {
		return nil, why
	}
	return negate(equal), ""
}

// with returns the comparison with another operator.
func (cmp *comparison) with(op string, texts ...string) *comparison {
	c := *cmp
	if c.op = op; len(texts) > 0 {
		c.texts = texts
	}
	return &c
}

func (cmp *comparison) present() *cond {
	if cmp.target.absent != "" {
		return always
	}
	kids := make([]*cond, len(cmp.target.names))
	for i, name := range cmp.target.names {
		kids[i] = exists(name)
	}
	return either(kids...)
}

func exists(name string) *cond {
	return &cond{op: isLeaf, leaf: &leaf{field: name, mods: []string{"exists"}, values: []string{"true"}, tag: "!!bool"}}
}

func absent(name string) *cond {
	return &cond{op: isLeaf, leaf: &leaf{field: name, values: []string{"null"}, tag: "!!null"}}
}

// directory compares a working directory, which Falco writes with a slash at its end.
func (cmp *comparison) directory(lost func(string) *cond) *cond {
	cut := func(v string) string {
		if len(v) > 1 {
			return strings.TrimSuffix(v, "/")
		}
		return v
	}
	one := cmp.texts
	for i, v := range one {
		one[i] = cut(v)
	}
	slashed := len(cmp.values) == 1 && one[0] != cmp.values[0].text
	var out *cond
	var why string
	switch cmp.op {
	case "=", "!=", "in", "intersects", "exists", "pmatch":
		out, why = cmp.build()
	case "startswith", "istartswith":
		if out, why = cmp.build(); slashed && why == "" {
			below, _ := cmp.with(cmp.op, one[0]+"/").build()
			same := cmp.with("=", one[0])
			same.fold = same.fold || cmp.op != "startswith"
			itself, _ := same.build()
			out = either(itself, below)
		}
	case "contains", "icontains":
		if out, why = cmp.build(); slashed && why == "" {
			inside, _ := cmp.with(cmp.op, one[0]+"/").build()
			end, _ := cmp.with(map[string]string{"contains": "endswith", "icontains": "iendswith"}[cmp.op], one[0]).build()
			out = either(end, inside)
		}
	default:
		why = cmp.op + " of a working directory cannot be told here"
	}
	if why != "" {
		return lost(why)
	}
	return out
}

// field returns the comparison of one field of Picket's.
func (cmp *comparison) field(name string) (*cond, string) {
	switch cmp.target.kind {
	case numeric:
		return cmp.number(name)
	case boolean:
		want, ok := truth(cmp.texts)
		if !ok || cmp.op != "=" && cmp.op != "!=" && cmp.op != "in" {
			return nil, "it is true or false"
		}
		return &cond{op: isLeaf, leaf: &leaf{field: name, values: []string{strconv.FormatBool(want == (cmp.op != "!="))}, tag: "!!bool"}}, ""
	case address, subnet:
		return cmp.network(name)
	}
	return cmp.textual(name)
}

// orders are the comparisons of numbers.
var orders = map[string]string{"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}

func (cmp *comparison) number(name string) (*cond, string) {
	l := &leaf{field: name, tag: "!!int"}
	for _, v := range cmp.texts {
		n, err := strconv.ParseInt(v, 0, 64)
		if err != nil {
			return nil, strconv.Quote(shorten(v, 40)) + " is not a whole number"
		}
		l.values = append(l.values, strconv.FormatInt(n, 10))
	}
	switch cmp.op {
	case "=", "in", "intersects":
	case "!=":
		l.mods = []string{"neq"}
	default:
		order := orders[cmp.op]
		if order == "" {
			return nil, cmp.op + " of a number"
		}
		l.mods = []string{order}
	}
	return &cond{op: isLeaf, leaf: l}, ""
}

func (cmp *comparison) network(name string) (*cond, string) {
	l := &leaf{field: name}
	for _, v := range cmp.texts {
		if a, err := netip.ParseAddr(v); err == nil {
			l.values = append(l.values, a.Unmap().String())
			continue
		}
		p, err := netip.ParsePrefix(v)
		if err != nil || cmp.target.kind != subnet {
			return nil, strconv.Quote(shorten(v, 40)) + " is not an address"
		}
		l.values = append(l.values, p.Masked().String())
	}
	if cmp.target.kind == subnet {
		l.mods = []string{"cidr"}
	}
	switch cmp.op {
	case "=", "in", "intersects":
	case "!=":
		l.mods = append(l.mods, "neq")
	default:
		return nil, cmp.op + " of an address"
	}
	return &cond{op: isLeaf, leaf: l}, ""
}
