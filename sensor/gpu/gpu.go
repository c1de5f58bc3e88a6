// Package gpu tells how busy the host's GPUs are, which processes use them, and what their drivers
// say of faults.
//
// NVIDIA's are read through the driver's own library, by a program without privilege that runs
// beside the agent; AMD's and others through files of the kernel; those of a DCGM exporter through
// its metrics. Where there is no GPU nothing runs but a look, now and then, whether one came.
package gpu

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"picket/event"
)

// Options sets up a Sensor. The zero value looks every five seconds, without NVIDIA's library.
type Options struct {
	Log   *slog.Logger
	Every time.Duration // 0: 5 s
	// Library is NVIDIA's library; "" looks where the driver puts it, where the driver is loaded.
	Library string
	// Start runs picket-gpu with these arguments until it ends or ctx does. Who gives none has no
	// NVIDIA GPUs.
	Start func(ctx context.Context, out, said io.Writer, args ...string) error
	// DCGM is the address of a DCGM exporter's metrics; "": none.
	DCGM string
	// Tool is NVIDIA's tool that resets GPUs, nvidia-smi; "": where packages of the driver put it.
	Tool string
	// Root is where /sys, /proc and /dev are found; "": /.
	Root string

	resetTime time.Duration // that a reset may take; 0: 35 s
}

// Sensor looks at GPUs.
type Sensor struct {
	opt    Options
	log    *slog.Logger
	dcgm   *scraper
	drm    *drm
	odd    atomic.Uint64
	faults atomic.Uint64

	mu     sync.Mutex
	nvidia event.GPUReading
	heard  time.Time // of nvidia
	caps   map[string]event.Capability
	known  map[string]seen // by UUID; of them at most maxDevices

	resets  sync.Mutex         // held while a GPU is reset
	resting chan struct{}      // closed when the reader of NVIDIA's library may be started; nil: it may
	reader  chan struct{}      // closed when the one that runs has ended; nil: none runs
	stop    context.CancelFunc // ends it
}

// New returns a sensor that has looked at nothing yet.
func New(o Options) *Sensor {
	o.Every, o.resetTime = cmp.Or(o.Every, 5*time.Second), cmp.Or(o.resetTime, resetTime)
	if o.Root == "" {
		o.Root = "/"
	}
	s := &Sensor{opt: o, log: o.Log, drm: newDRM(o.Root), caps: map[string]event.Capability{}, known: map[string]seen{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if o.DCGM != "" {
		s.dcgm = newScraper(o.DCGM)
	}
	return s
}

// Run calls read after each look, and fault for what a driver says of faults, until ctx ends. Where
// there is no GPU, and was none at the look before, read is not called.
func (s *Sensor) Run(ctx context.Context, read func(event.GPUReading), fault func(Fault)) {
	var all sync.WaitGroup
	defer all.Wait()
	if s.opt.Start != nil {
		all.Go(func() { s.followNVIDIA(ctx) })
	}
	all.Go(func() {
		s.followKernel(ctx, func(f Fault) {
			s.faults.Add(1)
			fault(f)
		})
	})
	tick := time.NewTicker(s.opt.Every)
	defer tick.Stop()
	some := false
	for {
		r := s.look(ctx, time.Now())
		if some || len(r.Devices) > 0 {
			read(r)
		}
		some = len(r.Devices) > 0
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Probe looks once, and says what is seen. It waits for the first word of each source.
func (s *Sensor) Probe(ctx context.Context) []event.Capability {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx, func(event.GPUReading) {}, func(Fault) {})
	}()
	for tick := time.NewTicker(10 * time.Millisecond); ctx.Err() == nil && !s.spoken(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	cancel()
	<-done
	return s.Capabilities()
}

// spoken reports whether each source has said something.
func (s *Sensor) spoken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, faults := s.caps["gpu-faults"]
	_, nvidia := s.caps["gpu-nvidia"]
	_, dcgm := s.caps["gpu-dcgm"]
	return faults && (nvidia || s.opt.Start == nil || !s.nvidiaHere()) && (dcgm || s.dcgm == nil)
}

// look gathers what all sources say.
func (s *Sensor) look(ctx context.Context, now time.Time) event.GPUReading {
	s.mu.Lock()
	r := event.GPUReading{Error: s.nvidia.Error, PerProcess: s.nvidia.PerProcess}
	if now.Sub(s.heard) <= s.patience() {
		r.Devices = slices.Clone(s.nvidia.Devices)
	}
	s.mu.Unlock()
	more, odd := s.drm.read(now)
	r.Devices = append(r.Devices, more.Devices...)
	s.say("gpu-drm", len(s.drm.cards) > 0, len(more.Devices) > 0, more.Error, "AMD and other GPUs by the kernel's files")
	if s.dcgm != nil {
		told, wrong, err := s.dcgm.read(ctx)
		s.say("gpu-dcgm", true, err == nil, text(err), "metrics of "+s.opt.DCGM)
		odd += wrong
		merge(&r, told.Devices)
	}
	s.odd.Add(uint64(odd))
	s.mu.Lock()
	s.see(more.Devices, now)
	s.mu.Unlock()
	return r
}

// merge adds devices that are not there yet, and to those that are what is not known of them.
func merge(r *event.GPUReading, more []event.GPUDevice) {
	for _, d := range more {
		i := slices.IndexFunc(r.Devices, func(have event.GPUDevice) bool { return have.UUID == d.UUID })
		if i < 0 {
			if len(r.Devices) < maxDevices {
				r.Devices = append(r.Devices, d)
			}
			continue
		}
		have := &r.Devices[i]
		to, from := measures(&have.GPU), measures(&d.GPU)
		for n := range to {
			if !to[n].Known {
				*to[n] = *from[n]
			}
		}
	}
}

func measures(d *event.GPU) []*event.Measure {
	return []*event.Measure{
		&d.Util, &d.MemoryUsed, &d.MemoryTotal, &d.Power, &d.PowerLimit, &d.ClockSM, &d.ClockMemory, &d.Temperature, &d.ECC, &d.Retired, &d.PCIe, &d.Tensor, &d.Corrected, &d.ClockLimit,
	}
}

// patience is how long a source may say nothing.
func (s *Sensor) patience() time.Duration { return max(3*s.opt.Every, 3*time.Second) }

func (s *Sensor) exists(path string) bool {
	_, err := os.Stat(filepath.Join(s.opt.Root, path))
	return err == nil
}

// nvidiaHere reports whether the driver is loaded, or a library stands in for it.
func (s *Sensor) nvidiaHere() bool {
	return s.opt.Library != "" || s.exists("/proc/driver/nvidia/version") || s.exists("/dev/nvidiactl")
}

// say notes how a source is; one that is not there is not spoken of.
func (s *Sensor) say(name string, there, ok bool, why, fine string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !there {
		delete(s.caps, name)
		return
	}
	c := event.Capability{Name: name, OK: ok && why == "", Detail: fine}
	if why != "" {
		c.Detail = why
	}
	if old := s.caps[name]; old.OK && !c.OK {
		s.log.Warn("GPUs are not seen", "source", name, "reason", c.Detail)
	}
	s.caps[name] = c
}

// Capabilities says what is seen of GPUs and what is not.
func (s *Sensor) Capabilities() []event.Capability {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []event.Capability
	for _, c := range s.caps {
		out = append(out, c)
	}
	if !slices.ContainsFunc(out, func(c event.Capability) bool { return c.Name != "gpu-faults" }) {
		out = append(out, event.Capability{Name: "gpu", OK: true, Detail: "no GPU here: no NVIDIA driver is loaded and the kernel shows no other"})
	}
	slices.SortFunc(out, func(a, b event.Capability) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Odd counts values of drivers that cannot be and were left out.
func (s *Sensor) Odd() uint64 { return s.odd.Load() }

// Faults counts what drivers said of faults.
func (s *Sensor) Faults() uint64 { return s.faults.Load() }

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
