package client

import (
	"context"
	"fmt"

	"picket/api"
)

// Audit lists entries of the audit log: those behind a number, the first first, or with -1 the last.
func (c *Client) Audit(ctx context.Context, after int64, limit int) (api.AuditPage, error) {
	return get[api.AuditPage](ctx, c, "/api/v1/audit", query("after", fmt.Sprint(after), "limit", number(limit)))
}
