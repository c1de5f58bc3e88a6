package node

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/api"
	"picket/event"
)

func TestRulesAreListedWithWhatTheAgentsCount(t *testing.T) {
	f := newFleet(time.Now)
	for host, n := range map[string]string{"a": "3", "b": "4"} {
		f.heard(host, event.Heartbeat{Host: host, Metrics: `# TYPE picket_detect_rule_hits_total counter
picket_detect_rule_hits_total{rule="one",threat="t"} ` + n + `
# TYPE picket_detect_rule_suppressed_total counter
picket_detect_rule_suppressed_total{rule="one",threat="t",by="noise"} 1
picket_detect_rule_suppressed_total{rule="one",threat="t",by="exception"} 2
`})
	}
	list := &ruleList{rules: []api.LoadedRule{{Name: "one", Threat: "t"}, {Name: "one", Threat: "other"}}, fleet: f}
	got, err := list.Loaded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Hits != 7 || got[0].Suppressed != 6 || got[1].Hits != 0 || got[1].Suppressed != 0 {
		t.Errorf("%+v", got)
	}
	if list.rules[0].Hits != 0 {
		t.Error("the list itself was changed")
	}
}

// What the page lists is what agents run: it follows changes, and keeps the last good rules.
func TestTheListOfRulesFollowsTheirFiles(t *testing.T) {
	dir := t.TempDir()
	cfg := Default()
	cfg.Data, cfg.Detect.Threats, cfg.Detect.Exceptions, cfg.Detect.Rules = t.TempDir(), nil, nil, []string{dir}
	writeRule(t, filepath.Join(dir, "one.yml"), testRule)
	list := newRuleList(cfg, slog.New(slog.DiscardHandler), newFleet(time.Now))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- list.follow(ctx) }()
	lists := func(title string) bool {
		rules, err := list.Loaded(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(rules, func(r api.LoadedRule) bool { return r.Title == title })
	}
	until := func(what string, holds func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	if !lists("A Shell") {
		t.Fatal("the rule is not listed at the start")
	}
	second := strings.NewReplacer("A Shell", "Another", "11111111", "21111111").Replace(testRule)
	writeRule(t, filepath.Join(dir, "two.yml"), second)
	until("a new rule is not listed", func() bool { return lists("Another") })
	writeRule(t, filepath.Join(dir, "two.yml"), "title: Broken\ndetection: {}\n")
	writeRule(t, filepath.Join(dir, "three.yml"), strings.NewReplacer("A Shell", "A Third", "11111111", "31111111").Replace(testRule))
	time.Sleep(2 * settle)
	if !lists("Another") || lists("A Third") {
		t.Error("rules with a new mistake are listed, and agents do not run them")
	}
	writeRule(t, filepath.Join(dir, "two.yml"), strings.Replace(second, "Another", "Mended", 1))
	until("what was mended is not listed", func() bool { return lists("Mended") && lists("A Third") && !lists("Another") })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
