package novel

import (
	"fmt"
	"testing"
	"time"

	"picket/event"
)

var start = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func call(agent, tool string) event.Request {
	return event.Request{Agent: agent, Operation: "execute_tool", Tool: tool}
}

func see(w *Watch, at time.Duration, r event.Request) event.Request {
	e := &event.Event{Kind: event.ServiceRequest, Time: start.Add(at), Request: &r}
	w.See(e)
	return r
}

func TestAToolIsNewOnceAnAgentIsKnown(t *testing.T) {
	w := New(nil)
	for i := range settleCalls {
		if r := see(w, time.Duration(i)*time.Minute, call("coder", "search")); r.Unusual != "" {
			t.Fatalf("while it is learned: %q", r.Unusual)
		}
	}
	if r := see(w, time.Hour, call("coder", "read")); r.Unusual != "" {
		t.Errorf("within the first day: %q", r.Unusual)
	}
	b, err := w.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if w = New(nil); w.Restore(b) != nil {
		t.Fatal(w.Restore(b))
	}
	for what, c := range map[string]struct{ agent, tool, want string }{
		"known": {"coder", "read", ""}, "never called": {"coder", "shell", "new;"}, "of another agent": {"writer", "shell", ""},
	} {
		if r := see(w, 25*time.Hour, call(c.agent, c.tool)); r.Unusual != c.want {
			t.Errorf("%s: %q", what, r.Unusual)
		}
	}
	if r := see(w, 26*time.Hour, call("coder", "shell")); r.Unusual != "" {
		t.Errorf("the second time: %q", r.Unusual)
	}
}

func TestToolsThatNobodyListed(t *testing.T) {
	w := New(map[string][]string{"coder": {"search"}, "*": {}})
	for tool, want := range map[string]string{"search": "", "bash": "unlisted;"} {
		if r := see(w, 0, call("coder", tool)); r.Unusual != want {
			t.Errorf("%s: %q", tool, r.Unusual)
		}
	}
	if r := see(w, 0, call("writer", "search")); r.Unusual != "unlisted;" {
		t.Errorf("another agent: %q", r.Unusual)
	}
	if r := see(New(nil), 0, call("coder", "bash")); r.Unusual != "" {
		t.Errorf("without a list: %q", r.Unusual)
	}
}

func TestADescriptionThatChanged(t *testing.T) {
	w := New(nil)
	offer := func(version, tools string) string {
		return see(w, 0, event.Request{Agent: "coder", AgentVersion: version, Operation: "chat", Tools: tools}).Changed
	}
	for range approved {
		if got := offer("1", "search=aa;mail=bb;"); got != "" {
			t.Fatalf("the same: %q", got)
		}
	}
	if got := offer("1", "search=aa;mail=cc;"); got != "mail;" {
		t.Errorf("another description: %q", got)
	}
	if got := offer("1", "search=aa;mail=bb;"); got != "" {
		t.Errorf("back before the other one was settled: %q", got)
	}
	if got := offer("2", "search=dd;mail=ee;"); got != "" {
		t.Errorf("another version of the agent: %q", got)
	}
}

func TestWhoNeverAskedForGPUs(t *testing.T) {
	w := New(nil)
	ask := func(at time.Duration, user, namespace string, gpus, status int64) string {
		e := &event.Event{Kind: event.KubernetesAudit, Time: start.Add(at), Kubernetes: &event.Kubernetes{
			Verb: "create", User: user, Namespace: namespace, GPUs: event.Measured(gpus), Status: event.Measured(status),
		}}
		w.See(e)
		return e.Kubernetes.Unusual
	}
	for _, c := range []struct {
		what, user, namespace string
		at                    time.Duration
		gpus, status          int64
		want                  string
	}{
		{"the first day", "anna", "ml", 0, 8, 201, ""},
		{"known", "anna", "ml", 25 * time.Hour, 8, 201, ""},
		{"without a GPU", "bob", "web", 25 * time.Hour, 0, 201, ""},
		{"refused", "bob", "web", 25 * time.Hour, 1, 403, ""},
		{"new", "bob", "web", 25 * time.Hour, 1, 201, "gpu-user;gpu-namespace;"},
		{"again", "bob", "web", 26 * time.Hour, 1, 201, ""},
		{"a controller", "system:serviceaccount:kube-system:job-controller", "dev", 26 * time.Hour, 1, 201, "gpu-namespace;"},
	} {
		if got := ask(c.at, c.user, c.namespace, c.gpus, c.status); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

func TestWhoIsKnownKeepsHisPlace(t *testing.T) {
	w := New(nil)
	for range settleCalls {
		see(w, 0, call("coder", "search"))
	}
	for i := range 3 * maxAgents {
		see(w, time.Hour, call(fmt.Sprint(i), "x"))
	}
	for i := range 3 * maxTools {
		see(w, time.Hour, call("coder", fmt.Sprint(i)))
	}
	if len(w.agents) != maxAgents || w.Unlearned() == 0 {
		t.Errorf("%d agents, %d not learned", len(w.agents), w.Unlearned())
	}
	if r := see(w, 25*time.Hour, call("coder", "shell")); r.Unusual != "new;" {
		t.Errorf("a tool past what is kept: %q", r.Unusual)
	}
	see(w, forget+26*time.Hour, call("late", "x"))
	if len(w.agents) > 2 {
		t.Errorf("%d agents, all but one unseen for long", len(w.agents))
	}
}

func FuzzRestore(f *testing.F) {
	f.Add([]byte(`{"agents":{"1":{"things":{"2":null}}},"askers":null}`))
	f.Fuzz(func(_ *testing.T, b []byte) {
		w := New(nil)
		_ = w.Restore(b)
		see(w, 0, call("coder", "x"))
	})
}
