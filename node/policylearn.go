package node

import (
	"cmp"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"picket/policy"
)

// Learned is what a workload did, as its stored events tell.
type Learned struct {
	Programs  map[string]int         // how often each ran
	Peers     map[netip.AddrPort]int // and each was sent to
	stopped   map[string]int         // programs and addresses, by a policy
	Container string                 // the last seen
	Cgroup    string
}

// LearnEvents gathers what records say of programs that ran and addresses that were sent to.
func LearnEvents(records []json.RawMessage) Learned {
	l := Learned{Programs: map[string]int{}, Peers: map[netip.AddrPort]int{}, stopped: map[string]int{}}
	for _, raw := range records {
		var r map[string]string
		if json.Unmarshal(raw, &r) != nil {
			continue // a row of a query that counts
		}
		l.Container, l.Cgroup = cmp.Or(r["container.id"], l.Container), cmp.Or(r["process.cgroup"], l.Cgroup)
		switch r["event.kind"] {
		case "process.start", "process.seen":
			if exe := r["process.exe"]; strings.HasPrefix(exe, "/") && r["process.memfd"] != "true" {
				l.Programs[exe]++
			}
		case "net.connect", "net.send":
			a, err := netip.ParseAddr(r["net.remote.ip"])
			port, _ := strconv.ParseUint(r["net.remote.port"], 10, 16)
			if err != nil {
				continue
			}
			to := netip.AddrPortFrom(a.Unmap(), uint16(port))
			l.Peers[to]++
			if r["event.errno"] == eperm {
				l.stopped[to.String()]++
			}
		case "policy.violation":
			if r["policy.action"] == "killed" {
				l.stopped[r["process.exe"]]++
			}
		}
	}
	return l
}

// eperm is what a denied call gets.
const eperm = "1"

// maxPerNetwork is how many addresses of a small network are written one by one.
const maxPerNetwork = 8

// Policy writes what was learned as a policy that only observes. What a policy stopped each time is
// left out. Loopback is one entry; of a network
// of 256 addresses, or of 64 bits, with many in use the whole is written.
func (l Learned) Policy(name string, sel policy.Select, now time.Time) *policy.Policy {
	p := &policy.Policy{Name: name, Select: sel, Mode: policy.Observe, Exec: &policy.Exec{}, Egress: &policy.Egress{}, Expires: now.UTC().Truncate(24*time.Hour).AddDate(1, 0, 1)}
	for exe, n := range l.Programs {
		if n > l.stopped[exe] {
			p.Exec.Allow = append(p.Exec.Allow, exe)
		}
	}
	slices.Sort(p.Exec.Allow)
	if len(p.Exec.Allow) == 0 {
		p.Exec = nil
	}
	ports := map[netip.Addr][]uint16{}
	for a, n := range l.Peers {
		if n <= l.stopped[a.String()] {
			continue
		}
		ports[a.Addr()] = append(ports[a.Addr()], a.Port())
	}
	around := map[netip.Prefix]int{}
	for a := range ports {
		around[network(a)]++
	}
	seen := map[policy.Peer]bool{}
	for a, ps := range ports {
		whole := netip.PrefixFrom(a, a.BitLen())
		switch n := network(a); {
		case a.IsLoopback():
			whole, ps = n, nil
		case around[n] > maxPerNetwork:
			whole, ps = n, nil
		case len(ps) > policy.MaxPorts:
			ps = nil
		}
		if ps == nil {
			ps = []uint16{0}
		}
		for _, port := range ps {
			if peer := (policy.Peer{Prefix: whole, Port: port}); !seen[peer] {
				seen[peer] = true
				p.Egress.Allow = append(p.Egress.Allow, peer)
			}
		}
	}
	slices.SortFunc(p.Egress.Allow, func(a, b policy.Peer) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Port, b.Port))
	})
	return p
}

// network is the small network that an address is in.
func network(a netip.Addr) netip.Prefix {
	bits := 64
	switch {
	case a.Is4() && a.IsLoopback():
		bits = 8
	case a.Is4():
		bits = 24
	case a.IsLoopback():
		bits = 128
	}
	n, _ := a.Prefix(bits) // bits fit
	return n
}

// Difference is one thing that a policy and what was seen do not agree on.
type Difference struct {
	Rule   string `json:"rule"`
	What   string `json:"what"`
	Times  int    `json:"times"`  // it was seen
	Reason string `json:"reason"` // forbidden: seen and not allowed; unused: allowed and not seen
}

// Against says what of the seen a policy forbids, and which programs it allows that were not seen.
func (l Learned) Against(p *policy.Policy, addrs map[string][]netip.Addr) ([]Difference, error) {
	var out []Difference
	if p.Exec != nil {
		for exe, n := range l.Programs {
			if !p.Exec.Allows(exe) {
				out = append(out, Difference{"exec", exe, n, "forbidden"})
			}
		}
		for _, exe := range p.Exec.Allow {
			if l.Programs[exe] == 0 && !strings.Contains(exe, "*") {
				out = append(out, Difference{"exec", exe, 0, "unused"})
			}
		}
	}
	if p.Egress != nil {
		set, err := p.Egress.Compile(addrs)
		if err != nil {
			return nil, err
		}
		for a, n := range l.Peers {
			if !set.Allows(a) {
				out = append(out, Difference{"egress", a.String(), n, "forbidden"})
			}
		}
	}
	slices.SortFunc(out, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.What, b.What))
	})
	return out, nil
}
