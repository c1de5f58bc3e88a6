package principal

import (
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// few is how many different texts there were, up to 16.
type few struct {
	n    int
	seen [16]uint64
}

func (f *few) add(s string) {
	if s == "" || f.n == len(f.seen) {
		return
	}
	if h := hash(s); !slices.Contains(f.seen[:f.n], h) {
		f.seen[f.n] = h
		f.n++
	}
}

// bands are the parts of a template: texts made of one template share some.
type bands [8]uint32

// parse reads a template as event.Request has it: 64 hexadecimal digits.
func parse(s string) (t bands) {
	if len(s) != 64 {
		return t
	}
	for i := range t {
		n, err := strconv.ParseUint(s[8*i:8*i+8], 16, 32)
		if err != nil {
			return bands{}
		}
		t[i] = uint32(n)
	}
	return t
}

func (t *bands) like(o *bands) bool {
	for i := range t {
		if t[i] == o[i] && t[i] != 0 {
			return true
		}
	}
	return false
}

// counted is a thing and how often it was seen. Of too many the least counted gives its place, and what
// it was counted is taken off what the new one is said to be.
type counted struct {
	key    uint64
	bands  bands
	n, off int64
}

func most(list []counted) (n int64) {
	for i := range list {
		n = max(n, list[i].n-list[i].off)
	}
	return n
}

func (h *hour) form(t bands) {
	least := &h.forms[0]
	for i := range h.forms {
		c := &h.forms[i]
		if c.n > 0 && c.bands.like(&t) {
			c.n++
			return
		}
		if c.n < least.n {
			least = c
		}
	}
	*least = counted{bands: t, n: least.n + 1, off: least.n}
}

// call counts a call of a tool, and reports whether it is one that was made often.
func (h *hour) call(key uint64) bool {
	least := &h.calls[0]
	for i := range h.calls {
		c := &h.calls[i]
		if c.n > 0 && c.key == key {
			c.n++
			return c.n-c.off == loopFrom
		}
		if c.n < least.n {
			least = c
		}
	}
	*least = counted{key: key, n: least.n + 1, off: least.n}
	return false
}

// networks are those that one came from: /24 of IPv4, /48 of IPv6.
type networks struct {
	n    int
	seen [8]netip.Prefix
	at   [8]time.Time
}

// network is the one that an address is of.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, _ := a.Prefix(bits)
	return p
}

// add notes where a request came from, and reports whether that is new. The longest unseen goes first.
func (s *networks) add(a netip.Addr, now time.Time) (fresh bool) {
	p, oldest := network(a), 0
	for i := range s.n {
		if s.seen[i] == p {
			s.at[i] = now
			return false
		}
		if s.at[i].Before(s.at[oldest]) {
			oldest = i
		}
	}
	if s.n < len(s.seen) {
		oldest = s.n
		s.n++
	}
	s.seen[oldest], s.at[oldest] = p, now
	return true
}
