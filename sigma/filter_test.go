package sigma_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/sigma"
)

const filtered = `title: shell
id: id-1
name: shell
logsource: {category: process_creation, product: linux}
detection:
  selection: {Image|endswith: sh}
  condition: all of them
---
title: all
name: all
logsource: {product: linux}
detection:
  selection: {User: "*"}
  condition: selection
---
`

func TestFilters(t *testing.T) {
	for _, c := range []struct {
		section, filter string
		hit             string // titles that fire on /bin/sh of root, and of user x
	}{
		{"no filter", "", "shell all; shell all"},
		{"positive form", "filter: {rules: [shell], selection: {User: x}, condition: selection}", "shell all; all"},
		{"negative form", "filter: {rules: [shell], selection: {User: x}, condition: not selection}", "shell all; all"},
		{"not in parentheses", "filter: {rules: [shell], a: {User: x}, condition: (not (a))}", "shell all; all"},
		{"mode suppress", "filter-mode: suppress\nfilter: {rules: [shell], a: {User: x}, condition: not a}", "all; shell all"},
		{"mode and", "filter-mode: and\nfilter: {rules: [shell], a: {User: x}, condition: a}", "all; shell all"},
		{"by id", "filter: {rules: [id-1], a: {User: x}, condition: a}", "shell all; all"},
		{"several rules", "filter: {rules: [shell, all], a: {User: x}, condition: a}", "shell all; "},
		{"any", "filter: {rules: any, a: {User: x}, condition: a}", "shell all; "},
		{"absent is any", "filter: {a: {User: x}, condition: a}", "shell all; "},
		{"log source of the filter", "logsource: {category: process_creation}\nfilter: {a: {User: x}, condition: a}", "shell all; all"},
		{"log source of another", "logsource: {category: file_event}\nfilter: {rules: [shell], a: {User: x}, condition: a}", "shell all; shell all"},
		{"them is not the rule's", "filter: {rules: [shell], selection: {User: x}, other: {Image: '*sh'}, condition: all of them}", "shell all; all"},
		{"an expired one", "expires: 2026-01-01\nfilter: {rules: [shell], a: {User: x}, condition: a}", "shell all; shell all"},
		{"a day ends with itself", "expires: 2026-01-02\nfilter: {rules: [shell], a: {User: x}, condition: a}", "shell all; all"},
	} {
		t.Run(c.section, func(t *testing.T) {
			src := filtered
			if c.filter != "" {
				if !strings.HasPrefix(c.filter, "logsource") {
					src += "logsource: {}\n"
				}
				src += c.filter + "\n"
			}
			parsed, err := sigma.Parse("f.yml", []byte(src))
			if err != nil {
				t.Fatal(err)
			}
			e, err := sigma.Options{Filters: parsed.Filters}.Compile(parsed.Rules, schema)
			if err != nil {
				t.Fatal(err)
			}
			e.Advance(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC))
			e.Advance(time.Time{}) // time does not go back
			var got []string
			for _, user := range []string{"root", "x"} {
				found := hits(e, event(map[string]any{"Image": "/bin/sh", "User": user}))
				slices.Sort(found)
				slices.Reverse(found)
				got = append(got, strings.Join(found, " "))
			}
			if strings.Join(got, "; ") != c.hit {
				t.Errorf("got %q, want %q", got, c.hit)
			}
			hidden := uint64(0)
			for _, s := range e.Suppressions() {
				hidden += s.Count
				if s.Filter != parsed.Filters[0] || s.Expired != (c.section == "an expired one") {
					t.Errorf("%+v", s)
				}
			}
			if want := uint64(4 - len(strings.Fields(strings.ReplaceAll(c.hit, ";", "")))); hidden != want {
				t.Errorf("%d suppressions counted, want %d", hidden, want)
			}
		})
	}
}

func TestManyFiltersOfOneRule(t *testing.T) {
	parsed, err := sigma.Parse("f.yml", []byte(filtered+`
logsource: {}
owner: team
reason: a lab
filter: {rules: [shell], a: {User: x}, condition: a}
---
logsource: {}
filter: {rules: [shell], a: {Image: /bin/sh}, b: {User: y}, condition: a and b}
`))
	if err != nil {
		t.Fatal(err)
	}
	if f := parsed.Filters[0]; f.Owner != "team" || f.Reason != "a lab" || !slices.Equal(f.Fields(), []string{"User"}) {
		t.Errorf("%+v", f)
	}
	e, err := sigma.Options{Filters: parsed.Filters}.Compile(parsed.Rules, schema)
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]int{"x": 1, "y": 1, "z": 2} {
		if got := hits(e, event(map[string]any{"Image": "/bin/sh", "User": user})); len(got) != want {
			t.Errorf("%s: %q", user, got)
		}
	}
	var counts []string
	for _, s := range e.Suppressions() {
		counts = append(counts, fmt.Sprint(s.Rule.Title, s.Count))
	}
	if !slices.Equal(counts, []string{"shell1", "shell1"}) {
		t.Errorf("got %q", counts)
	}
}

func TestFilterErrorsAreLocated(t *testing.T) {
	for src, want := range map[string]string{
		"logsource: {}\nfilter: {rules: [z], s: {f: x}, condition: s}\n":                         `f.yml:2:17: there is no rule "z" to filter`,
		"logsource: {}\nfilter: {rules: [''], s: {f: x}, condition: s}\n":                        "an entry of rules is empty",
		"logsource: {}\nfilter: {rules: [shell], s: {f: x}}\n":                                   "detection has no condition",
		"logsource: {}\nfilter: {rules: [shell], s: {f: x}, condition: selection}\n":             `unknown identifier "selection"`,
		"logsource: {}\nfilter: {rules: [shell], s: {f|expand: '%who%'}, condition: s}\n":        "f.yml:2:30: placeholder %who% has no values",
		"logsource: {}\nfilter: [x]\n":                                                           "f.yml:2:9: filter must be a map, not a list",
		"filter: {rules: [shell], s: {f: x}, condition: s}\n":                                    "has no logsource",
		"logsource: {}\nfilter-mode: or\nfilter: {s: {f: x}, condition: s}\n":                    `f.yml:2:14: unknown filter-mode "or"`,
		"logsource: {}\nexpires: soon\nfilter: {s: {f: x}, condition: s}\n":                      `f.yml:2:10: expires must be a date, not "soon"`,
		"logsource: {}\nfilter: {s: {f: x}, condition: s}\ndetection: {s: {f: x}, condition: s}": "f.yml:3:1: a filter has no detection",
	} {
		parsed, err := sigma.Parse("f.yml", []byte(src))
		rules, _ := sigma.Parse("r.yml", []byte(filtered))
		e, err2 := sigma.Options{Filters: parsed.Filters}.Compile(rules.Rules, schema)
		if said := fmt.Sprint(err, "\n", err2); !strings.Contains(said, want) {
			t.Errorf("%s: got %s, want %s", src, said, want)
		}
		if len(e.Rules()) != 2 {
			t.Errorf("%s: %d rules", src, len(e.Rules()))
		}
	}
}
