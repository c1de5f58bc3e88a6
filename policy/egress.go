package policy

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// groups are words that stand for networks.
var groups = map[string][]string{
	"loopback": {"127.0.0.0/8", "::1/128"},
	"private":  {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"},
}

func (p *parser) egress(n *yaml.Node) *Egress {
	e := &Egress{Open: true}
	read := func(what string, to *[]Peer) func(*yaml.Node) {
		return func(v *yaml.Node) {
			p.list(v, "egress."+what, MaxPrefixes, func(c *yaml.Node) {
				peers, msg := parsePeer(c.Value)
				if msg != "" {
					p.fail(c, fmt.Sprintf("egress.%s: %q %s", what, c.Value, msg),
						"an address or network such as 10.0.0.0/8, with a port 192.0.2.1:443 or [2001:db8::1]:443, a name hub.example.org:443, or loopback or private")
				}
				for _, peer := range peers {
					peer.line, peer.col = c.Line, c.Column
					if what == "deny" && peer.Name != "" {
						p.fail(c, fmt.Sprintf("egress.deny: %q is a name, and who is denied a name uses another", c.Value), "deny networks")
					}
					if what == "deny" && peer.Port != 0 {
						p.fail(c, fmt.Sprintf("egress.deny: %q has a port", c.Value), "deny a network whole, and allow ports of it")
					}
					*to = append(*to, peer)
				}
			})
		}
	}
	got := p.keys(n, "egress", map[string]func(*yaml.Node){"allow": read("allow", &e.Allow), "deny": read("deny", &e.Deny)})
	if e.Open = got["allow"] == nil; e.Open && got["deny"] == nil {
		p.fail(n, "egress: has neither allow nor deny", "add allow: [] to deny everything")
	}
	denied := map[netip.Prefix]bool{}
	for _, d := range e.Deny {
		denied[d.Prefix] = true
	}
	for _, a := range e.Allow {
		if a.Name == "" && a.Port == 0 && denied[a.Prefix] {
			p.fail(&yaml.Node{Line: a.line, Column: a.col}, fmt.Sprintf("egress: %s is both allowed and denied", a.Prefix), "")
		}
	}
	return e
}

var hostName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]$`)

// parsePeer reads an entry of an egress list. It returns what is wrong with it, or "".
func parsePeer(s string) ([]Peer, string) {
	if list, ok := groups[s]; ok {
		var out []Peer
		for _, n := range list {
			out = append(out, Peer{Prefix: netip.MustParsePrefix(n)})
		}
		return out, ""
	}
	host, port, msg := splitPort(s)
	if msg != "" {
		return nil, msg
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" {
			return nil, "has a zone"
		}
		a = a.Unmap()
		return []Peer{{Prefix: netip.PrefixFrom(a, a.BitLen()), Port: port}}, ""
	}
	if strings.Contains(host, "/") {
		n, err := netip.ParsePrefix(host)
		if err != nil {
			return nil, "is no network"
		}
		if n.Addr().Is4In6() {
			if n.Bits() < 96 {
				return nil, "is no network: IPv4 stands in the last 32 bits of ::ffff:0:0/96"
			}
			n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
		}
		if n != n.Masked() {
			return nil, fmt.Sprintf("has bits behind its length: %s is meant", n.Masked())
		}
		return []Peer{{Prefix: n, Port: port}}, ""
	}
	if len(host) > 253 || !hostName.MatchString(host) {
		return nil, "is no address, network or name"
	}
	return []Peer{{Name: strings.ToLower(host), Port: port}}, ""
}

// splitPort cuts a port off an address, network or name.
func splitPort(s string) (host string, port uint16, msg string) {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		in, after, ok := strings.Cut(rest, "]")
		if !ok || after != "" && after[0] != ':' {
			return "", 0, "has brackets that do not close before the port"
		}
		if after == "" {
			return in, 0, ""
		}
		return number(in, after[1:])
	}
	if i := strings.IndexByte(s, ':'); i >= 0 && strings.LastIndexByte(s, ':') == i {
		return number(s[:i], s[i+1:])
	}
	return s, 0, ""
}

func number(host, digits string) (string, uint16, string) {
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return "", 0, "has no port from 1 to 65535 behind the colon"
	}
	return host, uint16(n), ""
}
