package sigma_test

import (
	"strings"
	"testing"

	"picket/sigma"
)

// oneValue is a schema whose fields have one value each, but for Image.
type oneValue struct{ sigma.Schema }

func (oneValue) Single(field string) bool { return field != "Image" }

// ruleOf parses a rule with the given detection section.
func ruleOf(t testing.TB, detection string) *sigma.Rule {
	t.Helper()
	src := "title: t\nid: 11111111-2222-4333-8444-555555555555\nlevel: low\nlogsource: {category: process_creation}\ndetection:\n  " +
		strings.ReplaceAll(strings.TrimSpace(detection), "\n", "\n  ") + "\n"
	rules, err := sigma.Parse("test.yml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return rules.Rules[0]
}

func TestLintFindsWhatLeavesNothingOver(t *testing.T) {
	for _, c := range []struct {
		detection string
		never     bool
	}{
		{"a: {User: x}\nb: {User: y}\ncondition: a and b", true},
		{"a: {User: [x, z]}\nb: {User: [z, y]}\ncondition: a and b", false},
		{"a: {User: [x, z]}\nb: {User|contains: q}\ncondition: a and b", true},
		{"a: {User: X}\nb: {User: x}\ncondition: a and b", false},
		{"a: {User: 'x*'}\nb: {User|startswith: y}\ncondition: a and b", true},
		{"a: {User|startswith: /usr}\nb: {User|startswith: /usr/bin}\ncondition: a and b", false},
		{"a: {User|endswith: .sh}\nb: {User|endswith: .py}\ncondition: a and b", true},
		{"a: {User|endswith: .sh}\nb: {User|contains: .py}\ncondition: a and b", false},
		{"a: {User|contains|all: [x, y]}\nb: {User: xz}\ncondition: a and b", true},
		{"a: {User|contains|all: [x, y]}\nb: {User: xy}\ncondition: a and b", false},
		{"a: {Image: x}\nb: {Image: y}\ncondition: a and b", false}, // a field of several values
		{"a: {User: x}\nb: {CommandLine: y}\ncondition: a and b", false},
		{"a: {User: x}\nb: {User: y}\ncondition: a or b", false},
		{"a: {User|re: x}\nb: {User: y}\ncondition: a and b", false},
		{"a: {User|neq: x}\nb: {User: x}\ncondition: a and b", false}, // not looked into
		{"a: {Image: [x, y]}\nb: {Image: [x, y, z]}\ncondition: a and not b", true},
		{"a: {Image: /bin/sh}\nb: {Image|startswith: /bin/}\ncondition: a and not 1 of b*", true},
		{"a: {Image: [x, y]}\nb: {Image: [x, z]}\ncondition: a and not b", false},
		{"a: {Image: x}\nb: {Image|cased: x}\ncondition: a and not b", false},
		{"a: {Image: x}\nb: {Image: x, User: y}\ncondition: a and not b", false},
		{"a: {ProcessId|gt: 5}\nb: {ProcessId|lt: 5}\ncondition: a and b", true},
		{"a: {ProcessId|gte: 5}\nb: {ProcessId|lte: 5}\ncondition: a and b", false},
		{"a: {ProcessId|gt: 5}\nb: {ProcessId|lte: 5}\ncondition: a and b", true},
	} {
		got := sigma.Lint([]*sigma.Rule{ruleOf(t, c.detection)}, oneValue{schema})
		var said bool
		for _, p := range got {
			said = said || strings.Contains(p.Msg, "can never fire")
		}
		if said != c.never {
			t.Errorf("can never fire: %t, want %t, of\n%s\n%v", said, c.never, c.detection, got)
		}
	}
}

func TestCanFire(t *testing.T) {
	for _, c := range []struct {
		detection string
		can       bool
	}{
		{"a: {gone: x}\ncondition: a", false},
		{"a: {gone: x, Image: y}\ncondition: a", false},
		{"a: {gone: x}\nb: {Image: y}\ncondition: a or b", true},
		{"a: {gone: x}\nb: {Image: y}\ncondition: b and not a", true},
		{"a: {gone: null}\ncondition: a", true},
		{"a: {gone: [x, null]}\ncondition: a", true},
		{"a: {gone|exists: true}\ncondition: a", false},
		{"a: {gone|exists: false}\ncondition: a", true},
		{"a: {gone|neq: x}\ncondition: a", false},
		{"a: {gone: '*'}\ncondition: not a", true},
		{"a: {gone: ''}\ncondition: a", false},
		{"a: {gone|re: x}\nb: {gone|cidr: 10.0.0.0/8}\nc: {gone|gt: 5}\ncondition: 1 of them", false},
		{"a: {Image|fieldref: gone}\ncondition: a", false},
		{"a: {Image|fieldref|neq: gone}\ncondition: a", true},
		{"a: {gone|fieldref: Image}\ncondition: a", false},
		{"a: [word]\ncondition: a", true},
	} {
		r := ruleOf(t, c.detection)
		if got := r.CanFire(func(f string) bool { return f == "gone" }); got != c.can {
			t.Errorf("can fire: %t, want %t, of\n%s", got, c.can, c.detection)
		}
		if !r.CanFire(func(string) bool { return false }) {
			t.Errorf("with every field it cannot fire:\n%s", c.detection)
		}
	}
}
