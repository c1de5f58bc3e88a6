package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
	"picket/sensor/cuda"
	"picket/sensor/kernel"
	"picket/sensor/python"
	"picket/sensor/uprobe"
)

// Sensor is the sensor section.
type Sensor struct {
	CUDA   bool `yaml:"cuda" doc:"look at calls of NVIDIA's libcuda: copies from GPUs, code that is loaded, memory that is shared; each such call gets slower by what picket doctor says"`
	Python bool `yaml:"python" doc:"hear audit events of Python interpreters: what a pickle names, what is run, which library is loaded; each event gets slower by what picket doctor says"`
}

// probes are the sensors in libraries and interpreters that the configuration asks for.
type probes struct {
	list  []*probe
	lacks []event.Capability // of those that could not be opened
}

// probe is one of them.
type probe struct {
	name string
	sensor
}

// sensor is what both of them do.
type sensor interface {
	Run(ctx context.Context, handle func(*event.Event)) error
	Meet(pid uint32, path string, dev, ino uint64)
	Capabilities() []event.Capability
	Held() []uprobe.Held
	Missed() uint64
	Close() error
}

// openProbes opens the sensors that are asked for. One that does not work here is told of, and the
// agent goes on without.
func (a *agent) openProbes() {
	a.probes = &probes{}
	open := func(name string, wanted bool, open func(*slog.Logger) (sensor, error)) {
		if !wanted {
			return
		}
		log := a.log.With("component", name)
		s, err := open(log)
		if err != nil {
			log.Warn("probes cannot be used here", "error", err)
			a.probes.lacks = append(a.probes.lacks, event.Capability{Name: name, Detail: err.Error()})
			return
		}
		a.probes.list = append(a.probes.list, &probe{name, s})
	}
	open("cuda", a.cfg.Sensor.CUDA, func(log *slog.Logger) (sensor, error) {
		return cuda.Open(cuda.Options{Log: log, Host: a.cfg.Host, Memory: a.gpus.memoryOf})
	})
	open("python", a.cfg.Sensor.Python, func(log *slog.Logger) (sensor, error) {
		return python.Open(python.Options{Log: log, Host: a.cfg.Host})
	})
	a.reg.MustRegister(a.probes)
}

func (p *probes) close() error {
	var all []error
	for _, s := range p.list {
		all = append(all, s.Close())
	}
	return errors.Join(all...)
}

// kinds adds what is needed to meet the files that are looked for.
func (p *probes) kinds(to map[event.Kind]bool) {
	if len(p.list) > 0 {
		to[event.FileMap], to[event.ProcessStart] = true, true
	}
}

// meet tells of a file that a process runs code of.
func (p *probes) meet(e *event.Event) {
	for _, s := range p.list {
		switch e.Kind {
		case event.ProcessStart:
			s.Meet(e.Process.PID, e.Process.Exe, e.Process.ExeDev, e.Process.ExeIno)
		case event.FileMap:
			s.Meet(e.Process.PID, e.File.Path, e.File.Dev, e.File.Ino)
		}
	}
}

// startProbes hands their events on until ctx ends; the channel is closed then.
func (a *agent) startProbes(ctx context.Context, events chan struct{}) <-chan struct{} {
	done := make(chan struct{})
	var all sync.WaitGroup
	for _, p := range a.probes.list {
		all.Go(func() {
			err := p.Run(ctx, func(e *event.Event) {
				if !turn(ctx, events) {
					return
				}
				a.finish(e)
				a.handle(e)
				events <- struct{}{}
			})
			if err != nil {
				a.log.Error("probes are not heard any more", "component", p.name, "error", err)
			}
		})
	}
	go func() {
		all.Wait()
		close(done)
	}()
	return done
}

// turn waits until an event can be handed on. Behind the end of ctx it waits a moment: what was counted by
// then is told of last.
func turn(ctx context.Context, events chan struct{}) bool {
	select {
	case <-events:
		return true
	case <-ctx.Done():
	}
	select {
	case <-events:
		return true
	case <-time.After(time.Second):
		return false
	}
}

// finish adds to an event of a probe what the sensor cannot know, and takes secrets out.
func (a *agent) finish(e *event.Event) {
	if p := e.Python; p != nil {
		p.Argument = redactLine(p.Argument)
	}
	if c := e.CUDA; c != nil && c.Peer.PID != 0 {
		a.tracker.Stamp(e)
		peer := &event.Event{Kind: e.Kind, Time: e.Time, Process: &event.Process{PID: c.Peer.PID, LoginUID: ^uint32(0)}}
		a.tracker.Stamp(peer)
		c.Peer.Foreign = containerOf(e.Process) != containerOf(peer.Process)
	}
}

func containerOf(p *event.Process) string {
	if p.Container == nil {
		return ""
	}
	return p.Container.ID
}

// redactLine masks secrets in a command line.
func redactLine(line string) string {
	line = kernel.Redact([]string{line})[0] // what is one word to a shell: a header, with its quotes
	words := strings.Fields(line)
	if masked := kernel.Redact(words); !slices.Equal(masked, words) {
		return strings.Join(masked, " ")
	}
	return line
}

// memoryOf is how much of GPUs' memory a process held when they were last looked at.
func (g *gpus) memoryOf(pid uint32) (bytes int64, known bool) {
	for _, s := range g.states() {
		for _, u := range s.Users {
			if u.PID == pid && u.Memory.Known {
				bytes += u.Memory.N
				known = true
			}
		}
	}
	return bytes, known
}

func (p *probes) capabilities() []event.Capability {
	out := slices.Clone(p.lacks)
	for _, s := range p.list {
		out = append(out, s.Capabilities()...)
	}
	return out
}

var (
	probeFilesDesc  = prometheus.NewDesc("picket_probe_files", "Libraries and interpreters that probes are on.", []string{"sensor"}, nil)
	probeMissedDesc = prometheus.NewDesc("picket_probe_missed_total", "What probes saw and could not tell, and files that they could not be put on.", []string{"sensor"}, nil)
)

// Describe implements prometheus.Collector.
func (p *probes) Describe(to chan<- *prometheus.Desc) {
	to <- probeFilesDesc
	to <- probeMissedDesc
}

// Collect implements prometheus.Collector.
func (p *probes) Collect(to chan<- prometheus.Metric) {
	for _, s := range p.list {
		to <- prometheus.MustNewConstMetric(probeFilesDesc, prometheus.GaugeValue, float64(len(s.Held())), s.name)
		to <- prometheus.MustNewConstMetric(probeMissedDesc, prometheus.CounterValue, float64(s.Missed()), s.name)
	}
}

// probeChecks says what probes would cost here, whether they are asked for or not.
func probeChecks(cfg *Config) (out []Check) {
	for _, p := range []struct {
		name, each string
		on         bool
		measure    func() ([]uprobe.Cost, error)
	}{
		{"cuda", "each copy from a GPU and each load of code for it", cfg.Sensor.CUDA, cuda.Measure},
		{"python", "each audit event of an interpreter, told of or not", cfg.Sensor.Python, python.Measure},
	} {
		costs, err := p.measure()
		c := Check{Name: p.name, OK: err == nil, Detail: fmt.Sprintf("%s; off: sensor.%s turns it on", p.each, p.name)}
		if p.on {
			c.Detail = p.each
		}
		if err != nil {
			c.Detail = err.Error()
		}
		for _, k := range costs {
			c.Costs = append(c.Costs, kernel.Cost{Feature: p.name, Program: string(k.Class), Runs: uint64(k.Calls), Nanoseconds: k.Nanoseconds})
		}
		if len(costs) > 0 {
			c.Detail += "; the dearest where the function's first instruction is single-stepped"
		}
		out = append(out, c)
	}
	return out
}
