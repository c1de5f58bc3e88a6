package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"picket/event"
	"picket/node"
	"picket/respond"
	"picket/respond/action"
	"picket/store/state"
)

// report is what the engine says of a run that is over and holds nothing any more.
type report struct {
	ID, Incident string
	State        respond.State
	Failure      string
	Asked        []string // what persons were asked
	Acts         map[string]act
}

// act is what the run's journal says of an act.
type act struct {
	Kind    action.Kind
	Outcome action.State // "": none
	Undone  bool
}

type incidents struct{}

func (incidents) Incident(_ context.Context, id string) (event.Incident, error) {
	inc := event.Incident{ID: id, Status: event.IncidentOpen, Severity: event.High, Hosts: []string{"h"}}
	for i := range 2 {
		uid := fmt.Sprint(i)
		inc.Processes = append(inc.Processes, event.ProcessNode{UID: uid, PID: uint32(100 + i), Container: "c" + uid})
		inc.Findings = append(inc.Findings, event.FindingRef{Host: "h", Process: uid})
	}
	return inc, nil
}

// engine brings one run to its end, from wherever it stands. It answers what persons are asked.
func engine(dir string) error {
	ctx := context.Background()
	s, err := state.Open(ctx, state.Options{Dir: filepath.Join(dir, "state")})
	if err != nil {
		return err
	}
	book, err := playbook(os.Getenv("PICKET_CRASH_DESK"))
	if err != nil {
		return err
	}
	lib, err := respond.ReadLibrary(fstest.MapFS{"crash.json": {Data: book}})
	if err != nil {
		return err
	}
	ask := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket(dir))
	}}}
	e, err := respond.New(ctx, respond.Options{
		Journal: node.NewJournal(s), Library: lib, Incidents: incidents{}, Config: respond.Config{Approval: 24 * time.Hour},
		Executor: action.Remote{Ask: func(ctx context.Context, c action.Command) (a action.Answer, err error) {
			body, err := json.Marshal(c)
			if err != nil {
				return a, err
			}
			q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://agent/", bytes.NewReader(body))
			if err != nil {
				return a, err
			}
			res, err := ask.Do(q)
			if err != nil {
				return a, err
			}
			defer res.Body.Close() //nolint:errcheck // all was read
			return a, json.NewDecoder(res.Body).Decode(&a)
		}},
	})
	if err != nil {
		return err
	}
	fmt.Println("up")
	p := person{e, dir, os.Getenv("PICKET_CRASH_RUN")}
	said, err := p.follow(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(e.Close(), s.Close()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(said)
}

// person asks for a run, approves it, answers its questions by what can be seen, and takes back what
// holds of every second one and of those that fail; the others end in time.
type person struct {
	e        *respond.Engine
	dir, run string
}

func (p person) follow(ctx context.Context) (*report, error) {
	if err := p.await(ctx); err != nil {
		return nil, err
	}
	run, err := p.e.Request(ctx, respond.Request{ID: p.run, Playbook: "crash", Incident: "i" + p.run, By: "ada"})
	for ; err == nil; run, err = p.e.Get(ctx, run.ID) {
		switch over := !run.Ended.IsZero(); {
		case run.State == respond.Waiting:
			_, err = p.e.Approve(ctx, run.ID, "bob", run.Plan.Hash, "")
		case len(run.Asks) > 0:
			var yes bool
			if yes, err = p.sees(ctx, run, run.Asks[0]); err == nil {
				_, err = p.e.Answer(ctx, run.ID, "bob", respond.Answer{Task: run.Asks[0].Task, Yes: yes})
			}
		case over && len(run.Holds) > 0 && (run.State == respond.Failed || strings.ContainsAny(p.run[len(p.run)-1:], "13579") || run.Holds[0].Tries > 0):
			_, err = p.e.Undo(ctx, run.ID, "ada")
		case over && len(run.Holds) == 0:
			return p.report(ctx, run)
		}
		if errors.Is(err, respond.ErrConflict) || errors.Is(err, respond.ErrNotFound) {
			err = nil // it went on meanwhile
		}
		if err != nil {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil, err
}

// await waits for an agent that plans: what is planned without one is not begun.
func (p person) await(ctx context.Context) error {
	for range 3000 {
		plan, err := p.e.Plan(ctx, "crash", "i"+p.run, nil, nil)
		if err != nil || !slices.ContainsFunc(plan.Acts, func(a respond.Act) bool { return a.Error != "" }) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.New("there is no agent")
}

// sees answers a question. Whether an act was done is looked up where its effect would be.
func (p person) sees(ctx context.Context, run respond.Run, q respond.Ask) (bool, error) {
	if q.What != respond.Holds {
		return true, nil
	}
	list, err := p.e.Records(ctx, run.ID)
	if err != nil {
		return false, err
	}
	for _, r := range list {
		var a action.Request
		if r.What != "intent" || r.Task != q.Task || json.Unmarshal(r.Data, &a) != nil || !strings.Contains(q.Text, respond.Describe(a.Target, a.Params)) {
			continue
		}
		id := a.ID
		if a.Kind == respond.HTTP {
			id = run.Incident
		}
		done, undone, err := counted(effects(p.dir), id)
		return done > undone, err
	}
	return false, fmt.Errorf("run %s asks about an act that it did not begin: %s", run.ID, q.Text)
}

func (p person) report(ctx context.Context, run respond.Run) (*report, error) {
	list, err := p.e.Records(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	out := &report{ID: run.ID, Incident: run.Incident, State: run.State, Failure: run.Failure, Acts: map[string]act{}}
	for _, r := range list {
		var q action.Request
		var res action.Result
		switch r.What {
		case "ask":
			out.Asked = append(out.Asked, r.Text)
		case "intent":
			if err := json.Unmarshal(r.Data, &q); err != nil {
				return nil, err
			}
			out.Acts[q.ID] = act{Kind: q.Kind}
		case "outcome", "undo":
			if json.Unmarshal(r.Data, &res) != nil || res.State == "" {
				continue
			}
			a := out.Acts[res.ID]
			if r.What == "undo" {
				a.Undone = true
			} else {
				a.Outcome = res.State
			}
			out.Acts[res.ID] = a
		}
	}
	return out, nil
}

// playbook isolates, kills in two branches of which one holds for a moment and the other asks, has a
// person look, asks a server over HTTP, takes everything back, and isolates anew.
func playbook(desk string) ([]byte, error) {
	id := func(kind string, n int) string { return fmt.Sprintf("%s--00000000-0000-4000-8000-%012d", kind, n) }
	flow := map[string]any{}
	step := func(n int, next string, more map[string]any) {
		s := map[string]any{"type": "action", "name": fmt.Sprint("step ", n)}
		if next != "" {
			s["on_completion"] = next
		}
		maps.Copy(s, more)
		flow[id(fmt.Sprint(s["type"]), n)] = s
	}
	openc2 := func(n int, next, do, args string) {
		step(n, next, map[string]any{"agent": id("security-category", 1), "commands": []any{map[string]any{
			"type": "openc2-http", "command": "POST /x HTTP/1.1", "headers": map[string]any{"Content-Type": []string{"application/json"}},
			"content": fmt.Sprintf(`{"action": %q, "target": {"x-picket": {"entity": "container"}}, "args": {%s}}`, do, args),
		}}})
	}
	manual := func(n int, next, text string) {
		step(n, next, map[string]any{"agent": id("group", 1), "commands": []any{map[string]any{"type": "manual", "command": text}}})
	}
	for n := 1; n <= 5; n++ {
		flow[id("end", n)] = map[string]any{"type": "end"}
	}
	step(0, id("action", 1), map[string]any{"type": "start"})
	openc2(1, id("parallel", 1), "deny", `"duration": 3600000`)
	step(1, id("action", 6), map[string]any{"type": "parallel", "next_steps": []string{id("action", 2), id("action", 4)}})
	openc2(2, id("action", 3), "stop", "")
	openc2(3, id("end", 1), "contain", `"duration": 100`)
	openc2(4, id("if-condition", 1), "stop", "")
	step(1, id("end", 2), map[string]any{"type": "if-condition", "condition": "Is it an attack?", "on_true": id("action", 5), "on_false": id("end", 3)})
	openc2(5, id("end", 4), "stop", "")
	manual(6, id("action", 7), "Look at it.")
	step(7, "", map[string]any{"agent": id("http-api", 1), "on_success": id("action", 9), "on_failure": id("action", 8), "commands": []any{map[string]any{
		"type": "http-api", "command": "POST /case HTTP/1.1", "headers": map[string]any{"Content-Type": []string{"application/json"}}, "content": `{"case": "__incident_id__:value"}`,
	}}})
	manual(8, id("action", 9), "Open the case by hand.")
	openc2(9, id("action", 10), "restore", "")
	openc2(10, id("end", 5), "deny", `"duration": 400`)
	return json.Marshal(map[string]any{
		"type": "playbook", "spec_version": "cacao-2.0", "id": id("playbook", 1), "name": "crash", "created_by": id("identity", 1),
		"created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "workflow_start": id("start", 0), "workflow": flow,
		"playbook_variables": map[string]any{"__incident_id__": map[string]any{"type": "string"}},
		"agent_definitions": map[string]any{
			id("group", 1):             map[string]any{"type": "group", "name": "on duty"},
			id("security-category", 1): map[string]any{"type": "security-category", "name": "Picket", "category": []string{"endpoint"}},
			id("http-api", 1):          map[string]any{"type": "http-api", "name": "desk", "address": map[string]any{"url": []string{desk}}},
		},
	})
}
