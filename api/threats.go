package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"picket/event"
	"picket/threats"
)

// Covered is an entry of the catalogue of threats, and how much of it is seen here.
type Covered struct {
	threats.Entry
	Coverage   threats.Coverage  `json:"coverage" enum:"seen,partly,dark" doc:"How much of it the rules see, where a host has the telemetry that they need"`
	Techniques []event.Technique `json:"techniques" doc:"Of atlas and attack, with what they are called"`
	// Needs are rows of picket doctor; Missing are those that hosts lack, with their names.
	Needs    []string            `json:"needs" doc:"Telemetry that its rules rest on, as picket doctor names it"`
	Missing  map[string][]string `json:"missing,omitempty" doc:"Of these, what hosts lack, with the names of the hosts"`
	Unloaded []string            `json:"unloaded,omitempty" doc:"Rules that tell of it and are not loaded"`
}

func (s *Server) threatRoutes(api huma.API) {
	huma.Register(api, op("GET", "/api/v1/threats", "threat-list", "List what attackers do to AI workloads, and what of it is seen"), s.listThreats)
}

func (s *Server) listThreats(ctx context.Context, _ *struct{}) (*listOut[Covered], error) {
	list, err := s.deps.Rules.Coverage(ctx)
	if err != nil {
		return nil, s.fail(ctx, "listing threats", err)
	}
	out := &listOut[Covered]{}
	out.Body.Items = all(list)
	for i := range out.Body.Items {
		c := &out.Body.Items[i]
		c.Atlas, c.Attack, c.Rules, c.Techniques, c.Needs = all(c.Atlas), all(c.Attack), all(c.Rules), all(c.Techniques), all(c.Needs)
	}
	return out, nil
}
