package detect

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"picket/bench/public"
	"picket/event"
	"picket/threats"
)

func TestTechniquesOfTags(t *testing.T) {
	brief := func(list []event.Technique) string {
		var out []string
		for _, x := range list {
			out = append(out, x.Framework+" "+x.ID+" "+x.Tactic)
		}
		return strings.Join(out, "; ")
	}
	for tags, want := range map[string]string{
		"attack.exfiltration attack.t1041":                            "attack T1041 exfiltration",
		"atlas.aml.t0025":                                             "atlas AML.T0025 exfiltration",
		"attack.persistence attack.t1543.005":                         "attack T1543.005 persistence",
		"attack.t1543.005 attack.persistence":                         "attack T1543.005 persistence",
		"attack.execution attack.discovery attack.t9998":              "attack T9998 discovery",
		"attack.defense-evasion attack.t1562.001":                     "attack T1685 defense-impairment",
		"attack.defense_evasion attack.t1070.006":                     "attack T1070.006 stealth",
		"attack.defense-evasion":                                      "attack TA0005 stealth",
		"attack.command_and_control cve.2024-1 detection.dfir x":      "attack TA0011 command-and-control",
		"attack.TA0010":                                               "attack TA0010 exfiltration",
		"attack.s0154 attack.g0032 attack.t12 attack.t1041.1 tlp.red": "",
	} {
		if d := cmp.Diff(want, brief(Techniques(strings.Fields(tags)))); d != "" {
			t.Errorf("%s: %s", tags, d)
		}
	}
	for tag, good := range map[string]bool{
		"attack.t1041": true, "attack.stealth": true, "attack.defense-evasion": true, "attack.s0154": true, "cve.2024-1": true, "car.2016": true,
		"attack.t104": false, "attack.exfil": false, "atlas.t0025": false, "atlas.aml.t0025": true, "atlas.ai-model-access": true,
	} {
		if msg := lintTag(tag); (msg == "") != good {
			t.Errorf("%s: %q", tag, msg)
		}
	}
}

// What we name of ATLAS is there, under that name.
func TestATLASNamesAreTrue(t *testing.T) {
	src, err := io.ReadAll(public.Open(t, "atlas/ATLAS.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var atlas struct {
		Matrices []struct {
			Techniques []struct{ ID, Name string }
			Tactics    []struct{ ID, Name string }
		}
	}
	if err := yaml.Unmarshal(src, &atlas); err != nil {
		t.Fatal(err)
	}
	real := map[string]string{}
	for _, x := range atlas.Matrices[0].Techniques {
		real[x.ID] = x.Name
	}
	for id, entry := range known {
		if !strings.HasPrefix(id, "AML.") {
			continue
		}
		if _, name, _ := strings.Cut(entry, "|"); real[id] != name {
			t.Errorf("%s is %q, we call it %q", id, real[id], name)
		}
	}
	entries, err := threats.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		for _, id := range e.Atlas {
			if real[id] == "" {
				t.Errorf("the catalogue's %s names %s, which ATLAS does not have", e.ID, id)
			}
		}
	}
	for _, threat := range shipped(t) {
		var ids []string
		for _, a := range threat.Attacks { // a threat may admit that it has none
			ids = append(ids, a.Techniques...)
		}
		for _, r := range threat.Rules {
			for _, x := range Techniques(r.Tags) {
				ids = append(ids, x.ID)
			}
		}
		for _, id := range ids {
			if strings.HasPrefix(id, "AML.") && real[id] == "" {
				t.Errorf("%s names %s, which ATLAS does not have", threat.Name, id)
			}
			if known[id] == "" {
				t.Errorf("%s names %s, which has no name in our table", threat.Name, id)
			}
		}
	}
}
