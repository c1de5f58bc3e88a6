package sigma_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/sigma"
)

// Each word is "source@seconds", an event of rule a, or "source!seconds", one that no rule fired on.
// Windows are of ten seconds from their first event and are judged when they close; none is late
// within five seconds.
func TestTheWatermarkFollowsTheSourceThatIsFurthestBehind(t *testing.T) {
	const src = "name: x\ncorrelation: {type: event_count, rules: [a], group-by: [h], timespan: 10s, condition: {lte: 9}}\n"
	for _, c := range []struct {
		name, told    string
		fired         []string
		late, clamped uint64
	}{
		{"one source", "a@0 a@5 a@16", []string{"x@5[a]"}, 0, 0},
		{"another that is behind is not late", "a@0 b!0 a@50 b@1 b@5", nil, 0, 0},
		{"and holds the windows of the first open", "a@0 b@0 a@40 a@41 b@3", nil, 0, 0},
		{"until it is past them", "a@0 b@0 a@40 b@16 b@17", []string{"x@0[a]", "x@0[b]"}, 0, 0},
		{"an event of it without a match will do", "a@0 b@0 a@40 b!16", []string{"x@0[a]", "x@0[b]"}, 0, 0},
		{"one that is idle holds nothing back", "a@0 b@0 a@61", []string{"x@0[a]", "x@0[b]"}, 0, 0},
		{"what it then has to say is late", "a@0 b@0 a@61 b@1", []string{"x@0[a]", "x@0[b]"}, 1, 0},
		{"of several the slowest counts", "a@0 b@0 c@0 a@30 b@30 c@12 c@14", nil, 0, 0},
		{"late by its own clock and by all", "a@20 b@20 a@30 b@30 a@24", []string{}, 1, 0},
		{"an hour ahead is not believed", "a@0 b@0 a@9000 b@1 a@9001 b@2", nil, 0, 2},
		{"unless another says the same", "a@0 b@0 a@9000 b@8999 a@9001 b@9002", []string{"x@0[a]", "x@0[b]"}, 0, 1},
		{"or nobody says anything for a minute", "a@0 b@0 a@9000 a@9001 a@9061", []string{"x@0[a]", "x@0[b]"}, 0, 2},
		{"one source alone is believed", "a@0 a@9000", []string{"x@0[a]"}, 0, 0},
	} {
		o := keepIDs(0)
		o.Lateness = 5 * time.Second
		cor, err := sigma.NewCorrelator(parts, correlations(t, src), o)
		if err != nil {
			t.Fatal(err)
		}
		var fired []string
		fire := func(f *sigma.Firing[string]) { fired = append(fired, told(f)) }
		for word := range strings.FieldsSeq(c.told) {
			at := strings.IndexAny(word, "@!")
			source := word[:at]
			var seconds int
			if _, err := fmt.Sscan(word[at+1:], &seconds); err != nil {
				t.Fatal(err)
			}
			when := epoch.Add(time.Duration(seconds) * time.Second)
			if word[at] == '!' {
				cor.Heard(source, when, fire)
				continue
			}
			cor.Observe(sigma.Observation{Event: event(map[string]any{"h": source}), Time: when, Source: source, Rules: parts[:1]}, fire)
		}
		slices.Sort(fired)
		if s := cor.Stats(); !slices.Equal(fired, c.fired) || s.Late != c.late || s.Clamped != c.clamped {
			t.Errorf("%s: %s\nfired %q, %d late, %d clamped; want %q, %d, %d", c.name, c.told, fired, s.Late, s.Clamped, c.fired, c.late, c.clamped)
		}
	}
}

// Two hosts whose events come alternately, one of them minutes behind, are counted as if each were
// alone.
func TestSourcesCountAsIfAlone(t *testing.T) {
	const src = "name: x\ncorrelation: {type: event_count, rules: [a], group-by: [h], timespan: 10s, condition: {gte: 5}}\n"
	run := func(sources ...string) (out []string) {
		cor, err := sigma.NewCorrelator(parts, correlations(t, src), keepIDs(0))
		if err != nil {
			t.Fatal(err)
		}
		for n, source := range slices.Backward(sources) {
			cor.Heard(source, epoch.Add(-time.Duration(50*n)*time.Second), nil)
		}
		for i := range 500 {
			for n, source := range sources {
				when := epoch.Add(time.Duration(i)*1700*time.Millisecond - time.Duration(50*n)*time.Second)
				cor.Observe(sigma.Observation{Event: event(map[string]any{"h": source}), Time: when, Source: source, Rules: parts[:1]},
					func(f *sigma.Firing[string]) { out = append(out, f.Group[0]+fmt.Sprint(i)) })
			}
		}
		if s := cor.Stats(); s.Late != 0 {
			t.Errorf("%v: %d late", sources, s.Late)
		}
		return out
	}
	alone := run("a")
	both := slices.DeleteFunc(run("a", "b"), func(s string) bool { return s[0] == 'b' })
	if len(alone) == 0 || !slices.Equal(alone, both) {
		t.Errorf("%d firings alone, %d beside another host", len(alone), len(both))
	}
}

// Names of sources that are made up cost no more than a bound.
func TestManySources(t *testing.T) {
	const src = "name: x\ncorrelation: {type: event_count, rules: [a], timespan: 10s, condition: {gte: 5}}\n"
	cor, err := sigma.NewCorrelator(parts, correlations(t, src), keepIDs(0))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200_000 {
		cor.Heard(fmt.Sprint(i), epoch.Add(time.Duration(i)*time.Microsecond), nil)
	}
	if s := cor.Stats(); s.Sources == 0 || s.Sources > 1<<16 {
		t.Errorf("%d sources are known", s.Sources)
	}
	cor.Heard("last", epoch.Add(time.Hour), nil)
	if s := cor.Stats(); s.Sources != 1 {
		t.Errorf("%d sources are known when all but one are idle", s.Sources)
	}
}
