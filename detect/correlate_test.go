package detect

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"picket/event"
	"picket/sigma"
)

// countingRule is a building block that fires on programs of a user, and a correlation in its file.
func countingRule(kind, condition string) string {
	return strings.NewReplacer("level: high", "level: medium", "Image|endswith: /sh", "process.exe: '*'").Replace(goodRule) + `---
title: Many Shells
id: 33333333-3333-4333-8333-333333333333
name: many
description: d
tags: [attack.t1059.004]
correlation:
    type: ` + kind + `
    rules: [shell` + map[bool]string{true: ", other"}[strings.HasPrefix(kind, "temporal")] + `]
    group-by: [container.id]
    timespan: 1m
` + condition + `falsepositives: [all]
level: high
`
}

const otherRule = `title: Another
id: 44444444-4444-4444-8444-444444444444
name: other
description: d
tags: [attack.t1059.004]
logsource: {product: linux, category: network_connection}
detection:
    sel:
        process.exe: '*'
    condition: sel
falsepositives: [all]
level: low
`

// All types of correlation are written, tried on samples and told from a threat's folder.
func TestAllTypesFromAThreatFolder(t *testing.T) {
	const start, connect = `{"event.kind":"process.start","process.exe":"/bin/sh","process.cmdline":"%s","process.pid":%d,"container.id":"c1"}`, `{"event.kind":"net.connect","process.exe":"/bin/nc","container.id":"c1"}`
	starts := func(lines ...string) string {
		var b strings.Builder
		for _, l := range lines {
			if n := len(l); n == 1 {
				l = fmt.Sprintf(start, l, 10*int(l[0]-'a'+1))
			}
			b.WriteString(l + "\n")
		}
		return b.String()
	}
	for kind, c := range map[string]struct{ condition, hit, miss, story string }{
		"event_count":      {"    condition: {gte: 3}\n", starts("a", "a", "b"), starts("a", "b"), "3 events within 60 s, the last of them: "},
		"value_count":      {"    condition: {field: process.cmdline, gte: 2}\n", starts("a", "a", "b"), starts("a", "a", "a"), "2 different values of process.cmdline within 60 s"},
		"value_sum":        {"    condition: {field: process.pid, gt: 25}\n", starts("a", "b"), starts("b"), "process.pid adds up to 30"},
		"value_avg":        {"    condition: {field: process.pid, lt: 16}\n", starts("a", "b"), starts("b", "c"), "process.pid is 15 on average"},
		"value_percentile": {"    condition: {field: process.pid, gte: 15}\n", starts("a", "b"), starts("a"), "percentile 50 of process.pid is 15"},
		"temporal":         {"", starts(connect, "a"), starts("a", "b"), "then, 1 s later, "},
		"temporal_ordered": {"", starts("a", connect), starts(connect, "a"), "then, 1 s later, "},
	} {
		t.Run(kind, func(t *testing.T) {
			list, err := LoadThreats(folderOf(map[string]string{
				"shell.events": "", "shell.yml": "", "many.yml": countingRule(kind, c.condition), "other.yml": otherRule,
				"many.events": "# hit: enough\n" + c.hit + "# miss: too little\n" + c.miss,
			}))
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range Test(list[0]) {
				if !r.OK {
					t.Errorf("%+v", r)
				}
			}
			e := engine(t, Options{Threats: list})
			var hit Sample
			for _, s := range list[0].Samples {
				if s.Hit {
					hit = s
				}
			}
			got := play(e, hit.Events)
			got = append(got, e.Advance(sampleStart.Add(time.Hour))...)
			if len(got) != 1 || got[0].Rule.Name != "many" || got[0].Severity != event.High || !strings.Contains(got[0].Summary, c.story) {
				t.Fatalf("got %q %+v", names(got), got)
			}
			if got[0].Count != len(hit.Events) || len(got[0].Events) != len(hit.Events) || !json.Valid(got[0].Events[0]) || got[0].ID == "" {
				t.Errorf("count %d, %d records", got[0].Count, len(got[0].Events))
			}
		})
	}
}

func TestRulesInACorrelationsFileAreBuildingBlocks(t *testing.T) {
	for generate, want := range map[string][]string{
		"":                     {"many"},
		"    generate: true\n": {"shell", "shell", "many"},
	} {
		list, err := LoadThreats(folderOf(map[string]string{
			"shell.yml": "", "shell.events": "", "many.yml": countingRule("event_count", "    condition: {gte: 2}\n"+generate),
		}))
		if err != nil {
			t.Fatal(err)
		}
		s, e := newScene("c1"), engine(t, Options{Threats: list})
		if got := names(play(e, []*event.Event{at(0, event.ProcessStart, s.shell), at(1, event.ProcessStart, s.tar)})); !slices.Equal(got, want) {
			t.Errorf("generate %q: got %q, want %q", generate, got, want)
		}
		if i := slices.IndexFunc(e.Rules(), func(r RuleInfo) bool { return r.Name == "shell" }); e.Rules()[i].Hits != 2 {
			t.Errorf("%+v", e.Rules()[i])
		}
	}
}

func TestACorrelationOfCorrelationsTellsTheWholeStory(t *testing.T) {
	outer := strings.NewReplacer("[shell, shell]", "[many, other]").Replace(goodSequence)
	list, err := LoadThreats(folderOf(map[string]string{
		"shell.yml": "", "shell.events": "", "many.yml": countingRule("event_count", "    condition: {gte: 2}\n"), "other.yml": otherRule, "shells.yml": outer,
	}))
	if err != nil {
		t.Fatal(err)
	}
	s, e := newScene("c1"), engine(t, Options{Threats: list})
	send := s.send(9)
	send.Kind = event.NetConnect
	got := play(e, []*event.Event{at(0, event.ProcessStart, s.shell), at(1, event.ProcessStart, s.tar), send})
	if !slices.Equal(names(got), []string{"many", "shells"}) {
		t.Fatalf("got %q", names(got))
	}
	if f := got[1]; !strings.HasPrefix(f.Summary, "2 events within 60 s") || !strings.Contains(f.Summary, "; then, 8 s later, curl") || len(f.Events) != 2 {
		t.Errorf("%q, %d events", f.Summary, len(f.Events))
	}
}

func TestFiltersOfAThreat(t *testing.T) {
	const filter = "title: CI\nid: 55555555-5555-4555-8555-555555555555\nlogsource: {product: linux, category: process_creation}\nreason: builds\nfilter:\n    rules: [%s]\n    ci: {process.user: ci}\n    condition: ci\n"
	list, err := LoadThreats(folderOf(map[string]string{"ci.yml": fmt.Sprintf(filter, "shell")}))
	if err != nil {
		t.Fatal(err)
	}
	s, e := newScene("c1"), engine(t, Options{Threats: list})
	s.tar.User, s.tar.Exe = "ci", "/bin/sh"
	s.tar.Seal()
	s.shell.Exe = "/bin/sh"
	s.shell.Seal()
	if got := play(e, []*event.Event{at(0, event.ProcessStart, s.tar), at(1, event.ProcessStart, s.shell)}); len(got) != 1 {
		t.Errorf("got %q", names(got))
	}
	if hidden := e.Suppressions(); len(hidden) != 1 || hidden[0].Count != 1 || hidden[0].Filter.Reason != "builds" {
		t.Errorf("%+v", hidden)
	}
	reg := prometheus.NewPedanticRegistry()
	register(reg, e)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == "picket_detect_suppressed_total" }); i < 0 || families[i].Metric[0].GetCounter().GetValue() != 1 {
		t.Errorf("the suppression is not shown: %v", families)
	}
	_, err = LoadThreats(folderOf(map[string]string{"ci.yml": fmt.Sprintf(filter, "shel")}))
	if err == nil || !strings.Contains(err.Error(), `t/ci.yml:6:12: there is no rule "shel" to filter`) {
		t.Errorf("got %v", err)
	}
}

func TestExamplesOfTheManualAreInOrder(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join("..", "docs", "threats.md"))
	if err != nil {
		t.Fatal(err)
	}
	var found sigma.Collection
	for i, block := range strings.Split(string(manual), "```yaml\n") {
		if i == 0 {
			continue
		}
		src, _, _ := strings.Cut(block, "```")
		parsed, err := sigma.Parse("threats.md", []byte(src))
		if err != nil {
			t.Error(err)
		}
		found.Add(parsed)
	}
	if len(found.Correlations) == 0 || len(found.Filters) == 0 {
		t.Errorf("%d correlations, %d filters", len(found.Correlations), len(found.Filters))
	}
}
