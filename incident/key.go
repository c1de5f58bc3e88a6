package incident

import (
	"net/netip"
	"strings"
	"time"

	"picket/event"
)

// hostWindow is how close two findings outside containers must be in time to be related by nothing
// but their host.
const hostWindow = 2 * time.Minute

// A key is something that findings of one attack share: "container:<id>", "process:<uid>"…
// Two findings with a key in common belong together.

// findingKeys returns what f can share with others. A process counts with its ancestors up to the
// first that the whole host shares (init, a login, a container's shim): behind that everything is
// related to everything.
func findingKeys(f event.Finding) []string {
	keys := entityKeys(f.Entities, f.Host)
	for _, p := range f.Processes {
		if shared(p) || f.Container != nil && p.Container != f.Container.ID {
			break
		}
		keys = append(keys, "process:"+p.UID)
	}
	if f.Container == nil {
		keys = append(keys, "host:"+f.Host)
	}
	return keys
}

// incidentKeys returns the keys of a stored incident's findings.
func incidentKeys(inc *event.Incident) []string {
	host := ""
	if len(inc.Hosts) > 0 {
		host = inc.Hosts[0]
	}
	keys := entityKeys(inc.Entities, host)
	contained := false
	for _, e := range inc.Entities {
		contained = contained || e.Kind == event.EntityContainer
	}
	for _, p := range inc.Processes {
		if !shared(p) && (!contained || p.Container != "") {
			keys = append(keys, "process:"+p.UID)
		}
	}
	if !contained {
		for _, h := range inc.Hosts {
			keys = append(keys, "host:"+h)
		}
	}
	return keys
}

func entityKeys(entities []event.Entity, host string) []string {
	var keys []string
	for _, e := range entities {
		switch e.Kind {
		case event.EntityContainer, event.EntityWorkload:
			keys = append(keys, string(e.Kind)+":"+e.ID)
		case event.EntityModel: // a path means something on its host
			keys = append(keys, "model:"+host+":"+e.ID)
		case event.EntityAddress:
			if telling(e.ID) {
				keys = append(keys, "address:"+e.ID)
			}
		}
	}
	return keys
}

// telling reports whether an address says who it is: loopback and unspecified ones do not.
func telling(s string) bool {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		s = ap.Addr().String()
	}
	a, err := netip.ParseAddr(s)
	return err == nil && !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast()
}

// window returns how far apart in time findings that share key k may be.
func window(k string, w time.Duration) time.Duration {
	if strings.HasPrefix(k, "host:") {
		return min(w, hostWindow)
	}
	return w
}

var sharedNames = map[string]bool{
	"init": true, "systemd": true, "sshd": true, "login": true, "cron": true, "crond": true, "runc": true, "crun": true, "conmon": true,
	"containerd": true, "dockerd": true, "kubelet": true, "crio": true, "tmux: server": true, "slurmstepd": true, "slurmd": true, "tini": true,
}

// shared reports whether a process is the ancestor of unrelated things.
func shared(p event.ProcessNode) bool {
	return p.PID <= 2 || sharedNames[p.Name] || strings.HasPrefix(p.Name, "containerd-shim") || strings.HasPrefix(p.Name, "systemd-")
}
