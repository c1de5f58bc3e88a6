package api

import (
	"context"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"picket/event"
)

// InventoryQuery selects workloads that run. Empty fields select all.
type InventoryQuery struct {
	Host      string
	Kind      string
	Engine    string
	Verdict   string // of one of its files
	Signature string // of one of its files
}

// Takes reports whether a workload is one of those asked for.
func (q InventoryQuery) Takes(r *event.Running) bool {
	if q.Host != "" && q.Host != r.Host || q.Kind != "" && q.Kind != string(r.Kind) || q.Engine != "" && q.Engine != r.Engine {
		return false
	}
	return (q.Verdict == "" && q.Signature == "") || slices.ContainsFunc(r.Files, func(f event.ModelFile) bool {
		return (q.Verdict == "" || q.Verdict == f.Artifact.Verdict) && (q.Signature == "" || q.Signature == f.Artifact.Signature)
	})
}

// Inventory lists the AI workloads that run, by host and id.
type Inventory interface {
	Inventory(ctx context.Context, q InventoryQuery) ([]event.Running, error)
}

func (s *Server) inventoryRoutes(api huma.API) {
	huma.Register(api, op("GET", "/api/v1/inventory", "inventory-list", "List the AI workloads that run, with their model files"), s.listInventory)
}

type inventoryInput struct {
	Host      string `query:"host" maxLength:"253"`
	Kind      string `query:"kind" enum:"inference,training,notebook,agent"`
	Engine    string `query:"engine" maxLength:"100"`
	Verdict   string `query:"verdict" enum:"clean,unsupported,unknown,failed,suspicious,malicious" doc:"Of one of its files"`
	Signature string `query:"signature" enum:"unsigned,signed,invalid,untrusted" doc:"Of one of its files"`
}

func (s *Server) listInventory(ctx context.Context, in *inventoryInput) (*listOut[event.Running], error) {
	items, err := s.deps.Inventory.Inventory(ctx, InventoryQuery(*in))
	if err != nil {
		return nil, s.fail(ctx, "listing the inventory", err)
	}
	for i := range items {
		items[i].Files = all(items[i].Files)
	}
	out := &listOut[event.Running]{}
	out.Body.Items = all(items)
	return out, nil
}
