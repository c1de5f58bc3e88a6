package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"picket/event"
)

// watcher is a Reader that knows whether this host is watched.
type watcher interface {
	Ready(ctx context.Context) error
}

// watched waits until this host is: an attack that nobody could have seen proves nothing.
func watched(ctx context.Context, picket Reader, patience time.Duration) error {
	w, ok := picket.(watcher)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := w.Ready(ctx)
		if err == nil || !wait(ctx, 200*time.Millisecond) {
			return err
		}
	}
}

// await asks Picket until every expected finding and the incident are there, or patience ends.
func (r *run) await(ctx context.Context, done time.Time) error {
	r.report.Asked = true
	for _, f := range r.Scenario.Expect.Findings {
		r.report.Findings = append(r.report.Findings, Expected{Rule: f.Rule})
	}
	outer := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, r.Patience, errImpatient)
	defer cancel()
	var asking error
	for {
		complete, err := r.ask(ctx, done)
		if err != nil {
			asking = err
		}
		if complete {
			return nil
		}
		select {
		case <-ctx.Done():
			if !errors.Is(context.Cause(ctx), errImpatient) {
				return ctx.Err()
			}
			if !r.asked {
				return asking // Picket did not answer at all: that is not a miss
			}
			if r.Scenario.Tier != "benign" {
				r.observe(outer)
			}
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// ask asks once, and reports whether everything expected is there.
func (r *run) ask(ctx context.Context, done time.Time) (bool, error) {
	findings, err := r.Picket.Findings(ctx, r.report.Started)
	if err != nil {
		return false, err
	}
	incidents, err := r.Picket.Incidents(ctx, r.report.Started)
	if err != nil {
		return false, err
	}
	r.asked = true
	for _, f := range findings {
		if names(f.Entities, r.box.id) || asked(f, r.box.id) {
			r.found(f, done)
		}
	}
	r.joined(incidents, done)

	complete := true
	for _, f := range r.report.Findings {
		complete = complete && f.Finding != ""
	}
	if r.Scenario.Expect.Incident.One {
		complete = complete && r.report.Incident != nil && r.report.Incident.Number == 1 &&
			r.report.Incident.Findings >= len(r.report.Findings)
	}
	if r.Scenario.Tier == "benign" { // silence is only known at the end
		complete = false
	}
	return complete, nil
}

// names reports whether one of the entities is the container.
func names(entities []event.Entity, container string) bool {
	return slices.ContainsFunc(entities, func(e event.Entity) bool {
		return e.Kind == event.EntityContainer && (e.ID == container || e.Name == container)
	})
}

// asked reports whether a finding rests on a request for a model of that name: a trace tells no container.
func asked(f event.Finding, model string) bool {
	want := []byte(`"gen_ai.request.model":"` + model + `"`)
	return slices.ContainsFunc(f.Events, func(record json.RawMessage) bool { return bytes.Contains(record, want) })
}

// found notes a finding on the container, once.
func (r *run) found(f event.Finding, done time.Time) {
	took := since(done)
	for i := range r.report.Findings {
		want := &r.report.Findings[i]
		if want.Rule != f.Rule.Name && want.Rule != f.Rule.ID {
			continue
		}
		if want.Finding != "" {
			return
		}
		want.Finding, want.Severity, want.Summary = f.ID, f.Severity, f.Summary
		want.Seconds = max(time.Duration(took).Seconds(), 0)
		limit := r.Scenario.Expect.Findings[i].MaxSeconds
		want.Late = limit > 0 && want.Seconds > limit
		r.say("finding", "%s (%s)", f.Rule.Name, f.Severity, took)
		return
	}
	if !slices.Contains(r.report.Others, f.Rule.Name) {
		r.report.Others = append(r.report.Others, f.Rule.Name)
		r.say("finding", "%s (%s), beside", f.Rule.Name, f.Severity, took)
	}
}

// joined notes the incident that names the container: the one with most findings, if several do.
// One that another took over is closed, and counts no more.
func (r *run) joined(incidents []event.Incident, done time.Time) {
	var best *event.Incident
	number := 0
	for i, inc := range incidents {
		if inc.Status == event.IncidentClosed || !names(inc.Entities, r.box.id) {
			continue
		}
		number++
		if best == nil || inc.FindingN > best.FindingN {
			best = &incidents[i]
		}
	}
	if best == nil {
		return
	}
	if r.report.Incident == nil {
		r.say("incident", "%.8s: %s", best.ID, best.Title, since(done))
		r.report.Incident = &IncidentFound{Seconds: time.Since(done).Seconds()}
	}
	got := r.report.Incident
	got.ID, got.Title, got.Risk, got.Findings, got.Number = best.ID, best.Title, best.Risk, best.FindingN, number
}
