package threats

import (
	"errors"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTheCatalogueTellsTheTruth wants each entry to name rules that are there, or to say why it has none,
// and each rule that alerts on an attack to have its place.
func TestTheCatalogueTellsTheTruth(t *testing.T) {
	entries, err := Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(FS, "*/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string]bool{}
	for _, f := range files {
		if name := strings.TrimSuffix(path.Base(f), ".yml"); name != "attack" {
			rules[name] = false
		}
	}
	atlas, attack := regexp.MustCompile(`^AML\.T\d{4}(\.\d{3})?$`), regexp.MustCompile(`^T\d{4}(\.\d{3})?$`)
	ids := map[string]bool{}
	for _, e := range entries {
		if ids[e.ID] || e.ID == "" || e.Group == "" || e.Title == "" {
			t.Errorf("%+v: want an id of its own, a group and a title", e)
		}
		ids[e.ID] = true
		if len(e.Rules) == 0 && e.Gap == "" {
			t.Errorf("%s: has no rules, and does not say why", e.ID)
		}
		for _, r := range e.Rules {
			if _, ok := rules[r]; !ok {
				t.Errorf("%s: there is no rule %s", e.ID, r)
			}
			rules[r] = true
		}
		for _, id := range e.Atlas {
			if !atlas.MatchString(id) {
				t.Errorf("%s: %q is no technique of ATLAS", e.ID, id)
			}
		}
		for _, id := range e.Attack {
			if !attack.MatchString(id) {
				t.Errorf("%s: %q is no technique of ATT&CK", e.ID, id)
			}
		}
	}
	if len(entries) != 113 {
		t.Errorf("%d entries, and 113 are known", len(entries))
	}
	// Building blocks and what is about Picket's own policies have no entry.
	for _, r := range []string{"policy_broken", "policy_stopped_it", "weights_sent_out", "question_asked", "weights_made_writable", "request_denied", "service_asked_what_it_is", "program_started_by_python", "package_installed_inside", "place_never_reached", "worker_called_service", "usual_left"} {
		rules[r] = true
	}
	for r, named := range rules {
		if !named {
			t.Errorf("rule %s is in no entry of the catalogue", r)
		}
	}
}

// TestEachRuleIsPlayedOrSaysWhyNot wants each rule that yields findings to be expected by an attack of its threat, or
// named under "Known gaps" of the README. A threat without any attack says that as a whole.
func TestEachRuleIsPlayedOrSaysWhyNot(t *testing.T) {
	files, err := fs.Glob(FS, "*/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := fs.ReadFile(FS, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return string(b)
	}
	block, expected := regexp.MustCompile(`(?m)^level: (low|informational)`), regexp.MustCompile(`rule: (\w+)`)
	for _, f := range files {
		name := strings.TrimSuffix(path.Base(f), ".yml")
		if name == "attack" || block.MatchString(read(f)) {
			continue
		}
		attacks := read(path.Join(path.Dir(f), "attack.yml"))
		played := slices.ContainsFunc(expected.FindAllStringSubmatch(attacks, -1), func(m []string) bool { return m[1] == name })
		_, gaps, _ := strings.Cut(read(path.Join(path.Dir(f), "README.md")), "## Known gaps")
		if !played && !strings.Contains(gaps, name) && (attacks != "" || !strings.Contains(gaps, "No attack")) {
			t.Errorf("%s: no attack of its threat expects it, and the README does not say under Known gaps why", f)
		}
	}
}
