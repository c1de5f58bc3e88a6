package node

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/api"
	"picket/event"
	"picket/incident"
	"picket/store/state"
)

// An agent's act is noted in incidents of its own host alone. Another's is counted, and changes nothing;
// what the server did may stand in any.
func TestAnAgentNotesActsInIncidentsOfItsOwnHost(t *testing.T) {
	st, err := state.Open(t.Context(), state.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	reg := prometheus.NewRegistry()
	counted := func() float64 {
		all, err := reg.Gather()
		if err != nil || len(all) != 1 {
			t.Fatal(len(all), err)
		}
		return all[0].Metric[0].GetCounter().GetValue()
	}
	said := &strings.Builder{}
	s := &server{
		cfg: &Config{Host: "h"}, log: slog.New(slog.NewTextHandler(said, nil)), state: st, correlator: incident.New(incident.Options{}),
		changed: map[string]event.Incident{}, unnoted: newUnnoted(),
	}
	reg.MustRegister(s.unnoted)
	now := time.Now().UTC()
	inc, _, _ := s.correlator.Process(event.Finding{ID: "f1", Time: now, Host: "gpu-1", Rule: event.Rule{ID: "r", Title: "x"}, Severity: event.High, Count: 1})
	if err := st.SaveIncident(t.Context(), inc); err != nil {
		t.Fatal(err)
	}
	if _, err := st.InsertFinding(t.Context(), event.Finding{ID: "f2", Time: now, Host: "gpu-2"}, inc.ID); err != nil {
		t.Fatal(err)
	}
	for host, c := range map[string]struct {
		from string
		want bool
	}{
		"gpu-1": {AgentName("gpu-1"), true}, "gpu-2": {AgentName("gpu-2"), true}, "gpu-3": {AgentName("gpu-3"), false},
		"h": {api.ServerHost, true}, "H": {AgentName("h"), false}, // an agent on the server's host is not the server
	} {
		if may, err := s.mayNote(t.Context(), c.from, strings.ToLower(host), &inc); may != c.want || err != nil {
			t.Errorf("%s: %t %v", host, may, err)
		}
	}
	e := &event.Event{Kind: event.ActionDone, Time: now, Host: "gpu-3", Action: &event.Action{ID: "a1", Kind: "kill", By: "the owner", Incident: inc.ID}}
	if err := s.noteAct(t.Context(), AgentName("gpu-3"), e, "all is well"); err != nil {
		t.Fatal(err)
	}
	after, err := st.Incident(t.Context(), inc.ID)
	if err != nil || len(after.Log) != len(inc.Log) || counted() != 1 || !strings.Contains(said.String(), "incident="+inc.ID) {
		t.Errorf("%+v %v, counted %v, said %s", after.Log, err, counted(), said)
	}
	if got := s.host(api.ServerHost, "other"); got != "h" {
		t.Errorf("the server is %q", got)
	}
}
