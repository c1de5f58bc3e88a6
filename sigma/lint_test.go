package sigma_test

import (
	"strings"
	"testing"

	"picket/sigma"
)

func TestLint(t *testing.T) {
	good := `title: t
id: 11111111-2222-4333-8444-555555555555
level: low
tags: [attack.t1059, atlas.aml.t0044]
logsource: {category: process_creation}
detection:
  selection:
    Image: x
  condition: selection
`
	edit := func(old, with string) string { return strings.Replace(good, old, with, 1) }
	for _, c := range []struct{ src, want string }{
		{good, ""},
		{edit("title: t\n", ""), "test.yml:1: the rule has no title"},
		{edit("id: 11111111-2222-4333-8444-555555555555\n", ""), "no id"},
		{edit("11111111-", ""), "test.yml:2: id 2222-4333-8444-555555555555 is not a UUID"},
		{edit("level: low\n", ""), "no level"},
		{edit("low", "urgent"), "test.yml:3: unknown level urgent"},
		{edit("level: low", "level: low\nstatus: good"), "unknown status good"},
		{edit("attack.t1059", "mitre.t1059"), "test.yml:4: tag mitre.t1059 is in no known namespace"},
		{edit("{category: process_creation}", "{}"), "evaluated on every event"},
		{edit("Image: x", "image: x"), "test.yml:8: field image is not known"},
		{edit("Image: x", "Image|fieldref: y"), "field y is not known"},
		{edit("Image: x", "Image|contains|all: x"), "test.yml:8: all has no effect on a single value of Image"},
		{edit("Image: x", "Image:\n      - x\n      - null"), "test.yml:10: null inside the list of Image"},
		{edit("  condition", "  filter:\n    Image: y\n  condition"), "test.yml:9: identifier filter is not used"},
		{edit("condition: selection", "condition: selection and not selection"), "test.yml:9: the rule can never fire"},
		{edit("condition: selection", "condition: selection or not selection"), "fires on every event"},
		{edit("Image: x", "Image: x\n    Image|exists: false"), "can never fire"},
		{edit("Image: x", "Image: null\n    Image|contains: x"), "can never fire"},
		{edit("Image: x", "Image: x\n    Image|contains: y"), ""},
		{good + "---\n" + edit("title: t", "title: u"), "test.yml:12: id 11111111-2222-4333-8444-555555555555 is used before, in test.yml:2"},
	} {
		parsed, err := sigma.Parse("test.yml", []byte(c.src))
		rules := parsed.Rules
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		got := sigma.Lint(rules, schema)
		switch {
		case c.want == "" && len(got) > 0:
			t.Errorf("unexpected %v in\n%s", got, c.src)
		case c.want != "" && (len(got) != 1 || !strings.Contains(got[0].String(), c.want)):
			t.Errorf("got %v, want %q in\n%s", got, c.want, c.src)
		}
	}
}

// A single list of alternatives behind "1 of" stays a list of alternatives.
func TestAlternativesDoNotContradict(t *testing.T) {
	r := ruleOf(t, "a: {Image: x}\nb_one:\n  - User: null\n  - User: y\ncondition: a and 1 of b_*")
	for _, p := range sigma.Lint([]*sigma.Rule{r}, schema) {
		t.Errorf("%s", p)
	}
}
