package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Set is a policy's egress as sets: what covers an address with the longest prefix decides.
type Set struct {
	Prefixes []Prefix
	Open     bool // an address that nothing covers is allowed
}

// Prefix is one entry of a Set.
type Prefix struct {
	netip.Prefix
	Allow bool
	Ports []uint16 // that are allowed; none: all
}

// Names returns the names that the egress lists hold, each once.
func (e *Egress) Names() []string {
	var out []string
	for _, a := range e.Allow {
		if a.Name != "" && !slices.Contains(out, a.Name) {
			out = append(out, a.Name)
		}
	}
	return out
}

// Compile makes a Set of the lists, with the addresses that names stand for now. What a network
// allows holds for each part of it that has an entry of its own too, but for what is denied.
func (e *Egress) Compile(addrs map[string][]netip.Addr) (Set, error) {
	type entry struct {
		allow, deny bool
		ports       []uint16 // with allow: these; none: all
	}
	byPrefix := map[netip.Prefix]*entry{}
	at := func(p netip.Prefix) *entry {
		if byPrefix[p] == nil {
			byPrefix[p] = &entry{}
		}
		return byPrefix[p]
	}
	for _, d := range e.Deny {
		at(d.Prefix).deny = true
	}
	for _, a := range e.expand(addrs) {
		switch x := at(a.Prefix); {
		case a.Port == 0:
			x.allow, x.ports = true, nil
		case !x.allow || len(x.ports) > 0:
			x.allow = true
			x.ports = append(x.ports, a.Port)
		}
	}
	set := Set{Open: e.Open}
	order := make([]netip.Prefix, 0, len(byPrefix))
	for p := range byPrefix {
		order = append(order, p)
	}
	slices.SortFunc(order, func(a, b netip.Prefix) int {
		return cmp.Or(cmp.Compare(a.Bits(), b.Bits()), a.Addr().Compare(b.Addr()))
	})
	for _, p := range order {
		x := byPrefix[p]
		if x.allow && len(x.ports) > 0 && !x.deny { // what the network around it allows still holds
			for bits := p.Bits() - 1; bits >= 0; bits-- {
				up, err := p.Addr().Prefix(bits)
				if around := byPrefix[up]; err == nil && around != nil {
					if around.allow && len(around.ports) == 0 {
						x.ports = nil
					} else {
						x.ports = append(x.ports, around.ports...)
					}
					break
				}
			}
		}
		slices.Sort(x.ports)
		x.ports = slices.Compact(x.ports)
		if len(x.ports) > MaxPorts {
			return set, fmt.Errorf("%s is allowed with %d ports, and at most %d are kept: allow it whole", p, len(x.ports), MaxPorts)
		}
		set.Prefixes = append(set.Prefixes, Prefix{p, x.allow, x.ports})
	}
	if len(set.Prefixes) > MaxPrefixes {
		return set, fmt.Errorf("its names stand for so many addresses that it holds %d networks, and at most %d are kept", len(set.Prefixes), MaxPrefixes)
	}
	return set, nil
}

// expand replaces names by their addresses.
func (e *Egress) expand(addrs map[string][]netip.Addr) []Peer {
	var out []Peer
	for _, a := range e.Allow {
		if a.Name == "" {
			out = append(out, a)
			continue
		}
		for _, ip := range addrs[a.Name] {
			ip = ip.Unmap().WithZone("")
			out = append(out, Peer{Prefix: netip.PrefixFrom(ip, ip.BitLen()), Port: a.Port})
		}
	}
	return out
}

// Allows reports whether a set lets a connection pass: what the kernel decides, for a look before.
func (s Set) Allows(to netip.AddrPort) bool {
	allowed, bits := s.Open, -1
	ip := to.Addr().Unmap()
	for _, p := range s.Prefixes {
		if p.Bits() > bits && p.Contains(ip) {
			bits = p.Bits()
			allowed = p.Allow && (len(p.Ports) == 0 || slices.Contains(p.Ports, to.Port()))
		}
	}
	return allowed
}

// Allows reports whether a program's path is in the list. The kernel goes by the file that it leads to.
func (x *Exec) Allows(exe string) bool {
	return slices.ContainsFunc(x.Allow, func(p string) bool { return match(p, exe) })
}
