package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"picket/api"
	"picket/api/apitest"
)

// newServer returns a server on made-up data.
func newServer(t *testing.T, opt api.Options) *api.Server {
	t.Helper()
	s, _ := newFake(t, opt)
	return s
}

func newFake(t *testing.T, opt api.Options) (*api.Server, *apitest.Fake) {
	t.Helper()
	now := opt.Now
	if now == nil {
		now = time.Now
	}
	fake := apitest.New(now)
	s, err := api.New(fake.Deps(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, fake
}

// rolesOf opens one token for each role.
func rolesOf(t *testing.T, s *api.Server) map[api.Role]string {
	t.Helper()
	out := map[api.Role]string{}
	for r := api.Viewer; r <= api.Admin; r++ {
		secret, _, err := s.NewToken(context.Background(), r.String(), r, 0, "test")
		if err != nil {
			t.Fatal(err)
		}
		out[r] = secret
	}
	return out
}

func TestEveryRouteIsInTheAccessTable(t *testing.T) {
	s := newServer(t, api.Options{})
	registered := map[string]bool{}
	for _, p := range s.Patterns() {
		registered[p] = true
		if _, ok := api.Needs(p); !ok {
			t.Errorf("route %q has no entry in access: nobody may use it", p)
		}
	}
	for _, p := range api.AccessPatterns() {
		if !registered[p] {
			t.Errorf("access names %q, which is no route", p)
		}
	}
}

func TestEveryRouteKeepsItsRole(t *testing.T) {
	s := newServer(t, api.Options{})
	tokens := rolesOf(t, s)
	tokens[api.Public] = ""
	fill := strings.NewReplacer("{id}", "none", "{name}", "nobody")
	for _, pattern := range s.Patterns() {
		method, path, ok := strings.Cut(pattern, " ")
		if !ok {
			method, path = http.MethodGet, pattern
		}
		if path == "/api/v1/stream" || path == "/debug/pprof/profile" || path == "/debug/pprof/trace" {
			path += "?seconds=1"
		}
		need, _ := api.Needs(pattern)
		for role := api.Public; role <= api.Admin; role++ {
			if strings.HasPrefix(path, "/debug/pprof/") && role == api.Admin && strings.Contains(path, "seconds") {
				continue // would really profile
			}
			ctx, cancel := context.WithCancel(context.Background())
			r := httptest.NewRequestWithContext(ctx, method, "http://localhost"+fill.Replace(path), strings.NewReader("{}"))
			r.Header.Set("Content-Type", "application/json")
			r.RemoteAddr = "192.0.2.7:4000"
			if tokens[role] != "" {
				r.Header.Set("Authorization", "Bearer "+tokens[role])
			}
			if strings.HasPrefix(path, "/api/v1/stream") {
				cancel() // the stream would not end by itself
			}
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			cancel()
			refused := w.Code == http.StatusForbidden || w.Code == http.StatusUnauthorized
			// These say 401 or 403 themselves: who am I, wrong password, a token has no password, not signed.
			own := strings.HasPrefix(path, "/api/v1/session") || strings.HasPrefix(path, "/api/v1/hooks/")
			if want := role < need; refused != want && (!own || role < need) {
				t.Errorf("%s as %s: status %d, want refused %t", pattern, role, w.Code, want)
			}
			if role == api.Public && need > api.Public && w.Code != http.StatusUnauthorized {
				t.Errorf("%s without signing in: status %d, want 401", pattern, w.Code)
			}
		}
	}
}

func TestARouteWithoutAnEntryIsRefused(t *testing.T) {
	s := newServer(t, api.Options{})
	s.Add("GET /forgotten", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	r := httptest.NewRequest("GET", "http://localhost/forgotten", nil)
	r.Header.Set("Authorization", "Bearer "+rolesOf(t, s)[api.Admin])
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("status %d, want 403", w.Code)
	}
}

func TestMetricsAreOpenOnThisMachineOnly(t *testing.T) {
	s := newServer(t, api.Options{})
	for _, c := range []struct {
		remote, forwarded string
		want              int
	}{
		{"127.0.0.1:999", "", 200},
		{"[::1]:999", "", 200},
		{"192.0.2.1:999", "", 401},
		{"127.0.0.1:999", "192.0.2.1", 401},
	} {
		r := httptest.NewRequest("GET", "http://localhost/metrics", nil)
		r.RemoteAddr = c.remote
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("from %s for %q: %d, want %d", c.remote, c.forwarded, w.Code, c.want)
		}
	}
}
