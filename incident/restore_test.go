package incident

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/event"
)

// A server may end after it kept an incident, and before it kept the parts that went into it.
func TestRestoreClosesWhatACrashLeftOpen(t *testing.T) {
	c := New(Options{})
	a, _, _ := c.Process(finding("a", 0, "container:c1"))
	b, _, _ := c.Process(finding("b", time.Minute, "container:c2"))
	link := finding("c", 2*time.Minute, "container:c1", "model:m")
	c.Process(link)
	last := finding("d", 3*time.Minute, "container:c2", "model:m")
	whole, _, _ := c.Process(last)
	if whole.ID != a.ID || whole.FindingN != 4 {
		t.Fatalf("%+v", whole)
	}

	for _, tt := range []struct {
		name string
		f    event.Finding
		n    int
	}{{"delivered again", last, 4}, {"the next finding", finding("e", 4*time.Minute, "container:c2"), 5}} {
		r := New(Options{})
		r.Restore([]event.Incident{b, whole}) // b as it was kept last: open
		inc, absorbed, _ := r.Process(tt.f)
		if inc.ID != a.ID || inc.FindingN != tt.n {
			t.Errorf("%s: %d findings in %s, want %d in %s", tt.name, inc.FindingN, inc.ID, tt.n, a.ID)
		}
		if len(absorbed) != 1 || absorbed[0].ID != b.ID || absorbed[0].Status != event.IncidentClosed || absorbed[0].Version != b.Version+1 {
			t.Errorf("%s: absorbed %+v", tt.name, absorbed)
		}
		if tt.n == 4 {
			if d := cmp.Diff(whole, inc); d != "" {
				t.Error("restoring changed an incident without a new version", d)
			}
		}
	}
}

func TestAFindingOfAMergedIncidentBelongsToTheWholeAfterARestart(t *testing.T) {
	c := New(Options{})
	c.Process(finding("a", 0, "container:c1", "model:m"))
	b := finding("b", time.Minute, "container:c2")
	c.Process(b)
	whole, absorbed, _ := c.Process(finding("c", 2*time.Minute, "container:c2", "model:m"))
	r := New(Options{})
	r.Restore([]event.Incident{whole, absorbed[0]})
	if inc, _, changed := r.Process(b); changed || inc.ID != whole.ID {
		t.Errorf("changed %v, incident %s, want %s", changed, inc.ID, whole.ID)
	}
}

func TestRestoreKeepsWhatIsInMemory(t *testing.T) {
	c := New(Options{})
	old, _, _ := c.Process(finding("a", 0, "container:c1"))
	now, _, _ := c.Process(finding("b", time.Minute, "container:c1"))
	c.Restore([]event.Incident{old})
	if inc, _, _ := c.Process(finding("b", time.Minute, "container:c1")); !cmp.Equal(inc, now) {
		t.Error(cmp.Diff(now, inc))
	}
	mine := []event.Incident{snapshot(&now)}
	mine[0].ID = "another"
	mine[0].Findings = make([]event.FindingRef, 1, 10)
	mine[0].Findings[0] = event.FindingRef{ID: "f", Time: t0}
	r := New(Options{})
	r.Restore(mine)
	r.Process(finding("c", time.Minute, "container:c1"))
	if mine[0].FindingN != 2 || len(mine[0].Findings) != 1 || mine[0].Findings[:2][1].ID != "" {
		t.Error("what was handed in changed")
	}
}
