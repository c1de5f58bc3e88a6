// Sigma measures how many events a second the rule engine matches on one core, beside the plain way
// of asking one rule after the other, with the public Sigma rules.
//
//	go run ./bench/sigma -data ../shared/data
//
// Figures are medians of windows of CPU time. The sides of a comparison take turns window by
// window. Events are made before the clock starts: 500 of an AI cluster's ordinary work, or -events.
// How much slower 3,000 rules are than ten is asked of several sets of ten, side by side.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"time"

	"picket/sigma"
)

var alone bool

func main() {
	log.SetFlags(0)
	data := flag.String("data", "../shared/data", "directory with the archive of public rules")
	windows := flag.Int("windows", 7, "windows of each figure, of 0.3 s")
	distinct := flag.Int("events", 500, "events that are made; past some thousand the processor's caches do not hold them")
	flag.BoolVar(&alone, "alone", false, "leave out the other side, as for a profiler")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	if err := run(*data, *windows, *distinct); err != nil {
		log.Fatal("sigma: ", err)
	}
}

// window is the CPU time in which a side is measured before the other has its turn.
const window = 300 * time.Millisecond

func run(data string, windows, distinct int) error {
	loaded, err := load(data)
	if err != nil {
		return err
	}
	fmt.Printf("all rules: %d compiled in %.2f s from YAML, heap %.1f MB (limits 2 s, 50 MB)\n\n", loaded.compiled, loaded.took.Seconds(), float64(loaded.heap)/(1<<20))
	r := rand.New(rand.NewPCG(1, 2))
	process, mixed := processEvents(r, distinct), mixedEvents(r, distinct)
	var linux, any []*sigma.Rule
	for _, rule := range loaded.rules {
		if rule.Logsource.Category == "process_creation" {
			any = append(any, as(rule, sigma.Logsource{Category: "process_creation"}))
		}
		if rule.Logsource.Product == "linux" {
			linux = append(linux, rule)
		}
	}
	cases := []struct {
		name  string
		rules []*sigma.Rule
		evs   []sigma.Event
		limit int
	}{
		{"Linux rules, routed", linux, mixed, 1_000_000},
		{"process rules of all products", any, process, 300_000},
	}
	for _, n := range []int{10, 100, 1000, 3000} {
		limit := 0
		if n == 3000 {
			limit = 300_000
		}
		cases = append(cases, struct {
			name  string
			rules []*sigma.Rule
			evs   []sigma.Event
			limit int
		}{fmt.Sprintf("%d random rules, unrouted", n), unrouted(r, loaded.rules, n), mixed, limit})
	}
	fmt.Printf("%-32s %6s %12s %12s %10s %12s %8s\n", "rules", "count", "events/s", "limit", "allocs", "one by one", "hits")
	for _, c := range cases {
		if err := compare(c.name, c.rules, c.evs, c.limit, windows); err != nil {
			return err
		}
	}
	return scale(r, loaded.rules, mixed, windows)
}

// compare prints one row. Both sides must fire the same rules.
func compare(name string, rules []*sigma.Rule, evs []sigma.Event, limit, windows int) error {
	e, err := sigma.Compile(rules, schema)
	if err := onlyPlaceholders(err); err != nil {
		return err
	}
	plain, err := oneByOne(e.Rules())
	if err != nil {
		return err
	}
	fired, fires := 0, 0
	fast := func(ev sigma.Event) { e.Match(ev, func(*sigma.Rule) { fired++ }) }
	slow := func(ev sigma.Event) {
		for _, one := range plain {
			one.Match(ev, func(*sigma.Rule) { fires++ })
		}
	}
	check := evs[:min(len(evs), 200)]
	for _, ev := range check {
		fast(ev)
		slow(ev)
	}
	if fired != fires {
		return fmt.Errorf("%s: the engine fired %d times, its rules one by one %d times", name, fired, fires)
	}
	for _, ev := range evs { // what is made once is made before
		fast(ev)
	}
	fired = 0
	for _, ev := range evs {
		fast(ev)
	}
	hits := float64(fired) / float64(len(evs))
	var a, b []float64
	var allocs float64
	for range windows {
		rate, n := measure(evs, fast)
		a, allocs = append(a, rate), n
		if !alone {
			rate, _ = measure(evs, slow)
		}
		b = append(b, rate)
	}
	want := "-"
	if limit > 0 {
		want = fmt.Sprint(limit)
	}
	fmt.Printf("%-32s %6d %12.0f %12s %10.3f %12.0f %8.3f\n", name, len(e.Rules()), median(a), want, allocs, median(b), hits)
	return nil
}

// oneByOne makes an engine of each rule.
func oneByOne(rules []*sigma.Rule) ([]*sigma.Engine, error) {
	var out []*sigma.Engine
	for _, r := range rules {
		e, err := sigma.Compile([]*sigma.Rule{r}, schema)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// measure returns the events a second of CPU time, and the allocations of one event.
func measure(evs []sigma.Event, match func(sigma.Event)) (rate, allocs float64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, n := cpu(), 0
	for cpu()-began < window {
		for range 256 {
			match(evs[n%len(evs)])
			n++
		}
	}
	took := cpu() - began
	runtime.ReadMemStats(&after)
	return float64(n) / took.Seconds(), float64(after.Mallocs-before.Mallocs) / float64(n)
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail with these arguments
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// as returns a copy of a rule about another log source.
func as(r *sigma.Rule, l sigma.Logsource) *sigma.Rule {
	c := *r
	c.Logsource = l
	return &c
}

// unrouted returns n rules that apply to every event.
func unrouted(r *rand.Rand, rules []*sigma.Rule, n int) []*sigma.Rule {
	var out []*sigma.Rule
	for _, i := range r.Perm(len(rules))[:min(n, len(rules))] {
		out = append(out, as(rules[i], sigma.Logsource{}))
	}
	return out
}

// onlyPlaceholders forgives rules that need values nobody gave.
func onlyPlaceholders(err error) error {
	var list sigma.Errors
	if err == nil || errors.As(err, &list) {
		return nil
	}
	return err
}
