package client

import (
	"context"

	"picket/api"
	"picket/event"
)

// Inventory lists the AI workloads that run, by host and id.
func (c *Client) Inventory(ctx context.Context, q api.InventoryQuery) ([]event.Running, error) {
	out, err := get[api.List[event.Running]](ctx, c, "/api/v1/inventory",
		query("host", q.Host, "kind", q.Kind, "engine", q.Engine, "verdict", q.Verdict, "signature", q.Signature))
	return out.Items, err
}
