package detect

import (
	"fmt"
	"time"

	"picket/event"
)

// throttle keeps a rule that is noisy in one workload from drowning the others: past a number of
// findings within a time it only counts. It forgets the oldest first when it is full.
type throttle struct {
	most  int
	per   time.Duration
	flows map[flowKey]*flow
	order []*flow // oldest first; each stays for per
}

type flowKey struct{ rule, where string }

// flow is what a rule yields in one workload.
type flow struct {
	key   flowKey
	name  string // of the rule
	place string // in words
	began time.Time
	count int
}

// noisyTime is the time within which findings are counted.
const noisyTime = 10 * time.Minute

// maxFlows bounds the memory of a throttle.
const maxFlows = 4096

// pass reports whether a finding of r on e is to be raised, and returns what is to be said of it.
func (t *throttle) pass(r *rule, e *event.Event) (ok bool, say string) {
	key := flowKey{r.info.ID, workloadKey(e)}
	f := t.flows[key]
	switch {
	case f != nil && e.Time.Sub(f.began) >= t.per:
		say = t.end(f)
		t.drop(f)
		f = nil
	case f != nil && f.count == t.most:
		say = fmt.Sprintf("throttled: rule %s fired more than %d times in %s %s: until %s it is only counted there",
			f.name, t.most, inWords(e.Time.Sub(f.began)), f.place, f.began.Add(t.per).UTC().Format(time.TimeOnly))
	}
	if f == nil {
		if len(t.order) >= maxFlows {
			t.drop(t.order[0])
		}
		f = &flow{key: key, name: r.info.Name, place: where(e), began: e.Time}
		t.flows[key], t.order = f, append(t.order, f)
	}
	f.count++
	return f.count <= t.most, say
}

// advance forgets what is over at now, and returns what is to be said of it.
func (t *throttle) advance(now time.Time) (say []string) {
	for len(t.order) > 0 && now.Sub(t.order[0].began) >= t.per {
		if text := t.end(t.order[0]); text != "" {
			say = append(say, text)
		}
		t.drop(t.order[0])
	}
	return say
}

// end says how much a rule that was throttled fired, "" for one that was not.
func (t *throttle) end(f *flow) string {
	if f.count <= t.most {
		return ""
	}
	return fmt.Sprintf("throttled: rule %s fired %d times in %s %s: %d findings were not raised", f.name, f.count, inWords(t.per), f.place, f.count-t.most)
}

func (t *throttle) drop(f *flow) {
	delete(t.flows, f.key)
	for i, other := range t.order { // nearly always among the first
		if other == f {
			t.order = append(t.order[:i], t.order[i+1:]...)
			return
		}
	}
}

// inWords says a length of time in a few words.
func inWords(d time.Duration) string {
	if d < 2*time.Minute {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}

// workloadKey names the workload that e belongs to, else its container, else its host.
func workloadKey(e *event.Event) string {
	if p := e.Process; p != nil {
		if p.Workload != nil && p.Workload.ID != "" {
			return p.Workload.ID
		}
		if p.Container != nil && p.Container.ID != "" {
			return p.Container.ID
		}
	}
	return e.Host
}
