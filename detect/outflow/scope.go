package outflow

import (
	"net/netip"
	"time"

	"picket/event"
)

// scope is a container or a lineage: what strangers to models did there, and what the workload itself did.
type scope struct {
	seen     time.Time
	stranger account
	own      account
	called   map[netip.AddrPort]bool // that the workload itself connected to; others called it
}

// account is what was read of models and what was sent.
type account struct {
	read, sent, staged tally
	models             []taken
	peers              []peer
	last               *event.Process // that sent
	told               [2]uint64      // the volume from which on more is told: of the window, of the day
	toldStaged         uint64
}

type taken struct {
	model *event.Model
	bytes uint64
}

type peer struct {
	addr  netip.AddrPort
	bytes uint64
}

func (w *Watch) scope(now time.Time, p *event.Process) *scope {
	at := scopeOf(p)
	s := w.scopes[at]
	if s == nil {
		if len(w.scopes) >= maxScopes {
			w.evict()
		}
		s = &scope{}
		w.scopes[at] = s
	}
	s.seen = now
	return s
}

// evict gives up a scope in which little was taken of models, of some that chance picks: an attacker can
// make many of those.
func (w *Watch) evict() {
	var at string
	var least *scope
	n := 0
	for key, s := range w.scopes {
		if least == nil || s.stranger.volume() < least.stranger.volume() {
			at, least = key, s
		}
		if n++; n == 32 {
			break
		}
	}
	delete(w.scopes, at)
	w.dropped++
}

func (a *account) volume() (n uint64) {
	for _, m := range a.models {
		n += m.bytes
	}
	return n
}

func (s *scope) account(own bool) *account {
	if own {
		return &s.own
	}
	return &s.stranger
}

func (s *scope) call(to netip.AddrPort) {
	if s.called == nil || len(s.called) >= maxCalled {
		s.called = map[netip.AddrPort]bool{} // those that are still in use are called again
	}
	s.called[to] = true
}

// note adds what was read to a model's part. Where there are too many the least goes.
func (a *account) note(m *event.Model, bytes uint64) {
	least := 0
	for i := range a.models {
		if a.models[i].model.Path == m.Path {
			a.models[i].bytes += bytes
			return
		}
		if a.models[i].bytes < a.models[least].bytes {
			least = i
		}
	}
	if len(a.models) < maxModels {
		a.models = append(a.models, taken{m, bytes})
	} else if a.models[least].bytes < bytes {
		a.models[least] = taken{m, bytes}
	}
}

// to adds what was sent to a peer's part, likewise.
func (a *account) to(addr netip.AddrPort, bytes uint64) {
	least := 0
	for i := range a.peers {
		if a.peers[i].addr == addr {
			a.peers[i].bytes += bytes
			return
		}
		if a.peers[i].bytes < a.peers[least].bytes {
			least = i
		}
	}
	if len(a.peers) < maxPeers {
		a.peers = append(a.peers, peer{addr, bytes})
	} else if a.peers[least].bytes < bytes {
		a.peers[least] = peer{addr, bytes}
	}
}

// most returns the peer that got most and the model of which most was read.
func (a *account) most() (to netip.AddrPort, m *event.Model) {
	var sent, read uint64
	for _, p := range a.peers {
		if p.bytes >= sent {
			to, sent = p.addr, p.bytes
		}
	}
	for _, t := range a.models {
		if t.bytes >= read {
			m, read = t.model, t.bytes
		}
	}
	return to, m
}

const (
	fine   = 30 * time.Second
	coarse = 30 * time.Minute
	fines  = 20 // ten minutes
	halves = 48 // a day
)

// tally adds up bytes over the last ten minutes and over the last day.
type tally struct {
	near  [fines]uint64
	far   [halves]uint64
	atMin int64 // of the newest part, in parts since the epoch
	atDay int64
}

func (t *tally) add(now time.Time, n uint64) {
	t.turn(now)
	at, day := now.UnixNano()/int64(fine), now.UnixNano()/int64(coarse)
	if t.atMin-at < fines { // not too late to count
		t.near[at%fines] += n
	}
	if t.atDay-day < halves {
		t.far[day%halves] += n
	}
}

// turn empties the parts that time has passed over.
func (t *tally) turn(now time.Time) {
	pass(t.near[:], &t.atMin, now.UnixNano()/int64(fine))
	pass(t.far[:], &t.atDay, now.UnixNano()/int64(coarse))
}

func pass(parts []uint64, last *int64, now int64) {
	if now <= *last {
		return
	}
	for i := max(*last+1, now-int64(len(parts))+1); i <= now; i++ {
		parts[i%int64(len(parts))] = 0
	}
	*last = now
}

func (t *tally) window(now time.Time) uint64 { t.turn(now); return sum(t.near[:]) }

func (t *tally) day(now time.Time) uint64 { t.turn(now); return sum(t.far[:]) }

func sum(parts []uint64) (n uint64) {
	for _, p := range parts {
		n += p
	}
	return n
}
