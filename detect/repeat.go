package detect

import (
	"fmt"
	"strings"
	"time"

	"picket/event"
)

// repeats keeps quiet about what a finding has just said: the same rule, process and object
// within a time. It forgets the oldest first when it is full.
type repeats struct {
	quiet time.Duration
	seen  map[string]*repeat
	order []string // oldest first; from the index head on
	head  int
}

type repeat struct {
	until time.Time
	count int
}

const (
	maxRepeats = 8192             // bounds the memory of repeats
	stateQuiet = 30 * time.Minute // samples of a GPU tell each minute how things still are
)

func (r *repeats) quietFor(e *event.Event) time.Duration {
	if e.Kind == event.GPUSample || e.CUDA != nil && e.CUDA.Call == event.CUDACopies {
		return max(r.quiet, stateQuiet)
	}
	return r.quiet
}

// first reports whether e is worth a finding of rule, and if so how many events it stands for:
// itself and those that were kept quiet since the last one.
func (r *repeats) first(rule string, e *event.Event) (count int, ok bool) {
	actor := e.Host // in a replay there are several
	if p := e.Process; p != nil {
		actor = fmt.Sprint(e.Host, " ", p.PID, " ", p.StartBoot, " ", p.Exe)
	}
	key := event.HashID(rule, actor, object(e))
	now, have := r.seen[key]
	if have && e.Time.Before(now.until) {
		now.count++
		return 0, false
	}
	count = 1
	if have {
		count += now.count
		*now = repeat{until: e.Time.Add(r.quietFor(e))}
		return count, true
	}
	for len(r.seen) >= maxRepeats {
		r.drop()
	}
	r.seen[key] = &repeat{until: e.Time.Add(r.quietFor(e))}
	r.order = append(r.order, key)
	return count, true
}

func (r *repeats) drop() {
	delete(r.seen, r.order[r.head])
	r.order[r.head] = ""
	if r.head++; r.head > maxRepeats {
		r.order = append(r.order[:0:0], r.order[r.head:]...)
		r.head = 0
	}
}

// advance forgets what is over at now. Entries that were renewed go when their turn comes.
func (r *repeats) advance(now time.Time) {
	for r.head < len(r.order) && r.seen[r.order[r.head]].until.Add(r.quiet).Before(now) {
		r.drop()
	}
}

// object returns what the event was done to. Files of one model are one object, so that copying
// a model of 30 files is said once. An event of no kind that is known repeats nothing but itself.
func object(e *event.Event) string {
	if e.Call != nil {
		return e.Call.Name + " " + e.Call.About() + e.File.Path
	}
	switch e.Kind.Class() {
	case "file":
		if e.File.Model != nil {
			return e.File.Model.Path
		}
		return e.File.Path
	case "net":
		return otherEnd(&e.Net)
	case "gpu":
		if g := e.GPU; g != nil && g.Err != nil {
			return fmt.Sprint(g.PCI, " ", g.Err.Xid)
		} else if g != nil {
			return g.UUID
		}
	case "principal":
		if r, p := e.Request, e.Principal; r != nil && p != nil {
			what, _ := p.Most()
			return r.PrincipalKind + " " + r.Principal + " " + what
		}
	case "request":
		if r := e.Request; r != nil {
			return r.Client.Addr().String() + " " + r.Principal + " " + r.Method + " " + r.Route
		}
	case "cuda":
		if c := e.CUDA; c != nil {
			return fmt.Sprint(c.Call, " ", c.Module.Digest, " ", c.Library, " ", c.Peer.PID)
		}
	case "python":
		if p := e.Python; p != nil {
			return p.Event + " " + p.Argument
		}
	case "process":
		if e.Process != nil {
			return e.Process.Cmdline
		}
	case "kubernetes":
		if k := e.Kubernetes; k != nil {
			return strings.Join([]string{k.User, k.Verb, k.Resource, k.Subresource, k.Namespace, k.Name}, " ")
		}
	case "":
		return e.ID()
	}
	switch {
	case e.Deviation != nil:
		return e.Deviation.What + " " + e.Deviation.Value
	case e.Drift != nil && e.Request != nil:
		return e.Request.Model + " " + e.Drift.Measure
	case e.Policy != nil:
		return e.Policy.Rule + " " + e.File.Path + " " + otherEnd(&e.Net)
	}
	return e.File.Path
}

// otherEnd returns what was reached: many servers share an address, and sockets of the host have none.
func otherEnd(n *event.Net) string {
	switch {
	case n.TLS != nil && n.TLS.ServerName != "":
		return n.TLS.ServerName
	case n.Unix != nil:
		return n.Unix.Path
	}
	return n.Remote.Addr().String()
}
