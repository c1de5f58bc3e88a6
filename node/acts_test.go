package node_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/api/client"
	"picket/event"
	"picket/respond/action"
)

// try runs another command of the program and returns what it said and its exit code.
func (p *program) try(args ...string) (string, int) {
	cmd := exec.CommandContext(p.t.Context(), p.bin, append([]string{"--config", p.configFile()}, args...)...)
	out, _ := cmd.CombinedOutput() // the code says it
	return string(out), cmd.ProcessState.ExitCode()
}

// A workload that is told of in an incident is frozen by hand, here and by way of the server. Events,
// sinks, the incident and the audit log tell of it; a killed agent lets it go, and the next holds on.
func TestActsGoTheWholeWay(t *testing.T) {
	p := newProgram(t)
	p.start()
	work := exec.Command("/bin/sh", "-c", "while :; do sleep 0.05; done # "+mark+"act")
	work.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := work.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = work.Process.Kill(); _ = work.Wait() })
	var inc event.Incident
	p.until(20*time.Second, "an incident of it", func() bool {
		list, err := p.client.Incidents(t.Context(), client.IncidentFilter{})
		for _, i := range list.Items {
			inc = i
		}
		return err == nil && len(list.Items) > 0
	})
	pid := fmt.Sprint(work.Process.Pid)

	if out, code := p.try("action", "freeze", "--pid", pid, "--lineage", "--dry-run"); code != 0 || !strings.Contains(out, "nothing of this was done") || !strings.Contains(out, pid+" sh") {
		t.Errorf("%d %s", code, out)
	}
	if frozen(t, work.Process.Pid) {
		t.Error("a dry run froze it")
	}
	var res action.Result
	out := p.picket("action", "freeze", "--pid", pid, "--lineage", "--reason", "a test", "--incident", inc.ID, "--for", "5m", "-o", "json")
	if err := json.Unmarshal([]byte(out), &res); err != nil || res.State != action.Done || !frozen(t, work.Process.Pid) {
		t.Fatalf("%s %v", out, err)
	}
	list := p.picket("action", "list")
	if !strings.Contains(list, res.ID) || !strings.Contains(list, "freeze") {
		t.Error(list)
	}

	p.until(20*time.Second, "the event is stored", func() bool {
		got, err := p.client.Events(t.Context(), client.EventFilter{Query: "event.kind:action action.id:" + res.ID, Start: "10m", Limit: 10})
		return err == nil && len(got.Items) == 1 && bytes.Contains(got.Items[0], []byte(`"action.state":"done"`))
	})
	if out := p.picket("events", "event.kind:action"); !strings.Contains(out, "freeze of process "+pid) {
		t.Error(out)
	}
	p.until(20*time.Second, "the incident's log has it", func() bool {
		got, err := p.client.Incident(t.Context(), inc.ID)
		return err == nil && len(got.Log) > 0 && strings.Contains(got.Log[len(got.Log)-1].Note, "act "+res.ID)
	})
	p.until(20*time.Second, "the sink has it", func() bool {
		b, _ := os.ReadFile(filepath.Join(p.cfg.Data, "server/findings.ocsf.jsonl")) // not there yet is not written yet
		return bytes.Contains(b, []byte(`"class_uid":7003`)) && bytes.Contains(b, []byte(`"command_uid":"`+res.ID+`"`))
	})

	agent := p.pid("agent")
	if err := syscall.Kill(agent, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.until(30*time.Second, "the next agent runs", func() bool { now := p.pid("agent"); return now != 0 && now != agent })
	p.until(30*time.Second, "it is held on", func() bool {
		out, code := p.try("action", "show", res.ID)
		return code == 0 && strings.Contains(out, "again, after the agent was started anew") && frozen(t, work.Process.Pid)
	})

	p.until(20*time.Second, "the agent is connected", func() bool {
		out, code := p.try("action", "undo", res.ID, "--host", p.cfg.Host, "--server", "unix://"+filepath.Join(p.cfg.Data, "server/api.sock"))
		return code == 0 && strings.Contains(out, "taken back by local")
	})
	if frozen(t, work.Process.Pid) {
		t.Error("it stands still")
	}
	if _, err := p.client.Act(t.Context(), "another-host", action.Command{Op: action.OpList, Limit: 5}); err == nil || !strings.Contains(err.Error(), "the agent of another-host is not connected") {
		t.Errorf("%v", err)
	}

	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"action", "kill", "--pid", "1"}, 7, "process 1 is init"},
		{[]string{"action", "kill", "--pid", "1", "--dry-run"}, 7, "process 1 is init"},
		{[]string{"action", "kill", "--cgroup", "/none-of-that-name"}, 8, "there is no cgroup /none-of-that-name"},
		{[]string{"action", "freeze", "--cgroup", "/../../etc"}, 2, "want a path below the mount of cgroup v2"},
		{[]string{"action", "undo", "nothing"}, 2, "picket action list shows the ids"},
	} {
		if out, code := p.try(c.args...); code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%q: %d %s", c.args, code, out)
		}
	}
	p.picket("action", "stop", "--reason", "enough")
	if out, code := p.try("action", "kill", "--pid", pid); code != 7 || !strings.Contains(out, "enough") {
		t.Errorf("%d %s", code, out)
	}
	p.picket("action", "resume")
	p.picket("action", "kill", "--pid", pid, "--lineage")
	if err := work.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("it ended with %v", err)
	}
}

// frozen reports whether a process is in a cgroup that stands still.
func frozen(t *testing.T, pid int) bool {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	root := ""
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(info)) {
		if before, _, ok := strings.Cut(line, " - cgroup2 "); ok {
			root = strings.Fields(before)[4]
		}
	}
	for line := range strings.Lines(string(b)) {
		if c, ok := strings.CutPrefix(line, "0::"); ok {
			events, err := os.ReadFile(root + strings.TrimSpace(c) + "/cgroup.events")
			return err == nil && strings.Contains(string(events), "frozen 1")
		}
	}
	return false
}
