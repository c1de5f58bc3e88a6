// Package api serves what the server knows over HTTP: JSON described by OpenAPI, server-sent events,
// sign-in and roles, metrics, and the dashboard's files.
//
// Every request passes the same gate (gate.go): security headers, the Host header, cross-origin
// protection, then the role that access.go names for the route. A route that the table does not name
// is refused.
package api

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"

	"picket/respond"
)

// Options sets up a Server. The zero value of each field is a sensible default.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// Gatherer is what /metrics shows; nil shows nothing.
	Gatherer prometheus.Gatherer
	// UI serves every path that is not the API's; nil answers 404.
	UI http.Handler
	// Version is Picket's, as OpenAPI and the health report show it.
	Version string
	// Hosts are the names, beside localhost and IP addresses, under which browsers may reach the
	// server. Other names in a Host header are refused, which keeps DNS rebinding out. "*" allows all.
	Hosts []string
	// SessionLife is how long a sign-in lasts. Default 24 h.
	SessionLife time.Duration
	// LinkLife is how long a one-time sign-in link works. Default 15 min.
	LinkLife time.Duration
	// Hooks are programs outside that sign what they ask for.
	Hooks []Hook
	// Ping is the interval of keep-alives on the stream. Default 15 s.
	Ping time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.SessionLife <= 0 {
		o.SessionLife = 24 * time.Hour
	}
	if o.LinkLife <= 0 {
		o.LinkLife = 15 * time.Minute
	}
	if o.Ping <= 0 {
		o.Ping = 15 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Server answers HTTP requests. Hand Handler, or on a private socket Trusted, to an http.Server.
type Server struct {
	opt      Options
	deps     Deps
	log      *slog.Logger
	mux      *http.ServeMux
	patterns []string // every registered pattern, for the test that walks the access table
	live     *hub
	cross    *http.CrossOriginProtection
	attempts *backoff
	hooks    *hooks
	hashing  chan struct{} // bounds how many passwords are hashed at once: each takes 19 MiB
	metrics  *metrics
}

// New makes a Server on its parts. All of them are needed, but for Audit.
func New(deps Deps, opt Options) (*Server, error) {
	if err := deps.validate(); err != nil {
		return nil, err
	}
	opt = opt.withDefaults()
	s := &Server{
		opt: opt, deps: deps, log: opt.Log, mux: http.NewServeMux(),
		cross:    http.NewCrossOriginProtection(),
		attempts: newBackoff(opt.Now),
		hooks:    newHooks(opt.Hooks, opt.Now()),
		hashing:  make(chan struct{}, 2),
		metrics:  newMetrics(opt.Registerer),
	}
	s.live = newHub(opt.Now().UnixNano(), s.metrics)

	doc := humago.New(recorder{s}, openAPI(opt.Version))
	s.gpuRoutes(doc)
	s.sessionRoutes(doc)
	s.incidentRoutes(doc)
	s.findingRoutes(doc)
	s.eventRoutes(doc)
	s.fleetRoutes(doc)
	s.actionRoutes(doc)
	s.inventoryRoutes(doc)
	s.accountRoutes(doc)
	s.playbookRoutes(doc)
	s.runRoutes(doc)
	s.auditRoutes(doc)
	s.threatRoutes(doc)
	return s, s.plainRoutes(doc.OpenAPI())
}

// openAPI is huma's configuration: no documentation page (it loads scripts from elsewhere), no
// links to schemas in answers, HTML characters escaped in JSON.
func openAPI(version string) huma.Config {
	if version == "" {
		version = "dev"
	}
	c := huma.DefaultConfig("Picket", version)
	c.OpenAPIPath = "" // huma's own route builds the text at the first request, unguarded
	c.DocsPath = ""
	c.SchemasPath = ""
	c.CreateHooks = nil // would add "$schema" to every answer
	c.RejectUnknownQueryParameters = true
	format := huma.Format{Marshal: marshal, Unmarshal: huma.DefaultJSONFormat.Unmarshal}
	c.Formats = map[string]huma.Format{"application/json": format, "json": format}
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token":   {Type: "http", Scheme: "bearer"},
		"session": {Type: "apiKey", In: "cookie", Name: cookieName},
	}
	c.Security = []map[string][]string{{"token": {}}, {"session": {}}}
	return c
}

// schemaName tells the plan of a run from that of one act.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[respond.Plan]() {
		return "Run" + name
	}
	return name
}

// recorder is the mux that huma registers its routes on.
type recorder struct{ s *Server }

// HandleFunc registers a route.
func (r recorder) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	r.s.handle(pattern, http.HandlerFunc(h))
}

// ServeHTTP completes humago's interface.
func (r recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) { r.s.mux.ServeHTTP(w, q) }

func (s *Server) handle(pattern string, h http.Handler) {
	s.patterns = append(s.patterns, pattern)
	s.mux.Handle(pattern, h)
}

// HTTPServer returns an http.Server for h with time limits that keep slow clients from holding on
// to it. The stream lifts them for itself.
func HTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	if log != nil {
		srv.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	}
	return srv
}

// Close ends all streams, so that the http.Server's Shutdown does not wait for them.
func (s *Server) Close() error {
	s.live.close()
	return nil
}

// Errors that the parts of Deps return, wrapped or as they are, to choose the answer's status.
var (
	ErrNotFound = errors.New("not found")                         // 404
	ErrConflict = errors.New("changed by someone else meanwhile") // 409
	ErrInvalid  = errors.New("invalid request")                   // 400
	ErrAway     = errors.New("not reachable")                     // 503
)

func marshal(w io.Writer, v any) error { return encode(w, v) }
