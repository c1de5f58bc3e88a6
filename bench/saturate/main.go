// Saturate asks what the sensor loses, and what an event costs in user space.
//
//	go build -o bin/saturate ./bench/saturate && bin/saturate -picket bin/picket
//
// Under Picket with its default rules, files are opened as fast as the host can, which no rule
// wants: nothing may be dropped. Then the agent's stages, in this process, take opens that all are
// wanted, one more stage each time: what each adds to the CPU time of an event that is delivered. In
// each of these rounds what the load did must be what was delivered and what was counted as dropped,
// to the last one, and so it must in a round with a reader that stalls again and again.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"runtime"
	"slices"
	"time"

	"picket/api/client"
	"picket/bench/rig"
)

// results is what was measured, as -json prints it.
type results struct {
	Unwanted unwanted `json:"unwanted"`
	Stages   []stage  `json:"stages"`
	Flood    round    `json:"flood"`
}

// unwanted is a load that nobody wants to hear of.
type unwanted struct {
	Opens     uint64  `json:"opens"`
	PerSecond float64 `json:"per_second"`
	Dropped   uint64  `json:"dropped"`
	AgentCPU  float64 `json:"agent_cpu_seconds"`
}

// stage is what an event costs up to a stage: the median of its rounds.
type stage struct {
	Name        string  `json:"name"`
	Delivered   uint64  `json:"delivered"`
	Nanoseconds float64 `json:"cpu_ns_per_event"`
	Unaccounted int64   `json:"unaccounted"`
	rounds      []float64
}

// leastLoad is how many opens a second must be borne without a loss.
const leastLoad = 400_000

func main() {
	log.SetFlags(0)
	if len(os.Args) > 1 && os.Args[1] == "load" {
		if err := load(os.Args[2:]); err != nil {
			log.Fatal("saturate: load: ", err)
		}
		return
	}
	picket := flag.String("picket", "bin/picket", "the picket executable")
	n := flag.Uint64("events", 1_000_000, "events delivered in a round, at least")
	rounds := flag.Int("rounds", 3, "rounds of each stage")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Parse()
	out, err := run(*picket, *n, *rounds)
	if err == nil && *asJSON {
		err = json.NewEncoder(os.Stdout).Encode(out)
	} else if err == nil {
		out.print()
	}
	if err != nil {
		log.Fatal("saturate: ", err)
	}
	if err := out.judge(); err != nil {
		log.Fatal("saturate: ", err)
	}
}

func run(picket string, n uint64, rounds int) (out results, err error) {
	if out.Unwanted, err = measureUnwanted(picket, n); err != nil {
		return out, err
	}
	for _, name := range stageNames {
		out.Stages = append(out.Stages, stage{Name: name})
	}
	for range rounds { // in turn: what disturbs the host disturbs all
		for i := range out.Stages {
			handle, err := chain(i)
			if err != nil {
				return out, err
			}
			r, err := measure(1, n, handle)
			if err != nil {
				return out, err
			}
			out.Stages[i].take(r)
		}
	}
	out.Flood, err = flood(n / 10)
	return out, err
}

func (s *stage) take(r round) {
	s.rounds = append(s.rounds, r.Nanoseconds)
	sorted := slices.Sorted(slices.Values(s.rounds))
	s.Nanoseconds = sorted[len(sorted)/2]
	s.Delivered += r.Delivered
	s.Unaccounted += r.unaccounted()
}

// measureUnwanted loads the host while Picket watches it, with one thread for each processor.
func measureUnwanted(picket string, n uint64) (out unwanted, err error) {
	p, err := rig.Start(picket, "")
	if err != nil {
		return out, err
	}
	defer func() {
		if e := p.Stop(); err == nil {
			err = e
		}
	}()
	pids, err := p.PIDs()
	if err != nil {
		return out, err
	}
	c, err := p.Client()
	if err != nil {
		return out, err
	}
	dir, err := filesFor()
	if err != nil {
		return out, err
	}
	defer os.RemoveAll(dir)     //nolint:errcheck // a leftover in the temp directory
	time.Sleep(5 * time.Second) // start-up is not what is measured
	before, err := dropped(c, p.Config.Host)
	if err != nil {
		return out, err
	}
	began, err := rig.CPU(pids["agent"])
	if err != nil {
		return out, err
	}
	did, err := runLoad(dir, "read", runtime.NumCPU(), 4*n)
	if err != nil {
		return out, err
	}
	ended, err := rig.CPU(pids["agent"])
	if err != nil {
		return out, err
	}
	after, err := dropped(c, p.Config.Host)
	return unwanted{did.opens, did.perSecond(), after - before, (ended - began).Seconds()}, err
}

// dropped returns what the agent's sensor has dropped, as of a heartbeat from now on.
func dropped(c *client.Client, host string) (n uint64, err error) {
	asked := time.Now()
	err = rig.Until(time.Minute, "the agent's heartbeat", func() (bool, error) {
		agents, err := fleet(c)
		for _, a := range agents {
			if a.Host == host && a.Heartbeat != nil && a.Heartbeat.Time.After(asked) {
				n = a.Counters["sensor_dropped"]
				return true, nil
			}
		}
		return false, err
	})
	return n, err
}

func (r *results) print() {
	u := r.Unwanted
	fmt.Printf("unwanted  %d opens, %.0f/s (at least %d), %d dropped (limit 0), agent %.2f s CPU\n", u.Opens, u.PerSecond, leastLoad, u.Dropped, u.AgentCPU)
	fmt.Printf("\n%-10s %12s %14s %10s %14s\n", "stage", "delivered", "CPU an event", "adds", "unaccounted")
	last := 0.0
	for _, s := range r.Stages {
		fmt.Printf("%-10s %12d %11.0f ns %7.0f ns %14d\n", s.Name, s.Delivered, s.Nanoseconds, s.Nanoseconds-last, s.Unaccounted)
		last = s.Nanoseconds
	}
	f := r.Flood
	fmt.Printf("\nflood     %d sent at %.0f/s, %d delivered, %d dropped, %d unaccounted (limit 0)\n", f.Sent, f.PerSecond, f.Delivered, f.Dropped, f.unaccounted())
}

// judge fails where an event was lost that nobody counted, or one was dropped that nobody wanted.
func (r *results) judge() error {
	for _, s := range r.Stages {
		if s.Unaccounted != 0 {
			return fmt.Errorf("%s: %d events are unaccounted for", s.Name, s.Unaccounted)
		}
	}
	switch {
	case r.Flood.unaccounted() != 0:
		return fmt.Errorf("flood: %d events are unaccounted for", r.Flood.unaccounted())
	case r.Flood.Dropped == 0:
		return errors.New("flood: nothing was dropped: the load is too slow to say what saturation does")
	case r.Unwanted.Dropped != 0:
		return fmt.Errorf("%d events were dropped under a load that no rule wants", r.Unwanted.Dropped)
	case r.Unwanted.PerSecond < leastLoad:
		return fmt.Errorf("unwanted: only %.0f opens/s: the host is too slow or busy to say what %d do", r.Unwanted.PerSecond, leastLoad)
	}
	return nil
}
