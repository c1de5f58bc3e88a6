package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"
)

func (s *Server) fleetRoutes(api huma.API) {
	huma.Register(api, op("GET", "/api/v1/fleet", "fleet-list", "List the agents"), s.listFleet)
	huma.Register(api, op("GET", "/api/v1/health", "health-get", "How the parts of the server are"), s.getHealth)
	huma.Register(api, op("GET", "/api/v1/rules", "rule-list", "List the loaded rules"), s.listRules)
}

func (s *Server) listFleet(ctx context.Context, _ *struct{}) (*listOut[Agent], error) {
	agents, err := s.deps.Fleet.Agents(ctx)
	if err != nil {
		return nil, s.fail(ctx, "listing the fleet", err)
	}
	out := &listOut[Agent]{}
	out.Body.Items = make([]Agent, len(agents))
	for i, a := range agents {
		out.Body.Items[i] = slim(a)
	}
	return out, nil
}

// slim leaves out what only machines read, and makes empty lists of missing ones.
func slim(a Agent) Agent {
	if a.Counters == nil {
		a.Counters = map[string]uint64{}
	}
	if a.Heartbeat != nil {
		h := *a.Heartbeat
		h.Metrics = ""
		h.Capabilities = all(h.Capabilities)
		a.Heartbeat = &h
	}
	return a
}

func (s *Server) getHealth(ctx context.Context, _ *struct{}) (*struct{ Body Report }, error) {
	return &struct{ Body Report }{s.report(ctx)}, nil
}

func (s *Server) report(ctx context.Context) Report {
	r := s.deps.Health.Report(ctx)
	r.Components = all(r.Components)
	if r.Version == "" {
		r.Version = s.opt.Version
	}
	return r
}

func (s *Server) listRules(ctx context.Context, _ *struct{}) (*listOut[LoadedRule], error) {
	rules, err := s.deps.Rules.Loaded(ctx)
	if err != nil {
		return nil, s.fail(ctx, "listing rules", err)
	}
	out := &listOut[LoadedRule]{}
	out.Body.Items = make([]LoadedRule, len(rules))
	for i, r := range rules {
		r.Techniques = all(r.Techniques)
		out.Body.Items[i] = r
	}
	return out, nil
}
