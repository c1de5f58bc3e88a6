package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/api"
	"picket/event"
	"picket/incident"
	"picket/respond/action"
	"picket/store/state"
	"picket/stream"
)

// actions leads from the API to the agents.
type actions struct{ s *server }

func (a actions) Ask(ctx context.Context, host string, c action.Command) (action.Answer, error) {
	var out action.Answer
	if host == api.ServerHost {
		if c.Request != nil {
			here := *c.Request
			here.Target.Host, c.Request = "", &here
		}
		return a.s.reach.Answer(ctx, c), nil
	}
	b, err := json.Marshal(c)
	if err != nil {
		return out, fmt.Errorf("writing a command: %w", err)
	}
	b, err = a.s.hub.Ask(ctx, AgentName(host), b)
	if errors.Is(err, stream.ErrAway) {
		return out, fmt.Errorf("%w: the agent of %s is not connected: nothing was done", api.ErrAway, host)
	}
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fmt.Errorf("the answer of %s is not understood: %w", host, err)
	}
	return out, nil
}

// acted tells sinks and incidents of the acts in a batch of events. One that comes again has the same
// id in sinks, and is noted once.
func (s *server) acted(ctx context.Context, from string, batch []byte) error {
	if !bytes.Contains(batch, []byte(`"event.kind":"action"`)) {
		return nil
	}
	for line := range lines(batch) {
		if !bytes.Contains(line, []byte(`"event.kind":"action"`)) {
			continue
		}
		e, err := event.ParseRecord(line)
		if err != nil || e.Kind != event.ActionDone || e.Action == nil || e.Action.ID == "" {
			continue // an event that only speaks of one
		}
		e.Host = s.host(from, e.Host)
		var text struct {
			Msg string `json:"_msg"`
		}
		_ = json.Unmarshal(line, &text) // it was read above
		if err := s.outbox.Action(e); err != nil {
			return err
		}
		if err := s.noteAct(ctx, from, e, text.Msg); err != nil {
			return err
		}
	}
	return nil
}

// mayNote reports whether an act of a host may stand in the log of an incident: an agent speaks of
// incidents of its own host alone. What the server itself did may stand in any.
func (s *server) mayNote(ctx context.Context, from, host string, inc *event.Incident) (bool, error) {
	if from == api.ServerHost || slices.Contains(inc.Hosts, host) {
		return true, nil
	}
	list, err := s.state.Findings(ctx, state.FindingQuery{Incident: inc.ID, Host: host, Limit: 1})
	if err != nil {
		return false, fmt.Errorf("findings of %s in incident %s: %w", host, inc.ID, err)
	}
	return len(list) > 0, nil
}

// newUnnoted counts acts of agents that named an incident of other hosts.
func newUnnoted() prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{
		Name: "picket_acts_unnoted_total", Help: "Acts that an agent told of with an incident that has no finding of its host: they are not in its log.",
	})
}

// noteAct writes an act into the log of the incident that it belongs to, once.
func (s *server) noteAct(ctx context.Context, from string, e *event.Event, text string) error {
	a := e.Action
	if a.Incident == "" {
		return nil
	}
	note := fmt.Sprintf("%s on %s (act %s, %s)", text, e.Host, a.ID, e.Time.UTC().Format(time.RFC3339Nano))
	s.mu.Lock()
	defer s.mu.Unlock()
	if of, err := s.incidentOf(ctx, e.Host, a.Incident); err == nil && of != "" {
		a.Incident = of // an agent that acts by itself knows of findings alone
	}
	old, err := s.state.Incident(ctx, a.Incident)
	switch {
	case errors.Is(err, state.ErrNotFound) && !s.correlator.Has(a.Incident):
		return nil
	case err != nil && !errors.Is(err, state.ErrNotFound):
		return fmt.Errorf("incident %s: %w", a.Incident, err)
	}
	is := event.Incident{ID: a.Incident, Hosts: slices.Concat(old.Hosts, s.changed[a.Incident].Hosts)}
	may, err := s.mayNote(ctx, from, e.Host, &is)
	switch {
	case err != nil:
		return err
	case !may:
		s.unnoted.Inc()
		s.log.Warn("an act is not noted in the incident that its agent names: no finding of it is of that host", "host", e.Host, "incident", a.Incident, "act", a.ID, "by", a.By)
		return nil
	case slices.ContainsFunc(old.Log, func(c event.Change) bool { return c.Note == note }):
		return nil // it came before
	case !s.correlator.Has(a.Incident): // an old one, out of memory since
		s.correlator.Restore([]event.Incident{old})
	}
	inc, err := s.correlator.Update(a.Incident, a.By, incident.Update{Note: note}, e.Time)
	if err != nil {
		return fmt.Errorf("incident %s: %w", a.Incident, err)
	}
	if err := s.keepIncident(ctx, inc); err != nil {
		return err
	}
	delete(s.changed, inc.ID) // this version holds what was not kept yet
	return nil
}
