package api_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"picket/api"
)

// clock is a clock that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }

func (c *clock) pass(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.t = c.t.Add(d) }

// browser is a client with cookies on a server of its own.
type browser struct {
	t    *testing.T
	http *http.Client
	url  string
	csrf string
}

func (b *browser) do(method, path, body string, header ...string) (int, string) {
	b.t.Helper()
	r, err := http.NewRequest(method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if b.csrf != "" {
		r.Header.Set("X-CSRF-Token", b.csrf)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

func (b *browser) signIn(link string) {
	b.t.Helper()
	if status, text := b.do("GET", link, ""); status != http.StatusNotFound { // redirected to /, where no UI is mounted
		b.t.Fatalf("link: %d %s", status, text)
	}
	_, text := b.do("GET", "/api/v1/session", "")
	var s api.SessionInfo
	if json.Unmarshal([]byte(text), &s) != nil || s.CSRF == "" {
		b.t.Fatalf("not signed in: %s", text)
	}
	b.csrf = s.CSRF
}

func setup(t *testing.T) (*api.Server, *clock, func() *browser) {
	t.Helper()
	c := &clock{t: time.Now()}
	s, fake := newFake(t, api.Options{Now: c.now, Hosts: []string{"picket.example"}})
	for name, role := range map[string]api.Role{"ann": api.Admin, "vic": api.Viewer} {
		if err := fake.SaveUser(t.Context(), api.User{Name: name, Role: role, Created: c.now()}); err != nil {
			t.Fatal(err)
		}
	}
	hs := httptest.NewServer(s.Handler())
	t.Cleanup(hs.Close)
	return s, c, func() *browser {
		jar, _ := cookiejar.New(nil)
		return &browser{t: t, http: &http.Client{Jar: jar}, url: hs.URL}
	}
}

func link(t *testing.T, s *api.Server, user string) string {
	t.Helper()
	path, _, err := s.NewLink(context.Background(), user)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLinkThenPassword(t *testing.T) {
	s, c, open := setup(t)
	b := open()
	if status, text := b.do("GET", "/api/v1/session", ""); status != 401 || !strings.Contains(text, "one-time link") {
		t.Errorf("without sign-in: %d %s", status, text)
	}
	l := link(t, s, "ann")
	b.signIn(l)
	other := open()
	if other.do("GET", l, ""); other.csrf != "" {
		t.Error("a link worked twice")
	}
	if status, _ := other.do("GET", "/api/v1/session", ""); status != 401 {
		t.Errorf("a used link signed in: %d", status)
	}
	if status, text := b.do("POST", "/api/v1/session/password", `{"new":"short"}`); status != 422 {
		t.Errorf("short password: %d %s", status, text)
	}
	if status, text := b.do("POST", "/api/v1/session/password", `{"new":"correct horse"}`); status != 204 {
		t.Fatalf("password: %d %s", status, text)
	}
	if status, text := other.do("POST", "/api/v1/session", `{"user":"ann","password":"wrong"}`); status != 401 || strings.Contains(text, "wrong horse") {
		t.Errorf("wrong password: %d %s", status, text)
	}
	status, text := other.do("POST", "/api/v1/session", `{"user":"ann","password":"correct horse"}`)
	if status != 200 {
		t.Fatalf("password: %d %s", status, text)
	}
	var info api.SessionInfo
	if err := json.Unmarshal([]byte(text), &info); err != nil || info.Role != api.Admin || !info.PasswordSet {
		t.Errorf("%s, %v", text, err)
	}
	other.csrf = info.CSRF
	if status, _ := other.do("POST", "/api/v1/session/password", `{"old":"nonsense","new":"another password"}`); status != 403 {
		t.Errorf("wrong old password: %d", status)
	}
	if status, _ := other.do("POST", "/api/v1/session/password", `{"old":"correct horse","new":"another password"}`); status != 204 {
		t.Errorf("change of password: %d", status)
	}
	if status, _ := b.do("GET", "/api/v1/incidents", ""); status != 401 {
		t.Errorf("a change of password left another session open: %d", status)
	}
	if status, _ := other.do("DELETE", "/api/v1/session", ""); status != 204 {
		t.Errorf("sign out: %d", status)
	}
	if status, _ := other.do("GET", "/api/v1/incidents", ""); status != 401 {
		t.Errorf("after sign-out: %d", status)
	}
	late := link(t, s, "ann")
	c.pass(16 * time.Minute)
	open().do("GET", late, "")
	if status, _ := b.do("GET", "/api/v1/session", ""); status != 401 {
		t.Error("an expired link worked")
	}
}

func TestSessionExpiresAndRolesHoldAtOnce(t *testing.T) {
	s, c, open := setup(t)
	ann, vic := open(), open()
	ann.signIn(link(t, s, "ann"))
	vic.signIn(link(t, s, "vic"))
	if status, text := vic.do("PATCH", "/api/v1/incidents/i-gpu-01", `{"note":"x"}`); status != 403 || !strings.Contains(text, "analyst") {
		t.Errorf("viewer writes: %d %s", status, text)
	}
	if status, text := ann.do("POST", "/api/v1/users", `{"name":"vic","role":"analyst"}`); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	if status, text := vic.do("PATCH", "/api/v1/incidents/i-gpu-01", `{"note":"x"}`); status != 200 {
		t.Errorf("analyst writes: %d %s", status, text)
	}
	if status, _ := ann.do("DELETE", "/api/v1/users/vic", ""); status != 204 {
		t.Errorf("delete: %d", status)
	}
	if status, _ := vic.do("GET", "/api/v1/incidents", ""); status != 401 {
		t.Errorf("a removed user reads: %d", status)
	}
	c.pass(25 * time.Hour)
	if status, _ := ann.do("GET", "/api/v1/incidents", ""); status != 401 {
		t.Errorf("after a day: %d", status)
	}
}

func TestCookieWritesComeFromOurPageOnly(t *testing.T) {
	s, _, open := setup(t)
	b := open()
	b.signIn(link(t, s, "ann"))
	csrf := b.csrf
	for _, c := range []struct {
		name, token string
		header      []string
		want        int
	}{
		{"token", csrf, nil, 200},
		{"same origin says the browser", "", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"nothing", "", nil, 403},
		{"wrong token", "wrong", nil, 403},
		{"other site", csrf, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"other origin", csrf, []string{"Origin", "http://evil.example"}, 403},
	} {
		b.csrf = c.token
		if status, text := b.do("PATCH", "/api/v1/incidents/i-gpu-01", `{"note":"x"}`, c.header...); status != c.want {
			t.Errorf("%s: %d %s", c.name, status, text)
		}
	}
}

func TestGuessingIsSlowed(t *testing.T) {
	s, c, open := setup(t)
	b := open()
	codes := map[int]int{}
	for range 10 {
		status, _ := b.do("POST", "/api/v1/session", `{"user":"ann","password":"guess"}`)
		codes[status]++
	}
	if codes[401] != 5 || codes[429] != 5 {
		t.Errorf("%v, want 5 × 401 and 5 × 429", codes)
	}
	c.pass(2 * time.Second)
	if status, _ := b.do("POST", "/api/v1/session", `{"user":"ann","password":"guess"}`); status != 401 {
		t.Errorf("after the wait: %d", status)
	}
	if status, _ := b.do("GET", "/api/v1/health", "", "Authorization", "Bearer "+rolesOf(t, s)[api.Viewer]); status != 200 {
		t.Errorf("tokens do not wait: %d", status)
	}
}

func TestHostHeader(t *testing.T) {
	_, _, open := setup(t)
	b := open()
	for host, want := range map[string]int{
		"localhost": 200, "localhost:7420": 200, "127.0.0.1:7420": 200, "[::1]:7420": 200, "picket.example": 200,
		"evil.example": 421, "127.0.0.1.evil.example": 421, "evil.example:7420": 421,
	} {
		if status, _ := b.do("GET", "/healthz", "", "Host", host); status != want {
			t.Errorf("%s: %d, want %d", host, status, want)
		}
	}
}

func TestAnswersAreGuarded(t *testing.T) {
	s, _ := newFake(t, api.Options{UI: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ui") })})
	for path, want := range map[string]int{"/": 200, "/incidents/x": 200, "/api/v1/nope": 404, "/api": 307, "/healthz": 200} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "http://localhost"+path, nil))
		if w.Code != want && (path != "/api" || w.Code/100 != 3) {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if path == "/api/v1/nope" && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("unknown path: %s", w.Header().Get("Content-Type"))
		}
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("PUT", "http://localhost/api/v1/incidents", nil))
	if w.Code != 405 || w.Header().Get("Allow") != "GET" {
		t.Errorf("PUT: %d, allow %q", w.Code, w.Header().Get("Allow"))
	}
}

func TestHealthz(t *testing.T) {
	s, fake := newFake(t, api.Options{})
	get := func() (int, string) {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/healthz", nil))
		return w.Code, w.Body.String()
	}
	if code, text := get(); code != 200 || text != "degraded\n" {
		t.Errorf("%d %q", code, text)
	}
	fake.SetReport(api.Report{Status: api.StatusFailed, Components: []api.Component{{Name: "state", Status: api.StatusFailed, Detail: "secret path"}}})
	if code, text := get(); code != 503 || text != "failed: state\n" {
		t.Errorf("%d %q", code, text)
	}
}

func TestErrorsOfPartsKeepTheirPlace(t *testing.T) {
	s, fake := newFake(t, api.Options{})
	token := rolesOf(t, s)[api.Admin]
	for err, want := range map[error]int{api.ErrAway: 503, api.ErrInvalid: 400, io.ErrClosedPipe: 500} {
		fake.Err = err
		r := httptest.NewRequest("GET", "http://localhost/api/v1/incidents", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != want || want == 500 && strings.Contains(w.Body.String(), "pipe") {
			t.Errorf("%v: %d %s", err, w.Code, w.Body)
		}
	}
}

func TestLargeBodiesAreRefused(t *testing.T) {
	s := newServer(t, api.Options{})
	r := httptest.NewRequest("POST", "http://localhost/api/v1/session", strings.NewReader(`{"user":"`+strings.Repeat("a", 2<<20)))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestChangesAreAudited(t *testing.T) {
	s, fake := newFake(t, api.Options{})
	r := httptest.NewRequest("PATCH", "http://localhost/api/v1/incidents/i-gpu-01", strings.NewReader(`{"status":"acknowledged"}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+rolesOf(t, s)[api.Analyst])
	s.Handler().ServeHTTP(httptest.NewRecorder(), r)
	for _, e := range fake.Audited() {
		if e.What == "incident.update" && e.Who == "token:analyst" && e.Object == "i-gpu-01" && e.OK && e.From != "" {
			return
		}
	}
	t.Errorf("not in the audit log: %+v", fake.Audited())
}
