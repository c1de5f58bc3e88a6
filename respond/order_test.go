package respond

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"picket/respond/action"
)

func commanded(id, by, command string) Order {
	return Order{ID: id, By: by, Incident: "incident1", Command: json.RawMessage(command)}
}

const (
	freezeIt = `{"action": "contain", "target": {"x-picket": {"entity": "container"}}, "args": {"duration": 60000}}`
	killIt   = `{"action": "stop", "target": {"x-picket": {"entity": "lineage"}}}`
)

// A command from outside is a run like any other: approved by another where it cannot be taken back,
// carried out once for its id, and taken back.
func TestACommandFromOutsideIsARun(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("stop", "process", "")), nil)
	run, err := r.Order(ctx, commanded("c1", "token:soar", freezeIt))
	if err != nil {
		t.Fatal(err)
	}
	run = r.ends(t, run.ID, Succeeded)
	if len(run.Holds) != 1 || run.By != "token:soar" {
		t.Errorf("%+v", run)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if again, err := r.Order(ctx, commanded("c1", "token:soar", freezeIt)); err != nil || again.ID != run.ID {
				t.Errorf("%+v %v", again, err)
			}
			if again, err := r.Order(ctx, commanded("c9", "token:soar", freezeIt)); err != nil || again.ID == run.ID {
				t.Errorf("%+v %v", again, err)
			}
		})
	}
	all.Wait()
	if got := strings.Join(r.acts.list(), ", "); strings.Count(got, "freeze") > 2 {
		t.Errorf("carried out more than once: %s", got)
	}
	if other, err := r.Order(ctx, commanded("c1", "token:other", freezeIt)); err != nil || other.ID == run.ID {
		t.Errorf("another's command of the same id is its own: %+v %v", other, err)
	}
	if _, err := r.Order(ctx, commanded("c1", "token:soar", killIt)); !errors.Is(err, ErrInvalid) {
		t.Errorf("an id was taken for another command: %v", err)
	}
	if _, err := r.Undo(ctx, run.ID, "ada"); err != nil {
		t.Error(err)
	}

	wait, err := r.Order(ctx, commanded("c2", "token:soar", killIt))
	if err != nil || wait.State != Waiting {
		t.Fatalf("%+v %v", wait, err)
	}
	if _, err := r.Approve(ctx, wait.ID, "token:soar", wait.Plan.Hash, ""); !errors.Is(err, ErrInvalid) {
		t.Errorf("who asked approved it: %v", err)
	}
	if _, err := r.Approve(ctx, wait.ID, "ada", wait.Plan.Hash, ""); err != nil {
		t.Fatal(err)
	}
	r.ends(t, wait.ID, Succeeded)

	for _, c := range []struct {
		command string
		is      error
	}{
		{`{"action": "detonate", "target": {"x-picket": {"entity": "process"}}}`, ErrUnsupported},
		{`{"action": "stop", "target": {"domain_name": "x"}}`, ErrUnsupported},
		{`{"action": "stop", "target": {"x-picket": {"entity": "planet"}}}`, ErrInvalid},
		{`{"action": "stop", "target": {"x-picket": {"entity": "__x__:value"}}}`, ErrInvalid},
		{`{"action": "contain", "target": {"x-picket": {"entity": "process"}}, "args": {"duration": -1}}`, ErrInvalid},
		{`no JSON`, ErrInvalid},
	} {
		if _, err := r.Order(ctx, commanded("bad", "token:soar", c.command)); !errors.Is(err, c.is) {
			t.Errorf("%s: %v", c.command, err)
		}
	}
	if _, err := r.Order(ctx, Order{ID: "x", By: "b", Incident: "none", Command: json.RawMessage(killIt)}); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	o := Order{ID: "on-host", By: "b", Host: "gpu-1", Command: json.RawMessage(`{"action": "contain", "target": {"file": {"path": "/models/bad.pt"}}}`)}
	if run, err := r.Order(ctx, o); err != nil || run.Plan.Acts[0].Kind != action.Quarantine || run.Plan.Acts[0].Target.Host != "gpu-1" {
		t.Errorf("%+v %v", run, err)
	}
}

// The same request of a hook is one run.
func TestARequestWithAnIDIsOneRun(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("contain", "lineage", "")), nil)
	q := Request{ID: "h1", Playbook: "test", Incident: "incident1", By: "hook:soar"}
	first, err := r.Request(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.Request(ctx, q); err != nil || again.ID != first.ID {
		t.Errorf("%+v %v", again, err)
	}
	q.ID = ""
	if other, err := r.Request(ctx, q); err != nil || other.ID == first.ID {
		t.Errorf("%+v %v", other, err)
	}
}

// Where a plan says that work is lost, what was set can be set back all the same.
func TestASuspendedJobIsTakenBack(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, command{"openc2-http", "POST /x HTTP/1.1", `{"action": "contain", "target": {"x-picket": {"object": {"of": "kubernetes", "kind": "job", "namespace": "ml", "name": "train"}}}, "args": {"x-picket": {"act": "suspend"}}}`}), func(o *Options) {
		o.Executor = worse1{o.Executor.(*recorder)}
	})
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil || run.State != Waiting || run.Plan.Class != action.Destructive {
		t.Fatalf("%+v %v", run, err)
	}
	if _, err := r.Approve(ctx, run.ID, "bob", run.Plan.Hash, ""); err != nil {
		t.Fatal(err)
	}
	if run = r.ends(t, run.ID, Succeeded); len(run.Holds) != 1 {
		t.Fatalf("nothing is owed: %+v", run)
	}
	if _, err := r.Undo(ctx, run.ID, "ada"); err != nil || !strings.Contains(strings.Join(r.acts.list(), ","), "undo suspend") {
		t.Errorf("%v %v", r.acts.list(), err)
	}
}

// worse1 is an executor by whose plans work is lost.
type worse1 struct{ *recorder }

func (w worse1) Plan(c2 context.Context, r *action.Request) (*action.Plan, error) {
	p, err := w.recorder.Plan(c2, r)
	p.Class = action.Destructive
	return p, err
}

// Commands of OpenC2 for others go over HTTP, to where the playbook says.
func TestACommandForAnotherConsumer(t *testing.T) {
	var got, kind string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		got, kind = q.Method+" "+q.URL.Path+" "+string(b), q.Header.Get("Content-Type")
	}))
	defer srv.Close()
	data := book(t, srv.URL, nil, command{"http-api", "POST /.well-known/openc2 HTTP/1.1", `{"action": "deny", "target": {"ipv4_net": "192.0.2.0/24"}}`})
	agents, flow, _ := strings.Cut(string(data), `"workflow":`)
	flow = strings.Replace(strings.Replace(flow, `"type":"http-api"`, `"type":"openc2-http"`, 1), `"application/json"`, `"application/openc2+json;version=1.0"`, 1)
	data = []byte(agents + `"workflow":` + flow)
	r := newRig(t, data, nil)
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Approve(ctx, run.ID, "bob", run.Plan.Hash, ""); err != nil {
		t.Fatal(err)
	}
	r.ends(t, run.ID, Succeeded)
	if got != `POST /.well-known/openc2 {"action": "deny", "target": {"ipv4_net": "192.0.2.0/24"}}` || kind != "application/openc2+json;version=1.0" {
		t.Errorf("%s as %s", got, kind)
	}
}

// Where playbooks must be signed, a command is no way around that.
func TestACommandWhereSignaturesAreRequired(t *testing.T) {
	for mode, taken := range map[SignatureMode]bool{SignaturesOff: true, SignaturesWarn: true, SignaturesRequire: false} {
		r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("stop", "process", "")), func(o *Options) { o.Config.Signatures.Mode = mode })
		run, err := r.Order(ctx, commanded("c1", "token:soar", freezeIt))
		if taken {
			if err != nil {
				t.Errorf("%s: %v", mode, err)
				continue
			}
			r.ends(t, run.ID, Succeeded)
			continue
		}
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "signed playbook") || len(r.acts.list()) > 0 {
			t.Errorf("%s: %+v %v; acts: %v", mode, run, err, r.acts.list())
		}
	}
}
