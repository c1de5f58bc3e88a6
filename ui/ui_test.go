package ui

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func get(t *testing.T, h http.Handler, method, target string) *http.Response {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(method, target, nil))
	return rec.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestServeBuilt(t *testing.T) {
	h := serve(fstest.MapFS{
		"index.html":      {Data: []byte("<title>app</title>")},
		"assets/a-123.js": {Data: []byte("js")},
		"icon.svg":        {Data: []byte("<svg/>")},
	})
	for _, tt := range []struct {
		path  string
		code  int
		cache string
		has   string
	}{
		{"/", 200, "no-cache", "app"},
		{"/index.html", 200, "no-cache", "app"},
		{"/incidents/abc", 200, "no-cache", "app"},
		{"/fleet/host.example.org", 200, "no-cache", "app"},
		{"/assets/a-123.js", 200, "public, max-age=31536000, immutable", "js"},
		{"/icon.svg", 200, "", "svg"},
		{"/assets/gone-456.js", 404, "", ""},
		{"/favicon.ico", 404, "", ""},
		{"/assets", 200, "no-cache", "app"},
		{"/../../etc/passwd", 200, "no-cache", "app"},
	} {
		r := get(t, h, http.MethodGet, tt.path)
		if r.StatusCode != tt.code || r.Header.Get("Cache-Control") != tt.cache || !strings.Contains(body(t, r), tt.has) {
			t.Errorf("GET %s: %d, Cache-Control %q; want %d, %q, text with %q",
				tt.path, r.StatusCode, r.Header.Get("Cache-Control"), tt.code, tt.cache, tt.has)
		}
	}
	if r := get(t, h, http.MethodPost, "/"); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST /: %d, want 405", r.StatusCode)
	}
}

func TestServeUnbuilt(t *testing.T) {
	h := serve(fstest.MapFS{})
	for _, path := range []string{"/", "/incidents"} {
		r := get(t, h, http.MethodGet, path)
		if text := body(t, r); r.StatusCode != 200 || !strings.Contains(text, "make build") {
			t.Errorf("GET %s: %d, %q; want the page that says how to build", path, r.StatusCode, text)
		}
	}
}

func TestHandler(t *testing.T) {
	r := get(t, Handler(), http.MethodGet, "/")
	text := body(t, r)
	if r.StatusCode != 200 || !strings.Contains(text, "<title>Picket</title>") {
		t.Fatalf("GET /: %d, %q", r.StatusCode, text)
	}
	if built := !strings.Contains(text, "make build"); built != Built() {
		t.Errorf("Built() is %v, the page says %v", Built(), built)
	}
}
