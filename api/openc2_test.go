package api_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"picket/api"
	"picket/api/apitest"
	"picket/respond"
)

func (s *said) Order(_ context.Context, o respond.Order) (respond.Run, error) {
	run, err := s.call("ordered", "order %s %s on %q by %s", o.ID, o.Command, o.Incident+o.Host, o.By)
	run.State = s.state
	return run, err
}

func (s *said) Get(_ context.Context, id string) (respond.Run, error) {
	run, err := s.call(id, "get %s", id)
	run.State = respond.Succeeded
	return run, err
}

// soar is a server with an engine that writes down what it is asked, and a clock.
type soar struct {
	*api.Server
	engine *said
	fake   *apitest.Fake
	now    time.Time
}

func newSOAR(t *testing.T) *soar {
	t.Helper()
	s := &soar{engine: &said{state: respond.Running}, now: time.Unix(1_800_000_000, 0)}
	s.fake = apitest.New(time.Now)
	deps := s.fake.Deps()
	deps.Runs = s.engine
	secret := func(v string) func() (string, error) { return func() (string, error) { return v, nil } }
	var err error
	s.Server, err = api.New(deps, api.Options{Now: func() time.Time { return s.now }, Hooks: []api.Hook{
		{Name: "soar", Role: api.Analyst, Secret: secret("key1")},
		{Name: "eye", Role: api.Viewer, Secret: secret("key2")},
		{Name: "gone", Role: api.Admin, Secret: func() (string, error) { return "", errors.New("/secret/path is not there") }},
		{Name: "empty", Role: api.Admin, Secret: secret("")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.now = s.now.Add(time.Minute)
	return s
}

func (s *soar) send(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func (s *soar) command(token, kind, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "http://localhost/.well-known/openc2", strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return s.send(r)
}

const c2 = "application/openc2+json;version=1.0"

func TestOpenC2(t *testing.T) {
	s := newSOAR(t)
	analyst, _, err := s.NewToken(t.Context(), "soar", api.Analyst, time.Hour, "test")
	if err != nil {
		t.Fatal(err)
	}
	viewer, _, err := s.NewToken(t.Context(), "eye", api.Viewer, 0, "test")
	if err != nil {
		t.Fatal(err)
	}
	const contain = `{"action": "contain", "target": {"x-picket": {"entity": "workload"}}, "args": {"duration": 60000, "x-picket": {"incident": "i1", "reason": "why", "act": "isolate"}}, "command_id": "c-1"}`
	for _, x := range []struct {
		token, kind, body string
		status, code      int
		says              string
	}{
		{analyst, c2, contain, 200, 200, `"run":"ordered"`},
		{analyst, c2, strings.Replace(contain, `"duration"`, `"response_requested": "ack", "duration"`, 1), 200, 102, "under way"},
		{analyst, c2, `{"headers": {"request_id": "r-1"}, "body": {"openc2": {"request": {"action": "query", "target": {"features": ["versions", "profiles", "pairs"]}}}}}`, 200, 0, `"request_id":"r-1"`},
		{viewer, c2, `{"action": "query", "target": {"features": ["pairs"]}}`, 200, 200, `"deny":["x-picket","ipv4_net","ipv6_net"]`},
		{viewer, c2, `{"action": "query", "target": {"features": []}}`, 200, 200, `"status":200`},
		{viewer, c2, `{"action": "query", "target": {"features": ["moon"]}}`, 400, 400, "none of versions"},
		{viewer, c2, `{"action": "query", "target": {"features": ["rate_limit"]}}`, 501, 501, "no rate limit"},
		{viewer, c2, contain, 403, 403, "needs the role analyst"},
		{"", c2, contain, 401, 0, "sign in"},
		{"pkt_stolen", c2, contain, 401, 0, "sign in"},
		{analyst, "text/plain", contain, 400, 400, "Content-Type"},
		{analyst, c2, `{"action": "contain"`, 400, 400, "no command of OpenC2"},
		{analyst, c2, `{"action": "contain", "target": {"a": 1, "b": 2}, "command_id": "x"}`, 400, 400, "one target"},
		{analyst, c2, `{"action": "contain", "target": {"file": {}}, "sudo": true}`, 400, 400, "unknown field"},
		{analyst, c2, strings.Replace(contain, `, "command_id": "c-1"`, "", 1), 400, 400, "give it a command_id"},
		{analyst, c2, strings.Replace(contain, `"duration"`, `"start_time": 1, "duration"`, 1), 501, 501, "start_time"},
		{analyst, c2, strings.Replace(contain, `"duration"`, `"response_requested": "fax", "duration"`, 1), 400, 400, "response_requested"},
		{analyst, c2, `{"action": "stop", "target": {"x-picket": {"entity": "process"}}, "actuator": {"slpf": {}}, "command_id": "y"}`, 501, 501, "x-picket"},
		{analyst, c2, strings.Repeat(" ", 70<<10), 400, 400, "at most"},
	} {
		w := s.command(x.token, x.kind, x.body)
		var out struct {
			Status int `json:"status"`
		}
		_ = json.Unmarshal(w.Body.Bytes(), &out)
		if w.Code != x.status || x.code != 0 && out.Status != x.code || !strings.Contains(w.Body.String(), x.says) {
			t.Errorf("%.80s: %d %s", x.body, w.Code, w.Body)
		}
	}
	if got := s.engine.calls[0]; got != `order c-1 {"action":"contain","args":{"duration":60000,"x-picket":{"act":"isolate"}},"target":{"x-picket":{"entity":"workload"}}} on "i1" by token:soar` {
		t.Error(got)
	}
	if w := s.command(analyst, c2, strings.Replace(contain, `"duration"`, `"response_requested": "none", "duration"`, 1)); w.Code != 204 || w.Body.Len() != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	s.engine.state = respond.Waiting
	if w := s.command(analyst, c2, contain); w.Code != 200 || !strings.Contains(w.Body.String(), `"status":102`) || !strings.Contains(w.Body.String(), "another person") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for err, code := range map[error]int{respond.ErrUnsupported: 501, respond.ErrInvalid: 400, respond.ErrNotFound: 400, errors.New("/var/lib/secret"): 500} {
		s.engine.err = err
		if w := s.command(analyst, c2, contain); w.Code != code || strings.Contains(w.Body.String(), "/var/lib") {
			t.Errorf("%v: %d %s", err, w.Code, w.Body)
		}
	}
	s.now = s.now.Add(2 * time.Hour)
	if w := s.command(analyst, c2, contain); w.Code != 401 {
		t.Errorf("an expired token was taken: %d", w.Code)
	}
	list, err := s.fake.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range list {
		if err := s.fake.RemoveToken(t.Context(), k.ID); err != nil {
			t.Fatal(err)
		}
	}
	if w := s.command(viewer, c2, `{"action": "query", "target": {"features": []}}`); w.Code != 401 {
		t.Errorf("a token that was taken back is taken: %d", w.Code)
	}
}

// signed is a request of a hook, signed with a key.
func (s *soar) signed(hook, key, id string, at time.Time, body string) *http.Request {
	r := httptest.NewRequest("POST", "http://localhost/api/v1/hooks/"+hook, strings.NewReader(body))
	stamp := fmt.Sprint(at.Unix())
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(id + "." + stamp + "." + body))
	r.Header.Set("X-Picket-Id", id)
	r.Header.Set("X-Picket-Timestamp", stamp)
	r.Header.Set("X-Picket-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	return r
}

func TestHooks(t *testing.T) {
	s := newSOAR(t)
	const start = `{"do": "start", "playbook": "contain", "incident": "i1", "reason": "why"}`
	forged := s.signed("soar", "key1", "f", s.now, start)
	forged.Body = httptest.NewRequest("POST", "/", strings.NewReader(`{"do": "approve", "run": "r", "hash": "h"}`)).Body
	bare := httptest.NewRequest("POST", "http://localhost/api/v1/hooks/soar", strings.NewReader(start))
	first := func() *http.Request { return s.signed("soar", "key1", "a1", s.now, start) }
	for _, x := range []struct {
		what string
		r    *http.Request
		code int
	}{
		{"a first one", first(), 200},
		{"the same again", first(), 401},
		{"the same, signed earlier", s.signed("soar", "key1", "a1", s.now.Add(-time.Second), start), 401},
		{"the same, signed anew, by who had no answer", s.signed("soar", "key1", "a1", s.now.Add(time.Second), start), 200},
		{"another's key", s.signed("soar", "key2", "b", s.now, start), 401},
		{"another body", forged, 401},
		{"no signature", bare, 401},
		{"too old", s.signed("soar", "key1", "c", s.now.Add(-6*time.Minute), start), 401},
		{"of the future", s.signed("soar", "key1", "d", s.now.Add(6*time.Minute), start), 401},
		{"of before the server's start", s.signed("soar", "key1", "e", s.now.Add(-2*time.Minute), start), 401},
		{"an unknown hook, by the empty key", s.signed("nobody", "", "g", s.now, start), 401},
		{"a hook whose secret is empty", s.signed("empty", "", "g", s.now, start), 401},
		{"a hook whose secret is gone", s.signed("gone", "x", "g", s.now, start), 503},
		{"an id that is none", s.signed("soar", "key1", "", s.now, start), 401},
		{"approve", s.signed("soar", "key1", "h", s.now, `{"do": "approve", "run": "r1", "hash": "h1", "reason": "seen"}`), 200},
		{"undo", s.signed("soar", "key1", "i", s.now, `{"do": "undo", "run": "r1"}`), 200},
		{"follow", s.signed("eye", "key2", "j", s.now, `{"do": "follow", "run": "r1"}`), 200},
		{"start with a role that only looks", s.signed("eye", "key2", "k", s.now, start), 403},
		{"nonsense", s.signed("soar", "key1", "l", s.now, `{"do": "dance"}`), 400},
		{"no JSON", s.signed("soar", "key1", "m", s.now, `{`), 400},
		{"too much", s.signed("soar", "key1", "n", s.now, strings.Repeat(" ", 70<<10)), 413},
	} {
		if w := s.send(x.r); w.Code != x.code || strings.Contains(w.Body.String(), "/secret/path") {
			t.Errorf("%s: %d %s", x.what, w.Code, w.Body)
		}
	}
	want := "request contain i1 by hook:soar: why|request contain i1 by hook:soar: why|approve r1 by hook:soar: h1: seen|undo r1 by hook:soar|get r1"
	if got := strings.Join(s.engine.calls, "|"); got != want {
		t.Errorf("%s", got)
	}
	for _, e := range s.fake.Audited() {
		if e.Who != "hook:soar" && strings.HasPrefix(e.What, "run.") {
			t.Errorf("%+v", e)
		}
	}
}
