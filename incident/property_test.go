package incident

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"picket/event"
)

// randomFindings makes n findings within the time, on few hosts, containers, sessions, models and
// addresses, so that some belong together and some do not.
func randomFindings(r *rand.Rand, n int, within time.Duration) []event.Finding {
	out := make([]event.Finding, n)
	pick := func(odds int, kind string, of int) []string {
		if r.IntN(odds) > 0 {
			return nil
		}
		return []string{fmt.Sprint(kind, ":", kind, r.IntN(of))}
	}
	for i := range out {
		rule := fmt.Sprint("rule", r.IntN(7))
		var e []string
		contained := r.IntN(2) == 0
		if contained {
			e = append(e, fmt.Sprint("container:c", r.IntN(8)))
		}
		e = append(e, pick(6, "model", 6)...)
		e = append(e, pick(8, "workload", 6)...)
		e = append(e, pick(2, "process", 50)...)
		if r.IntN(6) == 0 {
			e = append(e, []string{"address:203.0.113.7", "address:203.0.113.8", "address:10.0.0.1", "address:127.0.0.1"}[r.IntN(4)])
		}
		f := finding(rule, time.Duration(r.Int64N(int64(within/time.Second)))*time.Second, e...)
		f.ID = event.HashID(rule, fmt.Sprint(i))
		f.Host = fmt.Sprint("gpu-", r.IntN(4))
		f.Severity = event.Severity(1 + r.IntN(5))
		for range r.IntN(3) {
			f.Techniques = append(f.Techniques, event.Technique{Framework: "attack", ID: fmt.Sprint("T", r.IntN(9)), Tactic: killChain[r.IntN(len(killChain))]})
		}
		if r.IntN(5) > 0 {
			chain := []string{fmt.Sprint("cmd", i), f.Host + fmt.Sprint("-shell", r.IntN(9)), "sshd", "systemd"}
			if contained {
				chain = []string{fmt.Sprint("cmd", i), "server-" + f.Container.ID, "runc", f.Host + "-shell1", "sshd"}
			}
			f = acting(f, chain...)
			for j := range f.Processes { // ancestors are of one container or of none
				if j >= 2 {
					f.Processes[j].Container = ""
				}
			}
			if r.IntN(3) == 0 {
				f.Processes[0].Cmdline = "with more known of it"
			}
		}
		out[i] = f
	}
	return out
}

// expected groups findings by the definition: two belong together that share a link near in time,
// and what is linked to one of a group is of the group. It maps each finding to its incident.
func expected(all []event.Finding) map[string]string {
	group := make([]int, len(all))
	for i := range group {
		group[i] = i
	}
	one := make([]map[string][]span, len(all))
	for i, f := range all {
		inc := alone(f)
		one[i] = links(&inc, 30*time.Minute)
	}
	for i := range all {
		for j := range i {
			for k := range one[i] {
				if d := all[i].Time.Sub(all[j].Time).Abs(); one[j][k] != nil && d <= reach(k, 30*time.Minute) {
					from, to := group[i], group[j]
					for n := range group {
						if group[n] == from {
							group[n] = to
						}
					}
				}
			}
		}
	}
	out := map[string]string{}
	for i, f := range all {
		first := alone(f)
		for j, g := range all {
			if x := alone(g); group[i] == group[j] && older(&x, &first) < 0 {
				first = x
			}
		}
		out[f.ID] = first.ID
	}
	return out
}

// outcome returns the open incidents after a sequence of findings.
func outcome(c *Correlator) map[string]event.Incident {
	out := map[string]event.Incident{}
	for id, e := range c.incidents {
		if e.inc.Status != event.IncidentClosed {
			out[id] = e.inc
		}
	}
	return out
}

func TestOrderAndRepeatsDoNotMatter(t *testing.T) {
	history := cmpopts.IgnoreFields(event.Incident{}, "Log", "Version")
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		all := randomFindings(r, 1+r.IntN(40), 30*time.Minute)
		want := expected(all)
		var first map[string]event.Incident
		for range 8 {
			c := New(Options{})
			order := slices.Concat(all, all[:r.IntN(len(all))])
			r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			for _, f := range order {
				c.Process(f)
			}
			got := outcome(c)
			n := 0
			for id, inc := range got {
				n += inc.FindingN
				for _, ref := range inc.Findings {
					if want[ref.ID] != id {
						t.Fatalf("seed %d: finding %s is in %s, want %s", seed, ref.ID, id, want[ref.ID])
					}
				}
			}
			if n != len(all) {
				t.Fatalf("seed %d: %d findings in incidents, want %d", seed, n, len(all))
			}
			if first == nil {
				first = got
			}
			if d := cmp.Diff(first, got, history); d != "" {
				t.Fatalf("seed %d: %s", seed, d)
			}
		}
	}
}

func TestOrderDoesNotMatterBeyondTheBounds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	all := make([]event.Finding, maxFindings+700)
	for i := range all {
		f := finding(fmt.Sprint("rule", i%(ruleFindings+20)), time.Duration(r.IntN(1500))*time.Second, "container:c1", fmt.Sprint("address:203.0.113.", i%256), fmt.Sprint("process:p", i))
		f.ID, f.Severity = event.HashID(fmt.Sprint(i)), event.Severity(1+r.IntN(5))
		all[i] = acting(f, fmt.Sprint("p", i), "sh", "server")
		all[i].Processes[0].Start = f.Time
	}
	var first map[string]event.Incident
	for range 2 {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		c := New(Options{})
		for _, f := range all {
			c.Process(f)
		}
		got := outcome(c)
		if first == nil {
			first = got
		}
		if d := cmp.Diff(first, got, cmpopts.IgnoreFields(event.Incident{}, "Log", "Version")); d != "" || len(got) != 1 {
			t.Fatalf("%d incidents\n%s", len(got), d)
		}
	}
}

// stored keeps what a Correlator returned, as the state does.
type stored map[string][]byte

func (s stored) save(t *testing.T, incs ...event.Incident) {
	t.Helper()
	for _, inc := range incs {
		b, err := json.Marshal(inc)
		if err != nil {
			t.Fatal(err)
		}
		s[inc.ID] = b
	}
}

// load returns the incidents as a server reads them when it starts: latest first.
func (s stored) load(t *testing.T) []event.Incident {
	t.Helper()
	var out []event.Incident
	for _, b := range s {
		var inc event.Incident
		if err := json.Unmarshal(b, &inc); err != nil {
			t.Fatal(err)
		}
		out = append(out, inc)
	}
	slices.SortFunc(out, func(a, b event.Incident) int { return -stale(&a, &b) })
	return out
}

func TestARestartChangesNothing(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		all := randomFindings(r, 60, 2*time.Hour)
		all = append(all, all[:10]...)
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		state := stored{}
		kept, restarted := New(Options{}), New(Options{})
		for i, f := range all {
			if r.IntN(4) == 0 {
				restarted = New(Options{})
				restarted.Restore(state.load(t))
			}
			a, absorbedA, changedA := kept.Process(f)
			b, absorbedB, changedB := restarted.Process(f)
			if changedA {
				state.save(t, absorbedA...)
				state.save(t, a)
			} else {
				absorbedA, absorbedB = nil, nil // told again by the one that remembers it
			}
			if d := cmp.Diff(a, b) + cmp.Diff(absorbedA, absorbedB); d != "" || changedA != changedB {
				t.Fatalf("seed %d, finding %d: changed %v and %v\n%s", seed, i, changedA, changedB, d)
			}
			if now, _ := json.Marshal(b); string(now) != string(state[b.ID]) {
				t.Fatalf("seed %d, finding %d: stored as\n%s\nnow\n%s", seed, i, state[b.ID], now)
			}
			if r.IntN(5) > 0 {
				continue
			}
			u := []Update{
				{Note: "x"}, {Status: event.IncidentAcknowledged}, {Status: event.IncidentOpen}, {Status: event.IncidentClosed, Verdict: event.TruePositive},
			}[r.IntN(4)]
			x, errX := kept.Update(a.ID, "ann", u, f.Time)
			y, errY := restarted.Update(a.ID, "ann", u, f.Time)
			if d := cmp.Diff(x, y); d != "" || (errX == nil) != (errY == nil) {
				t.Fatalf("seed %d: %v and %v\n%s", seed, errX, errY, d)
			}
			state.save(t, x)
		}
	}
}
