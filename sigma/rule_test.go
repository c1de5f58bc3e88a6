package sigma_test

import (
	"slices"
	"strings"
	"testing"

	"picket/sigma"
)

func TestConditions(t *testing.T) {
	parts := "a:\n  f|contains: a\nb:\n  f|contains: b\nc-d.e:\n  f|contains: c\n_h:\n  f|contains: h\nselection_and: {f|contains: s}\nsel_1_x: {f|contains: x}\nsel_2_x: {f|contains: y}\n"
	for _, c := range []struct {
		condition string
		hit, miss string // words, each the value of f
	}{
		{"a", "a", "b"},
		{"a and b", "ab", "a b"},
		{"a or b and c-d.e", "a bc", "b c"},
		{"(a or b) and c-d.e", "ac bc", "a b"},
		{"not a and b", "b", "ab z"},
		{"not (a and b)", "a z", "ab"},
		{"not not a", "a", "b"},
		{"a OR NOT b", "a z ab", "b"},
		{"a or not b", "z", "b"},
		{"1 of them", "a b c s", "h z"},
		{"any of them", "a", "h"},
		{"all of them", "abcsxy habcsxy", "abcsx"},
		{"1 of sel*", "s x y", "a"},
		{"all of sel_*_x", "xy", "x y"},
		{"1 of *_x", "x", "s"},
		{"1 of *h", "", ""},
		{"1 of _*", "h", "a"},
		{"selection_and", "s", "a"},
		{"not 1 of sel_*", "a", "x"},
		{"all of sel_* or a", "xy a", "x"},
		{"[a, b]", "a b", "z"},
		{"['a and b', c-d.e]", "ab c", "a b"},
		{"\n    a and\n    b", "ab", "a"},
	} {
		src := rule(parts + "condition: " + c.condition)
		if c.condition == "1 of *h" { // reaches _h only, which it may not
			if _, err := sigma.Parse("x", []byte(src)); err == nil {
				t.Errorf("%s is accepted", c.condition)
			}
			continue
		}
		e := compile(t, src, sigma.Options{})
		for v := range strings.FieldsSeq(c.hit) {
			if len(hits(e, event(map[string]any{"f": v}))) == 0 {
				t.Errorf("%s does not fire on %s", c.condition, v)
			}
		}
		for v := range strings.FieldsSeq(c.miss) {
			if len(hits(e, event(map[string]any{"f": v}))) > 0 {
				t.Errorf("%s fires on %s", c.condition, v)
			}
		}
	}
}

func TestKeywords(t *testing.T) {
	ev := event(map[string]any{"f": "Alpha beta", "n": 4711, "list": []string{"gamma", "DELTA"}}, "raw message")
	for detection, want := range map[string]bool{
		"k: [alpha]\ncondition: k":                             true,
		"k: alpha\ncondition: k":                               true,
		"k: [nothing, MESSAGE]\ncondition: k":                  true,
		"k: [nothing]\ncondition: k":                           false,
		"k: [471]\ncondition: k":                               true,
		"k: ['al*ta']\ncondition: k":                           true,
		"k: ['alpha*delta']\ncondition: k":                     false,
		"k: [list]\ncondition: k":                              false,
		"k:\n  '|all': [alpha, delta]\ncondition: k":           true,
		"k:\n  '|all': [alpha, nothing]\ncondition: k":         false,
		"k:\n  '|re': 'A.pha'\ncondition: k":                   true,
		"k:\n  '|re': 'a.pha'\ncondition: k":                   false,
		"k:\n  '|cased': [Alpha]\ncondition: k":                true,
		"k:\n  '|cased': [alpha]\ncondition: k":                false,
		"k:\n  '|startswith': raw\ncondition: k":               true,
		"k:\n  '|startswith': message\ncondition: k":           false,
		"k:\n  - alpha\n  - f: nothing\ncondition: k":          true,
		"k:\n  - nothing\n  - f|contains: beta\ncondition: k":  true,
		"k:\n  - {f: x, n: 4711}\n  - {n: 4711}\ncondition: k": true,
		"k:\n  - {f: x, n: 4711}\n  - {n: 1}\ncondition: k":    false,
		"k:\n  '|contains|all': [ALPHA, gamma]\ncondition: k":  true,
		"k: ['text --- more', 'raw']\ncondition: k":            true,
		"k: [nothing]\ncondition: not k":                       true,
	} {
		if got := len(hits(compile(t, rule(detection), sigma.Options{}), ev)) > 0; got != want {
			t.Errorf("%s: fires %t", detection, got)
		}
	}
}

func TestRouting(t *testing.T) {
	src := ""
	for _, l := range []string{
		"{}", "{product: linux}", "{category: process_creation}", "{product: linux, category: process_creation, definition: x}",
		"{product: windows, category: process_creation}", "{product: linux, service: auditd}",
	} {
		src += "---\ntitle: '" + l + "'\nlogsource: " + l + "\ndetection: {s: {f: x}, condition: s}\n"
	}
	e := compile(t, src, sigma.Options{})
	ev := event(map[string]any{"f": "x"})
	check := func(want ...string) {
		t.Helper()
		if got := hits(e, ev); !slices.Equal(got, want) {
			t.Errorf("%v: got %q, want %q", ev.sources, got, want)
		}
	}
	linux := []string{"{}", "{product: linux}", "{category: process_creation}", "{product: linux, category: process_creation, definition: x}"}
	check(linux...)
	ev.sources = append(ev.sources, sigma.Logsource{Product: "linux", Service: "auditd"})
	check(append(linux, "{product: linux, service: auditd}")...)
	ev.sources = []sigma.Logsource{{Product: "linux"}}
	check("{}", "{product: linux}")
	ev.sources = nil
	check()
	for i := range 5000 { // more sources than are kept at hand
		ev.sources = []sigma.Logsource{{Product: strings.Repeat("x", i)}}
		check("{}")
	}
}

func TestDocuments(t *testing.T) {
	parsed, err := sigma.Parse("rules.yml", []byte(`
action: global
title: common
level: high
logsource: {product: linux}
detection:
  condition: s
picket: {playbook: isolate}
---
name: first
detection: {s: {f: a}}
---
title: second
level: low
detection: {s: {f: "b --- c"}}
---
action: repeat
name: third
detection: {s: {f: c}}
---
action: reset
---
title: alone
id: 5013198a-7f2b-4a25-8c42-b2e2f3a0a7b5
logsource: {service: x, definition: y}
detection: &d {s: {f: d}, condition: s}
other: *d
related:
  - {id: abc, type: derived}
tags: attack.t1059
falsepositives: [None, 'a: b']
date: 2024-01-01
`))
	if err != nil {
		t.Fatal(err)
	}
	rules := parsed.Rules
	var got []string
	for _, r := range rules {
		got = append(got, r.Name+"/"+r.Title+"/"+r.Level)
	}
	if want := []string{"first/common/high", "/second/low", "third/second/low", "alone"}; !slices.Equal(got[:3], want[:3]) {
		t.Errorf("got %q, want %q", got, want)
	}
	last := rules[3]
	if last.Custom["other"] == nil || rules[0].Custom["picket"] == nil || last.Date != "2024-01-01" || last.LineOf("date") != 32 ||
		last.LineOf("detection.s") != 26 || !slices.Equal(last.Tags, []string{"attack.t1059"}) || last.FalsePositives[1] != "a: b" ||
		last.Related[0] != (sigma.Related{ID: "abc", Type: "derived"}) || !slices.Equal(last.Fields(), []string{"f"}) || last.SourceFile != "rules.yml" {
		t.Errorf("wrong: %+v", last)
	}
}

func TestKindsOfDocument(t *testing.T) {
	parsed, err := sigma.Parse("f.yml", []byte(rule("s: {f: x}\ncondition: s")+`---
name: many
correlation: {type: event_count, rules: [t], timespan: 1m, condition: {gte: 2}}
---
name: not that
logsource: {}
filter: {rules: [t], s: {f: x}, condition: s}
---
correlation: {type: event_count, rules: [t], timespan: 1m}
`))
	if len(parsed.Rules) != 1 || len(parsed.Correlations) != 1 || len(parsed.Filters) != 1 {
		t.Fatalf("%d rules, %d correlations, %d filters", len(parsed.Rules), len(parsed.Correlations), len(parsed.Filters))
	}
	if err == nil || !strings.Contains(err.Error(), "f.yml:15:14: event_count needs a condition") {
		t.Errorf("got %v", err)
	}
}

func TestDuplicateIDs(t *testing.T) {
	src := "title: a\nid: x\nlogsource: {}\ndetection: {s: {f: x}, condition: s}\n"
	parsed, err := sigma.Parse("f.yml", []byte(src+"---\n"+src))
	rules := parsed.Rules
	if err != nil {
		t.Fatal(err)
	}
	e, err := sigma.Compile(rules, nil)
	if len(e.Rules()) != 1 || err == nil || !strings.Contains(err.Error(), "f.yml:7:1: id x is used twice, first in f.yml:2\n\tid: x\n") {
		t.Errorf("%d rules, %v", len(e.Rules()), err)
	}
}

func TestWarnings(t *testing.T) {
	e := compile(t, rule("s: {Image: x, image: x}\ncondition: s"), sigma.Options{})
	if w := e.Warnings(); len(w) != 1 || !strings.Contains(w[0].String(), "test.yml:5: field image is not known") {
		t.Errorf("got %v", w)
	}
}
