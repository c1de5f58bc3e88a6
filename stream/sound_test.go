package stream

import (
	"strings"
	"testing"

	"picket/event"
)

// TestFindingsThatNoStoreTakes sends what would be handed over again for ever.
func TestFindingsThatNoStoreTakes(t *testing.T) {
	s := newSite(t)
	h := s.hub(HubOptions{})
	defer h.Close()
	sink := newSink()
	defer sink.drink(t, h)()
	a := s.agent("gpu-1", AgentOptions{})
	defer a.Close()
	long := finding(1)
	long.Rule.Name = strings.Repeat("r", 2000)
	for _, f := range []event.Finding{{}, {ID: strings.Repeat("f", 129)}, {ID: "a\x00b"}, {ID: "a b"}, long, finding(2)} {
		if err := a.PublishFinding(f); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the sound one, and nothing waiting", func() bool {
		_, waiting, err := h.Lag()
		_, n, _ := sink.counts()
		return err == nil && n == 1 && waiting.Waiting == 0 && waiting.Held == 0
	})
	if sink.findings[finding(2).ID] != 1 {
		t.Errorf("got %v", sink.findings)
	}
}
