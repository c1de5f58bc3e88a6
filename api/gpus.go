package api

import (
	"context"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"picket/event"
)

// HostGPU is a GPU of a host of the fleet.
type HostGPU struct {
	Host   string      `json:"host"`
	Status AgentStatus `json:"status"` // of the host's agent: a silent one's GPUs are as they last were
	event.GPUState
}

func (s *Server) gpuRoutes(api huma.API) {
	// A number that may not be known is one or null.
	api.OpenAPI().Components.Schemas.RegisterTypeAlias(reflect.TypeFor[event.Measure](), reflect.TypeFor[*int64]())
	huma.Register(api, op("GET", "/api/v1/gpus", "gpu-list", "List the GPUs of all hosts, and who uses them"), s.listGPUs)
}

func (s *Server) listGPUs(ctx context.Context, _ *struct{}) (*listOut[HostGPU], error) {
	agents, err := s.deps.Fleet.Agents(ctx)
	if err != nil {
		return nil, s.fail(ctx, "listing GPUs", err)
	}
	out := &listOut[HostGPU]{}
	out.Body.Items = []HostGPU{}
	for _, a := range agents {
		if a.Heartbeat == nil {
			continue
		}
		for _, g := range a.Heartbeat.GPUs {
			g.Users = all(g.Users)
			out.Body.Items = append(out.Body.Items, HostGPU{Host: a.Host, Status: a.Status, GPUState: g})
		}
	}
	return out, nil
}
