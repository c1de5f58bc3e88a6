package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"picket/event"
	"picket/incident"
)

// A host whose agent is silent keeps only its own incidents waiting; those of one host are answered one
// after the other, each as it was last, and no more at once than are allowed.
func TestASilentHostKeepsNobodyElseWaiting(t *testing.T) {
	a, silent := newAnswers(), make(chan struct{})
	var mu sync.Mutex
	var said []string
	now, most, onHost := 0, 0, map[string]int{}
	answer := func(_ context.Context, inc event.Incident) {
		mu.Lock()
		now++
		most = max(most, now)
		for _, h := range inc.Hosts {
			if onHost[h]++; onHost[h] > 1 {
				t.Errorf("two incidents of %s at once", h)
			}
		}
		mu.Unlock()
		if inc.Hosts[0] == "silent" {
			<-silent
		}
		mu.Lock()
		defer mu.Unlock()
		now--
		for _, h := range inc.Hosts {
			onHost[h]--
		}
		said = append(said, inc.ID+" "+inc.Title)
	}
	heard := func(what string) bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(said, what)
	}
	wait := func(what string) {
		t.Helper()
		for n := 0; !heard(what); n++ {
			if n == 5000 {
				t.Fatalf("%s was not answered", what)
			}
			time.Sleep(time.Millisecond)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.run(ctx, answer) }()
	inc := func(id, title string, hosts ...string) event.Incident {
		return event.Incident{ID: id, Title: title, Hosts: hosts}
	}
	a.put(inc("s1", "", "silent"))
	a.put(inc("s2", "old", "silent"))
	a.put(inc("s2", "new", "silent"))
	a.put(inc("both", "", "other", "silent"))
	for n := range 100 {
		a.put(inc(fmt.Sprint(n), "", fmt.Sprint("h", n)))
	}
	for n := range 100 {
		wait(fmt.Sprint(n, " "))
	}
	if heard("s1 ") || heard("s2 new") || heard("both ") {
		t.Error("the silent host answered")
	}
	close(silent)
	wait("s2 new")
	wait("both ")
	if heard("s2 old") {
		t.Error("an incident was answered as it was before")
	}
	if most > answersAtOnce {
		t.Errorf("%d at once", most)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The first finding of a rule has its incident answered before that is kept; a burst of one rule does not.
func TestTheFirstFindingOfARuleIsAnsweredAtOnce(t *testing.T) {
	c := incident.New(incident.Options{Window: time.Hour})
	for n, want := range []struct {
		rule  string
		first bool
	}{{"a", true}, {"a", false}, {"b", true}, {"b", false}, {"a", false}} {
		f := event.Finding{
			ID: fmt.Sprint(n), Time: time.Unix(int64(n), 0), Host: "h", Rule: event.Rule{Name: want.rule}, Severity: event.High, Count: 1,
			Entities: []event.Entity{{Kind: event.EntityContainer, ID: "c", Name: "c"}},
		}
		inc, _, changed := c.Process(f)
		if len(inc.Findings) != n+1 || !changed {
			t.Fatalf("finding %d: %d in its incident", n, len(inc.Findings))
		}
		if got := firstOfRule(&inc, &f); got != want.first {
			t.Errorf("finding %d, of rule %s: %v", n, want.rule, got)
		}
	}
}
