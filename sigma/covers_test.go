package sigma_test

import (
	"math/rand/v2"
	"testing"

	"picket/sigma"
)

// twoNames is a schema that knows Image as exe too.
type twoNames struct{ oneValue }

func (s twoNames) Field(name string) (uint16, bool) {
	if name == "exe" {
		name = "Image"
	}
	return s.oneValue.Field(name)
}

func TestCovered(t *testing.T) {
	for _, c := range []struct {
		rule, by string
		covered  bool
	}{
		{"a: {Image: /bin/sh}\ncondition: a", "a: {Image: /bin/sh}\ncondition: a", true},
		{"a: {Image: /bin/sh}\ncondition: a", "a: {Image: /bin/bash}\ncondition: a", false},
		{"a: {Image: /bin/sh, User: x}\ncondition: a", "a: {Image: /bin/sh}\ncondition: a", true},
		{"a: {Image: /bin/sh}\ncondition: a", "a: {Image: /bin/sh, User: x}\ncondition: a", false},
		{"a: {Image: /bin/sh, User: x}\ncondition: a", "a: {Image: /bin/sh}\nb: {User: x}\ncondition: a and b", true},
		{"a: {Image: /bin/sh}\nb: {Image: /bin/bash}\ncondition: a or b", "a: {Image|startswith: /bin/}\ncondition: a", true},
		{"a: {Image: /bin/sh}\nb: {Image: /usr/bin/bash}\ncondition: a or b", "a: {Image|startswith: /bin/}\ncondition: a", false},
		{"a: {Image: /bin/sh}\ncondition: a", "a: {User: x}\nb: {Image: /bin/sh}\ncondition: a or b", true},
		{"a: {Image|endswith: /sh}\ncondition: a", "a: {Image|endswith: sh}\ncondition: a", true},
		{"a: {Image|endswith: sh}\ncondition: a", "a: {Image|endswith: /sh}\ncondition: a", false},
		{"a: {Image|startswith: /usr/bin}\ncondition: a", "a: {Image|startswith: /usr}\ncondition: a", true},
		{"a: {Image|startswith: /usr}\ncondition: a", "a: {Image|contains: us}\ncondition: a", true},
		{"a: {Image|contains: us}\ncondition: a", "a: {Image|startswith: us}\ncondition: a", false},
		{"a: {Image: /a/*/b}\ncondition: a", "a: {Image: '/a/*/b'}\ncondition: a", true},
		{"a: {Image: /a/*/b}\ncondition: a", "a: {Image: '*'}\ncondition: a", true},
		{"a: {Image: '/a/?/b'}\ncondition: a", "a: {Image: '/a/*/c'}\ncondition: a", false},
		{"a: {Image: [/x, /y]}\ncondition: a", "a: {Image: [/z, /y, /x]}\ncondition: a", true},
		{"a: {Image: /bin/sh}\ncondition: a", "a: {exe: /bin/sh}\ncondition: a", true},
		{"a: {Image: /bin/sh}\ncondition: a", "a: {Image|cased: /bin/sh}\ncondition: a", false},
		{"a: {Image|cased: /bin/sh}\ncondition: a", "a: {Image: /bin/sh}\ncondition: a", true},
		{"a: {User: x}\ncondition: a", "a: {User: y}\ncondition: not a", true},
		{"a: {User: x}\ncondition: a", "a: {User: x}\ncondition: not a", false},
		{"a: {User: x}\ncondition: a and not a", "a: {User: y}\ncondition: a", false}, // it never fires anyway
		{"a: {Image|re: /sh$}\ncondition: a", "a: {Image|endswith: /sh}\ncondition: a", false},
		{"a: [word]\ncondition: a", "a: {Image: '*'}\ncondition: a", false},
	} {
		if got := ruleOf(t, c.rule).Covered(ruleOf(t, c.by), twoNames{oneValue{schema}}); got != c.covered {
			t.Errorf("covered: %t, want %t, of\n%s\nby\n%s", got, c.covered, c.rule, c.by)
		}
	}
}

// What is called covered must be covered: on every event that a public rule fires on, a rule that
// covers it fires too.
func TestCoveredHoldsOfPublicRules(t *testing.T) {
	files := publicFiles(t)
	rules, _ := loadPublic(t)
	e, _ := sigma.Compile(rules, schema)
	rules = e.Rules()
	r := rand.New(rand.NewPCG(5, 6))
	pairs := 0
	for i := range 40_000 {
		a, b := rules[r.IntN(len(rules))], rules[r.IntN(len(rules))]
		if i < len(rules) {
			a, b = rules[i], rules[i]
		}
		if a.Logsource != b.Logsource || !a.Covered(b, schema) {
			continue
		}
		pairs++
		n := newNaive(files[a.SourceFile])
		for range 5 {
			ev := derive(r, n, a)
			fired := map[*sigma.Rule]bool{}
			e.Match(ev, func(h *sigma.Rule) { fired[h] = true })
			if fired[a] && !fired[b] {
				t.Fatalf("%s is said to cover %s, but does not on %v", b.SourceFile, a.SourceFile, ev.fields)
			}
		}
	}
	t.Logf("%d pairs", pairs)
	if pairs < 100 {
		t.Errorf("only %d pairs were compared", pairs)
	}
}
