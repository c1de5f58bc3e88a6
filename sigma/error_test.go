package sigma_test

import (
	"errors"
	"strings"
	"testing"

	"picket/sigma"
)

// Each detection section begins in line 5 of its rule, two columns in.
func TestRefused(t *testing.T) {
	for detection, want := range map[string]string{
		"s: {f|foo: x}\ncondition: s":                                `5:7: unknown modifier "foo"`,
		"s: {f|re|cidr: x}\ncondition: s":                            "5:7: the modifiers ask for two different comparisons",
		"s: {f|i: x}\ncondition: s":                                  "modifier i needs re before it",
		"s: {f|contains|startswith: x}\ncondition: s":                "exclude each other",
		"s: {f|contains|contains: x}\ncondition: s":                  "given twice",
		"s: {f|contains|base64: x}\ncondition: s":                    "an encoding cannot follow",
		"s: {f|base64: 'a*'}\ncondition: s":                          "with wildcards",
		"s: {f|re|windash: x}\ncondition: s":                         "cannot be combined",
		"s: {f|re|contains: x}\ncondition: s":                        "cannot be combined",
		"s: {f|gt: many}\ncondition: s":                              `"many" is not a number`,
		"s: {f|gt: true}\ncondition: s":                              "is not a number",
		"s: {f|gt|lt: 5}\ncondition: s":                              "two different comparisons",
		"s: {f|gt|neq: 5}\ncondition: s":                             "neq cannot be combined",
		"s: {f|gt|cased: 5}\ncondition: s":                           "cased has no meaning",
		"s: {f|re|i|cased: x}\ncondition: s":                         "cased has no meaning",
		"s: {f|hour: noon}\ncondition: s":                            "is not a number",
		"s: {f|hour|minute: 1}\ncondition: s":                        "part of a date",
		"s: {f|cidr: 10.0.0.0/33}\ncondition: s":                     `"10.0.0.0/33" is not a network`,
		"s: {f|exists: yes}\ncondition: s":                           "exists takes a single true or false",
		"s: {f|exists: [true, false]}\ncondition: s":                 "exists takes a single",
		"s: {f|contains: null}\ncondition: s":                        "null cannot be combined with contains",
		"s: {f|fieldref: 5}\ncondition: s":                           "is not a field name",
		"s: {f: [a, [b]]}\ncondition: s":                             "a list where a value is expected",
		"s: {f: {g: h}}\ncondition: s":                               "a map where values are expected",
		"s: {f: []}\ncondition: s":                                   "empty list",
		"s: {}\ncondition: s":                                        "5:3: s is an empty map"[5:],
		"s: []\ncondition: s":                                        "s is an empty list",
		"s: [[a]]\ncondition: s":                                     "a list inside the list",
		"s:\ncondition: s":                                           "null cannot be searched",
		"s: ['']\ncondition: s":                                      "an empty keyword",
		"s: {'|cidr': 10.0.0.0/8}\ncondition: s":                     "keywords can be searched",
		"s: {f: a, f: b}\ncondition: s":                              `"f" is given twice, first in line 5`,
		"s: {f|re: '(?=x)'}\ncondition: s":                           "look-ahead",
		"s: {f|re: 'a(?!x)'}\ncondition: s":                          "negative look-ahead",
		"s: {f|re: '(?<!x)a'}\ncondition: s":                         "negative look-behind",
		"s: {f|re: '(?>x)a'}\ncondition: s":                          "atomic group",
		`s: {f|re: '(a)\1'}` + "\ncondition: s":                      `back-reference \1`,
		"s: {f|re: 'a(b'}\ncondition: s":                             "missing closing )",
		"s: {f|re: 'a{2000}'}\ncondition: s":                         "invalid repeat count",
		"s: {f: x}\ncondition: s and t":                              `6:20: unknown identifier "t"`,
		"s: {f: x}\ncondition: s and":                                "6:19: the condition ends",
		"s: {f: x}\ncondition: s s":                                  `6:16: unexpected "s"`,
		"s: {f: x}\ncondition: (s":                                   "not closed",
		"s: {f: x}\ncondition: s)":                                   `unexpected ")"`,
		"s: {f: x}\ncondition: and s":                                `"and" where an identifier`,
		"s: {f: x}\ncondition: 2 of s*":                              `"2" of is not part of Sigma`,
		"s: {f: x}\ncondition: 1 of t*":                              `6:19: "t*" stands for no identifier`,
		"s: {f: x}\ncondition: 1 of":                                 "stands for no identifier",
		"s: {f: x}\ncondition: s | count() by f > 5":                 "6:16: aggregations after |",
		"s: {f: x}\ncondition: s & s":                                "unexpected character '&'",
		"s: {f: x}\ncondition: []":                                   "the list of conditions is empty",
		"s: {f: x}\ncondition:":                                      "a condition must be a text",
		"s: {f: x}\ncondition: s\ntimeframe: 5m":                     "7:3: timeframe belongs",
		"s: {f: x}":                                                  "detection has no condition",
		"s: {f: x}\ncondition: '" + strings.Repeat("(", 100) + "s":   "not YAML",
		"s: {f: x}\ncondition: " + strings.Repeat("(", 100) + "s":    "nested too deeply",
		"s: {f: x}\ncondition: " + strings.Repeat("not ", 100) + "s": "nested too deeply",
	} {
		parsed, err := sigma.Parse("f.yml", []byte(rule(detection)))
		rules := parsed.Rules
		var es sigma.Errors
		if !errors.As(err, &es) || len(rules) > 0 {
			t.Errorf("%s: accepted", detection)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", detection, err, want)
		}
		if es[0].Line == 0 || es[0].Hint == "" && !strings.Contains(want, "given twice") && !strings.Contains(want, "where a value") {
			t.Errorf("%s: no line or hint: %+v", detection, es[0])
		}
	}
}

func TestRefusedDocuments(t *testing.T) {
	good := "detection: {s: {f: x}, condition: s}\n"
	for src, want := range map[string]string{
		good:                                                "f.yml:1:1: the rule has no logsource",
		"title: x\nlogsource: {}\n":                         "the rule has no detection",
		"logsource: x\n" + good:                             "1:12: logsource must be a map, not a single value",
		"logsource: {}\ndetection: [x]\n":                   "detection must be a map, not a list",
		"logsource: {}\ntitle: [x]\n" + good:                "title must be a text, not a list",
		"logsource: {}\ntags: {x: y}\n" + good:              "tags must be a list, not a map",
		"logsource: {}\ntaxonomy: ecs\n" + good:             `unknown taxonomy "ecs"`,
		"logsource: {}\nrelated: x\n" + good:                "",
		"logsource: {}\naction: dance\n" + good:             `unknown action "dance"`,
		"- a\n- b\n":                                        "the document is not a map",
		"a: b: c\n":                                         "f.yml:1:1: not YAML: mapping values are not allowed",
		"logsource: {}\n\tx: y\n":                           "not YAML",
		"? [a]\n: b\n":                                      "a key must be a plain name",
		strings.Repeat("[", 500) + strings.Repeat("]", 500): "too deep",
		bomb(): "too deep or too large",
	} {
		_, err := sigma.Parse("f.yml", []byte(src))
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %s", src, err, want)
		}
	}
}

// bomb is a small file that stands for a huge one.
func bomb() string {
	s := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := '1'; i <= '9'; i++ {
		prev := string(i - 1)
		s += "a" + string(i) + ": &a" + string(i) + " [" + strings.Repeat("*a"+prev+",", 10) + "x]\n"
	}
	return s
}

func TestTooManyTests(t *testing.T) {
	list := "s: {f: [" + strings.Repeat("x, ", 9000) + "x]}\ncondition: s" + strings.Repeat(" and s", 20)
	parsed, err := sigma.Parse("f.yml", []byte(rule(list)))
	rules := parsed.Rules
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sigma.Compile(rules, nil); err == nil || !strings.Contains(err.Error(), "more than 100000 tests") {
		t.Errorf("got %v", err)
	}
	_, err = sigma.Parse("f.yml", []byte(rule("s: {f: x}\ncondition: s"+strings.Repeat(" and s", 2000))))
	if err == nil || !strings.Contains(err.Error(), "more than 2000 words") {
		t.Errorf("got %v", err)
	}
}

func TestErrorShowsTheLine(t *testing.T) {
	_, err := sigma.Parse("dir/rule.yml", []byte(rule("selection:\n  Image|endwith: /sh\ncondition: selection")))
	want := "dir/rule.yml:6:5: unknown modifier \"endwith\"\n\t    Image|endwith: /sh\n\thint: known are all, base64,"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v", err)
	}
}

func TestPlaceholderWithoutValues(t *testing.T) {
	parsed, err := sigma.Parse("f.yml", []byte(rule("s: {f|expand: 'a%who%'}\ncondition: s")+"---\n"+rule("s: {f: x}\ncondition: s")))
	rules := parsed.Rules
	if err != nil {
		t.Fatal(err)
	}
	e, err := sigma.Compile(rules, schema)
	if len(e.Rules()) != 1 || err == nil || !strings.Contains(err.Error(), "f.yml:5:7: placeholder %who% has no values\n\t  s: {f|expand: 'a%who%'}") {
		t.Errorf("%d rules, %v", len(e.Rules()), err)
	}
}
