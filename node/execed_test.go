package node

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"picket/event"
	"picket/respond"
	"picket/respond/action"
	"picket/store/state"
)

// about1 is the one incident that an engine is told of.
type about1 struct{ inc event.Incident }

func (k about1) Incident(context.Context, string) (event.Incident, error) { return k.inc, nil }

// onePlaybook is a playbook of one OpenC2 command for Picket.
func onePlaybook(command string) []byte {
	id := func(kind string, n int) string { return fmt.Sprintf("%s--00000000-0000-4000-8000-%012d", kind, n) }
	data, _ := json.Marshal(map[string]any{
		"type": "playbook", "spec_version": "cacao-2.0", "id": id("playbook", 1), "name": "one", "created_by": id("identity", 1),
		"created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "workflow_start": id("start", 1),
		"workflow": map[string]any{
			id("start", 1): map[string]any{"type": "start", "on_completion": id("action", 1)},
			id("action", 1): map[string]any{
				"type": "action", "agent": id("security-category", 1), "on_completion": id("end", 1),
				"commands": []any{map[string]any{"type": "openc2-http", "command": "POST /x HTTP/1.1", "content": command}},
			},
			id("end", 1): map[string]any{"type": "end"},
		},
		"agent_definitions": map[string]any{id("security-category", 1): map[string]any{"type": "security-category", "name": "Picket", "category": []string{"endpoint"}}},
	})
	return data
}

// engineFor is an engine with one playbook, one incident and this host's acts.
func engineFor(t *testing.T, a *actor, inc event.Incident, command string) *respond.Engine {
	t.Helper()
	s, err := state.Open(t.Context(), state.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	lib, err := respond.ReadLibrary(fstest.MapFS{"one.json": &fstest.MapFile{Data: onePlaybook(command)}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := respond.New(t.Context(), respond.Options{Journal: NewJournal(s), Library: lib, Incidents: about1{inc}, Executor: a.local})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close(); _ = s.Close() })
	return e
}

// changer is a shell that becomes sleep when the file is there.
func changer(t *testing.T) (p event.ProcessNode, become func()) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("/bin/bash", "-c", "echo >ready; while [ ! -e go ]; do sleep 0.05; done; exec /bin/sleep 1000")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	exe := func() string { s, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid)); return s }
	wait := func(what string, is func() bool) {
		for start := time.Now(); !is(); time.Sleep(10 * time.Millisecond) {
			if time.Since(start) > time.Minute {
				t.Fatal("not within a minute: " + what)
			}
		}
	}
	wait("the shell runs", func() bool { _, err := os.Stat(filepath.Join(dir, "ready")); return err == nil })
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	ticks := uint64(0)
	if _, err := fmt.Sscan(strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))[19], &ticks); err != nil {
		t.Fatal(err)
	}
	was := exe()
	return event.ProcessNode{UID: "u", PID: uint32(cmd.Process.Pid), StartBoot: ticks*10_000_000 + 7, Boot: bootID(), Name: "bash", Exe: was}, func() {
		if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		wait("it is another program", func() bool { return exe() != was })
	}
}

func about(p event.ProcessNode) event.Incident {
	return event.Incident{ID: "i", Hosts: []string{"h"}, Processes: []event.ProcessNode{p}, Findings: []event.FindingRef{{ID: "f", Host: "h", Process: p.UID}}}
}

const killProcess = `{"action": "stop", "target": {"x-picket": {"entity": "process"}}, "args": {}}`

// A process that makes itself another program between the plan and the act is the one that was found: it
// is ended all the same, the approval of the plan counts, and what it ran is said.
func TestWhoExecsIsStillContained(t *testing.T) {
	a := newActor(t)
	p, become := changer(t)
	e := engineFor(t, a, about(p), killProcess)
	before, err := e.Plan(t.Context(), "one", "i", nil, nil)
	if err != nil || len(before.Acts) != 1 || before.Acts[0].Gone+before.Acts[0].Error != "" {
		t.Fatalf("%+v %v", before, err)
	}
	run, err := e.Request(t.Context(), respond.Request{Playbook: "one", Incident: "i", By: "alice"})
	if err != nil || run.State != respond.Waiting {
		t.Fatalf("%+v %v", run, err)
	}
	become()
	now, err := e.Plan(t.Context(), "one", "i", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	act := now.Acts[0]
	said := strings.Join(act.Effects, "\n")
	if act.Gone+act.Error != "" || !strings.Contains(said, "/sleep now; it ran "+p.Exe+" when it was found") || act.Target.Process.Was != p.Exe {
		t.Errorf("the plan says %+v", act)
	}
	if now.Hash != before.Hash {
		t.Error("an exec made it another plan")
	}
	if _, err := e.Approve(t.Context(), run.ID, "bob", run.Plan.Hash, ""); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); run.State != respond.Succeeded; time.Sleep(10 * time.Millisecond) {
		if run, err = e.Get(t.Context(), run.ID); err != nil || time.Since(start) > time.Minute || run.State == respond.Failed {
			t.Fatalf("%s %s %v", run.State, run.Failure, err)
		}
	}
	if _, err := a.host.Process(int(p.PID), action.Ticks(p.StartBoot)); err == nil {
		t.Error("it lives")
	}
	told := ""
	records, err := e.Records(t.Context(), run.ID)
	for _, r := range records {
		if r.What == "outcome" {
			told = r.Text
		}
	}
	if err != nil || !strings.Contains(told, "kill: done") || !strings.Contains(told, "/sleep now; ran "+p.Exe+" when it was found) has ended") {
		t.Errorf("the outcome says %q %v", told, err)
	}
}

// What is pinned is one life of a process: another one with its number is not hit, nor one of which the
// finding does not tell when it started and that runs something else, nor what guards the host by what it
// was.
func TestWhatIsNotTheProcessThatWasFound(t *testing.T) {
	a := newActor(t)
	p, become := changer(t)
	become()
	for name, c := range map[string]struct {
		change func(*event.ProcessNode)
		want   string
	}{
		"another start":       {func(p *event.ProcessNode) { p.StartBoot -= 10_000_000 }, "the process is gone"},
		"another boot":        {func(p *event.ProcessNode) { p.Boot = "another" }, "of another boot"},
		"no start":            {func(p *event.ProcessNode) { p.StartBoot, p.Boot = 0, "" }, "whether it is the same process is not known"},
		"a program of before": {func(p *event.ProcessNode) { p.Exe = "/usr/sbin/sshd" }, "was sshd before it ran another program: nothing is done to it"},
	} {
		t.Run(name, func(t *testing.T) {
			other := p
			c.change(&other)
			plan, err := engineFor(t, a, about(other), killProcess).Plan(t.Context(), "one", "i", nil, nil)
			if err != nil || len(plan.Acts) != 1 || !strings.Contains(plan.Acts[0].Gone+plan.Acts[0].Error, c.want) || len(plan.Acts[0].Hits) > 0 {
				t.Errorf("%+v %v", plan, err)
			}
		})
	}
}
