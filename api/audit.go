package api

import (
	"context"
	"fmt"

	"github.com/danielgtaylor/huma/v2"
)

func (s *Server) auditRoutes(api huma.API) {
	huma.Register(api, op("GET", "/api/v1/audit", "audit-list", "List the audit log: who did what"), s.listAudit)
}

func (s *Server) listAudit(ctx context.Context, in *struct {
	After  int64 `query:"after" default:"-1" minimum:"-1" doc:"Only entries behind this number, the first first; -1 lists the last first"`
	Before int64 `query:"before" minimum:"0" doc:"Only entries before this number"`
	Limit  int   `query:"limit" default:"100" minimum:"1" maximum:"1000"`
},
) (*struct{ Body AuditPage }, error) {
	if s.deps.Audit == nil {
		return nil, s.fail(ctx, "reading the audit log", fmt.Errorf("this server keeps none: %w", ErrAway))
	}
	page, err := s.deps.Audit.Entries(ctx, AuditQuery(*in))
	if err != nil {
		return nil, s.fail(ctx, "reading the audit log", err)
	}
	page.Items = all(page.Items)
	return &struct{ Body AuditPage }{page}, nil
}
