package respond

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"picket/event"
)

// stepID is an id of a step or a playbook of a test.
func stepID(kind string, n int) string {
	return fmt.Sprintf("%s--00000000-0000-4000-8000-%012d", kind, n)
}

// flowBook is the n-th playbook of a test, with steps of its own.
func flowBook(n int, flow, vars map[string]any) []byte {
	if vars == nil {
		vars = map[string]any{}
	}
	data, _ := json.Marshal(map[string]any{ // of texts and numbers
		"type": "playbook", "spec_version": "cacao-2.0", "id": stepID("playbook", n), "name": fmt.Sprint("book ", n), "created_by": stepID("identity", 1),
		"created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "workflow_start": stepID("start", 1), "workflow": flow,
		"playbook_variables": vars,
		"agent_definitions":  map[string]any{stepID("security-category", 3): map[string]any{"type": "security-category", "name": "Picket", "category": []string{"endpoint"}}},
	})
	return data
}

// does is a step with one command for Picket.
func does(next string, c command) map[string]any {
	return map[string]any{"type": "action", "agent": stepID("security-category", 3), "on_completion": next, "commands": []any{map[string]any{
		"type": c.kind, "command": c.text, "content": c.content,
	}}}
}

// calls is a step that calls the n-th playbook.
func calls(n int, next string) map[string]any {
	return map[string]any{"type": "playbook-action", "playbook_id": stepID("playbook", n), "on_completion": next}
}

// starts adds the first and the last step of a flow.
func starts(first string, flow map[string]any) map[string]any {
	flow[stepID("start", 1)], flow[stepID("end", 1)] = map[string]any{"type": "start", "on_completion": first}, map[string]any{"type": "end"}
	return flow
}

// A loop without an end ends: the run fails, says why, and what it did holds until it is taken back.
func TestALoopWithoutEndEnds(t *testing.T) {
	r := newRig(t, flowBook(1, starts(stepID("while-condition", 1), map[string]any{
		stepID("while-condition", 1): map[string]any{"type": "while-condition", "condition": "__n__:value = 1", "on_true": stepID("action", 1), "on_completion": stepID("end", 1)},
		stepID("action", 1):          does(stepID("end", 2), openc2("copy", "container", "")),
		stepID("end", 2):             map[string]any{"type": "end"},
	}), map[string]any{"__n__": map[string]any{"type": "integer", "value": "1"}}), nil)
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	run = r.ends(t, run.ID, Failed)
	if n := len(r.acts.list()); n != 100 || !strings.Contains(run.Failure, "100") {
		t.Errorf("after %d rounds it failed by %q", n, run.Failure)
	}
}

// Values that nobody gave make a plan of acts that are not known, and a condition an error: neither is
// empty, false, or done.
func TestAVariableWithoutValue(t *testing.T) {
	r := newRig(t, flowBook(1, starts(stepID("if-condition", 1), map[string]any{
		stepID("if-condition", 1): map[string]any{"type": "if-condition", "condition": "__n__:value = 1", "on_true": stepID("action", 1), "on_completion": stepID("end", 1)},
		stepID("action", 1):       does(stepID("end", 2), openc2("deny", "container", `"x-picket": {"act": "cut", "port": "__n__:value"}`)),
		stepID("end", 2):          map[string]any{"type": "end"},
	}), map[string]any{"__n__": map[string]any{"type": "integer"}}), nil)
	p, err := r.Plan(ctx, "test", "incident1", nil, nil)
	if err != nil || len(p.Acts) != 1 || !strings.Contains(p.Acts[0].Open, "__n__") || p.Class != "destructive" {
		t.Fatalf("%+v %v", p, err)
	}
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil || run.State != Waiting {
		t.Fatalf("%+v %v", run, err)
	}
	if _, err := r.Approve(ctx, run.ID, "bob", run.Plan.Hash, ""); err != nil {
		t.Fatal(err)
	}
	if run = r.ends(t, run.ID, Failed); !strings.Contains(run.Failure, "__n__") || len(r.acts.list()) > 0 {
		t.Errorf("failed by %q, did %q", run.Failure, r.acts.list())
	}
}

// Playbooks that call one another in a circle, or each the next one twice, are refused with the place.
func TestPlaybooksThatCallOneAnother(t *testing.T) {
	in := fstest.MapFS{}
	put := func(word string, n int, first string, flow map[string]any) {
		in[word+".json"] = &fstest.MapFile{Data: flowBook(n, starts(first, flow), nil)}
	}
	a1, a2, end := stepID("playbook-action", 1), stepID("playbook-action", 2), stepID("end", 1)
	self := fstest.MapFS{"self.json": &fstest.MapFile{Data: flowBook(1, starts(a1, map[string]any{a1: calls(1, end)}), nil)}}
	if _, err := ReadLibrary(self); err == nil || !strings.Contains(err.Error(), "/workflow/"+a1+"/playbook_id: error: the playbook calls itself") {
		t.Error(err)
	}
	put("there", 2, a1, map[string]any{a1: calls(3, end)})
	put("back", 3, a1, map[string]any{a1: calls(2, end)})
	for n := 10; n < 50; n++ { // 2^40 calls
		put(fmt.Sprint("twice-", n), n, a1, map[string]any{a1: calls(n+1, a2), a2: calls(n+1, end)})
	}
	put("last", 50, stepID("action", 1), map[string]any{stepID("action", 1): does(end, openc2("copy", "container", ""))})
	lib, err := ReadLibrary(in)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("copy", "container", "")), func(o *Options) { o.Library = lib })
	for word, want := range map[string]string{"there": "64 deep", "twice-10": "more than"} {
		if p, err := r.Plan(ctx, word, "incident1", nil, nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "/workflow/playbook-action--") {
			t.Errorf("%s: %+v %.300v", word, p, err)
		}
	}
	if p, err := r.Plan(ctx, "twice-46", "incident1", nil, nil); err != nil || len(p.Acts) != 16 {
		t.Errorf("%+v %v", p, err)
	}
}

// An endpoint that answers without end, and one that does not answer, fail their step; neither keeps the
// run, nor what it answered beyond what a variable takes.
func TestEndpointsThatAreNoneToRelyOn(t *testing.T) {
	asked, over := make(chan struct{}, 1), make(chan struct{})
	desk := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/mute" {
			asked <- struct{}{}
			select {
			case <-q.Context().Done():
			case <-over:
			}
			return
		}
		for range 64 << 10 { // until nobody reads on
			if _, err := w.Write(make([]byte, 16<<10)); err != nil {
				return
			}
		}
	}))
	defer desk.Close()
	defer close(over)
	huge := newRig(t, book(t, desk.URL, []string{"__said__"}, command{"http-api", "GET /huge HTTP/1.1", ""}), nil)
	run, err := huge.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if run = huge.ends(t, run.ID, Failed); !strings.Contains(run.Failure, "more than 16384 bytes") {
		t.Errorf("failed by %.300q", run.Failure)
	}
	for _, k := range huge.journal.runs {
		if len(k.Doc) > 64<<10 {
			t.Errorf("the run takes %d bytes", len(k.Doc))
		}
	}
	var doc map[string]any
	if err := json.Unmarshal(book(t, desk.URL, nil, command{"http-api", "GET /mute HTTP/1.1", ""}), &doc); err != nil {
		t.Fatal(err)
	}
	doc["workflow"].(map[string]any)[stepID("action", 10)].(map[string]any)["timeout"] = 60_000
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	mute := newRig(t, data, nil)
	if run, err = mute.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"}); err != nil {
		t.Fatal(err)
	}
	<-asked
	mute.clock.add(2 * time.Minute)
	if _, err := mute.with(ctx, run.ID, func(l *live) error { l.tick(); return nil }); err != nil {
		t.Fatal(err)
	}
	if run = mute.ends(t, run.ID, Failed); !strings.Contains(run.Failure, "ACTION_TIMEOUT") {
		t.Errorf("failed by %q", run.Failure)
	}
}

// Commands that Picket does not run are asked about, and the plan says where they stand, why, and what is
// done without a person. An agent alone refuses them with the same words.
func TestCommandsThatPicketDoesNotRun(t *testing.T) {
	flow := starts(stepID("action", 1), map[string]any{stepID("action", 1): does(stepID("end", 1), command{"bash", "pkill -f xmrig", ""})})
	delete(flow[stepID("action", 1)].(map[string]any)["commands"].([]any)[0].(map[string]any), "content")
	r := newRig(t, flowBook(1, flow, nil), nil)
	p, err := r.Plan(ctx, "test", "incident1", nil, nil)
	if err != nil || len(p.Acts) != 1 || p.Acts[0].Kind != Manual || len(p.Warnings) != 1 {
		t.Fatalf("%+v %v", p, err)
	}
	if w, place := p.Warnings[0], "/workflow/"+stepID("action", 1)+"/commands/0: "; !strings.HasPrefix(w, place) || !strings.Contains(w, "agents are root") || !strings.Contains(w, "openc2-http") {
		t.Errorf("warned %q", w)
	}
	if text := p.Acts[0].Text; !strings.Contains(text, "Picket runs none") || !strings.Contains(text, "pkill -f xmrig") {
		t.Errorf("asked %q", text)
	}
	err = r.o.Library.CheckLocal("test", true)
	if err == nil || !strings.Contains(err.Error(), "/workflow/"+stepID("action", 1)+"/commands/0: a command of type bash is refused") || !strings.Contains(err.Error(), "openc2-http") {
		t.Error(err)
	}
}

// What nothing could ever bear is refused, with what there is.
func TestEntitiesThatThereAreNot(t *testing.T) {
	for pattern, ok := range map[string]bool{"workload:llama-*": true, "host:gpu-?": true, "namespace:prod": false, "label:app=x": false, "pod:*": false} {
		err := Asset{Entities: []string{pattern}, Tags: []string{"prod"}}.Check()
		if (err == nil) != ok || err != nil && (!strings.Contains(err.Error(), "labels and namespaces of Kubernetes are not known") || !strings.Contains(err.Error(), string(event.EntityWorkload))) {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}
