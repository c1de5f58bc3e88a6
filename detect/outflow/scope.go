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
	models             []part[*event.Model]
	peers              []*peer
	other              netip.AddrPort // the last of those that are more than are told apart
	last               *event.Process // that sent
	told               [2]uint64      // as a peer's, of what left by many
	toldStaged         uint64
}

// part is how much of what an account counts was about one thing.
type part[T any] struct {
	of    T
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

// note adds what was read to a model's part.
func (a *account) note(m *event.Model, bytes uint64) {
	a.models = add(a.models, maxModels, m, bytes, func(o *event.Model) bool { return o.Path == m.Path })
}

// add adds to the part of a thing. Where there are too many the least goes.
func add[T any](parts []part[T], most int, of T, bytes uint64, same func(T) bool) []part[T] {
	least := 0
	for i := range parts {
		if same(parts[i].of) {
			parts[i].bytes += bytes
			return parts
		}
		if parts[i].bytes < parts[least].bytes {
			least = i
		}
	}
	if len(parts) < most {
		return append(parts, part[T]{of, bytes})
	}
	if parts[least].bytes < bytes {
		parts[least] = part[T]{of, bytes}
	}
	return parts
}

func greatest[T any](parts []part[T]) (of T) {
	var most uint64
	for _, p := range parts {
		if p.bytes >= most {
			of, most = p.of, p.bytes
		}
	}
	return of
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

// over is the sum of the last ten minutes (0) or of the last day (1).
func (t *tally) over(period int, now time.Time) uint64 {
	if period == 0 {
		return t.window(now)
	}
	return t.day(now)
}

func sum(parts []uint64) (n uint64) {
	for _, p := range parts {
		n += p
	}
	return n
}
