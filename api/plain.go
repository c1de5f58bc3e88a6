package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type tlsKey struct{}

func overTLS(ctx context.Context) bool { on, _ := ctx.Value(tlsKey{}).(bool); return on }

func remote(ctx context.Context) string { a, _ := ctx.Value(remoteKey{}).(string); return a }

// op describes a route for OpenAPI; its tag is the path's noun.
func op(method, path, id, summary string) huma.Operation {
	noun, _, _ := strings.Cut(strings.TrimPrefix(path, "/api/v1/"), "/")
	g := access[method+" "+path]
	return huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary, Tags: []string{noun},
		Description: "Role: " + g.role.String() + ".",
		Errors:      []int{400, 401, 403, 404, 503},
	}
}

// plainRoutes registers what is not JSON over huma.
func (s *Server) plainRoutes(doc *huma.OpenAPI) error {
	text, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("api: writing the OpenAPI document: %w", err)
	}
	s.handle("GET /api/openapi.json", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(text)
	}))
	s.handle("GET /api/v1/stream", http.HandlerFunc(s.stream))
	s.handle("GET /signin", http.HandlerFunc(s.signIn))
	s.handle("POST /.well-known/openc2", http.HandlerFunc(s.openC2))
	s.handle("POST /api/v1/hooks/{name}", http.HandlerFunc(s.hook))
	s.handle("GET /healthz", http.HandlerFunc(s.healthz))
	gatherer := s.opt.Gatherer
	if gatherer == nil {
		gatherer = prometheus.NewRegistry()
	}
	s.handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	s.handle("GET /debug/pprof/", http.HandlerFunc(pprof.Index))
	s.handle("GET /debug/pprof/cmdline", http.HandlerFunc(pprof.Cmdline))
	s.handle("GET /debug/pprof/profile", http.HandlerFunc(pprof.Profile))
	s.handle("GET /debug/pprof/symbol", http.HandlerFunc(pprof.Symbol))
	s.handle("GET /debug/pprof/trace", http.HandlerFunc(pprof.Trace))
	s.handle("/api/", http.HandlerFunc(s.unknown))
	ui := s.opt.UI
	if ui == nil {
		ui = http.NotFoundHandler()
	}
	s.handle("/", ui)
	return nil
}

// unknown answers for API paths that do not exist, or not with this method.
func (s *Server) unknown(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = m
		if _, pattern := s.mux.Handler(other); pattern != "/api/" && pattern != "/" {
			allowed = append(allowed, m)
		}
	}
	if allowed != nil {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		problem(w, http.StatusMethodNotAllowed, "this path takes "+strings.Join(allowed, ", "))
		return
	}
	problem(w, http.StatusNotFound, "there is no such API path; /api/openapi.json lists them all")
}

// healthz is for load balancers and supervisors: 200 while the server is of use, 503 with the parts
// that failed. It names no more than that, as nobody has to sign in for it.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	report := s.deps.Health.Report(r.Context())
	if report.Status != StatusFailed {
		_, _ = fmt.Fprintln(w, report.Status)
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	for _, c := range report.Components {
		if c.Status == StatusFailed {
			_, _ = fmt.Fprintln(w, "failed:", c.Name)
		}
	}
}

// audit keeps e, filling in who asks and from where.
func (s *Server) audit(ctx context.Context, e AuditEntry) {
	e.Time = s.opt.Now()
	e.From = remote(ctx)
	if e.Who == "" {
		e.Who = caller(ctx).name
	}
	s.log.Info("audit", "who", e.Who, "from", e.From, "what", e.What, "object", e.Object, "ok", e.OK)
	if s.deps.Audit == nil {
		return
	}
	if err := s.deps.Audit.Record(ctx, e); err != nil {
		s.metrics.auditErrors.Inc()
		s.log.Error("the audit log was not written", "what", e.What, "who", e.Who, "err", err)
	}
}
