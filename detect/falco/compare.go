package falco

import (
	"encoding/hex"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
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

// single compares a field of which only one value is known here: a terminal is 0 where there is
// none, an executable in the upper layer is true.
func (cmp *comparison) single() (*cond, string) {
	t := cmp.target
	if t.kind == boolean {
		want, ok := truth(cmp.texts)
		if !ok || cmp.op != "=" && cmp.op != "!=" && cmp.op != "in" {
			return nil, "it is true or false"
		}
		is := &cond{op: isLeaf, leaf: &leaf{field: t.names[0], values: []string{t.one}}}
		if want == (cmp.op != "!=") {
			return is, ""
		}
		return negate(is), ""
	}
	if len(cmp.texts) != 1 || cmp.texts[0] != t.one || cmp.op != "=" && cmp.op != "!=" && cmp.op != "in" {
		return nil, "other values than " + t.one + " are not known here"
	}
	if cmp.op == "!=" {
		return exists(t.names[0]), ""
	}
	return absent(t.names[0]), ""
}

// truth reads a boolean.
func truth(texts []string) (value, ok bool) {
	if len(texts) != 1 {
		return false, false
	}
	switch strings.ToLower(texts[0]) {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

// withAbsent compares a field that Falco always has and Picket has not always: the value that
// stands for none is tested as such.
func (cmp *comparison) withAbsent() (*cond, string) {
	name, none := cmp.target.names[0], cmp.target.absent
	plain := *cmp
	plain.target.absent = ""
	switch cmp.op {
	case "=", "in", "intersects":
		var rest []string
		for _, v := range cmp.texts {
			if v != none {
				rest = append(rest, v)
			}
		}
		var kids []*cond
		if len(rest) < len(cmp.texts) {
			kids = append(kids, absent(name))
		}
		if len(rest) > 0 {
			k, why := plain.with("in", rest...).build()
			if why != "" {
				return nil, why
			}
			kids = append(kids, k)
		}
		return either(kids...), ""
	case "!=":
		if cmp.texts[0] == none {
			return exists(name), ""
		}
		return plain.differs()
	}
	k, why := plain.build()
	if why == "" && evaluate(cmp.op, none, cmp.texts) {
		k = either(k, absent(name))
	}
	return k, why
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

// textual returns the comparison of a text.
func (cmp *comparison) textual(name string) (*cond, string) {
	texts := cmp.texts
	if cmp.target.words && (cmp.op != "contains" && cmp.op != "icontains" || strings.Contains(texts[0], " ")) {
		return nil, "only one of several words can be looked for"
	}
	place := map[string]string{
		"contains": "contains", "icontains": "contains", "startswith": "startswith", "istartswith": "startswith",
		"endswith": "endswith", "iendswith": "endswith",
	}[cmp.op]
	anyCase := cmp.fold || strings.HasPrefix(cmp.op, "i") && cmp.op != "in" && cmp.op != "intersects"
	switch cmp.op {
	case "=", "in", "intersects", "!=":
		return cmp.equal(name), ""
	case "glob", "iglob":
		return glob(name, texts[0], anyCase)
	case "regex":
		if _, err := regexp.Compile(texts[0]); err != nil {
			return nil, "the regular expression is not one of RE2"
		}
		return &cond{op: isLeaf, leaf: &leaf{field: name, mods: []string{"re"}, values: []string{"^(?:" + texts[0] + ")$"}}}, ""
	case "pmatch":
		return cmp.below(name)
	case "bcontains", "bstartswith":
		raw, err := hex.DecodeString(texts[0])
		if err != nil || !utf8.Valid(raw) {
			return nil, "bytes that are not text cannot be compared here"
		}
		texts, place = []string{string(raw)}, cmp.op[1:]
	case "<", "<=", ">", ">=":
		plain := *cmp
		return plain.number(name) // a field that is kept under its own name
	}
	if texts[0] == "" {
		return exists(name), "" // each text holds the empty one
	}
	return textLeaf(name, []string{place}, texts, anyCase), ""
}

// equal returns the comparison of a text with whole values. A value that is not there reads <NA>
// or N/A in Falco's rules, and an empty text is none here.
func (cmp *comparison) equal(name string) *cond {
	var texts []string
	none := false
	for _, v := range cmp.texts {
		if v == "<NA>" || v == "N/A" || v == "" && !cmp.target.blank {
			none = true
		} else {
			texts = append(texts, v)
		}
	}
	if cmp.op == "!=" {
		if none {
			return exists(name)
		}
		return textLeaf(name, []string{"neq"}, texts, cmp.fold)
	}
	var kids []*cond
	if none {
		kids = append(kids, absent(name))
	}
	var cut []string
	texts = slices.DeleteFunc(texts, func(v string) bool {
		is := cmp.target.cut > 0 && len(v) == cmp.target.cut
		if is {
			cut = append(cut, v)
		}
		return is
	})
	if len(cut) > 0 {
		kids = append(kids, textLeaf(name, []string{"startswith"}, cut, cmp.fold))
	}
	if len(texts) > 0 {
		kids = append(kids, textLeaf(name, nil, texts, cmp.fold))
	}
	return either(kids...)
}

// below returns whether a path is one of those given or below it.
func (cmp *comparison) below(name string) (*cond, string) {
	var same, under []string
	for _, v := range cmp.texts {
		if strings.ContainsAny(v, "*?[") {
			return nil, "pmatch with wildcards"
		}
		v = strings.TrimRight(v, "/")
		if v != "" {
			same = append(same, v)
		}
		under = append(under, v+"/")
	}
	kids := []*cond{textLeaf(name, []string{"startswith"}, under, cmp.fold)}
	if len(same) > 0 {
		kids = append(kids, textLeaf(name, nil, same, cmp.fold))
	}
	return either(kids...), ""
}

// textLeaf returns an entry that compares literal texts, by exact case where case matters.
func textLeaf(name string, mods, texts []string, anyCase bool) *cond {
	l := &leaf{field: name, mods: mods}
	for _, v := range texts {
		l.values = append(l.values, escape(v))
	}
	if !anyCase && slices.ContainsFunc(texts, hasCase) {
		l.mods = append(slices.Clone(mods), "cased")
	}
	return &cond{op: isLeaf, leaf: l}
}

func hasCase(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.ToLower(r) != r || unicode.ToUpper(r) != r })
}

// escape writes a literal text as Sigma does.
func escape(s string) string { return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(s) }

// glob returns the comparison with a shell pattern.
func glob(name, pattern string, anyCase bool) (*cond, string) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '[' || strings.IndexByte("?*+@!", c) >= 0 && i+1 < len(pattern) && pattern[i+1] == '(':
			return nil, "a pattern with brackets"
		case c == '*' || c == '?':
			b.WriteByte(c)
		case c == '\\' && i+1 < len(pattern):
			i++
			b.WriteString(escape(pattern[i : i+1]))
		default:
			b.WriteString(escape(pattern[i : i+1]))
		}
	}
	l := &leaf{field: name, values: []string{b.String()}}
	if !anyCase && hasCase(pattern) {
		l.mods = []string{"cased"}
	}
	return &cond{op: isLeaf, leaf: l}, ""
}

// evaluate compares a text that is known, as Falco does.
func evaluate(op, s string, texts []string) bool {
	first := texts[0]
	switch op {
	case "=", "in", "intersects":
		return slices.Contains(texts, s)
	case "!=":
		return s != first
	case "contains":
		return strings.Contains(s, first)
	case "icontains":
		return strings.Contains(strings.ToLower(s), strings.ToLower(first))
	case "startswith":
		return strings.HasPrefix(s, first)
	case "istartswith":
		return strings.HasPrefix(strings.ToLower(s), strings.ToLower(first))
	case "endswith":
		return strings.HasSuffix(s, first)
	case "iendswith":
		return strings.HasSuffix(strings.ToLower(s), strings.ToLower(first))
	case "glob", "iglob":
		ok, _ := path.Match(first, s) // the texts that are known have no slash
		return ok
	case "regex":
		ok, _ := regexp.MatchString("^(?:"+first+")$", s)
		return ok
	}
	return evaluateOrder(op, s, first)
}

func evaluateOrder(op, s, text string) bool {
	a, err := strconv.ParseInt(s, 0, 64)
	b, err2 := strconv.ParseInt(text, 0, 64)
	if err != nil || err2 != nil {
		return false
	}
	switch op {
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	case ">=":
		return a >= b
	}
	return false
}
