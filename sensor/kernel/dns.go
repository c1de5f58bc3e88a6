package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"picket/event"
)

var (
	errDNS   = errors.New("a message to or from port 53 that is not of DNS")
	errAgain = errors.New("told of before")
	errPart  = errors.New("a part of a message, of which the beginning was told of")
)

const (
	dnsHeader   = 12
	maxName     = 255
	maxJumps    = 16
	maxAnswers  = 64
	maxResults  = 1024
	dnsRecords  = 64 // remembered, so that none is told of twice
	hostnames   = 10_000
	typeA       = 1
	typeNS      = 2
	typeCNAME   = 5
	typePTR     = 12
	typeTXT     = 16
	typeAAAA    = 28
	flagsAnswer = 0x8000
)

var recordTypes = map[uint16]string{
	typeA: "A", typeNS: "NS", typeCNAME: "CNAME", 6: "SOA", 10: "NULL", typePTR: "PTR", 13: "HINFO", 15: "MX", typeTXT: "TXT", typeAAAA: "AAAA",
	33: "SRV", 35: "NAPTR", 43: "DS", 46: "RRSIG", 48: "DNSKEY", 64: "SVCB", 65: "HTTPS", 252: "AXFR", 255: "ANY", 257: "CAA",
}

func recordType(n uint16) string {
	if s, ok := recordTypes[n]; ok {
		return s
	}
	return fmt.Sprintf("TYPE%d", n)
}

// dnsMessage is what a message says.
type dnsMessage struct {
	id        uint16
	dns       event.DNS
	addresses []netip.Addr
	cut       bool // some answers were left out
}

// parseDNS reads the first question of a message and its answers. Bytes are anyone's: what does not
// fit ends the reading, and a message without a whole question is refused.
func parseDNS(b []byte) (m dnsMessage, err error) {
	if len(b) < dnsHeader {
		return m, errDNS
	}
	be := binary.BigEndian
	m.id = be.Uint16(b)
	flags, questions, answers := be.Uint16(b[2:]), be.Uint16(b[4:]), int(be.Uint16(b[6:]))
	name, at, ok := dnsName(b, dnsHeader)
	if questions != 1 || !ok || at+4 > len(b) {
		return m, errDNS
	}
	m.dns = event.DNS{Name: name, Type: recordType(be.Uint16(b[at:])), Answer: flags&flagsAnswer != 0}
	if !m.dns.Answer {
		return m, nil
	}
	m.dns.Status = uint8(flags & 15)
	m.answers(b, at+4, answers)
	return m, nil
}

func (m *dnsMessage) answers(b []byte, at, n int) {
	var out strings.Builder
	be := binary.BigEndian
	for i := range n {
		_, next, ok := dnsName(b, at)
		if !ok || next+10 > len(b) || i >= maxAnswers {
			m.cut = true
			break
		}
		kind, size := be.Uint16(b[next:]), int(be.Uint16(b[next+8:]))
		next += 10
		if next+size > len(b) {
			m.cut = true
			break
		}
		text := m.answer(b[:next+size], kind, next)
		if out.Len()+len(text)+1 > maxResults {
			m.cut = true
			break
		}
		if text != "" {
			out.WriteString(text)
			out.WriteByte(';')
		}
		at = next + size
	}
	m.dns.Results = out.String()
}

// answer returns one answer, whose data are the end of b, as text.
func (m *dnsMessage) answer(b []byte, kind uint16, at int) string {
	switch kind {
	case typeA, typeAAAA:
		ip, ok := netip.AddrFromSlice(b[at:])
		if !ok {
			return ""
		}
		m.addresses = append(m.addresses, ip.Unmap())
		return ip.String()
	case typeNS, typeCNAME, typePTR:
		name, _, _ := dnsName(b, at)
		return name
	case typeTXT:
		var out strings.Builder
		for at < len(b) {
			end := min(at+1+int(b[at]), len(b))
			printable(&out, b[at+1:end])
			at = end
		}
		return out.String()
	}
	return recordType(kind)
}

// dnsName reads a name at a place of b, and returns where what follows it stands. A name may go on
// at an earlier place.
func dnsName(b []byte, at int) (name string, next int, ok bool) {
	var out strings.Builder
	for jumps, bytes := 0, 0; at < len(b); {
		n := int(b[at])
		switch {
		case n == 0:
			if jumps == 0 {
				next = at + 1
			}
			return out.String(), next, true
		case n >= 0xc0:
			if jumps++; jumps > maxJumps || at+1 >= len(b) {
				return "", 0, false
			}
			if jumps == 1 {
				next = at + 2
			}
			to := n&0x3f<<8 | int(b[at+1])
			if to >= at {
				return "", 0, false
			}
			at = to
		default:
			if bytes += n + 1; n > 63 || bytes > maxName || at+1+n > len(b) {
				return "", 0, false
			}
			if out.Len() > 0 {
				out.WriteByte('.')
			}
			printable(&out, b[at+1:at+1+n])
			at += 1 + n
		}
	}
	return "", 0, false
}

// printable writes bytes with those that are no visible ASCII as \ddd.
func printable(out *strings.Builder, b []byte) {
	for _, c := range b {
		if c > ' ' && c < 0x7f && c != '\\' && c != ';' {
			out.WriteByte(c)
		} else {
			fmt.Fprintf(out, "\\%03d", c)
		}
	}
}

// asked is what makes two messages the same one.
type asked struct {
	start      uint64
	pid        uint32
	id         uint16
	answer     bool
	local      uint16
	remote     netip.AddrPort
	name, kind string
}

// names knows what addresses were the answers for. It forgets the older half at a time.
type names struct {
	young, old map[netip.Addr]string
	told       [dnsRecords]asked
	next       int
}

func (n *names) put(ip netip.Addr, name string) {
	if len(n.young) >= hostnames/2 {
		n.old, n.young = n.young, nil
	}
	if n.young == nil {
		n.young = map[netip.Addr]string{}
	}
	n.young[ip] = name
}

func (n *names) of(ip netip.Addr) string {
	if name, ok := n.young[ip]; ok {
		return name
	}
	name, ok := n.old[ip]
	if ok {
		n.put(ip, name)
	}
	return name
}

// again reports whether a message was told of, and notes it.
func (n *names) again(a asked) bool {
	for i := range n.told {
		if n.told[i] == a {
			return true
		}
	}
	n.told[n.next] = a
	n.next = (n.next + 1) % len(n.told)
	return false
}

// parseStream reads a message of TCP. Its length stands before it, or came by a call of its own; what
// is no message is the rest of one that came in pieces. whole is how much there was of b.
func parseStream(b []byte, whole int) (dnsMessage, error) {
	if len(b) < dnsHeader {
		return dnsMessage{}, errPart
	}
	length := int(binary.BigEndian.Uint16(b))
	first, second := b, b[2:min(2+length, len(b))]
	if length+2 == whole {
		first, second = second, first
	}
	m, err := parseDNS(first)
	if err != nil {
		m, err = parseDNS(second)
	}
	if err != nil {
		return m, errPart
	}
	return m, nil
}

func (d *decoder) dns(raw []byte, h *typedHeader) error {
	b, whole, err := carried(raw)
	if err != nil {
		return err
	}
	if err := d.net(raw); err != nil {
		return err
	}
	parse := parseDNS
	if d.e.Net.Protocol == "tcp" {
		parse = func(b []byte) (dnsMessage, error) { return parseStream(b, whole) }
	}
	m, err := parse(b)
	if err != nil {
		return err
	}
	d.e.Net.DNS, d.e.Truncated = &m.dns, d.e.Truncated || m.cut
	if m.dns.Status == 0 {
		for _, ip := range m.addresses {
			d.names.put(ip, m.dns.Name)
		}
	}
	if d.names.again(asked{
		start: h.Start, pid: h.Tgid, id: m.id, answer: m.dns.Answer, local: d.e.Net.Local.Port(), remote: d.e.Net.Remote,
		name: m.dns.Name, kind: m.dns.Type,
	}) {
		return errAgain
	}
	return nil
}
