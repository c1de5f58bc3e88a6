package node_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/api/client"
	"picket/respond"
)

// The whole way: a command is seen, its incident planned, a run asked for, and a question of the run
// answered after the server was killed.
func TestAnIncidentIsAnsweredAcrossAKill(t *testing.T) {
	p := newProgram(t)
	p.start()
	if out, err := exec.Command("/bin/sh", "-c", "true "+mark+"respond; sleep 0.1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	id := ""
	p.until(30*time.Second, "an incident", func() bool {
		list, err := p.client.Incidents(t.Context(), client.IncidentFilter{})
		if err != nil || len(list.Items) == 0 {
			return false
		}
		id = list.Items[0].ID
		return true
	})
	if out := p.picket("playbook", "plan", "contain-weights", id); !strings.Contains(out, "isolate") || !strings.Contains(out, "Is it an attack") {
		t.Errorf("the plan says\n%s", out)
	}
	var run respond.Run
	out := p.picket("playbook", "run", "contain-weights", id, "--reason", "a test", "--wait", "10s", "--output", "json")
	if err := json.Unmarshal([]byte(out), &run); err != nil {
		t.Fatal(err)
	}
	if run.State != respond.Running || len(run.Asks) != 1 {
		t.Fatalf("the run does not ask: %s", out)
	}
	server := p.pid("server")
	if server == 0 || syscall.Kill(server, syscall.SIGKILL) != nil {
		t.Fatal("the server could not be killed")
	}
	p.until(30*time.Second, "the server is back", func() bool {
		r, err := p.client.Run(t.Context(), run.ID)
		return err == nil && len(r.Asks) == 1 && p.pid("server") != server
	})
	p.picket("playbook", "reject", run.ID[:8], "--reason", "it was a test")
	p.until(10*time.Second, "the run ends", func() bool {
		r, err := p.client.Run(t.Context(), run.ID)
		return err == nil && r.State == respond.Failed
	})
	if out := p.picket("playbook", "history"); !strings.Contains(out, run.ID[:8]) {
		t.Errorf("the history says\n%s", out)
	}
}
