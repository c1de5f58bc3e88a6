package respond

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"picket/event"
	"picket/respond/action"
)

// incidents of a test, by id: the sample with another id.
func numbered(n int) event.Incident {
	inc := sample()
	inc.ID = fmt.Sprintf("incident%d", n)
	return inc
}

// What keeps a rule of mode auto from acting: it only suggests, and says why in the run.
func TestLimitsOfRules(t *testing.T) {
	window := func(entities ...string) []Window {
		return []Window{{From: at.Add(-time.Hour), Until: at.Add(time.Hour), Entities: entities, Reason: "new disks"}}
	}
	for _, c := range []struct {
		name string
		set  func(*Config)
		want string // of the second of two incidents; "" acts
	}{
		{"nothing", func(*Config) {}, ""},
		{"risk", func(c *Config) { c.Rules[0].Risk = 1 }, "none"},
		{"a window", func(c *Config) { c.Windows = window("workload:llama-*") }, "maintenance until 2026-01-02T13:00:00Z: new disks"},
		{"a window of another", func(c *Config) { c.Windows = window("workload:mistral-*") }, ""},
		{"a window that is over", func(c *Config) { c.Windows = []Window{{From: at.Add(-2 * time.Hour), Until: at.Add(-time.Hour)}} }, ""},
		{"a budget of an act", func(c *Config) { c.Budgets = []Budget{{Act: action.Isolate, Most: 1}} }, "over budget: 2 isolate acts within 1h0m0s, at most 1"},
		{"a budget of another act", func(c *Config) { c.Budgets = []Budget{{Act: action.Freeze, Most: 0}} }, ""},
		{"a budget of a class", func(c *Config) { c.Budgets = []Budget{{Class: action.Reversible, Most: 1}} }, "2 reversible acts"},
		{"a budget of a workload", func(c *Config) { c.Budgets = []Budget{{Per: "workload", Most: 1}} }, "2 acts on container c1 on gpu-1"},
		{"a budget that is enough", func(c *Config) { c.Budgets = []Budget{{Per: "workload", Most: 2}} }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", "")), func(o *Options) {
				o.Config.Rules = []Rule{{Name: "r", Playbook: "test", Mode: Auto}}
				c.set(&o.Config)
			})
			for n := range 2 {
				if err := r.Respond(ctx, numbered(n+1), nil); err != nil {
					t.Fatal(err)
				}
				if n == 0 { // a server that begins anew knows what its rules did
					o := r.o
					r.Close()
					r.Engine = start(t, o)
				}
			}
			runs, err := r.Runs(ctx, Query{Incident: "incident2"})
			if err != nil || (len(runs) == 0) != (c.want == "none") {
				t.Fatalf("%d runs, %v", len(runs), err)
			}
			switch {
			case len(runs) == 0:
			case c.want == "":
				r.ends(t, runs[0].ID, Succeeded)
			case runs[0].State != Suggested || !strings.Contains(runs[0].Reason, c.want):
				t.Errorf("%s: %q, want %q", runs[0].State, runs[0].Reason, c.want)
			}
		})
	}
}

// A rule whose answers were for false positives three times in a day only suggests, until a day has gone.
func TestARuleThatIsWrongIsQuiet(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", "")), func(o *Options) {
		o.Config.Rules = []Rule{{Name: "r", Playbook: "test", Mode: Auto}}
	})
	answered := func(n int) Run {
		t.Helper()
		if err := r.Respond(ctx, numbered(n), nil); err != nil {
			t.Fatal(err)
		}
		runs, err := r.Runs(ctx, Query{Incident: numbered(n).ID})
		if err != nil || len(runs) != 1 {
			t.Fatalf("%d runs, %v", len(runs), err)
		}
		return runs[0]
	}
	for n := range breakerTrips {
		r.ends(t, answered(n).ID, Succeeded)
		for range 2 { // closed twice it is one
			if err := r.UndoIncident(ctx, numbered(n).ID, "policy:false positive"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if run := answered(10); run.State != Suggested || !strings.Contains(run.Reason, "3 false positives") {
		t.Errorf("%s: %s", run.State, run.Reason)
	}
	r.clock.add(breakerTime)
	r.ends(t, answered(11).ID, Succeeded)
}

func TestMistakesInLimitsAreFound(t *testing.T) {
	for want, err := range map[string]error{
		"want one of":      Budget{Act: "reboot"}.Check(),
		"want observe":     Budget{Class: "harmless"}.Check(),
		"want workload":    Budget{Per: "host"}.Check(),
		"want a number":    Budget{Most: -1}.Check(),
		"want from":        Window{}.Check(),
		"kind:name":        Window{From: at, Until: at.Add(1), Entities: []string{"llama"}}.Check(),
		"want 0 to 100":    (&Rule{Name: "r", Playbook: "p", Risk: 101}).Check(),
		"workload:llama-*": (&Rule{Name: "r", Playbook: "p", Entities: []string{"x"}}).Check(),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
