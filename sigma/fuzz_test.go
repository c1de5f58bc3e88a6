package sigma

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"title: t\nlogsource: {category: x}\ndetection:\n  s:\n    f|contains|all: [a, 'b*']\n    g|re|i: x+\n  k: [word, 5]\n  condition: s and not 1 of k*\n",
		"action: global\nlogsource: {}\n---\ndetection: &a {s: {f|expand: '%x%'}, condition: [s, not s]}\n<<: *a\n",
		"detection: {s: {f|hour|gt: 5, g|cidr: ::/0, h|wide|base64offset|contains: abc, i|windash: -a}}\n",
		"a: &a [*a]\n", "? [a]\n: b\n", "\x00", "---\n---\n", "&a a: *a\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		parsed, err := Parse("f.yml", []byte(src))
		rules := parsed.Rules
		if err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
		for _, p := range Lint(rules, nil) {
			_ = p.String()
		}
		e, _ := Options{Placeholders: map[string][]string{"x": {"a*", "b"}}}.Compile(rules, nil)
		for _, r := range e.Rules() {
			e.Match(hostile{src, r.Logsource}, func(*Rule) {})
			r.Fields()
		}
	})
}

// hostile has the same text in every field.
type hostile struct {
	text   string
	source Logsource
}

func (h hostile) Value(uint16) Value                       { return Value{Kind: Text, Str: h.text} }
func (h hostile) Extra(string) Value                       { return Value{Kind: List, List: []string{h.text, ""}} }
func (h hostile) Logsources() []Logsource                  { return []Logsource{h.source} }
func (h hostile) EachText(visit func(uint16, string) bool) { visit(NoField, h.text) }

func FuzzCondition(f *testing.F) {
	for _, s := range []string{"a and not (b or 1 of c*)", "all of them", "not not a", "((", "1 of", "a|b", "é of ü", "of of of"} {
		f.Add(s)
	}
	names := []string{"a", "b", "c1", "_d", "and"}
	f.Fuzz(func(t *testing.T, text string) {
		var searches []*search
		for _, n := range names {
			searches = append(searches, &search{name: n, expr: &node{item: &item{field: n}}})
		}
		n, bad := parseCondition(text, searches)
		if bad != nil {
			if bad.offset < 0 || bad.offset > len(text) || bad.msg == "" {
				t.Errorf("bad position or message: %+v", bad)
			}
			return
		}
		n.walk(func(it *item) {
			if it == nil {
				t.Error("a leaf without an item")
			}
		})
		judge{}.verdict(n)
	})
}

// matchSlowly is pattern.match by trying everything.
func matchSlowly(p pattern, s []rune) bool {
	if len(p) == 0 {
		return len(s) == 0
	}
	switch p[0].wild {
	case literal:
		lit := []rune(p[0].text)
		return len(s) >= len(lit) && string(s[:len(lit)]) == string(lit) && matchSlowly(p[1:], s[len(lit):])
	case anyRune, anyDash:
		return len(s) > 0 && (p[0].wild == anyRune || isDash(s[0])) && matchSlowly(p[1:], s[1:])
	}
	for i := range len(s) + 1 {
		if matchSlowly(p[1:], s[i:]) {
			return true
		}
	}
	return false
}

func FuzzPattern(f *testing.F) {
	for _, c := range [][2]string{
		{"a*b?c", "axxbéc"}, {`\*\\*`, `*\x`}, {"*a?b*", "aab"}, {"??", "é"}, {"*?a*?b", "xaxab"}, {"a -b*/c", "a /bx–c"}, {"*é*?", "éx"},
	} {
		f.Add(c[0], c[1], false)
		f.Add(c[0], c[1], true)
	}
	f.Fuzz(func(t *testing.T, pat, text string, windash bool) {
		p := parsePattern(pat, false)
		if windash {
			ps, _ := dashes([]pattern{p}, nil)
			p = ps[0]
		}
		for _, w := range []place{whole, anywhere, atStart, atEnd} {
			q := p.at(w)
			got := q.match(text)
			small := len(pat) < 16 && len(text) < 40 && strings.Count(pat, "*") < 4
			if small && utf8.ValidString(pat) && utf8.ValidString(text) {
				if want := matchSlowly(q, []rune(text)); got != want {
					t.Errorf("%q on %q: %t, want %t", q, text, got, want)
				}
			}
		}
	})
}

func FuzzMatch(f *testing.F) {
	f.Add("plain", "value")
	f.Add("\xff\xfe", "É\xc3")
	f.Add("99999999999999999999", "::ffff:1.2.3.4%eth0")
	e := engineOf(f, everything)
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, text := range []string{a, b} {
			e.Match(hostile{text, Logsource{}}, func(*Rule) {})
			if !folded(text) && foldText(foldText(text)) != foldText(text) {
				t.Errorf("folding %q twice differs", text)
			}
		}
	})
}

// Values of 64 KiB are a test of their own: fuzzing them takes seconds an input.
func TestHugeValues(t *testing.T) {
	e := engineOf(t, everything)
	for _, part := range []string{"A", "é-/", " -x", "aab ", "k", "\xff", "\x00", "a*b?"} {
		fired := 0
		e.Match(hostile{strings.Repeat(part, 64<<10/len(part)), Logsource{}}, func(*Rule) { fired++ })
		if fired != 1 {
			t.Errorf("%d rules fired on a long text of %q", fired, part)
		}
	}
}

func engineOf(t testing.TB, src string) *Engine {
	parsed, err := Parse("f.yml", []byte(src))
	rules := parsed.Rules
	if err != nil {
		t.Fatal(err)
	}
	e, err := Compile(rules, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// everything uses each kind of test and fires on every event.
const everything = `
logsource: {}
detection:
  s:
    - {a: 'x*y?z'}
    - {a|contains: 'É'}
    - {a|cased: 'x'}
    - {a|re: '(a+)+$'}
    - {a|re|i: 'k[^x]{5}'}
    - {a|windash|contains: ' -enc'}
    - {a|gt: 5}
    - {a|lt: 1.5}
    - {a|cidr: 10.0.0.0/8}
    - {a|hour: 5}
    - {a|week|gt: 5}
    - {a|fieldref|contains: b}
    - {a|wide: x}
    - {a|startswith: '*a*b*c*d*e*f*g*h'}
    - word
    - 'w*d'
  condition: s or not s
`
