package api_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/api"
	"picket/api/client"
	"picket/respond/action"
)

func TestActsGoToTheHostAsWhoAsks(t *testing.T) {
	s, fake := newFake(t, api.Options{})
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	tokens := rolesOf(t, s)
	as := func(r api.Role) *client.Client {
		c, err := client.New(srv.URL, tokens[r])
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	req := func(k action.Kind, host string) action.Command {
		return action.Command{Op: action.OpDo, Request: &action.Request{
			ID: "a1", Kind: k, By: "somebody else", Run: "r", Fence: 9, TTL: time.Minute, Target: action.Target{Host: host, Cgroup: "/box"},
		}}
	}
	if a, err := as(api.Analyst).Act(t.Context(), "gpu-01", req(action.Freeze, "gpu-01")); err != nil || a.Result.State != action.Done {
		t.Errorf("%+v %v", a, err)
	}
	got := fake.Asked()
	if len(got) != 1 || got[0].Request.By != "token:analyst" || got[0].Request.Run != "" || got[0].Request.Fence != 0 || got[0].Request.TTL != time.Minute {
		t.Fatalf("asked %+v", got)
	}
	var refused *client.Error
	if _, err := as(api.Analyst).Act(t.Context(), "gpu-01", req(action.Kill, "gpu-01")); !errors.As(err, &refused) || refused.Status != 403 {
		t.Errorf("an analyst kills: %v", err)
	}
	if _, err := as(api.Admin).Act(t.Context(), "gpu-01", req(action.Kill, "gpu-01")); err != nil {
		t.Error(err)
	}
	if _, err := as(api.Admin).Act(t.Context(), "gpu-02", req(action.Kill, "gpu-02")); !errors.As(err, &refused) || refused.Status != 503 {
		t.Errorf("an agent that is away: %v", err)
	}
	for _, c := range []action.Command{
		{Op: action.OpUndo, Request: &action.Request{ID: "a1", Reason: "over"}},
		{Op: action.OpExtend, ID: "a1", TTL: time.Hour},
		{Op: action.OpAnswer, ID: "a1", Holds: true},
		{Op: action.OpStop, Reason: "enough"},
		{Op: action.OpPlan, Request: req(action.Cut, "gpu-01").Request},
		{Op: action.OpShow, ID: "a1"},
	} {
		if _, err := as(api.Analyst).Act(t.Context(), "gpu-01", c); err != nil {
			t.Errorf("%s: %v", c.Op, err)
		}
	}
	if _, err := as(api.Analyst).Act(t.Context(), "gpu-01", action.Command{Op: action.OpResume}); !errors.As(err, &refused) || refused.Status != 403 {
		t.Errorf("an analyst arms kills again: %v", err)
	}
	var audited []string
	for _, e := range fake.Audited() {
		if strings.HasPrefix(e.What, "action.") {
			audited = append(audited, e.Who+" "+e.What)
		}
	}
	want := []string{
		"token:analyst action.freeze", "token:analyst action.kill", "token:admin action.kill", "token:admin action.kill",
		"token:analyst action.undo", "token:analyst action.extend", "token:analyst action.answer", "token:analyst action.stop",
	}
	if !slices.Equal(audited, want) {
		t.Errorf("audited %q, want %q", audited, want)
	}
	list, err := as(api.Viewer).Actions(t.Context(), "", 10)
	if err != nil || len(list.Items) != 2 || !slices.ContainsFunc(list.Items, func(r api.HostRecord) bool { return r.Host == "gpu-01" }) ||
		!slices.ContainsFunc(list.Items, func(r api.HostRecord) bool { return r.Host == api.ServerHost }) {
		t.Errorf("%+v %v", list, err)
	}
	if _, err := as(api.Viewer).Actions(t.Context(), "gpu-02", 10); !errors.As(err, &refused) || refused.Status != 503 {
		t.Errorf("%v", err)
	}
}

// Acts on Kubernetes name no host: the server does them. What ends pods needs an admin, what can be taken
// back does not, and planning changes nothing.
func TestActsOfTheServerNeedNoHost(t *testing.T) {
	s, fake := newFake(t, api.Options{})
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	tokens := rolesOf(t, s)
	const node, pod = `{"object": {"of": "kubernetes", "kind": "node", "name": "gpu-7"}}`, `{"object": {"of": "kubernetes", "kind": "pod", "namespace": "ml", "name": "serve-0"}}`
	for name, c := range map[string]struct {
		role       api.Role
		path, body string
		want       int
		op         action.Op
	}{
		"a plan":             {api.Analyst, "/api/v1/actions/plan", `{"id": "x", "kind": "drain", "target": ` + node + `}`, 200, action.OpPlan},
		"what is taken back": {api.Analyst, "/api/v1/actions", `{"id": "x", "kind": "cordon", "target": ` + node + `}`, 200, action.OpDo},
		"what ends pods":     {api.Analyst, "/api/v1/actions", `{"id": "x", "kind": "evict", "target": ` + pod + `}`, 403, ""},
		"by an admin":        {api.Admin, "/api/v1/actions", `{"id": "x", "kind": "evict", "target": ` + pod + `}`, 200, action.OpDo},
		"by who only looks":  {api.Viewer, "/api/v1/actions", `{"id": "x", "kind": "cordon", "target": ` + node + `}`, 403, ""},
		"of a host":          {api.Admin, "/api/v1/actions", `{"id": "x", "kind": "freeze", "target": {"process": {"pid": 4711}}}`, 400, ""},
		"of Slurm":           {api.Admin, "/api/v1/actions", `{"id": "x", "kind": "hold-job", "target": {"host": "gpu-01", "object": {"of": "slurm", "kind": "job", "name": "4711"}}}`, 200, action.OpDo},
	} {
		before := len(fake.Asked())
		req, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+tokens[c.role])
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		asked := fake.Asked()[before:]
		if resp.StatusCode != c.want || len(asked) != map[bool]int{true: 0, false: 1}[c.op == ""] || len(asked) == 1 && asked[0].Op != c.op {
			t.Errorf("%s: %d, asked %+v", name, resp.StatusCode, asked)
		}
	}
}
