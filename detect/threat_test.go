package detect

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"picket/event"
)

const goodRule = `title: A Shell
id: 11111111-1111-4111-8111-111111111111
name: shell
status: test
description: A shell was started.
author: us
tags: [attack.execution, attack.t1059.004]
logsource: {product: linux, category: process_creation}
detection:
    sel:
        Image|endswith: /sh
    condition: sel
falsepositives: [all]
level: high
`

const goodSequence = `title: Two Shells
id: 22222222-2222-4222-8222-222222222222
name: shells
description: One shell after another.
tags: [attack.t1059.004]
correlation:
    type: temporal_ordered
    rules: [shell, shell]
    group-by: [container.id]
    timespan: 1m
falsepositives: [all]
level: high
`

const goodSamples = `# hit: it is one
{"event.kind":"process.start","process.exe":"/bin/sh"}
# miss: it is none
{"event.kind":"process.start","process.exe":"/bin/ls"}
`

const goodAttack = `id: t.x
title: A shell
atlas: [AML.T0050]
steps: [{id: a, run: sh}]
expect: {findings: [{rule: shell}]}
`

// folderOf returns a threat's folder with some files changed; an empty text removes one.
func folderOf(change map[string]string) fstest.MapFS {
	files := map[string]string{"README.md": "# T\n\nx\n\n## Known gaps\n\n- much\n", "shell.yml": goodRule, "shell.events": goodSamples, "attack.yml": goodAttack}
	maps.Copy(files, change)
	out := fstest.MapFS{}
	for name, text := range files {
		if text != "" {
			out["t/"+name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return out
}

func TestFaultsOfAThreatAreLocated(t *testing.T) {
	seq := func(from, to string) map[string]string {
		if !strings.Contains(goodSequence, from) {
			t.Fatalf("%q is not in the sequence", from)
		}
		return map[string]string{"shells.yml": strings.Replace(goodSequence, from, to, 1)}
	}
	rule := func(from, to string) map[string]string {
		return map[string]string{"shell.yml": strings.Replace(goodRule, from, to, 1)}
	}
	for name, c := range map[string]struct {
		change map[string]string
		want   string
		rules  int // that still load
	}{
		"complete":          {nil, "", 1},
		"with a sequence":   {map[string]string{"shells.yml": goodSequence}, "", 2},
		"no README":         {map[string]string{"README.md": ""}, "t/README.md", 1},
		"broken rule":       {rule("Image|endswith", "Image|endswiht"), "t/shell.yml:11", 0},
		"not YAML":          {rule("title: A", "title: [A"), "t/shell.yml:", 0},
		"two of one id":     {map[string]string{"other.yml": strings.Replace(goodRule, "name: shell", "name: other", 1)}, "taken by", 1},
		"two of one name":   {map[string]string{"other.yml": strings.Replace(goodRule, "1111", "3333", 1)}, `"shell" is taken by t/other.yml`, 1},
		"unknown summary":   {rule("level: high", "level: high\npicket: {summary: '${proces.name}'}"), `t/shell.yml:15:19: there is no field "proces.name"`, 0},
		"open summary":      {rule("level: high", "level: high\npicket: {summary: '${who'}"), "is not closed", 0},
		"unknown custom":    {rule("level: high", "level: high\npicket: {summaries: x}"), "picket.summaries is not known", 0},
		"unknown rule":      {seq("[shell, shell]", "[shell, shel]"), `t/shells.yml:8:12: there is no rule "shel"`, 1},
		"one rule":          {seq("[shell, shell]", "[shell]"), "t/shells.yml:8:", 1},
		"no condition":      {seq("temporal_ordered", "event_count"), `t/shells.yml:7:5: event_count needs a condition`, 1},
		"other type":        {seq("temporal_ordered", "temporal_odrered"), `t/shells.yml:7:11: unknown type of correlation "temporal_odrered"`, 1},
		"timespan":          {seq("1m", "1M"), `t/shells.yml:10:15: timespan "1M"`, 1},
		"timespan zero":     {seq("1m", "0m"), `timespan "0m" is no time at all`, 1},
		"timespan huge":     {seq("1m", "999999999d"), "longer than 90 days", 1},
		"group field":       {seq("container.id", "container.idd"), `t/shells.yml:9:1: there is no field "container.idd"`, 1},
		"condition":         {seq("    timespan", "    condition: {gte: 2}\n    timespan"), `t/shells.yml:10:16: temporal_ordered takes no condition`, 1},
		"no timespan":       {seq("    timespan: 1m\n", ""), "the correlation has no timespan", 1},
		"level":             {seq("level: high", "level: hgih"), `level "hgih"`, 1},
		"sample not JSON":   {map[string]string{"shell.events": "# hit: x\n{\n"}, "t/shell.events:2:1: not a JSON object", 1},
		"sample value":      {map[string]string{"shell.events": "# hit: x\n{\"event.kind\":\"process.eaten\"}\n"}, "t/shell.events:2:1: field event.kind", 1},
		"sample kind":       {map[string]string{"shell.events": "# hit: x\n{\"Image\":\"/bin/sh\"}\n"}, "t/shell.events:2:1: has no event.kind", 1},
		"sample unjudged":   {map[string]string{"shell.events": "{\"event.kind\":\"process.start\"}\n"}, "t/shell.events:1:1: is an event that neither", 1},
		"sample empty":      {map[string]string{"shell.events": "# hit: x\n# miss: y\n{\"event.kind\":\"process.start\"}\n"}, "t/shell.events:1:1: has no event", 1},
		"attack not YAML":   {map[string]string{"attack.yml": "id: [\n"}, "t/attack.yml:", 1},
		"attack a list":     {map[string]string{"attack.yml": "- id\n"}, "t/attack.yml:1:1: is not a mapping", 1},
		"attack without id": {map[string]string{"attack.yml": strings.Replace(goodAttack, "id: t.x", "", 1)}, "has no id or no title", 1},
		"too large":         {map[string]string{"shell.yml": strings.Repeat("#\n", maxFile)}, "is larger than", 0},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := LoadThreats(folderOf(c.change))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
			if len(list) != 1 {
				t.Fatalf("%d threats", len(list))
			}
			if n := len(list[0].Rules) + len(list[0].Correlations); n != c.rules {
				t.Errorf("%d rules load, want %d", n, c.rules)
			}
			if _, err := New(Options{Threats: list}); err != nil {
				t.Errorf("what loads does not fit together: %v", err)
			}
		})
	}
}

func TestLintNamesWhatIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		change map[string]string
		want   string
	}{
		"complete":      {nil, ""},
		"no miss":       {map[string]string{"shell.events": strings.Split(goodSamples, "# miss")[0]}, "no sample event that hits, or none that misses"},
		"admitted":      {map[string]string{"shell.events": "", "README.md": "# T\n## Known gaps\nNo samples of shell.\n"}, ""},
		"no attack":     {map[string]string{"attack.yml": ""}, "has no attack.yml"},
		"gap admitted":  {map[string]string{"attack.yml": "", "README.md": "# T\n## Known gaps\n- No attack yet.\n"}, ""},
		"no level":      {map[string]string{"shell.yml": strings.Replace(goodRule, "level: high\n", "", 1)}, "has no level"},
		"no tags":       {map[string]string{"shell.yml": strings.Replace(goodRule, "tags: [attack.execution, attack.t1059.004]\n", "", 1)}, "has no tag of ATT&CK or ATLAS"},
		"bad tag":       {map[string]string{"shell.yml": strings.Replace(goodRule, "t1059.004", "t1059.4", 1)}, `t/shell.yml:7:1: tag "attack.t1059.4" is neither`},
		"no harmless":   {map[string]string{"shell.yml": strings.Replace(goodRule, "falsepositives: [all]\n", "", 1)}, "has no falsepositives"},
		"other name":    {map[string]string{"shell.yml": "", "sh.yml": goodRule, "sh.events": goodSamples}, `called "shell", its file "sh"`},
		"attack's rule": {map[string]string{"attack.yml": strings.Replace(goodAttack, "rule: shell", "rule: shel", 1)}, `t/attack.yml:5:1: expects rule "shel"`},
		"attack's name": {map[string]string{"attack.yml": goodAttack + "---\n" + strings.Replace(goodAttack, "id: t.x", "id: u.x", 1)}, `t/attack.yml:7:1: the attack is called "u.x", and its folder t`},
		"second attack": {map[string]string{"attack.yml": goodAttack + "---\n" + strings.Replace(goodAttack, "rule: shell", "rule: shel", 1)}, `t/attack.yml:11:1: expects rule "shel"`},
		"attack's id":   {map[string]string{"attack.yml": strings.Replace(goodAttack, "T0050", "T50", 1)}, `t/attack.yml:3:1: "AML.T50" is no technique id`},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := LoadThreats(folderOf(c.change))
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, p := range Lint(list[0]) {
				all = append(all, p.Error())
			}
			got := strings.Join(all, "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestSamplesThatAreWrongFail(t *testing.T) {
	turned := strings.NewReplacer("# hit", "# miss", "# miss", "# hit").Replace(goodSamples)
	list, err := LoadThreats(folderOf(map[string]string{"shell.events": turned, "none.events": goodSamples}))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range Test(list[0]) {
		if r.OK || r.Line == 0 {
			t.Errorf("%+v", r)
		}
		got = append(got, r.Problem)
	}
	slices.Sort(got)
	want := []string{"the rule does not fire", "the rule fires", "there is no rule none.yml that loads", "there is no rule none.yml that loads"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestAHostsThreatReplacesTheShippedOne(t *testing.T) {
	mine := folderOf(map[string]string{"README.md": "# Mine\n"})
	for name, c := range map[string]struct {
		own   fs.FS
		title string
		fault string
	}{
		"replaced": {mine, "Mine", ""},
		"broken":   {folderOf(map[string]string{"README.md": "# Mine\n", "shell.yml": "title: ["}), "T", "stays in use"},
		"absent":   {os.DirFS(filepath.Join(t.TempDir(), "none")), "T", ""},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := LoadThreats(folderOf(nil), c.own)
			if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
				t.Errorf("got %v, want %q", err, c.fault)
			}
			if len(list) != 1 || list[0].Title != c.title || len(list[0].Rules) != 1 {
				t.Errorf("got %+v", list)
			}
		})
	}
}

func TestDirNamesItsFiles(t *testing.T) {
	root := t.TempDir()
	for name, f := range folderOf(map[string]string{"shell.yml": "title: ["}) {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{root, filepath.Join(root, "t")} {
		list, err := LoadThreats(Dir(dir))
		if err == nil || !strings.Contains(err.Error(), filepath.Join(root, "t", "shell.yml")) {
			t.Errorf("%s: %v", dir, err)
		}
		if len(list) != 1 || list[0].Name != "t" {
			t.Errorf("%s: %+v", dir, list)
		}
	}
}

func FuzzLoadThreat(f *testing.F) {
	f.Add([]byte(goodRule), []byte(goodSamples), []byte(goodAttack))
	f.Add([]byte(goodSequence), []byte("# hit: x\n{\"event.kind\":\"net.send\"}"), []byte("steps: &a [*a]"))
	f.Add([]byte(goodRule+"---\n"+goodSequence), []byte("#"), []byte("{"))
	f.Fuzz(func(t *testing.T, rule, samples, attack []byte) {
		list, err := LoadThreats(fstest.MapFS{
			"t/README.md": {Data: []byte("# T")}, "t/shell.yml": {Data: rule}, "t/shell.events": {Data: samples}, "t/attack.yml": {Data: attack},
		})
		if err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
		e, err := New(Options{Threats: list, MinLevel: event.Informational})
		if err != nil {
			t.Fatalf("what loads does not fit together: %v", err)
		}
		for _, threat := range list {
			Lint(threat)
			Test(threat)
			for _, s := range threat.Samples {
				for _, ev := range s.Events {
					e.Process(ev)
				}
			}
		}
	})
}

func FuzzRestore(f *testing.F) {
	e, err := New(Options{Threats: shipped(f)})
	if err != nil {
		f.Fatal(err)
	}
	s := newScene("c1")
	e.Process(s.read(0))
	state, _ := e.Snapshot()
	f.Add(state)
	f.Add(bytes.Replace(state, []byte(`"count":1`), []byte(`"count":0`), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		if e.Restore(data) == nil {
			play(e, s.theft())
			e.Snapshot()
		}
	})
}
