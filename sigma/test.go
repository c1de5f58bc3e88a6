package sigma

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// testKind says how a test looks at a field.
type testKind uint8

const (
	isNull   testKind = iota // absent or null
	isThere                  // the key is there, be it null
	hasValue                 // there and not null
	equals
	contains
	hasPrefix
	hasSuffix
	matchesPattern
	matchesRegexp
	inPrefix
	ordered
	likeField
)

// test is the smallest part of a rule: one field, one comparison.
type test struct {
	kind  testKind
	field string // "" is every text of the event
	cased bool
	text  string // equals, contains, hasPrefix, hasSuffix, folded unless cased; matchesRegexp: source
	pat   pattern
	re    *regexp.Regexp
	least int // bytes of a match of re
	net   netip.Prefix
	num   number
	cmp   comparison
	part  datePart
	other string // likeField
	place place
}

// key tells tests apart: equal tests of all rules are evaluated once.
func (t *test) key() string {
	return fmt.Sprintf("%d\x00%s\x00%t\x00%s\x00%v\x00%v\x00%v\x00%d\x00%d\x00%s\x00%d",
		t.kind, t.field, t.cased, t.text, t.pat, t.net, t.num, t.cmp, t.part, t.other, t.place)
}

// expr is what an item or a rule asks, down to tests. A leaf has a test.
type expr struct {
	op   op
	kids []*expr
	test *test
}

// expr returns what the item asks.
func (it *item) expr(ph placeholders) (*expr, *refusal) {
	body := &expr{op: opOr}
	if it.all {
		body.op = opAnd
	}
	for _, v := range it.values {
		e, err := it.one(v, ph)
		if err != nil {
			return nil, err
		}
		body.kids = append(body.kids, e)
	}
	if it.neq {
		there := &expr{test: &test{kind: hasValue, field: it.field}}
		return &expr{op: opAnd, kids: []*expr{there, {op: opNot, kids: []*expr{body}}}}, nil
	}
	return body, nil
}

// check refuses a value that the item can do nothing with, as far as it can be told without the
// values of placeholders.
func (it *item) check(v value) *refusal {
	if it.expand {
		return nil
	}
	_, err := it.one(v, nil)
	return err
}

// one returns what the item asks of one of its values.
func (it *item) one(v value, ph placeholders) (*expr, *refusal) {
	if v.kind == valueNull {
		return it.null()
	}
	if it.do == doExists {
		return it.exists(v)
	}
	if it.do == doText {
		return it.texts(v, ph)
	}
	sources := []string{v.text}
	if it.expand {
		var err *refusal
		if sources, err = it.filled(v.text, ph); err != nil {
			return nil, err
		}
	}
	or := &expr{op: opOr}
	for _, s := range sources {
		t, err := it.special(value{kind: v.kind, text: s, pos: v.pos})
		if err != nil {
			return nil, err
		}
		or.kids = append(or.kids, &expr{test: t})
	}
	return or, nil
}

func (it *item) null() (*expr, *refusal) {
	if it.field == "" {
		return nil, refuse("quote it to search the word: 'null'", "null cannot be searched as a keyword")
	}
	if it.do != doText || it.place != whole || len(it.steps) > 0 {
		return nil, refuse("test for null with the field name alone", "null cannot be combined with %s", strings.Join(it.mods, "|"))
	}
	return &expr{test: &test{kind: isNull, field: it.field}}, nil
}

func (it *item) exists(v value) (*expr, *refusal) {
	if v.kind != valueBool || len(it.values) > 1 {
		return nil, refuse("write exists: true or exists: false", "exists takes a single true or false")
	}
	e := &expr{test: &test{kind: isThere, field: it.field}}
	if strings.EqualFold(v.text, "false") {
		e = &expr{op: opNot, kids: []*expr{e}}
	}
	return e, nil
}

// patterns returns the patterns that the value stands for, any of which will do.
func (it *item) patterns(v value, ph placeholders) ([]pattern, *refusal) {
	pats := []pattern{parsePattern(v.text, it.expand)}
	for _, s := range it.steps {
		var err *refusal
		if pats, err = s(pats, ph); err != nil {
			return nil, err
		}
	}
	where := it.place
	if it.field == "" && where == whole {
		where = anywhere
	}
	out := make([]pattern, len(pats))
	for i, p := range pats {
		out[i] = p.at(where)
	}
	return out, nil
}

// texts returns the comparison with each text that the value stands for.
func (it *item) texts(v value, ph placeholders) (*expr, *refusal) {
	pats, err := it.patterns(v, ph)
	if err != nil {
		return nil, err
	}
	or := &expr{op: opOr}
	for _, p := range pats {
		t := textTest(p, it.field, it.cased)
		if t.kind == hasValue && it.field == "" {
			return nil, refuse("give the keyword a text", "an empty keyword is found in every event")
		}
		or.kids = append(or.kids, &expr{test: t})
	}
	if len(or.kids) == 0 {
		return nil, refuse("use a longer text", "the text is too short to be recognised in its encoding")
	}
	return or, nil
}

// textTest returns the cheapest test for p.
func textTest(p pattern, field string, cased bool) *test {
	if !cased {
		p = p.fold()
	}
	t := &test{field: field, cased: cased}
	lit := func(i int) bool { return p[i].wild == literal }
	run := func(i int) bool { return p[i].wild == anyRun }
	switch n := len(p); {
	case n == 0:
		t.kind = equals
	case n == 1 && lit(0):
		t.kind, t.text = equals, p[0].text
	case n == 1 && run(0):
		t.kind, t.cased = hasValue, false
	case n == 2 && run(0) && lit(1):
		t.kind, t.text = hasSuffix, p[1].text
	case n == 2 && lit(0) && run(1):
		t.kind, t.text = hasPrefix, p[0].text
	case n == 3 && run(0) && lit(1) && run(2):
		t.kind, t.text = contains, p[1].text
	default:
		t.kind, t.pat = matchesPattern, p
	}
	return t
}

// special returns the test of an item that is not about text.
func (it *item) special(v value) (*test, *refusal) {
	t := &test{field: it.field}
	switch it.do {
	case doRegexp:
		return t, it.regexpTest(t, v)
	case doCIDR:
		return t, cidrTest(t, v)
	case doCompare:
		num, ok := ruleNumber(v)
		if !ok {
			return nil, refuse("compare with a number, without quotes", "%q is not a number", shorten(v.text))
		}
		t.kind, t.num, t.cmp, t.part = ordered, num, it.cmp, it.part
		return t, nil
	}
	if v.text == "" || v.kind != valueText {
		return nil, refuse("fieldref names another field of the event", "%q is not a field name", shorten(v.text))
	}
	t.kind, t.other, t.place, t.cased = likeField, v.text, it.place, it.cased
	return t, nil
}

func cidrTest(t *test, v value) *refusal {
	t.kind = inPrefix
	if addr, err := netip.ParseAddr(v.text); err == nil {
		addr = addr.Unmap().WithZone("")
		t.net = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	net, err := netip.ParsePrefix(v.text)
	if err != nil {
		return refuse("write 10.0.0.0/8 or fd00::/8", "%q is not a network", shorten(v.text))
	}
	if addr := net.Addr(); addr.Is4In6() && net.Bits() >= 96 {
		net = netip.PrefixFrom(addr.Unmap(), net.Bits()-96)
	}
	t.net = net.Masked()
	return nil
}

// filled returns the value with its placeholders replaced, outside of texts with wildcards.
func (it *item) filled(s string, ph placeholders) ([]string, *refusal) {
	out := []string{""}
	for s != "" {
		name := ""
		if s[0] == '%' {
			name = variableName(s)
		}
		if name == "" {
			n := 1 + strings.IndexByte(s[1:]+"%", '%')
			for i := range out {
				out[i] += s[:n]
			}
			s = s[n:]
			continue
		}
		values := ph[name]
		if len(values) == 0 {
			return nil, refuse("configure values for it, or remove the rule", "placeholder %%%s%% has no values", name)
		}
		var next []string
		for _, o := range out {
			for _, v := range values {
				if it.do == doRegexp {
					v = regexp.QuoteMeta(v)
				}
				next = append(next, o+v)
			}
		}
		if out = next; len(out) > maxVariants {
			return nil, refuse("use fewer placeholders in one value", "the value stands for more than %d texts", maxVariants)
		}
		s = s[len(name)+2:]
	}
	return out, nil
}
