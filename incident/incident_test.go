package incident

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"picket/event"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// finding makes a finding of rule at t0 + after, with entities given as kind:id.
func finding(rule string, after time.Duration, entities ...string) event.Finding {
	f := event.Finding{
		ID: event.HashID(rule, after.String(), strings.Join(entities, ",")), Time: t0.Add(after), Host: "gpu-1", Severity: event.Medium, Count: 1,
		Rule: event.Rule{ID: rule, Name: rule, Title: "Title of " + rule}, Summary: "something happened to " + strings.Join(entities, " and "),
	}
	for _, e := range entities {
		kind, id, _ := strings.Cut(e, ":")
		f.Entities = append(f.Entities, event.Entity{Kind: event.EntityKind(kind), ID: id, Name: id})
		if kind == "container" {
			f.Container = &event.Container{ID: id}
		}
	}
	return f
}

// acting gives f a process and its ancestors, nearest first, by name; a process is known by its name.
func acting(f event.Finding, names ...string) event.Finding {
	for i, n := range names {
		p := event.ProcessNode{UID: "uid-" + n, PID: uint32(1000 + i), Name: n}
		if f.Container != nil && n != "runc" {
			p.Container = f.Container.ID
		}
		if n == "systemd" {
			p.PID = 1
		}
		f.Processes = append(f.Processes, p)
	}
	return f
}

func TestWhatBelongsTogether(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b event.Finding
		one  bool
	}{
		{"one container", finding("a", 0, "container:c1"), finding("b", time.Minute, "container:c1"), true},
		{"two containers", finding("a", 0, "container:c1"), finding("b", time.Minute, "container:c2"), false},
		{"one model, two containers", finding("a", 0, "container:c1", "model:m"), finding("b", time.Minute, "container:c2", "model:m"), true},
		{"one address", finding("a", 0, "container:c1", "address:203.0.113.9"), finding("b", time.Minute, "container:c2", "address:203.0.113.9"), true},
		{"loopback says nothing", finding("a", 0, "container:c1", "address:127.0.0.1"), finding("b", time.Minute, "container:c2", "address:127.0.0.1"), false},
		{"too late", finding("a", 0, "container:c1"), finding("b", 31*time.Minute, "container:c1"), false},
		{"just in time", finding("a", 0, "container:c1"), finding("b", 30*time.Minute, "container:c1"), true},
		{"arrived late", finding("a", time.Minute, "container:c1"), finding("b", 0, "container:c1"), true},
		{"one session", acting(finding("a", 0), "curl", "bash", "sshd", "systemd"), acting(finding("b", 10*time.Minute), "tar", "bash", "sshd", "systemd"), true},
		{"init is no kinship", acting(finding("a", 0), "curl", "systemd"), acting(finding("b", 10*time.Minute), "tar", "systemd"), false},
		{"one host, at once", acting(finding("a", 0), "curl", "systemd"), acting(finding("b", time.Minute), "tar", "systemd"), true},
		{"a container is not its host", acting(finding("a", 0), "curl", "systemd"), finding("b", time.Second, "container:c1"), false},
		{"one user is no kinship", finding("a", 0, "container:c1", "user:root"), finding("b", 0, "container:c2", "user:root"), false},
	} {
		c := New(Options{})
		x, _, _ := c.Process(tt.a)
		y, _, _ := c.Process(tt.b)
		if (x.ID == y.ID) != tt.one {
			t.Errorf("%s: one incident is %v, want %v", tt.name, x.ID == y.ID, tt.one)
		}
	}
}

func TestARepeatChangesNothing(t *testing.T) {
	c := New(Options{})
	f := finding("a", 0, "container:c1")
	first, _, changed := c.Process(f)
	again, _, second := c.Process(f)
	if !changed || second || !cmp.Equal(first, again) {
		t.Errorf("changed %v then %v\n%s", changed, second, cmp.Diff(first, again))
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	var all []event.Finding
	for i := range 12 {
		f := finding(fmt.Sprintf("rule%d", i%5), time.Duration(i)*time.Minute, fmt.Sprintf("container:c%d", i%2), "model:m")
		f.Techniques = []event.Technique{{Framework: "attack", ID: fmt.Sprintf("T%d", i%4), Tactic: killChain[i%4]}}
		all = append(all, acting(f, fmt.Sprint("p", i), fmt.Sprint("server", i%2)))
	}
	story := func(order []int) event.Incident {
		c := New(Options{})
		var last event.Incident
		for _, i := range order {
			last, _, _ = c.Process(all[i])
			c.Process(all[i])
		}
		return last
	}
	r := rand.New(rand.NewPCG(1, 2))
	ignore := cmpopts.IgnoreFields(event.Incident{}, "ID", "Log", "Version")
	want := story(r.Perm(len(all)))
	if want.FindingN != len(all) {
		t.Fatalf("%d findings in the incident, want %d", want.FindingN, len(all))
	}
	for range 50 {
		if d := cmp.Diff(want, story(r.Perm(len(all))), ignore); d != "" {
			t.Fatal(d)
		}
	}
}

func TestAFindingThatConnectsTwoIncidentsMergesThem(t *testing.T) {
	c := New(Options{})
	a, _, _ := c.Process(finding("a", 0, "container:c1"))
	b, _, _ := c.Process(finding("b", time.Minute, "container:c2"))
	both, absorbed, _ := c.Process(finding("c", 2*time.Minute, "container:c2", "address:203.0.113.9"))
	if both.ID != b.ID || len(absorbed) != 0 {
		t.Fatalf("nothing connects them yet: %s, %d absorbed", both.ID, len(absorbed))
	}
	both, absorbed, _ = c.Process(finding("d", 3*time.Minute, "container:c1", "address:203.0.113.9"))
	if both.ID != a.ID || both.FindingN != 4 || len(absorbed) != 1 || absorbed[0].ID != b.ID || absorbed[0].Status != event.IncidentClosed {
		t.Fatalf("into %s (want the older, %s) with %d findings; absorbed %+v", both.ID, a.ID, both.FindingN, absorbed)
	}
	next, _, _ := c.Process(finding("e", 4*time.Minute, "container:c2"))
	if next.ID != a.ID {
		t.Errorf("a finding of the absorbed incident went to %s, want %s", next.ID, a.ID)
	}
}

func TestAClosedIncidentTakesNoMore(t *testing.T) {
	c := New(Options{})
	a, _, _ := c.Process(finding("a", 0, "container:c1"))
	if _, err := c.Update(a.ID, "ann", Update{Status: event.IncidentClosed, Verdict: event.FalsePositive, Note: "our backup"}, t0); err != nil {
		t.Fatal(err)
	}
	b, _, _ := c.Process(finding("b", time.Minute, "container:c1"))
	if b.ID == a.ID {
		t.Error("a closed incident took a finding")
	}
}

func TestUpdates(t *testing.T) {
	c := New(Options{})
	a, _, _ := c.Process(finding("a", 0, "container:c1"))
	for _, tt := range []struct {
		u    Update
		want error
	}{
		{Update{}, ErrInvalid},
		{Update{Status: event.IncidentClosed}, ErrInvalid},
		{Update{Verdict: event.TruePositive}, ErrInvalid},
		{Update{Status: "gone"}, ErrInvalid},
		{Update{Status: event.IncidentClosed, Verdict: "maybe"}, ErrInvalid},
		{Update{Note: "x", Version: a.Version + 7}, ErrConflict},
	} {
		if _, err := c.Update(a.ID, "ann", tt.u, t0); !errors.Is(err, tt.want) {
			t.Errorf("%+v: got %v, want %v", tt.u, err, tt.want)
		}
	}
	if _, err := c.Update("no", "ann", Update{Note: "x"}, t0); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want %v", err, ErrNotFound)
	}
	inc, err := c.Update(a.ID, "ann", Update{Status: event.IncidentClosed, Verdict: event.TruePositive, Note: "isolated", Version: a.Version}, t0)
	if err != nil || inc.Status != event.IncidentClosed || inc.Verdict != event.TruePositive || inc.Version != a.Version+1 {
		t.Fatalf("%+v, %v", inc, err)
	}
	if last := inc.Log[len(inc.Log)-1]; last.Who != "ann" || last.What != "closed as true positive" || last.Note != "isolated" {
		t.Errorf("log %+v", last)
	}
	if inc, err = c.Update(a.ID, "bob", Update{Status: event.IncidentOpen}, t0); err != nil || inc.Verdict != "" {
		t.Errorf("reopened: %+v, %v", inc, err)
	}
}

func TestARestartChangesNothing(t *testing.T) {
	before, after := New(Options{}), New(Options{})
	f := acting(finding("a", 0, "container:c1", "model:m"), "tar", "server")
	a, _, _ := before.Process(f)
	after.Restore([]event.Incident{a})
	if _, _, changed := after.Process(f); changed {
		t.Error("a finding of the last run was taken again")
	}
	g := acting(finding("b", time.Minute, "container:c1"), "curl", "server")
	x, _, _ := before.Process(g)
	y, _, _ := after.Process(g)
	if d := cmp.Diff(x, y); d != "" {
		t.Error(d)
	}
}

func TestRiskCountsEvidenceAndProgress(t *testing.T) {
	c := New(Options{})
	one, _, _ := c.Process(finding("a", 0, "container:c1"))
	for i := range 50 {
		one, _, _ = c.Process(finding("a", time.Duration(i+1)*time.Second, "container:c1"))
	}
	if one.Risk != 18 || one.Severity != event.Medium {
		t.Errorf("50 repeats: risk %d, severity %s", one.Risk, one.Severity)
	}
	f := finding("b", time.Minute, "container:c1")
	f.Severity = event.Critical
	f.Techniques = []event.Technique{{ID: "T1041", Tactic: "exfiltration"}, {ID: "T1005", Tactic: "collection"}, {ID: "T1059", Tactic: "execution"}}
	two, _, _ := c.Process(f)
	if want := 67 + 12; two.Risk != want || two.Severity != event.Critical { // 100·(1 − 0.82·0.40) = 67, two more tactics
		t.Errorf("risk %d, want %d; severity %s", two.Risk, want, two.Severity)
	}
	if got := two.Techniques[0].Tactic; got != "execution" {
		t.Errorf("techniques begin with %s, want the kill chain's order", got)
	}
}

func TestAFloodStaysBounded(t *testing.T) {
	c := New(Options{})
	var inc event.Incident
	for i := range 3 * maxRecent {
		f := acting(finding("noise", time.Duration(i)*time.Millisecond, "container:c1"), fmt.Sprint("p", i))
		inc, _, _ = c.Process(f)
	}
	f := finding("theft", time.Minute, "container:c1")
	f.Severity = event.Critical
	inc, _, _ = c.Process(f)
	if inc.FindingN != 3*maxRecent+1 {
		t.Errorf("%d findings counted", inc.FindingN)
	}
	if len(inc.Findings) > maxFindings || len(inc.Processes) > maxProcesses || len(inc.Story) > maxPassages || len(c.seen) > maxRecent+1 || len(c.keys) > maxKeys+1 {
		t.Errorf("%d findings, %d processes, %d passages, %d seen, %d keys", len(inc.Findings), len(inc.Processes), len(inc.Story), len(c.seen), len(c.keys))
	}
	if inc.Risk < 60 || inc.Title != "Title of theft in container c1" {
		t.Errorf("the theft drowned: risk %d, %q", inc.Risk, inc.Title)
	}
}

func TestIncidentsInMemoryAreBounded(t *testing.T) {
	c := New(Options{})
	for i := range maxIncidents + 100 {
		c.Process(finding("a", time.Duration(i)*time.Second, fmt.Sprint("container:c", i)))
	}
	if len(c.incidents) > maxIncidents || len(c.keys) > maxIncidents || len(c.seen) > maxIncidents {
		t.Errorf("%d incidents, %d keys, %d findings", len(c.incidents), len(c.keys), len(c.seen))
	}
}

func TestASnapshotDoesNotChange(t *testing.T) {
	c := New(Options{})
	a, _, _ := c.Process(finding("a", time.Minute, "container:c1"))
	kept := a.Findings[0]
	c.Process(finding("b", 0, "container:c1"))
	if a.Findings[0] != kept || len(a.Findings) != 1 {
		t.Error("a later finding changed an incident that was handed out")
	}
}
