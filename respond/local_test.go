package respond

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/playbooks"
	"picket/respond/action"
)

func TestWhatAnAgentRunsByItself(t *testing.T) {
	object := func(content string) command { return command{"openc2-http", "POST /x HTTP/1.1", content} }
	for _, c := range []struct {
		name        string
		is          command
		destructive bool
		says        string // "": it is run
	}{
		{"freeze", openc2("contain", "workload", ""), false, ""},
		{"isolate", openc2("deny", "container", `"x-picket": {"act": "isolate"}`), false, ""},
		{"evidence", openc2("copy", "lineage", ""), false, ""},
		{"a file", object(`{"action": "contain", "target": {"file": {"path": "/tmp/x"}}}`), false, ""},
		{"taken back", openc2("restore", "workload", ""), false, ""},
		{"kill", openc2("stop", "process", ""), false, "kill cannot be taken back: say destructive: true"},
		{"a GPU", object(`{"action": "stop", "target": {"x-picket": {"object": {"of": "host", "kind": "gpu", "name": "GPU-1"}}}, "args": {"x-picket": {"act": "reset-gpu"}}}`), true, "reset-gpu is approved by a person each time"},
		{"kill, and meant", openc2("stop", "process", ""), true, ""},
		{"a person", command{"manual", "Look at it.", ""}, false, "a person does it"},
		{"a request", command{"http-api", "POST /x HTTP/1.1", ""}, true, "only the server sends"},
		{"a command of a shell", command{"bash", "reboot", ""}, true, "a command of type bash is refused: agents run as root, and run no commands of playbooks"},
		{"people are told", openc2("create", "incident", `"x-picket": {"act": "notify", "channel": "oncall"}`), false, "notify is done by the server"},
		{"a pod", openc2("contain", "pod", `"x-picket": {"act": "isolate-pod"}`), false, "isolate-pod is done by the server"},
		{"of a pod", openc2("contain", "pod", ""), false, "pod is not a thing of the agent's own host"},
		{"of a cluster", object(`{"action": "contain", "target": {"x-picket": {"object": {"of": "kubernetes", "kind": "node", "name": "n"}}}}`), false, "a thing of kubernetes is acted on by the server"},
		{"for too long", openc2("contain", "workload", `"duration": 700000000`), false, "at most 604800000"},
		{"no such act", openc2("contain", "workload", `"x-picket": {"act": "melt"}`), false, `does not mean "melt"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			lib, err := ReadLibrary(fstest.MapFS{"test.json": &fstest.MapFile{Data: book(t, "http://192.0.2.1", nil, openc2("copy", "workload", ""), c.is)}})
			if err != nil {
				t.Fatal(err)
			}
			err = lib.CheckLocal("test", c.destructive)
			if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "/workflow/action--")) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
	lib, err := ReadLibrary(playbooks.FS)
	if err != nil {
		t.Fatal(err)
	}
	for word, says := range map[string]string{
		"hold-workload": "", "isolate-workload": "", "hold-training": "",
		"contain-miner": "", "watch-weights": "", "no-such-playbook": "not found",
	} {
		err := lib.CheckLocal(word, false)
		if strings.HasPrefix(word, "hold") || strings.HasPrefix(word, "isolate") {
			if err != nil {
				t.Error(err)
			}
		} else if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", word, err)
		}
	}
	if err := lib.Keep([]string{"hold-workload"}); err != nil || len(lib.Books()) != 1 || lib.Books()[0].Word != "hold-workload" {
		t.Errorf("%v %v", lib.Books(), err)
	}
}

// Forget makes memory a journal of an agent.
func (m *memory) Forget(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.runs, id)
	delete(m.records, id)
	return nil
}

// An agent acts by itself, its server takes the run over, once, and takes it back in its time; what a
// rule of the server's wants as well it only suggests meanwhile.
func TestARunOfAnAgentIsTakenOver(t *testing.T) {
	data := book(t, "http://192.0.2.1", nil, openc2("contain", "container", `"duration": 60000`))
	agent := newRig(t, data, func(o *Options) {
		o.Agent, o.Config = "gpu-1", Config{Rules: []Rule{{Name: "weights", Playbook: "test", Mode: Auto, Threats: []string{"steal-weights"}}}}
	})
	inc := sample()
	inc.ID = "finding1"
	if err := agent.Respond(ctx, inc, []string{"open-service"}); err != nil {
		t.Fatal(err)
	}
	if h, err := agent.Handover(ctx); h != nil || err != nil {
		t.Fatalf("a threat of another name was answered: %v %v", h, err)
	}
	if err := agent.Respond(ctx, inc, []string{"steal-weights"}); err != nil {
		t.Fatal(err)
	}
	var h *Handover
	for range 5000 {
		var err error
		if h, err = agent.Handover(ctx); err != nil {
			t.Fatal(err)
		}
		if h != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if h == nil || h.Kept.Incident != "finding1" {
		t.Fatalf("%+v", h)
	}

	server := newRig(t, data, func(o *Options) {
		o.Config = Config{Rules: []Rule{{Name: "weights", Playbook: "test", Mode: Auto}}}
		o.Executor = held{agent.acts, "agent:gpu-1"}
	})
	for _, bad := range []struct {
		host string
		says string
	}{{"gpu-2", `an act is for host "gpu-1"`}} {
		if _, err := server.Adopt(ctx, bad.host, "incident1", *h); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%v", err)
		}
	}
	open := *h
	open.Kept.Doc = []byte(strings.Replace(string(h.Kept.Doc), `"state":"succeeded"`, `"state":"running"`, 1))
	if _, err := server.Adopt(ctx, "gpu-1", "incident1", open); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "not over") {
		t.Errorf("%v", err)
	}
	open.Kept.Doc = []byte("{")
	if _, err := server.Adopt(ctx, "gpu-1", "incident1", open); !errors.Is(err, ErrInvalid) {
		t.Errorf("%v", err)
	}
	run, err := server.Adopt(ctx, "gpu-1", "incident1", *h)
	if err != nil || run.Incident != "incident1" || run.By != "agent:gpu-1" || !strings.Contains(run.Reason, "rule weights: done by the agent while the server was away") || run.State != Succeeded || len(run.Holds) != 1 {
		t.Fatalf("%+v %v", run, err)
	}
	again, err := server.Adopt(ctx, "gpu-1", "incident1", *h)
	if list, _ := server.Runs(ctx, Query{}); err != nil || again.ID != run.ID || len(list) != 1 {
		t.Errorf("%d runs, %v", len(list), err)
	}
	if err := agent.Release(ctx, h.Kept.ID); err != nil {
		t.Fatal(err)
	}
	if h, err := agent.Handover(ctx); h != nil || err != nil {
		t.Errorf("%v %v", h, err)
	}
	records, err := server.Records(ctx, run.ID)
	if err != nil || records[len(records)-1].What != "adopt" || records[0].What != "open" {
		t.Errorf("%+v %v", records, err)
	}
	for i, r := range records {
		if r.Seq != int64(i+1) {
			t.Errorf("record %d has the number %d", i, r.Seq)
		}
	}

	if err := server.Respond(ctx, sample(), nil); err != nil {
		t.Fatal(err)
	}
	list, err := server.Runs(ctx, Query{})
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v %v", list, err)
	}
	for _, r := range list {
		if r.By == "policy:weights" && (r.State != Suggested || r.Reason != "agent:gpu-1 did it already, while the server was away") {
			t.Errorf("%s %q", r.State, r.Reason)
		}
	}
	server.clock.add(2 * time.Minute)
	server.setDue(run.ID, at)
	server.until(t, run.ID, "taken back", func(r Run) bool { return len(r.Holds) == 0 })
	if diff := cmp.Diff([]string{"freeze container c1 on gpu-1", "undo freeze"}, agent.acts.list()); diff != "" {
		t.Error(diff)
	}
}

// held is an executor on which somebody holds all of it already.
type held struct {
	*recorder
	by string
}

func (h held) Plan(ctx context.Context, r *action.Request) (*action.Plan, error) {
	p, err := h.recorder.Plan(ctx, r)
	if err == nil {
		p.Held = h.by
	}
	return p, err
}
