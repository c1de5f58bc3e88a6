package detect

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"picket/bench/public"
	"picket/sigma"
)

// collectionOf writes files below a new directory.
func collectionOf(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mine")
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// plainRule is goodRule without a name, with parts changed: pairs of what was and what is to be.
func plainRule(change ...string) string {
	return strings.NewReplacer(append(change, "name: shell\n", "")...).Replace(goodRule)
}

func TestACollectionIsReadAsItIs(t *testing.T) {
	const id = "11111111-1111-4111-8111-111111111111"
	for name, c := range map[string]struct {
		files    map[string]string
		loaded   []string // rules
		inactive []string // reasons
		warnings []string
		faults   []string
	}{
		"nested, both endings": {
			files:  map[string]string{"a/b/one.yml": plainRule(), "two.yaml": plainRule(id, "2"+id[1:])},
			loaded: []string{"one", "two"},
		},
		"no rules": {
			files: map[string]string{"ci.yml": "on: push\njobs: {}\n", ".github/x.yml": "a: [", ".hidden.yml": "a: [", "README.md": "# x"},
		},
		"another log source": {
			files:    map[string]string{"one.yml": plainRule("linux", "windows")},
			inactive: []string{"windows/process_creation: no sensor here"},
		},
		"given up, and wrong": {
			files:    map[string]string{"one.yml": plainRule("status: test", "status: deprecated"), "two.yml": plainRule("status: test", "status: unsupported", "condition: sel", "condition: sel | count() > 5")},
			inactive: []string{"given up by its author: status deprecated", "given up by its author: status unsupported"},
		},
		"a field of no event, in vain": {
			files:    map[string]string{"one.yml": plainRule("Image|endswith: /sh", "IntegrityLevel: High")},
			inactive: []string{"reads IntegrityLevel, which no event here carries"},
		},
		"a field of other events, in vain": {
			files:    map[string]string{"one.yml": plainRule("Image|endswith: /sh", "DestinationIp: 192.0.2.1")},
			inactive: []string{"reads DestinationIp, which no event here carries"},
		},
		"a field of no event, beside others": {
			files:    map[string]string{"one.yml": plainRule("condition: sel", "other: {IntegrityLevel: High}\n    condition: sel or other")},
			loaded:   []string{"one"},
			warnings: []string{"one.yml:1: reads IntegrityLevel, which no event here carries"},
		},
		"a placeholder without values": {
			files:    map[string]string{"one.yml": plainRule("Image|endswith: /sh", "User|expand: '%Administrators%'")},
			inactive: []string{"placeholder %Administrators% has no values"},
		},
		"one wrong among others": {
			files:  map[string]string{"one.yml": plainRule("endswith", "ends"), "two.yml": plainRule()},
			loaded: []string{"two"},
			faults: []string{`one.yml:10:9: unknown modifier "ends"`},
		},
		"not YAML": {
			files:  map[string]string{"one.yml": "detection: [\n"},
			faults: []string{"one.yml:1:1: not YAML"},
		},
		"an id twice": {
			files:  map[string]string{"one.yml": plainRule(), "two.yml": plainRule()},
			loaded: []string{"one"},
			faults: []string{`two.yml:2:1: "` + id + `" is taken by DIR/one.yml:2`},
		},
		"a file name twice": {
			files:  map[string]string{"a/one.yml": plainRule(), "b/one.yml": plainRule(id, "2"+id[1:])},
			loaded: []string{"2" + id[1:], "one"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := collectionOf(t, c.files)
			threats, err := LoadThreats(Collection(dir))
			e := engine(t, Options{Threats: threats})
			var loaded, inactive, faults []string
			for _, r := range e.Rules() {
				loaded = append(loaded, r.Name)
			}
			for _, r := range e.Inactive() {
				inactive = append(inactive, r.Info().Inactive)
			}
			if diff := cmp.Diff(c.loaded, loaded); diff != "" {
				t.Errorf("loaded: %s", diff)
			}
			slices.Sort(inactive)
			if diff := cmp.Diff(c.inactive, inactive); diff != "" {
				t.Errorf("inactive: %s", diff)
			}
			var warnings []string
			for _, w := range threats[0].Warnings {
				warnings = append(warnings, strings.TrimPrefix(w, dir+"/"))
			}
			if diff := cmp.Diff(c.warnings, warnings); diff != "" {
				t.Errorf("warnings: %s", diff)
			}
			if err != nil {
				for _, f := range asFaults(err, "", 0) {
					faults = append(faults, strings.ReplaceAll(strings.TrimPrefix(f.Error(), dir+"/"), dir, "DIR"))
				}
			}
			if len(faults) != len(c.faults) {
				t.Fatalf("faults: %q, want %q", faults, c.faults)
			}
			for i := range faults {
				if !strings.HasPrefix(faults[i], c.faults[i]) {
					t.Errorf("fault %q, want %q", faults[i], c.faults[i])
				}
			}
		})
	}
}

func TestABuiltInRuleKeepsItsID(t *testing.T) {
	builtin := folderOf(nil)
	dir := collectionOf(t, map[string]string{"mine.yml": plainRule("A Shell", "Mine")})
	threats, err := LoadThreats(Collection(dir), builtin) // whichever is named first
	list, ok := errors.AsType[sigma.Errors](err)
	if !ok || len(list) != 1 || list[0].File != filepath.Join(dir, "mine.yml") || !strings.Contains(list[0].Msg, "is taken by t/shell.yml:2") {
		t.Fatalf("%v", err)
	}
	if got := engine(t, Options{Threats: threats}).Rules(); len(got) != 1 || got[0].Title != "A Shell" {
		t.Errorf("%+v", got)
	}
}

func TestAMissingCollectionIsSaid(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	threats, err := LoadThreats(folderOf(nil), Collection(dir))
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v", err)
	}
	if o := OverviewOf(threats, err); o.Loaded != 1 || o.Wrong != 1 {
		t.Errorf("%+v", o)
	}
}

// publicCollection unpacks the public rules. Without them the test is skipped.
func publicCollection(t testing.TB) string {
	t.Helper()
	files := map[string]string{}
	for _, f := range public.Files(t) {
		files[f.Name] = string(f.Data)
	}
	return collectionOf(t, files)
}

func TestThePublicRulesLoadAsTheyAre(t *testing.T) {
	threats, err := LoadThreats(Collection(publicCollection(t)))
	if err != nil {
		t.Errorf("%v", err)
	}
	byKind := map[string]int{}
	for _, r := range threats[0].Rules {
		for _, k := range KindsOf(r.Logsource) {
			byKind[k.String()]++
		}
	}
	const any = 16 // rules about anything that Linux says
	want := map[string]int{
		"process.start": 144 + any, "process.seen": 144 + any, "process.fork": any, "process.exit": any, "sensor.health": any,
		"file.create": 18 + any, "file.write": 18 + any, "file.rename": 18 + any, "file.read": any, "file.delete": any, "file.chmod": any,
		"file.link": 18 + any, "file.truncate": 18 + any, "file.mkdir": any, "file.chown": any, "file.attribute": any, "file.map": any, "file.io": any,
		"net.connect": 5 + any, "net.accept": 5 + any, "net.listen": any, "net.send": any, "net.dns": any, "net.receive": any, "net.bind": any, "net.unix": any, "net.tls": any,
		"process.signal": any, "process.trace": any, "process.namespace": any, "host.mount": any, "host.module": any, "host.bpf": any, "host.kernel": any,
		"process.credentials": any, "host.sysctl": any, "device.open": any, "cgroup.create": any, "device.control": any,
		"process.capability": any, "kubernetes.audit": 16, "model.drift": any, "policy.violation": any, "gpu.sample": any, "gpu.error": any, "model.seen": any,
		"cuda": any, "python.audit": any, "principal.hour": any, "profile.deviation": any,
	}
	if diff := cmp.Diff(want, byKind); diff != "" {
		t.Errorf("rules by the kind of event they are about: %s", diff)
	}
	o := OverviewOf(threats, err)
	why := map[string]int{}
	for _, g := range o.Inactive {
		why[g.Reason] += g.Rules
	}
	wantWhy := map[string]int{
		noSensor: 3589, givenUp + "deprecated": 167, givenUp + "unsupported": 85,
	}
	if diff := cmp.Diff(wantWhy, why); diff != "" {
		t.Errorf("inactive rules by reason: %s", diff)
	}
	if o.Loaded != 199 || o.Wrong != 0 || o.Loaded+o.Resting() != 4040 {
		t.Errorf("%s", o)
	}
}
