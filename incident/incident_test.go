package incident

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
		if i+1 < len(names) {
			p.ParentUID = "uid-" + names[i+1]
		}
		f.Processes = append(f.Processes, p)
	}
	return f
}

func on(host string, f event.Finding) event.Finding {
	f.Host = host
	return f
}

// nameless gives f a process that nothing is known of.
func nameless(f event.Finding) event.Finding {
	f.Processes = []event.ProcessNode{{Name: "x"}}
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
		{"a proxy of the own network says nothing", finding("a", 0, "container:c1", "address:10.0.0.5"), finding("b", 0, "container:c2", "address:10.0.0.5"), false},
		{"nor does the metadata service", finding("a", 0, "container:c1", "address:169.254.169.254"), finding("b", 0, "container:c2", "address:169.254.169.254"), false},
		{"one address of IPv6", finding("a", 0, "container:c1", "address:2001:db8::66"), finding("b", 0, "container:c2", "address:2001:db8::66"), true},
		{"one workload, two hosts", on("a1", finding("a", 0, "workload:w")), on("a2", finding("b", time.Minute, "workload:w")), true},
		{"two hosts", on("a1", finding("a", 0)), on("a2", finding("b", 0)), false},
		{"no names at all", on("", finding("a", 0)), on("", finding("b", 0)), false},
		{"one host, three minutes apart", finding("a", 0), finding("b", 3*time.Minute), false},
		{"a container's shim is no kinship", acting(finding("a", 0, "container:c1"), "curl", "containerd-shim-runc-v2"), acting(finding("b", 0, "container:c2"), "tar", "containerd-shim-runc-v2"), false},
		{"a shell that starts containers is no kinship", acting(finding("a", 0, "container:c1"), "curl", "runc", "bash"), acting(finding("b", 0, "container:c2"), "tar", "runc", "bash"), false},
		{"what is above a shared ancestor is not asked", acting(finding("a", 0), "curl", "sshd", "agent"), acting(finding("b", 10*time.Minute), "tar", "sshd", "agent"), false},
		{"processes without identity", nameless(finding("a", 0)), nameless(finding("b", 10*time.Minute)), false},
		{"hours ahead", finding("a", 0, "container:c1"), finding("b", 5*time.Hour, "container:c1"), false},
		{"hours behind", finding("a", 0, "container:c1"), finding("b", -5*time.Hour, "container:c1"), false},
		{"one user is no kinship", finding("a", 0, "container:c1", "user:root"), finding("b", 0, "container:c2", "user:root"), false},
	} {
		c := New(Options{})
		x, _, _ := c.Process(tt.a)
		y, absorbed, _ := c.Process(tt.b)
		one := x.ID == y.ID || len(absorbed) == 1 && absorbed[0].ID == x.ID
		if one != tt.one || one != (y.FindingN == 2) {
			t.Errorf("%s: one incident is %v with %d findings, want %v", tt.name, one, y.FindingN, tt.one)
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
	again, absorbed, changed := c.Process(finding("d", 3*time.Minute, "container:c1", "address:203.0.113.9"))
	if changed || again.ID != a.ID || len(absorbed) != 1 || absorbed[0].ID != b.ID {
		t.Errorf("a caller who failed to keep them asks again: changed %v, absorbed %+v", changed, absorbed)
	}
	if got := both.Log; len(got) != 2 || got[1].What != "took over "+b.ID[:8] || got[1].Note != b.Title {
		t.Errorf("log %+v", got)
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

func TestASnapshotDoesNotChange(t *testing.T) {
	c := New(Options{})
	a, _, _ := c.Process(finding("a", time.Minute, "container:c1"))
	kept := a.Findings[0]
	c.Process(finding("b", 0, "container:c1"))
	if a.Findings[0] != kept || len(a.Findings) != 1 {
		t.Error("a later finding changed an incident that was handed out")
	}
}

func TestAnEarlierFindingThatArrivesLateNamesTheIncident(t *testing.T) {
	c := New(Options{})
	late, _, _ := c.Process(finding("b", time.Minute, "container:c1"))
	if _, err := c.Update(late.ID, "ann", Update{Status: event.IncidentAcknowledged, Note: "I look at it"}, t0); err != nil {
		t.Fatal(err)
	}
	inc, absorbed, _ := c.Process(finding("a", 0, "container:c1"))
	if inc.ID == late.ID || inc.FindingN != 2 || len(absorbed) != 1 || absorbed[0].ID != late.ID || absorbed[0].Status != event.IncidentClosed {
		t.Fatalf("%+v, absorbed %+v", inc, absorbed)
	}
	if inc.Status != event.IncidentAcknowledged || len(inc.Log) != 3 || inc.Log[1].Note != "I look at it" {
		t.Errorf("what ann did is lost: %s, %+v", inc.Status, inc.Log)
	}
}

func TestAClockThatJumpsSplitsNothing(t *testing.T) {
	c := New(Options{})
	first, _, _ := c.Process(finding("a", 0, "container:c1"))
	future, _, _ := c.Process(finding("b", 5*time.Hour, "container:c1"))
	past, _, _ := c.Process(finding("c", -5*time.Hour, "container:c1"))
	for i := range 5 {
		at := time.Duration(i+1) * time.Minute
		for _, tt := range []struct {
			name string
			in   event.Incident
			at   time.Duration
		}{{"now", first, at}, {"hours ahead", future, 5*time.Hour + at}, {"hours behind", past, -5*time.Hour + at}} {
			if got, _, _ := c.Process(finding("d", tt.at, "container:c1")); got.ID != tt.in.ID {
				t.Errorf("%s: finding %d went to another incident", tt.name, i)
			}
		}
	}
	if n, _, _ := c.Process(finding("e", 10*time.Minute, "container:c1")); n.FirstSeen != first.FirstSeen || n.FindingN != 7 {
		t.Errorf("the incident grew to %d findings since %s", n.FindingN, n.FirstSeen)
	}
	if zero, _, _ := c.Process(event.Finding{ID: "zero"}); zero.FindingN != 1 || zero.Title == "" && zero.Summary == "" {
		t.Errorf("a finding without anything: %+v", zero)
	}
}
