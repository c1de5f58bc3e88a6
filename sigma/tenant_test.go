package sigma_test

import (
	"fmt"
	"testing"
	"time"

	"picket/sigma"
)

// A flood of users on one host takes nothing from the groups of others, whichever bound it meets.
func TestAFloodOfOneTenantLeavesTheOthers(t *testing.T) {
	const src = "name: x\ncorrelation: {type: event_count, rules: [a], group-by: [h, u], timespan: 1h, condition: {gte: 2}}\n"
	for name, bound := range map[string]func(*sigma.CorrelatorOptions[string]){
		"groups": func(o *sigma.CorrelatorOptions[string]) { o.MaxGroups = 200 },
		"bytes":  func(o *sigma.CorrelatorOptions[string]) { o.MaxBytes = 100 << 10 },
	} {
		o := keepIDs(0)
		bound(&o)
		cor, err := sigma.NewCorrelator(parts, correlations(t, src), o)
		if err != nil {
			t.Fatal(err)
		}
		fired := map[string]int{}
		second := 0
		see := func(host, user string) {
			second++
			cor.Observe(sigma.Observation{Event: event(map[string]any{"h": host, "u": user}), Time: epoch.Add(time.Duration(second) * time.Millisecond), Rules: parts[:1]},
				func(f *sigma.Firing[string]) { fired[f.Group[0]]++ })
		}
		for i := range 50 {
			see(fmt.Sprint("quiet", i%10), fmt.Sprint("u", i))
		}
		for i := range 5000 {
			see("flood", fmt.Sprint("u", i))
		}
		s := cor.Stats()
		if s.Evicted == 0 || s.ByCorrelation[0].Evicted != s.Evicted || uint64(s.Groups)+s.Evicted != 5050 || s.Bytes > 100<<10 {
			t.Errorf("%s: %+v", name, s)
		}
		see("flood", "u0") // given up
		see("flood", "u4999")
		for i := range 50 {
			see(fmt.Sprint("quiet", i%10), fmt.Sprint("u", i))
		}
		if fired["flood"] != 1 {
			t.Errorf("%s: the flood fired %d times, want once, for the user that is not given up", name, fired["flood"])
		}
		for i := range 10 {
			if n := fired[fmt.Sprint("quiet", i)]; n != 5 {
				t.Errorf("%s: host %d fired %d times, want 5: its groups were given up", name, i, n)
			}
		}
	}
}

// What is left of many tenants after all windows are over takes no room.
func TestTenantsGoWithTheirGroups(t *testing.T) {
	const src = "name: x\ncorrelation: {type: event_count, rules: [a], group-by: [h, u], timespan: 10s, condition: {gte: 100}}\n"
	cor, err := sigma.NewCorrelator(parts, correlations(t, src), keepIDs(0))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		ev := event(map[string]any{"h": i % 97, "u": i % 1000})
		cor.Observe(sigma.Observation{Event: ev, Time: epoch.Add(time.Duration(i) * 7 * time.Millisecond), Rules: parts[:1]}, nil)
		if i%500 == 0 {
			cor = reread(t, cor, correlations(t, src), 0)
		}
	}
	if s := cor.Stats(); s.Groups == 0 || s.Bytes == 0 {
		t.Errorf("%+v", s)
	}
	cor.Advance(epoch.Add(time.Hour), nil)
	if s := cor.Stats(); s.Groups != 0 || s.Bytes != 0 {
		t.Errorf("after all: %+v", s)
	}
}
