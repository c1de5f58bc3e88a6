package main

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"picket/bench/rig"
	"picket/detect"
	"picket/event"
	"picket/node"
	"picket/sensor/kernel"
	"picket/threats"
	"picket/workload"
)

// stageNames are the agent's stages, in the order that an event meets them.
var stageNames = []string{"sensor", "workload", "detect"}

// round is a load of which each open is wanted, and what became of it.
type round struct {
	Sent        uint64  `json:"sent"`
	PerSecond   float64 `json:"per_second"`
	Delivered   uint64  `json:"delivered"`
	Dropped     uint64  `json:"dropped"`
	Nanoseconds float64 `json:"cpu_ns_per_event"` // CPU time of this process by delivered event
}

func (r round) unaccounted() int64 { return int64(r.Sent) - int64(r.Delivered) - int64(r.Dropped) }

// kinds are those of the load, and those that let its process be known.
var kinds = map[event.Kind]bool{
	event.FileWrite: true, event.ProcessSeen: true, event.ProcessStart: true, event.ProcessFork: true, event.ProcessExit: true,
}

// A reader that gets no processor for a while: what happens meanwhile is more than a ring holds.
const (
	stallEvery = 1000 // events
	stallFor   = 20 * time.Millisecond
)

// flood is measure with all stages, all processors and a reader that stalls.
func flood(n uint64) (round, error) {
	all, err := chain(len(stageNames) - 1)
	if err != nil {
		return round{}, err
	}
	events := 0
	return measure(runtime.NumCPU(), n, func(e *event.Event) {
		if events++; events%stallEvery == 0 {
			time.Sleep(stallFor)
		}
		all(e)
	})
}

// measure hands events to handle, and opens files for writing until enough events came of it.
func measure(threads int, n uint64, handle func(*event.Event)) (out round, err error) {
	dir, err := filesFor()
	if err != nil {
		return out, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a leftover in the temp directory
	sensor, err := kernel.Open(kernel.Options{Demand: kernel.Demand{Kinds: kinds, Paths: []string{dir + "/"}}})
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, sensor.Close()) }()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- sensor.Run(ctx, func(e *event.Event) {
			if e.Kind == event.FileWrite && strings.HasPrefix(e.File.Path, dir) {
				out.Delivered++
			}
			handle(e)
		})
	}()
	defer func() {
		cancel()
		err = errors.Join(err, <-ended)
	}()
	time.Sleep(time.Second) // start-up is not what is measured
	before := cpu()
	took := time.Duration(0)
	for out.Sent-out.Dropped < n {
		did, err := runLoad(dir, "write", threads, n)
		if err != nil {
			return out, err
		}
		out.Sent, took = out.Sent+did.opens, took+did.took
		s, err := settle(sensor)
		if err != nil {
			return out, err
		}
		out.Dropped = s.Dropped[event.FileWrite]
	}
	cancel()
	err = <-ended
	ended <- nil
	out.PerSecond = float64(out.Sent) / took.Seconds()
	out.Nanoseconds = float64(cpu()-before) / float64(max(out.Delivered, 1))
	return out, err
}

// settle waits until all that the kernel sent was received.
func settle(s *kernel.Sensor) (st kernel.Stats, err error) {
	err = rig.Until(time.Minute, "the end of what was sent", func() (bool, error) {
		st = s.Stats()
		return st.Received[event.FileWrite] == st.Sent[event.FileWrite], nil
	})
	return st, err
}

// chain returns what the agent does with an event, up to a stage, with the default rules.
func chain(last int) (func(*event.Event), error) {
	cfg := node.Default()
	loaded, err := node.LoadThreats(cfg, node.ThreatRoots(cfg, threats.FS)...)
	if err != nil {
		return nil, err
	}
	engine, err := detect.New(detect.Options{Threats: loaded})
	if err != nil {
		return nil, err
	}
	tracker := workload.New(workload.Options{Redact: kernel.Redact})
	return func(e *event.Event) {
		if last >= 1 {
			tracker.Stamp(e)
		}
		if last >= 2 {
			engine.Process(e)
		}
	}, nil
}

// cpu is the time that this process has run, in user space and kernel.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // cannot fail for oneself
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
