package outflow

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"picket/event"
)

// peer is a destination, and what was sent there.
type peer struct {
	addr netip.AddrPort
	sent tally
	by   *event.Process // that sent there last
	told [2]uint64      // the volume from which on more is told: of the window, of the day; 0: nothing was
}

// departure is what went to a destination, or to several that are told together.
type departure struct {
	addr  netip.AddrPort // of several the one that took most
	name  string
	bytes uint64
	by    *event.Process
}

// to adds what was sent to a peer. Where there are too many, one to which nothing was sent of late gives
// way; else what is sent to another counts for the account alone.
func (a *account) to(now time.Time, by *event.Process, addr netip.AddrPort, bytes uint64) {
	at := slices.IndexFunc(a.peers, func(p *peer) bool { return p.addr == addr })
	if at < 0 && len(a.peers) < maxPeers {
		at, a.peers = len(a.peers), append(a.peers, &peer{addr: addr})
	}
	if at < 0 {
		at = slices.IndexFunc(a.peers, func(p *peer) bool {
			return p.told == [2]uint64{} && p.sent.window(now) == 0 && p.sent.day(now) < bytes
		})
		if at < 0 {
			a.other = addr
			return
		}
		a.peers[at] = &peer{addr: addr}
	}
	a.peers[at].by = by
	a.peers[at].sent.add(now, bytes)
}

// due is what is to be told of a period, and notes that it was.
func (a *account) due(now time.Time, period int, read uint64) (out []departure) {
	rest := a.sent.over(period, now)
	var quiet []departure
	for _, p := range a.peers {
		sent := p.sent.over(period, now)
		if due(sent, read, &p.told[period]) {
			p.tell(period, sent)
			out = append(out, departure{p.addr, p.addr.String(), sent, p.by})
		}
		if p.told[period] > 0 {
			rest -= min(sent, rest)
		} else if sent > 0 {
			quiet = append(quiet, departure{p.addr, p.addr.String(), sent, p.by})
		}
	}
	if !due(rest, read, &a.told[period]) {
		return out
	}
	slices.SortStableFunc(quiet, func(x, y departure) int { return cmp.Compare(y.bytes, x.bytes) })
	many := true
	for _, d := range quiet {
		if d.bytes < rest/telling {
			break
		}
		many = false
		a.peers[slices.IndexFunc(a.peers, func(p *peer) bool { return p.addr == d.addr })].tell(period, d.bytes)
		out = append(out, d)
	}
	if many {
		tell(&a.told, period, rest)
		out = append(out, together(quiet, rest, a.other))
	}
	return out
}

// due reports whether as much left that it is told, where that was read, too. What was told of long ago has passed.
func due(sent, read uint64, told *uint64) bool {
	if sent < *told/4 {
		*told = 0
	}
	return sent >= max(Least, *told) && float64(read) >= leastRead*float64(sent)
}

func (p *peer) tell(period int, sent uint64) { tell(&p.told, period, sent) }

// tell notes that so much was told. A day holds its last ten minutes, too.
func tell(told *[2]uint64, period int, sent uint64) {
	for i := period; i < len(told); i++ {
		told[i] = max(told[i], 4*sent)
	}
}

// together is what went to many, the greatest first. Where there were more than are told apart, other is one of those.
func together(quiet []departure, bytes uint64, other netip.AddrPort) departure {
	all := departure{addr: other, bytes: bytes}
	if len(quiet) > 0 {
		all.addr, all.by = quiet[0].addr, quiet[0].by
	}
	var names []string
	for _, d := range quiet[:min(len(quiet), maxNamed)] {
		names = append(names, d.name)
	}
	if more := len(quiet) - len(names); other.IsValid() {
		names = append(names, "many others")
	} else if more > 0 {
		names = append(names, fmt.Sprintf("%d others", more))
	}
	all.name = strings.Join(names, ", ")
	return all
}
