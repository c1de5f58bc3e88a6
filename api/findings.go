package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"picket/event"
)

func (s *Server) findingRoutes(api huma.API) {
	huma.Register(api, op("GET", "/api/v1/findings", "finding-list", "List findings, the latest first"), s.listFindings)
	huma.Register(api, op("GET", "/api/v1/findings/{id}", "finding-get", "Read a finding"), s.getFinding)
}

type findingsInput struct {
	Rule     string `query:"rule" maxLength:"200" doc:"Rule id or name"`
	Severity string `query:"severity" enum:"informational,low,medium,high,critical" doc:"At least this"`
	Host     string `query:"host" maxLength:"253"`
	Incident string `query:"incident" maxLength:"100" doc:"Incident id"`
	Limit    int    `query:"limit" default:"50" minimum:"1" maximum:"500"`
	Before   string `query:"before" maxLength:"200" doc:"The next of the page before"`
}

func (s *Server) listFindings(ctx context.Context, in *findingsInput) (*listOut[event.Finding], error) {
	before, err := ParseCursor(in.Before)
	if err != nil {
		return nil, s.fail(ctx, "listing findings", err)
	}
	items, err := s.deps.Findings.List(ctx, FindingQuery{
		Rule: in.Rule, Severity: severity(in.Severity), Host: in.Host, Incident: in.Incident, Limit: in.Limit, Before: before,
	})
	if err != nil {
		return nil, s.fail(ctx, "listing findings", err)
	}
	for i := range items {
		items[i] = fullFinding(items[i])
	}
	return newList(items, in.Limit, func(f event.Finding) Cursor { return Cursor{f.Time, f.ID} }), nil
}

func (s *Server) getFinding(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"100"`
},
) (*struct{ Body event.Finding }, error) {
	f, err := s.deps.Findings.Get(ctx, in.ID)
	if err != nil {
		return nil, s.fail(ctx, "reading finding "+in.ID, err)
	}
	return &struct{ Body event.Finding }{fullFinding(f)}, nil
}

func fullFinding(f event.Finding) event.Finding {
	f.Entities, f.Events, f.EventIDs = all(f.Entities), all(f.Events), all(f.EventIDs)
	return f
}
