package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"picket/event"
)

func (s *Server) incidentRoutes(api huma.API) {
	huma.Register(api, op("GET", "/api/v1/incidents", "incident-list", "List incidents, the latest first"), s.listIncidents)
	huma.Register(api, op("GET", "/api/v1/incidents/{id}", "incident-get", "Read an incident"), s.getIncident)
	patch := op("PATCH", "/api/v1/incidents/{id}", "incident-update", "Acknowledge, close, reopen or annotate an incident")
	patch.Errors = append(patch.Errors, 409)
	huma.Register(api, patch, s.updateIncident)
}

type incidentsInput struct {
	Status   string `query:"status" enum:"open,acknowledged,closed"`
	Severity string `query:"severity" enum:"informational,low,medium,high,critical" doc:"At least this"`
	Q        string `query:"q" maxLength:"200" doc:"Text in the id, title, summary or an entity's name"`
	Limit    int    `query:"limit" default:"50" minimum:"1" maximum:"500"`
	Before   string `query:"before" maxLength:"200" doc:"The next of the page before"`
}

func (s *Server) listIncidents(ctx context.Context, in *incidentsInput) (*listOut[event.Incident], error) {
	before, err := ParseCursor(in.Before)
	if err != nil {
		return nil, s.fail(ctx, "listing incidents", err)
	}
	items, err := s.deps.Incidents.List(ctx, IncidentQuery{
		Status: event.IncidentStatus(in.Status), Severity: severity(in.Severity), Text: in.Q, Limit: in.Limit, Before: before,
	})
	if err != nil {
		return nil, s.fail(ctx, "listing incidents", err)
	}
	for i := range items {
		items[i] = fullIncident(items[i])
	}
	return newList(items, in.Limit, func(i event.Incident) Cursor { return Cursor{i.LastSeen, i.ID} }), nil
}

type incidentOut struct{ Body event.Incident }

func (s *Server) getIncident(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"100"`
},
) (*incidentOut, error) {
	inc, err := s.deps.Incidents.Get(ctx, in.ID)
	if err != nil {
		return nil, s.fail(ctx, "reading incident "+in.ID, err)
	}
	return &incidentOut{fullIncident(inc)}, nil
}

// IncidentPatch is the body of a change to an incident. What is left out stays.
type IncidentPatch struct {
	Status  event.IncidentStatus `json:"status,omitempty" enum:"open,acknowledged,closed"`
	Verdict event.Verdict        `json:"verdict,omitempty" enum:"true_positive,false_positive" doc:"With status closed"`
	Note    string               `json:"note,omitempty" maxLength:"10000"`
	Version int64                `json:"version,omitempty" minimum:"0" doc:"The version you saw; if it has changed since, the answer is 409"`
}

func (s *Server) updateIncident(ctx context.Context, in *struct {
	ID   string `path:"id" maxLength:"100"`
	Body IncidentPatch
},
) (*incidentOut, error) {
	b := in.Body
	switch {
	case b.Status == "" && b.Verdict == "" && b.Note == "":
		return nil, huma.Error400BadRequest("nothing to change: give status, verdict or note")
	case b.Status == event.IncidentClosed && b.Verdict == "":
		return nil, huma.Error400BadRequest("closing an incident needs a verdict: true_positive or false_positive")
	case b.Verdict != "" && b.Status != event.IncidentClosed && b.Status != "":
		return nil, huma.Error400BadRequest("a verdict belongs to status closed, not " + string(b.Status))
	}
	inc, err := s.deps.Incidents.Update(ctx, in.ID, caller(ctx).name, IncidentChange(b))
	entry := AuditEntry{What: "incident.update", Object: in.ID, OK: err == nil, Detail: string(b.Status) + " " + string(b.Verdict)}
	if err != nil {
		entry.Detail = err.Error()
	}
	s.audit(ctx, entry)
	if err != nil {
		return nil, s.fail(ctx, "changing incident "+in.ID, err)
	}
	return &incidentOut{fullIncident(inc)}, nil
}

func fullIncident(i event.Incident) event.Incident {
	i.Hosts, i.Story, i.Techniques, i.Entities = all(i.Hosts), all(i.Story), all(i.Techniques), all(i.Entities)
	i.Processes, i.Findings, i.Log = all(i.Processes), all(i.Findings), all(i.Log)
	return i
}
