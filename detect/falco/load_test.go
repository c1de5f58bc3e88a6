package falco

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/sigma"
)

// base is what the cases change.
const base = `
- list: shells
  items: [sh, bash]
- list: more
  items: [shells, "zsh", 007]
- macro: spawned
  condition: (evt.type in (execve, execveat))
- macro: quiet
  condition: (proc.pname = cron)
- rule: R
  desc: D
  condition: spawned and proc.name in (more) and not quiet
  output: O
  priority: WARNING
  tags: [T1059]
`

// loaded returns what the rule named R asks after the text is loaded behind base.
func loaded(t *testing.T, text string) *ruleDef {
	t.Helper()
	rs, err := Load(File{"base.yaml", []byte(base)}, File{"local.yaml", []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return rs.byName["R"]
}

func TestDefinitionsAndChanges(t *testing.T) {
	const spawned, names, quiet = `evt.type in ["execve" "execveat"]`, `proc.name in ["sh" "bash" "zsh" "007"]`, `(not proc.pname = ["cron"])`
	for text, want := range map[string]string{
		"": "(" + spawned + " and " + names + " and " + quiet + ")",
		"- {list: shells, items: [fish], append: true}":                                                                                              "(" + spawned + ` and proc.name in ["sh" "bash" "fish" "zsh" "007"] and ` + quiet + ")",
		"- {list: shells, items: [fish], override: {items: append}}":                                                                                 "(" + spawned + ` and proc.name in ["sh" "bash" "fish" "zsh" "007"] and ` + quiet + ")",
		"- {list: shells, items: [fish], override: {items: replace}}":                                                                                "(" + spawned + ` and proc.name in ["fish" "zsh" "007"] and ` + quiet + ")",
		"- {list: more, items: []}":                                                                                                                  "(" + spawned + ` and proc.name in [] and ` + quiet + ")",
		"- {list: more, items: ['\"shells\"']}":                                                                                                      "(" + spawned + ` and proc.name in ["shells"] and ` + quiet + ")",
		"- {macro: quiet, condition: (user.uid = 7)}":                                                                                                "(" + spawned + " and " + names + ` and (not user.uid = ["7"]))`,
		"- {macro: quiet, condition: or user.uid = 7, append: true}":                                                                                 "(" + spawned + " and " + names + ` and (not (proc.pname = ["cron"] or user.uid = ["7"])))`,
		"- {rule: R, condition: and user.uid = 0, append: true}":                                                                                     "(" + spawned + " and " + names + " and " + quiet + ` and user.uid = ["0"])`,
		"- {rule: R, condition: and user.uid = 0, override: {condition: append}}":                                                                    "(" + spawned + " and " + names + " and " + quiet + ` and user.uid = ["0"])`,
		"- {rule: R, condition: spawned, override: {condition: replace}}":                                                                            spawned,
		"- {rule: R, append: true, exceptions: [{name: x, fields: [proc.name, fd.name], values: [[a, b], [c, d]]}]}":                                 "((" + spawned + " and " + names + " and " + quiet + `) and (not ((proc.name = ["a"] and fd.name = ["b"]) or (proc.name = ["c"] and fd.name = ["d"]))))`,
		"- {rule: R, append: true, exceptions: [{name: x, fields: proc.name, values: [a, shells]}]}":                                                 "((" + spawned + " and " + names + " and " + quiet + `) and (not ((proc.name in ["a" "sh" "bash"]))))`,
		"- {rule: R, append: true, exceptions: [{name: x, fields: [proc.name, fd.name], comps: [in, startswith], values: [[[a, b], /c]]}]}":          "((" + spawned + " and " + names + " and " + quiet + `) and (not ((proc.name in ["a" "b"] and fd.name startswith ["/c"]))))`,
		"- {rule: R, append: true, exceptions: [{name: x, fields: [proc.name]}]}\n- {rule: R, append: true, exceptions: [{name: x, values: [[q]]}]}": "((" + spawned + " and " + names + " and " + quiet + `) and (not ((proc.name = ["q"]))))`,
	} {
		if got := show(loaded(t, text).tree); got != want {
			t.Errorf("%s\nasks %s\nwant %s", text, got, want)
		}
	}
	if loaded(t, "- {rule: R, enabled: false}").disabled != true || loaded(t, "- {rule: R, enabled: false}\n- {rule: R, enabled: true, override: {enabled: replace}}").disabled {
		t.Error("a rule can be switched off and on again")
	}
	r := loaded(t, "- {rule: R, output: and more, tags: [x], priority: ERROR, override: {output: append, tags: append, priority: replace}}")
	if d := cmp.Diff([]any{"O and more", []string{"T1059", "x"}, "ERROR", "D"}, []any{r.output, r.tags, r.priority, r.desc}); d != "" {
		t.Error(d)
	}
}

func TestFaultsOfFiles(t *testing.T) {
	deep := make([]string, 150)
	for i := range deep {
		deep[i] = fmt.Sprintf("- {macro: m%d, condition: m%d}\n", i, i+1)
	}
	bomb := []string{"- {macro: b0, condition: proc.name=a or proc.name=b}\n"}
	for i := range 40 {
		bomb = append(bomb, fmt.Sprintf("- {macro: b%d, condition: b%d or b%d}\n", i+1, i, i))
	}
	for text, want := range map[string]string{
		"a: [":                        "x.yaml:1:1: not YAML",
		"rule: x":                     "x.yaml:1:1: the document is not a list of entries",
		"- 1":                         "x.yaml:1:3: an entry is not a map of keys",
		"- thing: x":                  "x.yaml:1:3: unknown kind of entry",
		"- rule: x\n  rule: y":        "x.yaml:2:3: rule is given twice",
		"- rule: x\n  kondition: y":   `x.yaml:2:3: unknown key "kondition" of a rule`,
		"- rule: x":                   `x.yaml:1:3: rule "x" has no condition`,
		"- rule: ''":                  "x.yaml:1:9: the rule has no name",
		"- macro: x":                  "x.yaml:1:3: macro x has no condition",
		"- list: x":                   "x.yaml:1:3: list x has no items",
		"- list: x\n  items: y":       "x.yaml:2:10: items must be a list",
		"- list: x\n  items: [[a]]":   "x.yaml:2:11: a value of items is not a text",
		"- rule: x\n  condition: [a]": "x.yaml:2:14: condition must be a text",
		"- {rule: x, condition: y, append: true}":                                                     `x.yaml:1:3: there is no rule "x" to change`,
		"- {macro: x, condition: y, append: true}":                                                    "x.yaml:1:3: there is no macro x to change",
		"- {list: x, items: [y], append: true}":                                                       "x.yaml:1:3: there is no list x to change",
		"- {list: x, items: [y], override: {items: twice}}":                                           "x.yaml:1:36: override items: twice has no meaning",
		"- rule: x\n  condition: >\n    evt.type=execve\n    and nothing":                             `x.yaml:4:9: unknown macro "nothing"`,
		"- rule: x\n  condition: 'a'\n":                                                               `x.yaml:2:15: unknown macro "a"`,
		"- rule: x\n  condition:\n    evt.type=execve and\n    (proc.name=a\n":                        "x.yaml:4:5: the parenthesis is not closed",
		"- rule: x\n  condition: evt.type=execve\n- rule: x\n  append: true\n  condition: and (a":     "x.yaml:5:18: the parenthesis is not closed",
		"- {macro: a, condition: b}\n- {macro: b, condition: a}":                                      "x.yaml:1:3: macro a uses itself: a, b, a",
		"- {list: a, items: [b]}\n- {list: b, items: [a]}\n- {macro: m, condition: proc.name in (a)}": "x.yaml:1:3: list a holds itself",
		strings.Join(deep, "") + "- {macro: m150, condition: evt.type=execve}":                        "macros are nested more than 100 deep",
		strings.Join(bomb, ""): "the condition stands for more than 50000 comparisons",
		"- list: x\n  items: [" + strings.Repeat("a,", 10_001) + "]":                                                    "x.yaml:2:10: items has more than 10000 values",
		"- rule: x\n  condition: evt.type=execve and " + strings.Repeat("(", 10_000):                                    "x.yaml:2:134: the condition is nested more than 100 deep",
		"- {rule: x, condition: evt.type=execve, exceptions: [{name: a, values: [[b]]}]}":                               "exception a has no fields",
		"- {rule: x, condition: evt.type=execve, exceptions: [{fields: [a.b]}]}":                                        "an exception has no name",
		"- {rule: x, condition: evt.type=execve, exceptions: [{name: a, fields: [a.b], comps: [like]}]}":                `unknown operator "like" of exception a`,
		"- {rule: x, condition: evt.type=execve, exceptions: [{name: a, fields: [a.b, c.d], values: [[x]]}]}":           "a row of exception a has not 2 values",
		"- {rule: x, condition: evt.type=execve, exceptions: [{name: a, fields: [ab], values: [[x]]}]}":                 `"ab" where a field is expected`,
		"- {rule: x, condition: evt.type=execve, exceptions: [{name: a, fields: [a.b], comps: [=, =], values: [[x]]}]}": "exception a has 2 comps for 1 fields",
		strings.Repeat("x", 10<<20) + "x": "x.yaml:1:1: the file is larger than 10485760 bytes",
	} {
		began := time.Now()
		rs, err := Load(File{"x.yaml", []byte(text)})
		var list sigma.Errors
		if !errors.As(err, &list) {
			t.Errorf("%s: no error", shorten(text, 80))
			continue
		}
		if msg := err.Error(); !strings.Contains(msg, want) {
			t.Errorf("%s\nsays %s\nwant %s", shorten(text, 80), shorten(msg, 300), want)
		}
		for _, e := range list {
			if e.File != "x.yaml" || e.Line < 1 || e.Col < 1 {
				t.Errorf("%s: %v has no place", shorten(text, 80), e)
			}
		}
		rs.Translate()
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("%s took %v", shorten(text, 80), d)
		}
	}
}

func TestOneFaultCostsOneRule(t *testing.T) {
	rs, err := Load(File{"x.yaml", []byte(base + `
- rule: Bad
  condition: spawned and broken
- macro: broken
  condition: proc.name ~ x
- rule: Other
  condition: spawned and proc.name = nc
  priority: ERROR
`)})
	if err == nil {
		t.Fatal("no error")
	}
	var got []string
	for _, r := range rs.Translate() {
		got = append(got, fmt.Sprintf("%s: %s %q", r.Rule, r.Status, r.Reasons))
	}
	if d := cmp.Diff([]string{`R: carried []`, `Bad: not carried ["macro broken cannot be read"]`, `Other: carried []`}, got); d != "" {
		t.Error(d)
	}
}
