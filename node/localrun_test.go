package node_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/event"
	"picket/playbooks"
	"picket/respond"
)

// The server stands still, a command fires a rule, and the agent freezes by itself what ran it. When the
// server goes on, the run stands in the incident, once, and what is held ends in its time.
func TestTheAgentActsWhileTheServerIsAway(t *testing.T) {
	p := newProgram(t)
	b, err := fs.ReadFile(playbooks.FS, "hold-workload.json")
	if err != nil {
		t.Fatal(err)
	}
	// as a playbook of one's own: for a minute, in place of an hour
	write(t, filepath.Join(p.dir, "playbooks/hold-workload.json"), strings.Replace(string(b), "3600000", "60000", 1))
	old, err := os.ReadFile(p.configFile())
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.configFile(), string(old)+fmt.Sprintf("respond: {playbooks: [%s/playbooks], local: {after: 5s, rules: [{name: canaries, playbook: hold-workload, rules: [canary]}]}}\n", p.dir))
	p.start()

	server := p.pid("server")
	if err := syscall.Kill(server, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(server, syscall.SIGCONT) })
	work := exec.Command("/bin/sh", "-c", "while :; do sleep 0.05; done # "+mark+"local")
	work.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := work.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = work.Process.Kill(); _ = work.Wait() })
	began := time.Now()
	p.until(2*time.Minute, "the agent freezes it by itself", func() bool { return frozen(t, work.Process.Pid) })
	t.Logf("frozen %v after the command began, with the server out of reach and after: 5s", time.Since(began).Round(time.Second))
	for line := range strings.Lines(string(p.log())) {
		if strings.Contains(line, "the hub is away") || strings.Contains(line, "msg=act ") {
			t.Log(strings.TrimSpace(line))
		}
	}
	t.Log("the agent while it acts: ", memoryOf(p.pid("agent")))

	if err := syscall.Kill(server, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	var run respond.Run
	p.until(2*time.Minute, "the run is taken over", func() bool {
		list, err := p.client.Runs(t.Context(), "", 10)
		if err != nil || len(list) == 0 {
			return false
		}
		run = list[0]
		return true
	})
	if run.By != "agent:"+p.cfg.Host || !strings.Contains(run.Reason, "rule canaries: done by the agent while the server was away") || run.State != respond.Succeeded || run.Incident == "" {
		t.Errorf("%+v", run)
	}
	inc, err := p.client.Incident(t.Context(), run.Incident)
	if err != nil || !hasRule(inc, "canary") {
		t.Errorf("%+v %v", inc, err)
	}
	p.until(2*time.Minute, "its time is over and it goes on", func() bool { return !frozen(t, work.Process.Pid) })
	p.until(time.Minute, "the run holds nothing any more", func() bool {
		r, err := p.client.Run(t.Context(), run.ID)
		return err == nil && len(r.Holds) == 0
	})
	t.Log("the agent after it acted: ", memoryOf(p.pid("agent")))
	list, err := p.client.Runs(t.Context(), run.Incident, 10)
	if err != nil || len(list) != 1 {
		t.Errorf("%d runs, %v", len(list), err)
	}
	if left, _ := filepath.Glob(filepath.Join(p.cfg.Data, "agent/runs/*")); len(left) != 0 {
		t.Errorf("the agent keeps %v", left)
	}
	p.until(time.Minute, "the incident's log has the act", func() bool {
		inc, err := p.client.Incident(t.Context(), run.Incident)
		said := fmt.Sprint(inc.Log)
		return err == nil && strings.Contains(said, "stands still") && strings.Contains(said, "agent:"+p.cfg.Host)
	})
}

func hasRule(inc event.Incident, rule string) bool {
	for _, f := range inc.Findings {
		if f.Rule == rule {
			return true
		}
	}
	return false
}

// memoryOf is what a process holds, as the kernel says it.
func memoryOf(pid int) (words []string) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // it may have ended
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "RssAnon") {
			words = append(words, strings.Join(strings.Fields(line), " "))
		}
	}
	return words
}
