package node

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"picket/detect"
	"picket/event"
	"picket/sensor/gpu"
	"picket/threats"
	"picket/workload"
)

// gpuAgent is an agent with a tracker, the built-in rules and no sensor.
func gpuAgent(t *testing.T) *agent {
	t.Helper()
	cfg := Default()
	cfg.Host = "h"
	list, err := detect.LoadThreats(threats.FS)
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{cfg: cfg, log: slog.New(slog.DiscardHandler), reg: prometheus.NewRegistry()}
	if a.engine, err = detect.New(detect.Options{Threats: list, Host: "h"}); err != nil {
		t.Fatal(err)
	}
	a.tracker = workload.New(workload.Options{Host: "h"})
	a.gpus = newGPUs(cfg, a.log, a.reg)
	return a
}

// judgeGPU does with an event what handle does, and returns what the rules that fired said.
func (a *agent) judgeGPU(e *event.Event) map[string]string {
	a.tracker.Stamp(e)
	a.gpus.watch.See(e)
	said := map[string]string{}
	for _, f := range a.engine.Process(e) {
		said[f.Rule.Name] = f.Summary
	}
	return said
}

// run starts a real program that does nothing, under a path of our choice.
func run(t *testing.T, name string) uint32 {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("no sleep to run")
	}
	b, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return uint32(cmd.Process.Pid)
}

func reading(pid uint32, util, memory int64) event.GPUReading {
	m := event.Measured
	return event.GPUReading{Devices: []event.GPUDevice{{
		GPU: event.GPU{
			UUID: "GPU-1", Name: "Sim 80GB", PCI: "0000:3b:00.0", Source: "nvml", Util: m(util),
			MemoryUsed: m(memory << 20), MemoryTotal: m(80 << 30), Power: m(660_000), PowerLimit: m(700_000), PCIe: m(1000),
		},
		Uses: []event.GPUUse{{PID: pid, Util: m(util), Memory: m(memory << 20), Type: "compute"}},
	}}}
}

func TestAMinerOnAGPUIsFoundOnceItWasFollowed(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "picket-gpu-") //nolint:usetesting // where it lies is what is tested
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	a, pid, start := gpuAgent(t), run(t, filepath.Join(dir, "trainer")), time.Now()
	if rules := a.judgeGPU(&event.Event{
		Kind: event.NetConnect, Time: start, Host: "h", Process: &event.Process{PID: pid, TID: pid},
		Net: event.Net{Remote: netip.MustParseAddrPort("203.0.113.67:3333"), Initiated: true, Protocol: "tcp"},
	}); len(rules) > 0 {
		t.Fatalf("the connection alone: %v", rules)
	}
	events, found, said := 0, map[string]time.Duration{}, ""
	for s := 0; s <= 900; s += 5 {
		at := start.Add(time.Duration(s) * time.Second)
		for _, e := range a.readGPUs(at, reading(pid, 98+int64(s)%2, 5000)) {
			events++
			for rule, summary := range a.judgeGPU(e) {
				if found[rule] > 0 {
					t.Errorf("%s is said again after %v", rule, at.Sub(start)-found[rule])
				}
				found[rule] = at.Sub(start)
				if rule == "gpu_mining_suspected" {
					said = summary
				}
			}
		}
		a.gpus.watch.Advance(at)
	}
	want := map[string]time.Duration{"gpu_mining_suspected": 270 * time.Second, "gpu_used_by_stranger": 630 * time.Second}
	if d := cmp.Diff(want, found); d != "" {
		t.Errorf("%s", d)
	}
	for _, part := range []string{"trainer", "Sim 80GB", "100 of 100", "pool (connected to 203.0.113.67:3333) +30"} {
		if !strings.Contains(said, part) {
			t.Errorf("%q says nothing of %q", said, part)
		}
	}
	if events > 40 { // one a minute for the GPU and for the process, and the news that it is a miner
		t.Errorf("%d events in a quarter of an hour", events)
	}
	if got := a.gpus.states()[0].Users[0]; got.Process != "trainer" || got.Mining != event.Measured(100) {
		t.Errorf("%+v", got)
	}
}

func TestChangesAreToldAndTheRestEachMinute(t *testing.T) {
	a, pid, start := gpuAgent(t), run(t, filepath.Join(t.TempDir(), "job")), time.Now()
	var got []string
	for s := 0; s < 120; s += 5 {
		util, memory := int64(0), int64(1000)
		if s >= 20 {
			util = 50
		}
		if s >= 40 {
			memory = 9000
		}
		for _, e := range a.readGPUs(start.Add(time.Duration(s)*time.Second), reading(pid, util, memory)) {
			if e.GPU.Use != nil {
				got = append(got, fmt.Sprintf("%d: %d %d", s, e.GPU.Use.Util.N, e.GPU.Use.Memory.N>>20))
			}
		}
	}
	if d := cmp.Diff([]string{"0: 0 1000", "20: 50 1000", "40: 50 9000", "100: 50 9000"}, got); d != "" {
		t.Error(d)
	}
	for range 5 { // it leaves, and what is known of it goes
		a.readGPUs(start.Add(time.Hour), event.GPUReading{})
	}
	if len(a.gpus.told) != 0 || len(a.gpus.states()) != 0 {
		t.Errorf("%d are remembered", len(a.gpus.told))
	}
}

func TestFaultsOfTheHardwareAreFindings(t *testing.T) {
	a := gpuAgent(t)
	a.readGPUs(time.Now(), reading(1, 0, 0))
	for want, f := range map[string]gpu.Fault{
		"gpu_hardware_fault": {PCI: "0000:3b:00.0", Xid: 79, Text: "GPU has fallen off the bus."},
		"":                   {PCI: "0000:3b:00.0", Xid: 31, PID: uint32(os.Getpid()), Text: "MMU Fault"},
	} {
		f.Time = time.Now()
		e := a.faultOf(f)
		said := a.judgeGPU(e)
		if want == "" && len(said) > 0 || want != "" && !strings.Contains(said[want], "Sim 80GB at 0000:3b:00.0 failed with Xid 79") {
			t.Errorf("Xid %d: %v", f.Xid, said)
		}
		if f.PID != 0 && e.Process.Exe == "" {
			t.Errorf("the process that the driver named is not known: %+v", e.Process)
		}
	}
}

func TestGPUsAreMeasured(t *testing.T) {
	a := gpuAgent(t)
	twins := reading(1, 42, 100)
	twins.Devices = append(twins.Devices, twins.Devices[0]) // two of one name would spoil all metrics
	a.readGPUs(time.Now(), twins)
	families, err := a.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
	}
	if got["picket_gpu_utilisation_percent"] != 42 || got["picket_gpu_power_watts"] != 660 || got["picket_gpu_processes"] != 1 {
		t.Errorf("%v", got)
	}
	if _, ok := got["picket_gpu_temperature_celsius"]; ok {
		t.Error("a temperature that nobody knows is told")
	}
}

func TestMistakesInTheGPUSectionAreNamed(t *testing.T) {
	for want, g := range map[string]GPU{
		"gpu.every":   {Every: Duration(time.Millisecond)},
		"gpu.library": {Every: Duration(time.Second), Library: "libnvidia-ml.so"},
		"gpu.dcgm":    {Every: Duration(time.Second), DCGM: "file:///etc/shadow"},
		"":            {Every: Duration(5 * time.Second), Library: "/usr/lib/libnvidia-ml.so.1", DCGM: "http://127.0.0.1:9400/metrics"},
	} {
		if key, _ := g.validate(); key != want {
			t.Errorf("%+v: %q, want %q", g, key, want)
		}
	}
}

func TestAUserOfAGPUIsNamedWithItsContainerAndWorkload(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes a cgroup")
	}
	id := strings.Repeat("c0ffee17", 8)
	cgroup := filepath.Join(unified(t), "docker-"+id+".scope")
	if err := os.Mkdir(cgroup, 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "llama-server")
	pid := run(t, name)
	t.Cleanup(func() { // behind the process's end
		for range 200 {
			if os.Remove(cgroup) == nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Error("the cgroup could not be removed")
	})
	if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), fmt.Append(nil, pid), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(int(pid), syscall.SIGKILL) })
	a := gpuAgent(t)
	e := a.readGPUs(time.Now(), reading(pid, 50, 4000))[0]
	who := a.gpus.states()[0].Users[0]
	if who.Process != "llama-server" || who.Container != id || who.Workload == "" {
		t.Errorf("%+v", who)
	}
	if p := e.Process; p.Container == nil || p.Container.ID != id || p.Workload == nil || p.Workload.Engine != "llama.cpp" {
		t.Errorf("%+v", p)
	}
}

// A GPU is set otherwise, and memory of it stays in use when its process has ended.
func TestWhatBecomesOfAGPUIsJudged(t *testing.T) {
	a, start := gpuAgent(t), time.Now()
	read := func(at time.Duration, r event.GPUReading) (rules []string) {
		for _, e := range a.readGPUs(start.Add(at), r) {
			for rule := range a.judgeGPU(e) {
				rules = append(rules, rule)
			}
		}
		return rules
	}
	pid := run(t, filepath.Join(t.TempDir(), "job"))
	is := reading(pid, 0, 40_000)
	is.Devices[0].ComputeMode = "exclusive process"
	for at := time.Duration(0); at < 5*time.Minute; at += 30 * time.Second {
		if said := read(at, is); len(said) > 0 {
			t.Fatalf("after %v: %v", at, said)
		}
	}
	is.Devices[0].ComputeMode, is.Devices[0].PowerLimit = "default", event.Measured(400_000)
	if d := cmp.Diff([]string{"gpu_isolation_changed", "gpu_limits_changed"}, read(5*time.Minute, is)); d != "" {
		t.Error(d)
	}
	is.Devices[0].Uses = nil // its memory is still in use
	said := map[string]time.Duration{}
	for at := 6 * time.Minute; at < 20*time.Minute; at += 30 * time.Second {
		for _, rule := range read(at, is) {
			said[rule] = at
		}
	}
	if d := cmp.Diff(map[string]time.Duration{"gpu_memory_orphaned": 16 * time.Minute}, said); d != "" {
		t.Error(d)
	}
	if !shown(pid) || shown(1<<22+7) && wholeHost() {
		t.Error("which processes the host shows is told wrongly")
	}
}

func TestTheHoursOfGPUsAreKept(t *testing.T) {
	a := gpuAgent(t)
	a.cfg.Data = t.TempDir()
	if err := os.MkdirAll(a.cfg.dir("agent"), 0o700); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for m := range 70 {
		a.readGPUs(start.Add(time.Duration(m)*time.Minute), reading(1, 90, 100))
	}
	b, err := os.ReadFile(hoursFile(a.cfg))
	if err != nil || !strings.Contains(string(b), `"GPU-1":{"since":`) {
		t.Fatalf("%v: %s", err, b)
	}
	if err := os.WriteFile(hoursFile(a.cfg), b[:len(b)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	openDevices(a.cfg, slog.New(slog.NewTextHandler(&said, nil)))
	if !strings.Contains(said.String(), "learned anew") {
		t.Errorf("nothing is said of a file that is cut: %s", said.String())
	}
}
