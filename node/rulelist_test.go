package node

import (
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
	list := ruleList{[]api.LoadedRule{{Name: "one", Threat: "t"}, {Name: "one", Threat: "other"}}, f}
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
