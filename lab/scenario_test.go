package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func TestMistakesInAnAttackAreNamedByPlace(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"unknown key":   {"title:", "tittle:", "attack.yml:3: field tittle not found"},
		"bad id":        {"id: steal.test", "id: Steal Test", `attack.yml:2:5: id "Steal Test"`},
		"unknown seed":  {"attacker_host, dir", "attacker, dir", `attack.yml:4:10: seed "attacker" is not known: want one of`},
		"unknown name":  {"${weights}'", "${wights}'", "attack.yml:7:21: ${wights} is neither seeded nor a fact"},
		"twice":         {"id: pack", "id: find", `attack.yml:7:10: step id "find": want a name of its own`},
		"tier":          {"seeded:", "tier: loud\nseeded:", `tier "loud": want alert`},
		"no effect":     {"verify:\n  - {received: {host: '${attacker_host}', bytes_min: 8000000}}\n  - {exists: '${dir}/${file_name}'}\n", "", "verify is empty"},
		"two effects":   {"{exists: '", "{changed: /x, exists: '", "attack.yml:11:5: want exactly one of"},
		"policy's name": {"seeded:", "sandbox: {policy: 'name: ${dir}'}\nseeded:", "${dir} is neither seeded nor"},
		"bytes":         {", bytes_min: 8000000", "", "bytes_min is missing"},
		"observable":    {"file_read:", "tread:", `observable "tread" is not known`},
		"rule":          {"rule: weights_read, ", "", "rule is missing"},
		"timeout":       {"{id: pack,", "{id: pack, timeout: 1h,", "attack.yml:7:25: timeout \"1h\""},
		"not yaml":      {"steps:", "steps: [", "attack.yml:"},
		"two of an id":  {"expect:", "---\n" + strings.Split(stealText, "expect:")[0] + "expect:", "attack.yml:14:5: id steal.test is taken"},
		"server":        {"seeded:", "sandbox: {server: bash -i}\nseeded:", `attack.yml:4:19: server "bash": want llama-server`},
		"asset":         {"seeded:", "sandbox: {assets: [gold]}\nseeded:", `attack.yml:4:20: asset "gold" is not known: want one of model-store`},
		"profile":       {"seeded:", "sandbox: {profile: thawed}\nseeded:", `profile "thawed": want frozen`},
		"wrong type":    {"one: true", "one: [1]", "attack.yml:14: cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			src := strings.Replace(stealText, c.from, c.to, 1)
			if src == stealText {
				t.Fatalf("%q is not in the text", c.from)
			}
			if _, err := Parse("attack.yml", []byte(src)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
	if _, err := Parse("attack.yml", nil); err == nil || !strings.Contains(err.Error(), "attack.yml:1:1: the file is empty") {
		t.Errorf("empty: %v", err)
	}
}

func TestLoadNamesTheAttacksThatThereAre(t *testing.T) {
	threats := fstest.MapFS{"steal-weights/attack.yml": {Data: []byte(stealText)}, "other/README.md": {}}
	if s, err := Load(threats, "steal-weights"); err != nil || s.threat != "steal-weights" {
		t.Errorf("got %+v, %v", s, err)
	}
	two := fstest.MapFS{"steal/attack.yml": {Data: []byte(stealText + "---" + strings.Replace(stealText, "steal.test", "steal.again", 1))}}
	if s, err := Load(two, "steal.again"); err != nil || s.ID != "steal.again" {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := Load(two, "steal.never"); err == nil || !strings.Contains(err.Error(), "no attack steal.never, but steal.test, steal.again") {
		t.Errorf("got %v", err)
	}
	for threat, want := range map[string]string{
		"other":     "there are attacks for: steal-weights",
		"../etc":    "want the name of a folder",
		"a/../../b": "want the name of a folder",
	} {
		if _, err := Load(threats, threat); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", threat, err, want)
		}
	}
}

// The attacks that Picket ships must work, whether or not anything watches.
func TestShippedAttacksHaveTheirEffect(t *testing.T) {
	files, err := filepath.Glob("../threats/*/attack.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no attacks: %v", err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		list, err := Parse(file, src)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			t.Run(s.ID, func(t *testing.T) {
				if s.Sandbox.Policy != "" {
					t.Skip("it plays against a policy, which nobody holds here: tools/e2e.sh plays it")
				}
				report, err := Attack(t.Context(), optionsFor(t, s))
				if err == nil {
					err = report.Err()
				}
				if err != nil {
					t.Errorf("%v\n%+v", err, report.Steps)
				}
			})
		}
	}
}

func TestSeedsChangeNames(t *testing.T) {
	if got := expand("${dir}/${PATH}${none}", map[string]string{"dir": "/tmp"}); got != "/tmp/${PATH}${none}" {
		t.Errorf("got %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(stealText))
	f.Add([]byte(mineText))
	f.Add([]byte("id: &a [*a]"))
	f.Add([]byte("steps: [{facts: {x: stdout}}]\nverify: [{}]"))
	f.Fuzz(func(t *testing.T, src []byte) {
		list, err := Parse("attack.yml", src)
		if err == nil && len(list) == 0 {
			t.Errorf("accepted a file without an attack: %q", src)
		}
		for _, s := range list {
			if s.ID == "" || len(s.Steps) == 0 {
				t.Errorf("accepted an attack without id or steps: %q", src)
			}
		}
	})
}
