package threats

import (
	"io/fs"
	"path"
	"regexp"
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
