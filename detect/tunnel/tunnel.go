// Package tunnel finds what leaves by names that are asked for: whoever owns a domain is asked for each
// name below it, whatever the network allows otherwise. Labels that nobody asked for before and that look
// like data are counted by who asks (a container, a workload or a lineage) and by domain.
//
// A Watch is a function of what it is given: it has no clock and starts no goroutine. Its memory is
// bounded, whatever is asked for.
package tunnel

import (
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"picket/detect"
	"picket/event"
)

// Bounds of what leads to a deviation and of what is remembered.
const (
	Least      = 1500 // letters of labels that look like data, within ten minutes
	leastDay   = 6000 // likewise, within a day
	leastNames = 10   // that they are spread over
	plainNames = 300  // whatever they look like, within ten minutes
	plainLong  = 30   // letters that are new in each, on average
	maxScopes  = 256
	maxDomains = 2048 // of all of them together
	bits       = 2048 // of what is known of the labels of a domain
	keep       = 24 * time.Hour
)

// Watch follows who asks for which names.
type Watch struct {
	host    string
	seed    maphash.Seed // nobody outside can make labels that are taken for one another
	scopes  map[string]*scope
	domains int
	dropped uint64
}

// scope is a container, a workload or a lineage, and the domains that it asks for names of.
type scope struct {
	seen    time.Time
	domains map[string]*domain
}

// domain is what was asked for below a name that somebody registered.
type domain struct {
	known        [bits / 64]uint64 // labels, by a hash
	full         int               // bits that are set
	data, fresh  tally             // letters of new labels: those that look like data, and all of them
	names        tally             // with a new label
	told         uint64            // letters, from which on more is told
	toldDay      uint64
	last         *event.Process
	lastQuestion string
}

// New returns a Watch that has seen nothing yet.
func New(host string) *Watch {
	return &Watch{host: host, seed: maphash.MakeSeed(), scopes: map[string]*scope{}}
}

// Dropped counts scopes and domains that were given up for want of room.
func (w *Watch) Dropped() uint64 { return w.dropped }

// See takes an event of any kind, stamped, and returns what it shows, nil for nothing. Kinds other than
// NetDNS cost a comparison.
func (w *Watch) See(e *event.Event) *event.Event {
	if e.Kind != event.NetDNS || e.Net.DNS == nil || e.Net.DNS.Answer || e.Process == nil {
		return nil
	}
	below, parent := split(e.Net.DNS.Name)
	if below == "" {
		return nil
	}
	d := w.domain(e, parent)
	fresh, data := d.take(w.seed, below)
	if fresh == 0 {
		return nil
	}
	d.names.add(e.Time, 1)
	d.fresh.add(e.Time, uint64(fresh))
	d.data.add(e.Time, uint64(data))
	d.last, d.lastQuestion = e.Process, e.Net.DNS.Name
	return w.judge(e, parent, d)
}

// judge says that a domain gets data, once, and again each time it is four times as much.
func (w *Watch) judge(e *event.Event, parent string, d *domain) *event.Event {
	now := e.Time
	letters, names := d.data.window(now), d.names.window(now)
	if all := d.fresh.window(now); names >= plainNames && all >= plainLong*names {
		letters = max(letters, all)
	}
	day, within := d.data.day(now), "ten minutes"
	if letters < d.told/4 {
		d.told = 0
	}
	if day < d.toldDay/4 {
		d.toldDay = 0
	}
	switch {
	case letters >= max(Least, d.told) && names >= leastNames:
		d.told = 4 * letters
		d.toldDay = 4 * max(day, letters) // the day holds it, too
	case day >= max(leastDay, d.toldDay):
		d.toldDay = 4 * day
		letters, names, within = day, d.names.day(now), "a day"
	default:
		return nil
	}
	return &event.Event{
		Kind: event.ProfileDeviation, Time: now, Host: w.host, Process: e.Process, Net: event.Net{Remote: e.Net.Remote, Protocol: e.Net.Protocol, Initiated: true},
		Deviation: &event.Deviation{
			What: event.DeviantTunnel, Value: parent, Score: event.Measured(int64(names)), Sent: event.Measured(int64(letters)),
			Usual: fmt.Sprintf("few names of one domain; %d new ones within %s, such as %s", names, within, short(d.lastQuestion)),
		},
	}
}

// local are the ends of names that the cluster, the host or the network at hand answers for: nothing of
// them reaches who registered a domain. Reverse names are made of addresses.
var local = []string{".cluster.local", ".local", ".localdomain", ".localhost", ".internal", ".lan", ".home", ".corp", ".arpa", ".test", ".invalid", ".svc"}

// split cuts a name into what somebody registered and what is below it; "" where there is nothing to judge.
func split(name string) (below, parent string) {
	name = strings.ToLower(strings.Trim(name, "."))
	for _, end := range local {
		if strings.HasSuffix(name, end) {
			return "", ""
		}
	}
	parent, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil || len(parent) >= len(name) {
		return "", ""
	}
	return strings.TrimSuffix(name[:len(name)-len(parent)], "."), parent
}

// take notes the labels of a name, and returns how many letters are in those that are new, and in those
// of them that look like data.
func (d *domain) take(seed maphash.Seed, below string) (fresh, data int) {
	if d.full > bits/4*3 { // it knows too much to tell what is new
		d.known, d.full = [bits / 64]uint64{}, 0
	}
	for label := range strings.SplitSeq(below, ".") {
		at := maphash.String(seed, label) % bits
		if d.known[at/64]&(1<<(at%64)) != 0 {
			continue
		}
		d.known[at/64] |= 1 << (at % 64)
		d.full++
		fresh += len(label)
		data += looksLikeData(label)
	}
	return fresh, data
}

// looksLikeData counts the letters of a label that are data written in letters and digits: parts of twelve
// or more that are hexadecimal, or that go back and forth between letters and digits, as words and the
// numbers of machines do not.
func looksLikeData(label string) (n int) {
	for part := range strings.FieldsFuncSeq(label, func(r rune) bool { return r == '-' || r == '_' }) {
		if len(part) < 12 {
			continue
		}
		turns, digits, hex := 0, 0, true
		for i := range len(part) {
			c := part[i]
			if digit(c) {
				digits++
			}
			if i > 0 && digit(c) != digit(part[i-1]) {
				turns++
			}
			hex = hex && (digit(c) || 'a' <= c && c <= 'f')
		}
		if hex && digits > 0 || turns >= len(part)/8 && turns > 2 {
			n += len(part)
		}
	}
	return n
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func short(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

func (w *Watch) domain(e *event.Event, parent string) *domain {
	at := scopeOf(e.Process)
	s := w.scopes[at]
	if s == nil {
		if len(w.scopes) >= maxScopes {
			w.evictScope()
		}
		s = &scope{domains: map[string]*domain{}}
		w.scopes[at] = s
	}
	s.seen = e.Time
	d := s.domains[parent]
	if d == nil {
		if w.domains >= maxDomains {
			w.evictDomain(e.Time)
		}
		d = &domain{}
		s.domains[parent] = d
		w.domains++
	}
	return d
}

// evictScope gives up the scope that asked for nothing for the longest time, of some that chance picks.
func (w *Watch) evictScope() {
	var at string
	n := 0
	for key, s := range w.scopes {
		if at == "" || s.seen.Before(w.scopes[at].seen) {
			at = key
		}
		if n++; n == 32 {
			break
		}
	}
	w.forget(at)
	w.dropped++
}

// evictDomain gives up a domain that got little, of the scope that has most of them: who asks for names of
// thousands of domains hides neither others nor the one that gets data.
func (w *Watch) evictDomain(now time.Time) {
	var most *scope
	for _, s := range w.scopes {
		if most == nil || len(s.domains) > len(most.domains) {
			most = s
		}
	}
	var at string
	least, n := uint64(0), 0
	for name, d := range most.domains {
		if got := d.data.day(now); at == "" || got < least {
			at, least = name, got
		}
		if n++; n == 32 {
			break
		}
	}
	delete(most.domains, at)
	w.domains--
	w.dropped++
}

func (w *Watch) forget(at string) {
	w.domains -= len(w.scopes[at].domains)
	delete(w.scopes, at)
}

// Advance forgets what is over.
func (w *Watch) Advance(now time.Time) {
	for at, s := range w.scopes {
		if now.Sub(s.seen) > keep {
			w.forget(at)
		}
	}
}

// scopeOf names what belongs together: a container, a workload or a lineage.
func scopeOf(p *event.Process) string {
	switch {
	case p.Container != nil && p.Container.ID != "":
		return p.Container.ID
	case p.Workload != nil:
		return "workload " + p.Workload.ID
	}
	return detect.Lineage(p)
}

// tally adds up over the last ten minutes and over the last day.
type tally struct {
	near, far     [parts]uint32
	minute, hours int64 // of the newest part
}

const (
	parts = 10 // minutes, and of a day 144 minutes each
	long  = 144
)

func (t *tally) add(now time.Time, n uint64) {
	t.turn(now)
	at := now.Unix() / 60
	if t.minute-at < parts {
		t.near[at%parts] += uint32(n)
	}
	if at /= long; t.hours-at < parts {
		t.far[at%parts] += uint32(n)
	}
}

// turn empties the parts that time has passed over.
func (t *tally) turn(now time.Time) {
	at := now.Unix() / 60
	pass(&t.near, &t.minute, at)
	pass(&t.far, &t.hours, at/long)
}

func pass(list *[parts]uint32, last *int64, now int64) {
	for i := max(*last+1, now-parts+1); i <= now; i++ {
		list[i%parts] = 0
	}
	*last = max(*last, now)
}

func (t *tally) window(now time.Time) uint64 { t.turn(now); return sum(&t.near) }

func (t *tally) day(now time.Time) uint64 { t.turn(now); return sum(&t.far) }

func sum(list *[parts]uint32) (n uint64) {
	for _, v := range list {
		n += uint64(v)
	}
	return n
}
