package node

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"picket/api"
	"picket/event"
	"picket/respond/action"
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
		r.kept.add(&event.Event{Kind: event.FileWrite, Time: at.Add(-ago), Process: p, File: event.File{Path: path}})
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

// What is captured is told of what was sent and of what was not, in the order in which it happened, and of
// nobody else.
func TestTheRecorderTellsOfATarget(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	box := &event.Container{ID: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}
	server := &event.Process{PID: 10, StartBoot: 10_000_000, Container: box, CgroupPath: "/pods/a"}
	shell := &event.Process{PID: 11, StartBoot: 20_000_000, Parent: server, Container: box, CgroupPath: "/pods/a/sub"}
	again := &event.Process{PID: 10, StartBoot: 90_000_000, CgroupPath: "/pods/ab"} // the number of one that ended
	a := &agent{recorder: newRecorder(), turn: make(chan struct{}, 1)}
	a.turn <- struct{}{}
	for i, p := range []*event.Process{server, shell, again, shell, {PID: 1}} {
		to := []*ring{&a.recorder.kept, &a.recorder.sent}[i%2]
		to.add(&event.Event{Kind: event.FileWrite, Time: at.Add(time.Duration(i) * time.Second), Process: p, File: event.File{Path: fmt.Sprint("/", i)}})
	}
	a.recorder.take(&event.Event{Time: at, Process: server}, func(*event.Event) {}) // what a finding sent stays
	for name, c := range map[string]struct {
		target action.Target
		want   string
	}{
		"process":      {action.Target{Process: &action.ProcessPin{PID: 10, Start: 1}}, "/0"},
		"lineage":      {action.Target{Process: &action.ProcessPin{PID: 10, Start: 1}, Lineage: true}, "/0 /1 /3"},
		"any life":     {action.Target{Process: &action.ProcessPin{PID: 10}}, "/0 /2"},
		"cgroup":       {action.Target{Cgroup: "/pods/a"}, "/0 /1 /3"},
		"container":    {action.Target{Container: "0123456789ab"}, "/0 /1 /3"},
		"another":      {action.Target{Container: "fedcba987654"}, ""},
		"not of those": {action.Target{File: &action.FilePin{Path: "/0"}}, ""},
	} {
		var paths []string
		err := a.recorded(t.Context(), &c.target, func(line json.RawMessage) {
			var e map[string]string
			if err := json.Unmarshal(line, &e); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			paths = append(paths, e["file.path"])
		})
		if got := strings.Join(paths, " "); got != c.want || err != nil {
			t.Errorf("%s: %q, not %q: %v", name, got, c.want, err)
		}
	}
	<-a.turn // somebody hands an event on, and does not end
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := a.recorded(ctx, &action.Target{Cgroup: "/pods/a"}, nil); err == nil {
		t.Error("it was read while it changed")
	}
}

func TestRecordingAllocatesNothing(t *testing.T) {
	r, e := newRecorder(), &event.Event{Kind: event.FileWrite, Process: &event.Process{}}
	if n := testing.AllocsPerRun(100, func() { r.kept.add(e); r.sent.add(e) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
