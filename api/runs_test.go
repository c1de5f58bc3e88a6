package api_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/api"
	"picket/api/apitest"
	"picket/respond"
)

// none is the part of an engine that the test does not use.
type none = api.Runs

// said is an engine that writes down what the API asks of it.
type said struct {
	none
	calls []string
	err   error
	state respond.State // of what is ordered
}

func (s *said) call(id, format string, args ...any) (respond.Run, error) {
	s.calls = append(s.calls, fmt.Sprintf(format, args...))
	return respond.Run{ID: id, State: respond.Waiting, Incident: "i1", Plan: &respond.Plan{Hash: "h1", Name: "contain"}}, s.err
}

func (s *said) Request(_ context.Context, q respond.Request) (respond.Run, error) {
	return s.call("new", "request %s %s by %s: %s", q.Playbook, q.Incident, q.By, q.Reason)
}

func (s *said) Approve(_ context.Context, id, by, hash, reason string) (respond.Run, error) {
	return s.call(id, "approve %s by %s: %s: %s", id, by, hash, reason)
}

func (s *said) Edit(_ context.Context, id, by, hash string, leave []string, reason string) (respond.Run, error) {
	return s.call(id, "edit %s by %s: %s without %v: %s", id, by, hash, leave, reason)
}

func (s *said) Reject(_ context.Context, id, by, reason string) (respond.Run, error) {
	return s.call(id, "reject %s by %s: %s", id, by, reason)
}

func (s *said) Answer(_ context.Context, id, by string, a respond.Answer) (respond.Run, error) {
	return s.call(id, "answer %s by %s: %t %s", id, by, a.Yes, a.Text)
}

func (s *said) Undo(_ context.Context, id, by string) (respond.Run, error) {
	return s.call(id, "undo %s by %s", id, by)
}

func (s *said) Extend(_ context.Context, id, by, act string, ttl time.Duration) (respond.Run, error) {
	return s.call(id, "extend %s of %s by %s for %s", act, id, by, ttl)
}

func (s *said) Stopped() string { return "" }

func (s *said) SetStopped(_ context.Context, by string, stop bool) error {
	_, err := s.call("", "stop %t by %s", stop, by)
	return err
}

// Each change reaches the engine with its run and who asked, and stands in the audit log.
func TestRunsAreChangedOnTheCallersBehalf(t *testing.T) {
	fake, engine := apitest.New(time.Now), &said{}
	deps := fake.Deps()
	deps.Runs = engine
	s, err := api.New(deps, api.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	token, _, err := s.NewToken(t.Context(), "ada", api.Analyst, 0, "test")
	if err != nil {
		t.Fatal(err)
	}
	send := func(method, path, body string) int {
		r := httptest.NewRequest(method, "http://localhost/api/v1"+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w.Code
	}
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/runs", `{"playbook": "contain", "incident": "i1", "reason": "why"}`},
		{"POST", "/runs/r1/approve", `{"hash": "h1", "reason": "seen"}`},
		{"POST", "/runs/r1/edit", `{"hash": "h1", "leave_out": ["a1"], "reason": "not that one"}`},
		{"POST", "/runs/r1/answer", `{"yes": true, "text": "seen"}`},
		{"POST", "/runs/r1/extend", `{"act": "a1", "ttl": 60000000000}`},
		{"POST", "/runs/r1/undo", ``},
		{"POST", "/runs/r1/reject", `{"reason": "no"}`},
		{"PUT", "/respond", `{"stop": true}`},
	} {
		if code := send(c.method, c.path, c.body); code != 200 {
			t.Errorf("%s %s: %d", c.method, c.path, code)
		}
	}
	want := []string{
		"request contain i1 by token:ada: why", "approve r1 by token:ada: h1: seen", "edit r1 by token:ada: h1 without [a1]: not that one", "answer r1 by token:ada: true seen",
		"extend a1 of r1 by token:ada for 1m0s", "undo r1 by token:ada",
		"reject r1 by token:ada: no", "stop true by token:ada",
	}
	if d := cmp.Diff(want, engine.calls); d != "" {
		t.Error(d)
	}
	var audited []string
	for _, e := range fake.Audited() {
		if strings.HasPrefix(e.What, "run.approve") {
			audited = append(audited, e.Who+" "+e.Object+" "+e.Detail)
		}
	}
	if d := cmp.Diff([]string{"token:ada r1 waiting: plan h1 of contain for incident i1"}, audited); d != "" {
		t.Error(d)
	}
	for err, code := range map[error]int{respond.ErrConflict: 409, respond.ErrInvalid: 400, respond.ErrNotFound: 404, respond.ErrFenced: 503} {
		if engine.err = err; send("POST", "/runs/r1/undo", ``) != code {
			t.Errorf("%v is not %d", err, code)
		}
	}
}
