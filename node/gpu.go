package node

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/detect/device"
	"picket/detect/mining"
	"picket/event"
	"picket/sensor/gpu"
	"picket/sensor/gpu/helper"
)

const (
	sampleEvery = time.Minute      // what does not change is told
	changeEvery = 15 * time.Second // what changes is told, at most
	gpuUsers    = 1024             // of whom it is known what was told
)

// gpus is what the agent knows of the host's GPUs.
type gpus struct {
	sensor *gpu.Sensor
	watch  *mining.Watch
	device *device.Watch
	kept   time.Time       // when the hours of GPUs were
	told   map[toldOf]told // of the one goroutine that handles events

	mu    sync.Mutex
	state []event.GPUState
}

// toldOf names a GPU, or a process on it.
type toldOf struct {
	gpu  string
	mig  string
	proc event.Key
}

// told is what was last told.
type told struct {
	at, seen time.Time
	memory   int64
	load     int // idle, working, busy
	suspect  bool
}

func newGPUs(cfg *Config, log *slog.Logger, reg *prometheus.Registry) *gpus {
	g := &gpus{sensor: gpu.New(gpuOptions(cfg, log)), watch: mining.New(), device: openDevices(cfg, log), told: map[toldOf]told{}}
	reg.MustRegister(g)
	return g
}

func gpuOptions(cfg *Config, log *slog.Logger) gpu.Options {
	return gpu.Options{Log: log, Every: time.Duration(cfg.GPU.Every), Library: cfg.GPU.Library, DCGM: cfg.GPU.DCGM, Start: readNVIDIA}
}

// readNVIDIA runs the reader of NVIDIA's library, which picket carries inside, without privilege.
func readNVIDIA(ctx context.Context, out, said io.Writer, args ...string) error {
	f, err := helper.Open()
	if err != nil {
		return err
	}
	defer f.Close()                                                                                          //nolint:errcheck // it was only read
	return runReaderOf(ctx, false, "/proc/self/fd/3", f, out, said, append([]string{"picket-gpu"}, args...)) // 3 is f, there
}

// startGPUs looks at GPUs until ctx ends; the channel is closed then.
func (a *agent) startGPUs(ctx context.Context, events chan struct{}) <-chan struct{} {
	done := make(chan struct{})
	in := func(do func()) {
		select {
		case <-events:
			do()
			events <- struct{}{}
		case <-ctx.Done():
		}
	}
	go func() {
		defer close(done)
		a.gpus.sensor.Run(ctx,
			func(r event.GPUReading) {
				in(func() {
					for _, e := range a.readGPUs(time.Now(), r) {
						a.handle(e)
					}
				})
			},
			func(f gpu.Fault) { in(func() { a.handle(a.faultOf(f)) }) })
	}()
	return done
}

// readGPUs takes a look at the GPUs: whose is each process, what does it do there. It returns what is
// news.
func (a *agent) readGPUs(now time.Time, r event.GPUReading) (news []*event.Event) {
	var state []event.GPUState
	for i := range r.Devices {
		d := &r.Devices[i]
		if slices.ContainsFunc(state, func(s event.GPUState) bool { return s.UUID == d.UUID }) {
			continue // two of one name cannot be told apart
		}
		one := event.GPUState{GPU: d.GPU, Users: []event.GPUUser{}}
		for j := range d.Uses {
			e, who := a.readUse(now, &d.GPU, d.Uses[j])
			one.Users = append(one.Users, who)
			if e != nil {
				news = append(news, e)
			}
		}
		state = append(state, one)
		news = append(news, a.gpus.device.Read(now, d, shown)...)
		if a.gpus.news(now, toldOf{gpu: d.UUID}, told{}) {
			news = append(news, &event.Event{Kind: event.GPUSample, Time: now, Host: a.cfg.Host, GPU: &event.GPUReport{GPU: d.GPU}})
		}
	}
	for at, t := range a.gpus.told {
		if now.Sub(t.seen) > sampleEvery {
			delete(a.gpus.told, at)
		}
	}
	a.keepGPUHours(now)
	a.gpus.mu.Lock()
	a.gpus.state = state
	a.gpus.mu.Unlock()
	return news
}

// readUse says who a user of a GPU is; the event is nil where there is no news of it.
func (a *agent) readUse(now time.Time, g *event.GPU, u event.GPUUse) (e *event.Event, who event.GPUUser) {
	e = &event.Event{
		Kind: event.GPUSample, Time: now, Host: a.cfg.Host, Process: &event.Process{PID: u.PID, TID: u.PID, LoginUID: ^uint32(0)},
		GPU: &event.GPUReport{GPU: *g, Use: &u},
	}
	a.tracker.Stamp(e)
	a.gpus.watch.Sample(now, e.Process, g, &u)
	is := told{memory: u.Memory.N, suspect: u.Mining.N >= mining.Suspicious}
	if u.Util.N > 0 {
		is.load++
	}
	if u.Busy > 0 {
		is.load++
	}
	who = event.GPUUser{GPUUse: u, Process: cmp.Or(e.Process.Name(), "?")}
	if c := e.Process.Container; c != nil {
		who.Container = c.ID
	}
	if w := e.Process.Workload; w != nil {
		who.Workload = w.Name
	}
	if !a.gpus.news(now, toldOf{g.UUID, u.MIG, e.Process.Key()}, is) {
		return nil, who
	}
	return e, who
}

// news reports whether something is to be told: it is new, it has changed, or a minute has passed.
func (g *gpus) news(now time.Time, of toldOf, is told) bool {
	last, known := g.told[of]
	moved := max(is.memory-last.memory, last.memory-is.memory)
	changed := is.load != last.load || moved > max(64<<20, last.memory/10)
	if !known && len(g.told) >= gpuUsers || known && now.Sub(last.at) < sampleEvery &&
		(is.suspect && last.suspect || !is.suspect) && (!changed || now.Sub(last.at) < changeEvery) {
		if last.seen = now; known {
			g.told[of] = last
		}
		return false
	}
	is.at, is.seen = now, now
	g.told[of] = is
	return true
}

// faultOf is the event of a fault. The driver names a process by the host's number.
func (a *agent) faultOf(f gpu.Fault) *event.Event {
	e := &event.Event{
		Kind: event.GPUFault, Time: f.Time, Host: a.cfg.Host, Count: f.Count,
		GPU: &event.GPUReport{GPU: event.GPU{PCI: f.PCI, Driver: f.Driver, Source: "kernel"}, Err: &event.GPUError{Xid: f.Xid, Text: f.Text}},
	}
	for _, s := range a.gpus.states() {
		if s.PCI == f.PCI {
			e.GPU.UUID, e.GPU.Name, e.GPU.Driver = s.UUID, s.Name, s.Driver
		}
	}
	if f.PID != 0 {
		e.Process = &event.Process{PID: f.PID, TID: f.PID, LoginUID: ^uint32(0)}
	}
	return e
}

// states returns the GPUs as they were last seen.
func (g *gpus) states() []event.GPUState {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.state)
}

var (
	gpuMetrics = []struct {
		desc *prometheus.Desc
		of   func(*event.GPU) event.Measure
		unit float64
	}{
		{gpuDesc("utilisation_percent", "Time in which the GPU computed."), func(g *event.GPU) event.Measure { return g.Util }, 1},
		{gpuDesc("memory_used_bytes", "Memory of the GPU in use."), func(g *event.GPU) event.Measure { return g.MemoryUsed }, 1},
		{gpuDesc("memory_bytes", "Memory of the GPU."), func(g *event.GPU) event.Measure { return g.MemoryTotal }, 1},
		{gpuDesc("power_watts", "What the GPU draws."), func(g *event.GPU) event.Measure { return g.Power }, 1000},
		{gpuDesc("temperature_celsius", "How warm the GPU is."), func(g *event.GPU) event.Measure { return g.Temperature }, 1},
		{gpuDesc("ecc_errors", "Errors of memory that could not be corrected."), func(g *event.GPU) event.Measure { return g.ECC }, 1},
	}
	gpuUsersDesc  = gpuDesc("processes", "Processes that use the GPU.")
	gpuFaultsDesc = prometheus.NewDesc("picket_gpu_faults_total", "What drivers said of faults.", nil, nil)
	gpuOddDesc    = prometheus.NewDesc("picket_gpu_odd_values_total", "Values of drivers that cannot be and were left out.", nil, nil)
	gpuLostDesc   = prometheus.NewDesc("picket_gpu_unfollowed_total", "Looks at processes on GPUs that were not followed, as too many are.", nil, nil)
)

func gpuDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("picket_gpu_"+name, help, []string{"gpu", "name"}, nil)
}

// Describe implements prometheus.Collector.
func (g *gpus) Describe(to chan<- *prometheus.Desc) {
	for _, m := range gpuMetrics {
		to <- m.desc
	}
	for _, d := range []*prometheus.Desc{gpuUsersDesc, gpuFaultsDesc, gpuOddDesc, gpuLostDesc} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gpus) Collect(to chan<- prometheus.Metric) {
	for _, s := range g.states() {
		for _, m := range gpuMetrics {
			if v := m.of(&s.GPU); v.Known {
				to <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, float64(v.N)/m.unit, s.UUID, s.Name)
			}
		}
		to <- prometheus.MustNewConstMetric(gpuUsersDesc, prometheus.GaugeValue, float64(len(s.Users)), s.UUID, s.Name)
	}
	to <- prometheus.MustNewConstMetric(gpuFaultsDesc, prometheus.CounterValue, float64(g.sensor.Faults()))
	to <- prometheus.MustNewConstMetric(gpuOddDesc, prometheus.CounterValue, float64(g.sensor.Odd()))
	to <- prometheus.MustNewConstMetric(gpuLostDesc, prometheus.CounterValue, float64(g.watch.Dropped()))
}

// gpuChecks looks once, and says what is seen of GPUs.
func gpuChecks(cfg *Config) (out []Check) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, c := range gpu.New(gpuOptions(cfg, nil)).Probe(ctx) {
		out = append(out, Check{Name: c.Name, OK: c.OK, Detail: c.Detail})
	}
	return out
}

// validate checks the gpu section.
func (g *GPU) validate() (key, msg string) {
	switch {
	case g.Every < Duration(time.Second) || g.Every > Duration(10*time.Second):
		return "gpu.every", "want 1s to 10s: what looks like mining is judged by looks that are no further apart"
	case g.Library != "" && !filepath.IsAbs(g.Library):
		return "gpu.library", "want the whole path of a library"
	case !isURL(g.DCGM, "http", "https"):
		return "gpu.dcgm", "want an http:// or https:// URL"
	}
	return "", ""
}
