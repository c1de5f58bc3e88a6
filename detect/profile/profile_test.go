package profile

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"picket/event"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// job is a workload of which a test plays what its processes do.
type job struct {
	t    *testing.T
	w    *Watch
	now  time.Time
	root *event.Process
	pid  uint32
	said []string
}

func newJob(t *testing.T, w *Watch, model string) *job {
	j := &job{t: t, w: w, now: start}
	w.Mapped = true
	j.restart("/usr/bin/vllm", model)
	return j
}

// restart starts another instance.
func (j *job) restart(exe, model string) {
	if j.root != nil {
		j.see(&event.Event{Kind: event.ProcessExit, Process: j.root})
	}
	j.pid += 1000
	work := &event.Workload{ID: "w", Kind: event.Inference, Engine: "vllm", Name: "llama", Model: model, Root: event.Key{PID: j.pid, Start: uint64(j.pid)}}
	j.root = &event.Process{PID: j.pid, StartBoot: uint64(j.pid), Exe: exe, Workload: work}
	j.see(&event.Event{Kind: event.ProcessStart, Process: j.root})
}

func (j *job) see(e *event.Event) {
	e.Time = j.now
	j.take(j.w.See(e))
}

func (j *job) take(list []*event.Event) {
	for _, e := range list {
		d := e.Deviation
		j.said = append(j.said, d.What+" "+d.Value)
		if e.Process == nil || e.ID() == "" || !strings.Contains(e.Describe(), d.Value) || d.Profile == "" {
			j.t.Errorf("%+v", e)
		}
	}
}

func (j *job) run(exe string) {
	j.pid++
	j.see(&event.Event{Kind: event.ProcessStart, Process: &event.Process{PID: j.pid, StartBoot: 1, Exe: exe, Parent: j.root, Workload: j.root.Workload}})
}

func (j *job) connect(host, to string) {
	j.see(&event.Event{Kind: event.NetConnect, Process: j.root, Net: event.Net{Remote: netip.MustParseAddrPort(to), Hostname: host}})
}

func (j *job) file(kind event.Kind, path string, m *event.Model) {
	j.see(&event.Event{Kind: kind, Process: j.root, File: event.File{Path: path, Model: m, FileChange: event.FileChange{Access: event.AccessRead | event.AccessExec}}})
}

// pass lets time go on, minute by minute.
func (j *job) pass(d time.Duration, each func(minute int)) {
	for n := range int(d / time.Minute) {
		j.now = j.now.Add(time.Minute)
		if each != nil {
			each(n)
		}
		j.take(j.w.Advance(j.now))
	}
}

func (j *job) ordinary() {
	j.run("/usr/bin/nvidia-smi")
	j.connect("hub.example.org", "198.51.100.7:443")
	j.file(event.FileRead, "/models/llama/model.safetensors", &event.Model{Path: "/models/llama"})
	j.file(event.FileMap, "/usr/lib/libcudart.so.12", nil)
	j.file(event.DeviceOpen, "/dev/nvidia0", nil)
	j.see(&event.Event{Kind: event.GPUSample, Process: j.root, GPU: &event.GPUReport{GPU: event.GPU{Name: "H100"}, Use: &event.GPUUse{Util: event.Measured(80), Memory: event.Measured(60 << 30)}}})
}

func (j *job) want(want ...string) {
	j.t.Helper()
	if got := strings.Join(j.said, "; "); got != strings.Join(want, "; ") {
		j.t.Errorf("said %q, want %q", got, want)
	}
	j.said = nil
}

// known returns a job that was learned for a day, over two instances.
func known(t *testing.T, w *Watch) *job {
	j := newJob(t, w, "/models/llama")
	j.ordinary()
	j.pass(12*time.Hour, func(n int) {
		if n%60 == 0 {
			j.ordinary()
		}
	})
	j.restart("/usr/bin/vllm", "/models/llama")
	j.ordinary()
	j.pass(13*time.Hour, nil)
	j.want()
	if p := w.List()[0]; p.State() != "known" || p.Instances != 2 || p.Starts != 2 {
		t.Fatalf("%s: %d instances, %d starts, %d %%", p.State(), p.Instances, p.Starts, p.Confidence())
	}
	return j
}

func TestWhatWasNeverSeenIsToldOnceItIsKnown(t *testing.T) {
	w := New(Options{Host: "h"})
	j := newJob(t, w, "/models/llama")
	j.run("/usr/bin/curl") // while it is learned nothing is said
	j.want()
	w = New(Options{Host: "h"})
	j = known(t, w)
	j.ordinary()
	j.want()
	for range 3 { // once
		j.run("/bin/sh")
		j.connect("", "203.0.113.66:443")
		j.file(event.FileRead, "/models/other/x.gguf", &event.Model{Path: "/models/other"})
		j.file(event.FileMap, "/tmp/x.so", nil)
		j.file(event.DeviceOpen, "/dev/kvm", nil)
		j.see(&event.Event{Kind: event.GPUSample, Process: j.root, GPU: &event.GPUReport{GPU: event.GPU{Name: "A100"}, Use: &event.GPUUse{}}})
	}
	j.want("program /bin/sh", "destination 203.0.113.0/24:443", "model /models/other", "library /tmp/x.so", "device /dev/kvm", "gpu A100")
	p := w.List()[0]
	if p.Strange["program:/bin/sh"].Count != 3 || p.Items[event.DeviantProgram]["/bin/sh"].Count != 0 {
		t.Errorf("%+v", p.Strange)
	}
	j.now = j.now.Add(25 * time.Hour)
	j.run("/bin/sh") // and again a day later
	j.want("program /bin/sh")
}

func TestANewInstanceIsJudgedByTheOthers(t *testing.T) {
	w := New(Options{})
	j := known(t, w)
	j.restart("/usr/bin/vllm", "/models/llama")
	j.ordinary()
	j.want()
	j.run("/usr/bin/nc")
	j.want("program /usr/bin/nc")
	j.pass(2*time.Minute, nil)
	j.run("/usr/bin/nvidia-smi")
	j.want("start vllm > nvidia-smi > nc")
}

func TestAnotherModelOrImageIsANewVersion(t *testing.T) {
	w := New(Options{Image: func(p *event.Process) string { return "image of " + p.Exe }})
	j := known(t, w)
	j.restart("/usr/bin/vllm", "/models/llama-2")
	j.file(event.FileRead, "/models/llama-2/model.safetensors", &event.Model{Path: "/models/llama-2"})
	j.want("version model /models/llama-2 instead of /models/llama")
	j.pass(11*time.Minute, nil)
	j.run("/bin/sh") // what it shares with the last is known
	j.run("/usr/bin/nvidia-smi")
	j.want("program /bin/sh")
	j.restart("/opt/vllm", "/models/llama-2")
	j.run("/usr/bin/new-tool") // of another image programs are learned anew
	j.want("version image image of /opt/vllm instead of image of /usr/bin/vllm")
	if list := w.List(); len(list) != 3 || list[0].Version != 3 || list[0].State() != "learning" || len(list[0].Items[event.DeviantDestination]) != 1 {
		t.Errorf("%+v", list[0])
	}
}

func TestAFrozenProfileJudgesAtOnceAndLearnsNothing(t *testing.T) {
	w := New(Options{})
	j := newJob(t, w, "/models/llama")
	j.ordinary()
	id := w.List()[0].ID
	if w.Freeze("none", true) || !w.Freeze(id, true) {
		t.Fatal("freeze")
	}
	j.run("/bin/sh")
	j.ordinary()
	j.want("program /bin/sh")
	w.Freeze(id, false)
	j.run("/bin/bash")
	j.want()
	if !w.Forget(id) || w.Forget(id) {
		t.Error("forget")
	}
	j.run("/bin/dash")
	if p := w.List()[0]; p.State() != "learning" || len(p.Items[event.DeviantProgram]) != 1 {
		t.Errorf("%+v", p)
	}
}

func TestAFarRateAndALastingShiftAreTold(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	usual := func(j *job) func(int) {
		return func(n int) {
			bytes := 50e6 + rnd.Float64()*10e6
			if n%60 == 0 {
				bytes = 400e6 // a report each hour
			}
			j.w.Sent(j.root, netip.MustParseAddrPort("198.51.100.7:443"), uint64(bytes))
		}
	}
	t.Run("usual work, with its peaks", func(t *testing.T) {
		j := newJob(t, New(Options{}), "m")
		j.pass(5*24*time.Hour, usual(j))
		j.want()
	})
	t.Run("far", func(t *testing.T) {
		j := newJob(t, New(Options{}), "m")
		j.pass(25*time.Hour, usual(j))
		j.pass(10*time.Minute, func(int) { j.w.Sent(j.root, netip.MustParseAddrPort("198.51.100.7:443"), 900e6) })
		if len(j.said) != 1 || j.said[0] != "rate 900000000 bytes sent in a minute" {
			t.Errorf("%q", j.said)
		}
	})
	t.Run("a little, for long", func(t *testing.T) {
		j := newJob(t, New(Options{}), "m")
		j.pass(25*time.Hour, usual(j))
		each := usual(j)
		j.pass(3*time.Hour, func(n int) {
			each(n)
			j.w.Sent(j.root, netip.MustParseAddrPort("198.51.100.7:443"), 60e6)
		})
		if len(j.said) != 1 || !strings.HasPrefix(j.said[0], "shift ") {
			t.Errorf("%q", j.said)
		}
	})
	t.Run("while it is learned", func(t *testing.T) {
		j := newJob(t, New(Options{}), "m")
		j.pass(5*time.Hour, usual(j))
		j.pass(10*time.Minute, func(int) { j.w.Sent(j.root, netip.MustParseAddrPort("198.51.100.7:443"), 900e6) })
		j.want()
	})
}

// What servers, jobs and notebooks do in ordinary life deviates from nothing that was learned of it.
func TestOrdinaryLifeIsUsual(t *testing.T) {
	w := New(Options{})
	j := newJob(t, w, "/models/llama")
	life := func(n int) {
		m := &event.Model{Path: "/models/llama"}
		switch n % 8 {
		case 0: // a checkpoint
			j.file(event.FileWrite, fmt.Sprintf("/models/llama/checkpoint-%d/model.safetensors", n), m)
		case 1: // an adapter
			j.file(event.FileRead, fmt.Sprintf("/models/llama/lora-%d.safetensors", n), m)
		case 2: // pip
			j.run("/usr/bin/pip")
			j.connect("pypi.example.org", fmt.Sprintf("198.51.100.%d:443", n%250))
		case 3: // logs are turned
			j.run("/usr/sbin/logrotate")
			j.run("/usr/bin/gzip")
		case 4: // a data set is streamed from addresses that change
			j.connect("data.example.org", fmt.Sprintf("203.0.%d.7:443", n%250))
		case 5: // health is checked
			j.connect("", "127.0.0.1:8080")
			j.see(&event.Event{Kind: event.NetAccept, Process: j.root, Net: event.Net{Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 1}), uint16(n))}})
		case 6: // kernels are compiled into a cache
			j.file(event.FileMap, fmt.Sprintf("/root/.triton/cache/%032x/launcher.so", n), nil)
		case 7: // the server swaps its model
			j.file(event.FileRead, fmt.Sprintf("/models/b%d/model.safetensors", n/8%2), &event.Model{Path: fmt.Sprintf("/models/b%d", n/8%2)})
		}
	}
	j.pass(26*time.Hour, life)
	j.restart("/usr/bin/vllm", "/models/llama")
	j.pass(26*time.Hour, life)
	j.restart("/usr/bin/vllm", "/models/llama")
	j.pass(26*time.Hour, life)
	j.want()
	if p := w.List()[0]; p.State() != "known" || p.Instances != 3 {
		t.Errorf("%+v", p)
	}
}

func TestProfilesOutliveTheAgent(t *testing.T) {
	w := New(Options{Host: "h"})
	j := known(t, w)
	b, err := w.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	j.w = New(Options{Host: "h"})
	j.w.Mapped = true
	if err := j.w.Restore(b); err != nil {
		t.Fatal(err)
	}
	j.see(&event.Event{Kind: event.ProcessSeen, Process: j.root}) // the same instance
	j.ordinary()
	j.run("/bin/sh")
	j.want("program /bin/sh")
	if p := j.w.List()[0]; p.Instances != 2 {
		t.Errorf("%d instances", p.Instances)
	}
	for _, bad := range []string{"", "{", `{"format":2}`, `{"format":1,"profiles":[null]}`, `{"format":1,"profiles":[{}]}`} {
		if err := New(Options{}).Restore([]byte(bad)); err == nil || !strings.HasPrefix(err.Error(), "profiles: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestWhatWasStrangeLongAgoIsForgotten(t *testing.T) {
	w := New(Options{})
	j := known(t, w)
	p := w.List()[0]
	j.run("/bin/sh")
	if p.Strange["program:/bin/sh"].Count != 1 {
		t.Fatalf("%v", p.Strange)
	}
	j.now = j.now.Add(forgotten + time.Hour)
	j.run("/bin/other")
	if len(p.Strange) == 0 || p.Strange["program:/bin/sh"].Count != 0 {
		t.Errorf("after a month it remembers %v", p.Strange)
	}
}

func TestMemoryIsBoundedWhateverProcessesDo(t *testing.T) {
	w := New(Options{})
	j := newJob(t, w, "m")
	for n := range 5000 {
		j.run(fmt.Sprintf("/tmp/%d", n))
		j.connect(fmt.Sprintf("%d.example.org", n), "203.0.113.66:443")
		j.file(event.FileMap, "/"+strings.Repeat("x", n), nil)
	}
	p := w.List()[0]
	for what, items := range p.Items {
		if len(items) > room[what] {
			t.Errorf("%s: %d", what, len(items))
		}
	}
	if p.Other[event.DeviantProgram] != 5001-96 {
		t.Errorf("%d others", p.Other[event.DeviantProgram])
	}
	w.Freeze(p.ID, true)
	for n := range 5000 {
		j.run(fmt.Sprintf("/var/%d", n))
	}
	if _, last := p.Strange["program:/var/4999"]; !last {
		t.Error("what was strange first left no room for what is now")
	}
	if len(p.Strange) > maxStrange || len(j.said) != maxTold || p.Hushed != 5000-maxTold {
		t.Errorf("%d strange, %d told, %d not told", len(p.Strange), len(j.said), p.Hushed)
	}
	for n := range 3000 {
		j.restart("/usr/bin/vllm", fmt.Sprint(n))
		j.root = nil
	}
	if len(w.profiles) > maxProfiles || len(w.instances) > maxInstances || w.Dropped() == 0 || w.profiles[p.ID] == nil {
		t.Errorf("%d profiles, %d instances, %d dropped", len(w.profiles), len(w.instances), w.Dropped())
	}
}
