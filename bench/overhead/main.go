// Overhead measures what Picket costs the programs it watches: four loads, each timed in pairs of
// runs with and without Picket in one go, and reports the median of the paired ratios.
//
//	go run ./bench/overhead -picket bin/picket
//
// Load and sensor run under the real-time scheduler (SCHED_RR 1): under the ordinary one, other work
// on the machine moves the figures by more than what is measured. A side of a pair is the fastest of
// several short runs, as what disturbs a run only ever adds to it.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"picket/bench/rig"
)

// load is one operation, repeated; most is the ratio that must not be exceeded.
type load struct {
	name  string
	count int
	most  float64
}

var loads = []load{
	{"open", 100_000, 1.35},
	{"exec", 500, 1.10},
	{"connect", 5_000, 1.10}, // to one address, again and again
	{"fanout", 5_000, 0},     // to another address each time
	{"getppid", 1_000_000, 0},
}

const runs = 7

func main() {
	log.SetFlags(0)
	picket := flag.String("picket", "bin/picket", "the picket executable")
	pairs := flag.Int("pairs", 9, "pairs of runs with and without")
	flag.Parse()
	if err := run(*picket, *pairs); err != nil {
		log.Fatal("overhead: ", err)
	}
}

func run(picket string, pairs int) error {
	dir, err := os.MkdirTemp("", "picket-overhead-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a leftover in the temp directory
	bin := filepath.Join(dir, "load")
	if out, err := exec.Command("gcc", "-O2", "-o", bin, "bench/overhead/testdata/load.c").CombinedOutput(); err != nil {
		return fmt.Errorf("building the load (run from the repository's root): %w\n%s", err, out)
	}
	ratios, added := map[string][]float64{}, map[string][]float64{}
	for i := range pairs {
		with, err := withPicket(picket, func() (map[string]float64, error) { return measure(bin) })
		if err != nil {
			return err
		}
		without, err := measure(bin)
		if err != nil {
			return err
		}
		for _, l := range loads {
			ratios[l.name] = append(ratios[l.name], with[l.name]/without[l.name])
			added[l.name] = append(added[l.name], with[l.name]-without[l.name])
		}
		log.Printf("pair %d of %d: %s", i+1, pairs, line(ratios, i))
	}
	fmt.Printf("\n%-8s %8s %16s %12s %8s\n", "load", "ratio", "min to max", "added", "limit")
	for _, l := range loads {
		r := slices.Clone(ratios[l.name])
		slices.Sort(r)
		limit := "-"
		if l.most > 0 {
			limit = fmt.Sprintf("%.2f", l.most)
		}
		fmt.Printf("%-8s %8.3f %7.3f to %5.3f %9.0f ns %8s\n", l.name, median(r), r[0], r[len(r)-1], median(added[l.name]), limit)
	}
	return nil
}

func line(ratios map[string][]float64, i int) string {
	var parts []string
	for _, l := range loads {
		parts = append(parts, fmt.Sprintf("%s %.3f", l.name, ratios[l.name][i]))
	}
	return strings.Join(parts, "  ")
}

func median(v []float64) float64 {
	s := slices.Clone(v)
	slices.Sort(s)
	return s[len(s)/2]
}

// measure returns the nanoseconds of one operation of each load: the fastest of its runs.
func measure(bin string) (map[string]float64, error) {
	out := map[string]float64{}
	for _, l := range loads {
		best := math.Inf(1)
		for range runs {
			b, err := exec.Command("chrt", "-r", "1", bin, l.name, strconv.Itoa(l.count)).Output()
			if err != nil {
				return nil, fmt.Errorf("load %s: %w", l.name, err)
			}
			ns, err := strconv.ParseFloat(string(bytes.TrimSpace(b)), 64)
			if err != nil {
				return nil, fmt.Errorf("load %s: %w", l.name, err)
			}
			best = min(best, ns)
		}
		out[l.name] = best
	}
	return out, nil
}

// withPicket runs do while Picket watches the host, its agent under SCHED_RR 1.
func withPicket(picket string, do func() (map[string]float64, error)) (_ map[string]float64, err error) {
	p, err := rig.Start(picket, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	pids, err := p.PIDs()
	if err != nil {
		return nil, err
	}
	if out, err := exec.Command("chrt", "-a", "-r", "-p", "1", strconv.Itoa(pids["agent"])).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("chrt: %w: %s", err, out)
	}
	time.Sleep(3 * time.Second) // start-up is not what is measured
	return do()
}
