package incident

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"picket/event"
)

// hostWindow is how close two findings outside containers must be in time to be related by nothing
// but their host.
const hostWindow = 2 * time.Minute

// span is a time in which a key was in use.
type span struct{ from, to time.Time }

// links returns what an incident can share with a finding, "container:<id>", "process:<uid>"…, and
// when. It reads nothing but the incident, so an incident that was stored and restored has the
// same links; and a finding has those of an incident made of it alone.
//
// A container, workload, model, address or process links as long as the incident lasts. A host links
// only what processes outside containers did, each finding for itself.
func links(inc *event.Incident, w time.Duration) map[string][]span {
	out := map[string][]span{}
	whole := []span{{inc.FirstSeen, inc.LastSeen}}
	for _, e := range inc.Entities {
		if k := entityKey(e); k != "" {
			out[k] = whole
		}
	}
	nodes := make(map[string]*event.ProcessNode, len(inc.Processes))
	for i := range inc.Processes {
		nodes[inc.Processes[i].UID] = &inc.Processes[i]
	}
	for _, f := range inc.Findings { // sorted by time
		actor := nodes[f.Process]
		climb(nodes, actor, func(uid string) bool {
			k := "process:" + uid
			_, have := out[k]
			out[k] = whole
			return !have
		})
		if actor != nil && actor.Container == "" && f.Host != "" {
			k := "host:" + f.Host
			out[k] = extend(out[k], f.Time, reach(k, w))
		}
	}
	return out
}

func entityKey(e event.Entity) string {
	switch e.Kind {
	case event.EntityContainer, event.EntityWorkload, event.EntityModel:
		if e.ID != "" {
			return string(e.Kind) + ":" + e.ID
		}
	case event.EntityAddress:
		if telling(e.ID) {
			return "address:" + e.ID
		}
	}
	return ""
}

// climb calls yield for the actor and its ancestors, as long as they are of the same container, up
// to the first that the whole host shares (init, a login, a container's shim): behind that
// everything is related to everything.
func climb(nodes map[string]*event.ProcessNode, actor *event.ProcessNode, yield func(uid string) bool) {
	for p := actor; p != nil && p.UID != "" && !shared(p) && p.Container == actor.Container; p = nodes[p.ParentUID] {
		if !yield(p.UID) {
			return // also ends where hostile parents run in a circle
		}
	}
}

// extend adds a time to spans that are sorted; t is not before the last one. Times within w of
// each other are one span.
func extend(spans []span, t time.Time, w time.Duration) []span {
	if n := len(spans); n > 0 && !t.After(spans[n-1].to.Add(w)) {
		spans[n-1].to = t
		return spans
	}
	return append(spans, span{t, t})
}

// near reports whether one of a's spans is within w of one of b's.
func near(a, b []span, w time.Duration) bool {
	return slices.ContainsFunc(a, func(x span) bool {
		return slices.ContainsFunc(b, func(y span) bool {
			return !x.from.After(y.to.Add(w)) && !y.from.After(x.to.Add(w))
		})
	})
}

// reach returns how far apart in time findings that share key k may be.
func reach(k string, w time.Duration) time.Duration {
	if strings.HasPrefix(k, "host:") {
		return min(w, hostWindow)
	}
	return w
}

// telling reports whether an address says who it is. One of the own network does not: the proxy,
// the gateway, the registry and the cloud's metadata service are everybody's.
func telling(s string) bool {
	a, err := netip.ParseAddr(s)
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return false
		}
		a = ap.Addr()
	}
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate() && !carrier.Contains(a)
}

var carrier = netip.MustParsePrefix("100.64.0.0/10") // shared address space, as overlay networks use it

var sharedNames = map[string]bool{
	"init": true, "systemd": true, "kthreadd": true, "sshd": true, "login": true, "cron": true, "crond": true, "atd": true,
	"runc": true, "crun": true, "conmon": true, "containerd": true, "dockerd": true, "kubelet": true, "crio": true,
	"tmux": true, "tmux: server": true, "screen": true, "slurmstepd": true, "slurmd": true, "supervisord": true, "tini": true,
}

// shared reports whether a process is the ancestor of unrelated things.
func shared(p *event.ProcessNode) bool {
	return p.PID == 1 || p.PID == 2 || sharedNames[p.Name] || strings.HasPrefix(p.Name, "containerd-shim") || strings.HasPrefix(p.Name, "systemd-")
}
