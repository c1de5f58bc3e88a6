package node

import (
	"strings"
	"testing"
	"time"

	"picket/api"
	"picket/event"
)

func TestAnAgentThatSaysNothingIsSilent(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f := newFleet(func() time.Time { return now })
	beat := event.Heartbeat{Host: "gpu-1"}
	if !f.heard("gpu-1", beat) {
		t.Error("a new agent was not reported as new")
	}
	now = now.Add(silentAfter)
	if got := f.silence(); len(got) != 0 {
		t.Errorf("%v counted as silent too early", got)
	}
	now = now.Add(time.Second)
	if got := f.silence(); len(got) != 1 || got[0] != "gpu-1" {
		t.Errorf("silent: %v, want gpu-1", got)
	}
	if got := f.silence(); len(got) != 0 {
		t.Errorf("%v was reported twice", got)
	}
	agents, err := f.Agents(t.Context())
	if err != nil || len(agents) != 1 || agents[0].Status != api.AgentSilent {
		t.Errorf("got %+v, %v", agents, err)
	}
	if !f.heard("gpu-1", beat) {
		t.Error("an agent that is back was not reported as back")
	}
}

func TestAnAgentsMetricsCarryItsHostAndNothingElse(t *testing.T) {
	f := newFleet(time.Now)
	text := "# TYPE picket_sensor_dropped_total counter\npicket_sensor_dropped_total{kind=\"file.read\",host=\"forged\"} 3\n" +
		"picket_sensor_dropped_total{kind=\"process.start\"} 4\n# TYPE picket_lag gauge\npicket_lag 2\n# TYPE up gauge\nup 0\n"
	f.heard("a", event.Heartbeat{Host: "a", Metrics: text})
	f.heard("b", event.Heartbeat{Host: "b", Metrics: text})
	got, err := f.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got {
		if !strings.HasPrefix(m.GetName(), "picket_") {
			t.Errorf("an agent spoke for %s", m.GetName())
		}
		for _, x := range m.Metric {
			hosts := 0
			for _, l := range x.Label {
				if l.GetName() == "host" {
					hosts++
					if v := l.GetValue(); v != "a" && v != "b" {
						t.Errorf("%s: host %q was taken from the agent's text", m.GetName(), v)
					}
				}
			}
			if hosts != 1 {
				t.Errorf("%s: %d host labels", m.GetName(), hosts)
			}
		}
	}
	agents, _ := f.Agents(t.Context())
	if n := agents[0].Counters["sensor_dropped"]; n != 7 {
		t.Errorf("sensor_dropped adds up to %d, want 7", n)
	}
	f.heard("c", event.Heartbeat{Host: "c", Metrics: "not metrics {{{"})
	if _, err := f.Gather(); err != nil {
		t.Errorf("one agent's bad text spoiled the scrape: %v", err)
	}
}

func TestTheRecorderGivesWhatBelongsToAFinding(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	box, other := &event.Container{ID: "c1"}, &event.Container{ID: "c2"}
	server := &event.Process{PID: 10, StartBoot: 1, Container: box}
	shell := &event.Process{PID: 11, StartBoot: 2, Parent: server, Container: box}
	login := &event.Process{PID: 20, StartBoot: 3}
	child := &event.Process{PID: 21, StartBoot: 4, Parent: login}
	r := newRecorder()
	add := func(p *event.Process, path string, ago time.Duration) {
		r.add(&event.Event{Kind: event.FileWrite, Time: at.Add(-ago), Process: p, File: event.File{Path: path}})
	}
	add(server, "/old", recorderAge+time.Second)
	add(server, "/mine", time.Second)
	add(&event.Process{PID: 30, Container: other}, "/other", time.Second)
	add(login, "/login", time.Second)
	take := func(p *event.Process) (paths []string) {
		r.take(&event.Event{Time: at, Process: p}, func(e *event.Event) { paths = append(paths, e.File.Path) })
		return paths
	}
	if got := strings.Join(take(shell), " "); got != "/mine" {
		t.Errorf("a finding in the container took %q", got)
	}
	if got := take(shell); len(got) != 0 {
		t.Errorf("%v was given twice", got)
	}
	if got := strings.Join(take(child), " "); got != "/login" {
		t.Errorf("a finding of a login's child took %q", got)
	}
}

func TestRecordingAllocatesNothing(t *testing.T) {
	r, e := newRecorder(), &event.Event{Kind: event.FileWrite, Process: &event.Process{}}
	if n := testing.AllocsPerRun(100, func() { r.add(e) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
