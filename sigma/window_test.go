package sigma_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/sigma"
)

// naiveCorrelator keeps all events and looks at them anew each time. It is slow and short, and shares
// no code with Correlator.
type naiveCorrelator struct {
	def       *sigma.Correlation
	lateness  time.Duration
	watermark time.Time
	groups    map[string]*naiveGroup
}

type naiveGroup struct {
	events []moment // in order of arrival
	newest time.Time
	silent bool
	fired  time.Time
}

func (n *naiveCorrelator) play(m moment) []string {
	if m.rules == nil {
		return n.advance(m.at)
	}
	out := n.advance(m.at)
	if m.at.Before(n.watermark) {
		return out
	}
	key := m.event.Extra("u").Str
	g := n.groups[key]
	if g == nil {
		g = &naiveGroup{}
		n.groups[key] = g
	}
	if !n.atOnce() {
		g.events = append(g.events, m)
		return out
	}
	if m.at.After(g.newest) {
		g.newest = m.at
	}
	lo := g.newest.Add(-n.def.Timespan)
	if m.at.Before(lo) {
		return out
	}
	if !n.holds(g.between(lo, g.newest)) {
		g.silent = false
	}
	g.events = append(g.events, m)
	switch {
	case !n.holds(g.between(lo, g.newest)):
		g.silent = false
	case !g.silent || g.newest.Sub(g.fired) > n.def.Timespan:
		g.silent, g.fired = true, g.newest
		out = append(out, n.told(key, g.newest))
	}
	return out
}

func (n *naiveCorrelator) told(key string, at time.Time) string {
	return fmt.Sprintf("%s@%v[%s]", n.def.Name, at.Sub(epoch).Seconds(), key)
}

func (n *naiveCorrelator) atOnce() bool {
	return !slices.ContainsFunc(n.def.Condition.Bounds, func(b sigma.Bound) bool { return b.Op != "gt" && b.Op != "gte" })
}

func (n *naiveCorrelator) advance(at time.Time) (out []string) {
	if w := at.Add(-n.lateness); w.After(n.watermark) {
		n.watermark = w
	}
	for key, g := range n.groups {
		for !n.atOnce() && len(g.events) > 0 {
			first := slices.MinFunc(g.events, func(a, b moment) int { return a.at.Compare(b.at) }).at
			end := first.Add(n.def.Timespan)
			if !n.watermark.After(end) {
				break
			}
			in := g.between(first, end)
			if n.holds(in) {
				out = append(out, n.told(key, in[len(in)-1].at))
			}
			g.events = slices.DeleteFunc(g.events, func(m moment) bool { return !m.at.After(end) })
		}
	}
	return out
}

// between returns the events of a window by time, those of one time in order of arrival.
func (g *naiveGroup) between(lo, hi time.Time) (in []moment) {
	for _, m := range g.events {
		if !m.at.Before(lo) && !m.at.After(hi) {
			in = append(in, m)
		}
	}
	slices.SortStableFunc(in, func(a, b moment) int { return a.at.Compare(b.at) })
	return in
}

func (n *naiveCorrelator) holds(in []moment) bool {
	var numbers []float64
	values, rules, step := map[string]bool{}, map[string]bool{}, 0
	for _, m := range in {
		for range max(m.weight, 1) {
			numbers = append(numbers, float64(m.event.Extra("v").Int))
		}
		values[fmt.Sprint(m.event.Extra("v").Int)] = true
		for _, r := range m.rules {
			rules[r.Name] = true
		}
		if step < len(n.def.Rules) && slices.ContainsFunc(m.rules, func(r *sigma.Rule) bool { return r.Name == n.def.Rules[step] }) {
			step++
		}
	}
	if len(in) == 0 {
		return false
	}
	sum := 0.0
	for _, x := range numbers {
		sum += x
	}
	switch n.def.Type {
	case sigma.EventCount:
		return n.def.Condition.Holds(float64(len(numbers)))
	case sigma.ValueCount:
		return n.def.Condition.Holds(float64(len(values)))
	case sigma.ValueSum:
		return n.def.Condition.Holds(sum)
	case sigma.ValueAvg:
		return n.def.Condition.Holds(sum / float64(len(numbers)))
	case sigma.Temporal:
		return n.def.Condition.Holds(float64(len(rules)))
	case sigma.TemporalOrdered:
		return step == len(n.def.Rules)
	}
	slices.Sort(numbers)
	rank := n.def.Condition.Percentile / 100 * float64(len(numbers)-1)
	lo, hi := numbers[int(math.Floor(rank))], numbers[int(math.Ceil(rank))]
	return n.def.Condition.Holds(lo + (hi-lo)*(rank-math.Floor(rank)))
}

// randomCondition returns a condition that a window of a few events sometimes fulfils.
func randomCondition(r *rand.Rand, kind string) string {
	lo := 1 + r.IntN(4)
	switch kind {
	case "temporal_ordered":
		return ""
	case "temporal":
		lo = 1 + r.IntN(3)
	case "value_sum":
		lo *= 4
	}
	bounds := []string{
		fmt.Sprintf("gte: %d", lo), fmt.Sprintf("gt: %d", lo-1), fmt.Sprintf("gte: %d, lte: %d", lo, lo+1),
		fmt.Sprintf("lte: %d", lo), fmt.Sprintf("eq: %d", lo), fmt.Sprintf("neq: %d", lo+1),
	}
	if kind == "temporal" && lo == 3 {
		bounds = bounds[:2]
	}
	cond := bounds[r.IntN(len(bounds))]
	if strings.HasPrefix(kind, "value") {
		cond += ", field: v"
	}
	if kind == "value_percentile" {
		cond += fmt.Sprintf(", percentile: %d", []int{0, 25, 50, 95, 100}[r.IntN(5)])
	}
	return ", condition: {" + cond + "}"
}

// randomMoments are events of two groups, out of order by up to jitter seconds.
func randomMoments(t testing.TB, r *rand.Rand, jitter int) []moment {
	var words []string
	now := 100
	for range 60 {
		now += r.IntN(5)
		if r.IntN(15) == 0 {
			now += 20
		}
		if r.IntN(12) == 0 {
			words = append(words, fmt.Sprintf("%d:", now))
			continue
		}
		at := now - r.IntN(jitter+1)
		fired := []string{"a", "b", "c", "ab", "bc", "ac", "abc"}[r.IntN(7)]
		words = append(words, fmt.Sprintf("%d:%s*%d:u=%c,v=%d", at, fired, max(1, r.IntN(6)-2), "xy"[r.IntN(2)], r.IntN(6)))
	}
	return moments(t, strings.Join(append(words, fmt.Sprintf("%d:", now+100)), " "))
}

// A Correlator says the same as keeping all events does: for random conditions and events, in order
// and out of order, and also if it is written down and read back at any time.
func TestWindowsAgreeWithKeepingAllEvents(t *testing.T) {
	fired := map[string]int{}
	for seed := range uint64(700) {
		r := rand.New(rand.NewPCG(seed, 1))
		kinds := []string{"event_count", "value_count", "value_sum", "value_avg", "value_percentile", "temporal", "temporal_ordered"}
		kind := kinds[seed%7]
		src := "name: x\ncorrelation: {type: " + kind + ", rules: [a, b, c], group-by: [u], timespan: 10s" + randomCondition(r, kind) + "}\n"
		lateness := time.Duration(r.IntN(2)*r.IntN(8)) * time.Second
		// The last second of what may be late is for what comes too late.
		ms := randomMoments(t, r, int((lateness+lateness/4)/time.Second))
		defs := correlations(t, src)
		fast, err := sigma.NewCorrelator(parts, defs, keepIDs(lateness))
		if err != nil {
			t.Fatal(err)
		}
		slow := &naiveCorrelator{def: defs[0], lateness: lateness, groups: map[string]*naiveGroup{}}
		for i, m := range ms {
			if i == 20 || i == 40 {
				fast = reread(t, fast, defs, lateness)
			}
			got, want := play(fast, ms[i:i+1]), slow.play(m)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				var words []string
				for _, m := range ms[:i+1] {
					words = append(words, m.id)
				}
				t.Fatalf("seed %d, lateness %v:\n%s%s\ngot %q, want %q", seed, lateness, src, strings.Join(words, " "), got, want)
			}
			fired[kind] += len(got)
		}
		if n := fast.Stats().Groups; n != 0 {
			t.Fatalf("seed %d: %d groups are left when all is over", seed, n)
		}
	}
	for kind, n := range fired {
		if n < 50 {
			t.Errorf("%s fired %d times: the test proves little", kind, n)
		}
	}
	t.Log(fired)
}

func reread(t testing.TB, c *sigma.Correlator[string], defs []*sigma.Correlation, lateness time.Duration) *sigma.Correlator[string] {
	t.Helper()
	data, err := c.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	next, err := sigma.NewCorrelator(parts, defs, keepIDs(lateness))
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Restore(data); err != nil {
		t.Fatal(err)
	}
	if a, b := c.Stats().Groups, next.Stats().Groups; a != b {
		t.Fatalf("%d groups were written, %d read", a, b)
	}
	return next
}

// Of a window with more events than are kept one by one, sums and counts stay exact within it, and
// percentiles nearly so.
func TestFullWindowsAreToldTogether(t *testing.T) {
	for kind, c := range map[string]struct {
		condition string
		want      float64
		within    float64
	}{
		"event_count":      {"gte: 5000", 5000, 0},
		"value_count":      {"field: v, gte: 900", 900, 0},
		"value_sum":        {"field: v, gte: 4995000", 4995000, 1000},
		"value_avg":        {"field: v, lt: 1000", 499.5, 0.001},
		"value_percentile": {"field: v, lt: 10000, percentile: 90", 900, 25},
	} {
		src := "name: x\ncorrelation: {type: " + kind + ", rules: [a], group-by: [u], timespan: 1h, condition: {" + c.condition + "}}\n"
		cor, err := sigma.NewCorrelator(parts, correlations(t, src), sigma.CorrelatorOptions[string]{})
		if err != nil {
			t.Fatal(err)
		}
		var got []float64
		fire := func(f *sigma.Firing[string]) { got = append(got, f.Figure) }
		for i := range 10000 {
			ev := event(map[string]any{"u": "x", "v": i * 7 % 1000})
			cor.Observe(sigma.Observation{Event: ev, Time: epoch.Add(time.Duration(i) * 300 * time.Millisecond), Rules: parts[:1]}, fire)
		}
		bytes := cor.Stats().Bytes
		cor.Advance(epoch.Add(3*time.Hour), fire)
		if len(got) == 0 || math.Abs(got[0]-c.want) > c.within {
			t.Errorf("%s: got %v, want %v", kind, got, c.want)
		}
		if bytes > 200<<10 {
			t.Errorf("%s: a group of %d bytes", kind, bytes)
		}
	}
}

func TestMemoryOfCorrelationsIsBounded(t *testing.T) {
	src := `name: high
level: high
correlation: {type: value_count, rules: [a], group-by: [u], timespan: 1h, condition: {field: v, gte: 50}}
---
name: low
level: low
correlation: {type: value_count, rules: [b], group-by: [u], timespan: 1h, condition: {field: v, gte: 50}}
`
	o := keepIDs(0)
	o.MaxGroups, o.MaxBytes = 500, 256<<10
	cor, err := sigma.NewCorrelator(parts, correlations(t, src), o)
	if err != nil {
		t.Fatal(err)
	}
	groups := 0
	for i := range 3000 {
		m := moments(t, fmt.Sprintf("%d:%s:u=u%d,v=%d", i/10, "a", i, i))[0]
		if i >= 100 {
			m.rules = parts[1:2]
		}
		cor.Observe(sigma.Observation{Event: m.event, Time: m.at, Rules: m.rules}, nil)
		groups++
		if s := cor.Stats(); s.Bytes > o.MaxBytes || s.Groups > 2*o.MaxGroups || uint64(s.Groups)+s.Evicted != uint64(groups) {
			t.Fatalf("after %d groups: %+v", groups, s)
		}
	}
	s := cor.Stats().ByCorrelation
	if s[0].Groups != 100 || s[0].Evicted != 0 || s[1].Evicted == 0 || s[1].Groups == 0 {
		t.Errorf("the more risky one lost groups before the other: %+v", s)
	}
}
