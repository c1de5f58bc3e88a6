package detect

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"picket/bench/public"
	"picket/event"
	"picket/sigma"
)

// ordinary returns what administrators and ML engineers start, by their shells or below a workload.
func ordinary(t testing.TB) (events []*event.Event) {
	t.Helper()
	src, err := os.ReadFile("testdata/ordinary.txt")
	if err != nil {
		t.Fatal(err)
	}
	bash := &event.Process{UID: "bash", PID: 900, StartBoot: 1, Exe: "/usr/bin/bash", Cmdline: "-bash", User: "root"}
	for line := range strings.Lines(string(src)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		p := &event.Process{UID: line, PID: 1000 + uint32(len(events)), StartBoot: 2, Parent: bash, User: "root", Layer: event.LayerLower}
		if kind, rest, ok := strings.Cut(line, " "); ok && kind[0] == '@' {
			line = rest
			server := &event.Process{UID: "server", PID: 10, StartBoot: 1, Exe: "/usr/bin/python3.11"}
			server.Workload = &event.Workload{ID: "w", Kind: event.WorkloadKind(kind[1:]), Name: "m", Root: server.Key()}
			p.Parent, p.Workload, p.Container = server, server.Workload, &event.Container{ID: "c"}
		}
		p.Cmdline = line
		name, _, _ := strings.Cut(line, " ")
		if p.Exe = name; name[0] != '/' {
			p.Exe = "/usr/bin/" + name
		}
		p.Seal()
		events = append(events, at(len(events), event.ProcessStart, p))
	}
	return events
}

func TestOrdinaryWorkIsQuiet(t *testing.T) {
	e := engine(t, Options{})
	events := ordinary(t)
	if len(events) < 60 {
		t.Fatalf("%d commands, want 60 or more", len(events))
	}
	for _, ev := range events {
		for _, f := range e.Process(ev) {
			t.Errorf("%q fires %s", ev.Process.Cmdline, f.Rule.Name)
		}
	}
}

// A day of a model's life: pulled by its server, loaded, served to users, trained further, swapped
// by the job that trains it, and checked by the operator.
func TestALifeOfAModelIsQuiet(t *testing.T) {
	s, e := newScene("c1"), engine(t, Options{})
	worker := *s.server
	worker.UID, worker.PID, worker.StartBoot, worker.Parent = "worker", 11, 110, s.server
	trainer := &event.Process{UID: "trainer", PID: 70, StartBoot: 700, Exe: "/usr/bin/python3.12"}
	trainer.Workload = &event.Workload{ID: "t", Kind: event.Training, Name: "finetune", Root: trainer.Key()}
	cat := &event.Process{UID: "cat", PID: 80, StartBoot: 800, Exe: "/usr/bin/cat"}
	file := func(k event.Kind, p *event.Process, path string) *event.Event {
		ev := at(0, k, p)
		ev.File = event.File{Path: path, Old: path + ".part", Mode: 0o644, Model: s.model}
		return ev
	}
	const weights = "/models/llama-3-8b/model.safetensors"
	events := []*event.Event{}
	for _, p := range []*event.Process{s.server, &worker} {
		for _, k := range []event.Kind{event.FileCreate, event.FileWrite, event.FileRename, event.FileChmod, event.FileRead, event.FileDelete} {
			events = append(events, file(k, p, weights))
		}
	}
	events = append(events, file(event.FileRead, trainer, weights), file(event.FileCreate, trainer, weights), file(event.FileRename, trainer, weights),
		file(event.FileRead, cat, "/models/llama-3-8b/config.json"))
	answer := s.send(1)
	answer.Process, answer.Net.Initiated = s.server, false
	pool := s.send(2)
	pool.Kind, pool.Process, pool.Net.Remote = event.NetConnect, s.server, netip.MustParseAddrPort("203.0.113.9:5555")
	for _, ev := range append(events, answer, pool) {
		for _, f := range e.Process(ev) {
			t.Errorf("%s by %s fires %s", ev.Describe(), ev.Process.UID, f.Rule.Name)
		}
	}
}

// Public rules run beside ours: they load, and what administrators do all day yields no finding of
// the levels informational and low.
func TestPublicRulesAreTaken(t *testing.T) {
	linux := Threat{Name: "sigmahq"}
	for _, f := range public.Rules(t) {
		if !strings.Contains(f.Name, "/rules/linux/") {
			continue
		}
		parsed, err := sigma.Parse(f.Name, f.Data)
		linux.Add(parsed)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	if len(linux.Rules) < 150 {
		t.Fatalf("%d rules", len(linux.Rules))
	}
	e := engine(t, Options{Threats: append(shipped(t), linux)})
	fired := map[string]int{}
	for _, ev := range ordinary(t) {
		for _, f := range e.Process(ev) {
			if f.Severity < event.Medium {
				t.Errorf("%s of level %s yields a finding", f.Rule.Title, f.Severity)
			}
			fired[f.Rule.Title]++
		}
	}
	t.Logf("%d public rules; medium and above on %d ordinary commands: %v", len(linux.Rules), len(ordinary(t)), fired)
}
