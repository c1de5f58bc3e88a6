package action

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestRevokeContract(t *testing.T) {
	tokens, tries := map[string]bool{"acc-1": true, "k:2": true, "lost": true}, 0
	l := listen(t, func(_ int, s said) (int, string) {
		tries++
		if s.Header.Get("X-Vault-Token") != "hunter2" && s.Header.Get("Authorization") != "Bearer hunter2" {
			return 403, ""
		}
		id := strings.TrimPrefix(s.Path, "/keys/")
		if s.Path == "/v1/auth/token/revoke-accessor" {
			body := s.Body.(map[string]any)
			if id, _ = body["accessor"].(string); len(body) != 1 {
				return 400, ""
			}
		}
		if tries == 1 {
			return 503, ""
		}
		if !tokens[id] {
			return 404, ""
		}
		if s.Method != "GET" {
			delete(tokens, id)
		}
		if id == "lost" {
			return 0, ""
		}
		return 204, ""
	})
	a := must(NewRevoke(RevokeOptions{
		Loopback: true, Env: func(string) (string, bool) { return "hunter2", true },
		Issuers: []Issuer{
			{Name: "vault", Method: "POST", URL: l.URL + "/v1/auth/token/revoke-accessor", Body: `{"accessor": "{id}"}`, Header: "X-Vault-Token", Secret: "env:KEY"},
			{Name: "gateway", URL: l.URL + "/keys/{id}", Look: l.URL + "/keys/{id}", Secret: "env:KEY"},
		},
	}))(t).(*revoke)
	a.w.pause = time.Millisecond
	for _, c := range []struct {
		issuer, id string
		state      State
		holds      string
	}{
		{"vault", "acc-1", Done, "cannot be asked"},
		{"gateway", "k:2", Done, "true"},
		{"gateway", "k:2", Gone, "true"},
		{"gateway", "k:3", Gone, "true"},
		{"gateway", "lost", Done, "true"},
	} {
		r := &Request{ID: "r1", Kind: RevokeToken, Params: map[string]string{"issuer": c.issuer, "id": c.id}}
		if res := must(a.Do(t.Context(), r))(t); res.State != c.state || strings.Contains(res.Detail, "hunter2") {
			t.Errorf("%s %s: %+v", c.issuer, c.id, res)
		}
		holds, _, err := a.Verify(t.Context(), r)
		if s := fmt.Sprint(holds, err); !strings.Contains(s, c.holds) {
			t.Errorf("%s %s: %s", c.issuer, c.id, s)
		}
	}
	if len(tokens) != 0 {
		t.Errorf("left: %v", tokens)
	}
	for _, id := range []string{"", "../x", "a b", "eyJhbGciOi.eyJzdWIi.c2ln", "hvs.CAESI", "sk-proj-1", strings.Repeat("x", 200)} {
		r := &Request{Params: map[string]string{"issuer": "gateway", "id": id}}
		if _, err := a.Plan(t.Context(), r); err == nil || len(id) > 3 && strings.Contains(err.Error(), id) && !strings.Contains(id, "/") && !strings.Contains(id, " ") {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, s := range []Issuer{
		{Name: "a", URL: "https://h/keys", Secret: "env:KEY"},
		{Name: "a", URL: "https://h/keys/{id}", Secret: "hunter2"},
		{Name: "a", URL: "https://h/keys", Body: `{"id": {id}}`, Secret: "env:KEY"},
		{URL: "https://h/keys/{id}", Secret: "env:KEY"},
		{Name: "a", Secret: "env:KEY", Body: `"{id}"`},
	} {
		if _, err := NewRevoke(RevokeOptions{Issuers: []Issuer{s}}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: %v", s, err)
		}
	}
}
