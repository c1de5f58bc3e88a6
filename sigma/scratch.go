package sigma

import (
	"hash/maphash"
	"net/netip"
	"strconv"
	"strings"
	"unsafe"
)

// scratch is what matching one event needs. What was found out about an event is marked with its
// generation, so that nothing needs clearing for the next.
type scratch struct {
	engine *Engine
	event  Event
	gen    uint32   // of the event, below 1<<31
	known  []uint32 // by atom: generation and, in the lowest bit, the result
	seen   []uint32 // by rule: generation in which it was evaluated
	asked  []uint32 // by rule: generation in which it became a candidate
	wanted []int32  // candidates
	found  []int32  // rules of one value
	plain  bool     // the event has no field outside the schema
	seed   maphash.Seed
	recent [8]recent
	oldest int // of recent
	slots  []slot
	loaded []int32 // slots in use
	at     *route  // being matched
	text   []byte  // folded, of look
	heard  []heard // the texts of the event, once told is its generation
	told   uint32
	hear   func(uint16, string) bool // the method value add, made once
}

// slot is a field of the event.
type slot struct {
	gen    uint32
	id     uint16 // where known
	known  bool   // to the schema
	all    bool   // every text of the event
	kind   Kind
	folded bool // elems have their folded text
	elems  []elem
	buf    []byte  // folded texts; they point into it and its predecessors
	memory *memory // nil where values are not remembered
	digits [20]byte
}

// elem is one value of a field. A list has several, all others one.
type elem struct {
	raw, folded string
	memo        *memo // what is remembered of the value, or nil
}

// recent is a log source of late, and its route.
type recent struct {
	src Logsource
	r   *route
}

func newScratch(e *Engine) *scratch {
	s := &scratch{
		engine: e, known: make([]uint32, len(e.atoms)), seen: make([]uint32, len(e.rules)), asked: make([]uint32, len(e.rules)),
		slots: make([]slot, len(e.slots)), loaded: make([]int32, 0, len(e.slots)), seed: maphash.MakeSeed(),
	}
	for i := range e.slots {
		spec := &e.slots[i]
		s.slots[i].id, s.slots[i].known, s.slots[i].all = spec.id, spec.known, spec.all
		if spec.known && spec.bits >= memoLeast && spec.bits <= memoBits {
			s.slots[i].memory = &memory{}
		}
	}
	s.hear = s.add
	return s
}

func (s *scratch) begin(ev Event) {
	s.event = ev
	p, ok := ev.(interface{ Plain() bool })
	s.plain = ok && p.Plain()
	if s.gen++; s.gen == 1<<31 {
		s.gen = 1
		clear(s.known)
		clear(s.seen)
		clear(s.asked)
		s.told = 0
		for i := range s.slots {
			s.slots[i].gen = 0
		}
	}
}

// route returns the rules for events of src.
func (s *scratch) route(src Logsource) *route {
	for i := range s.recent {
		if at := &s.recent[i]; at.r != nil && at.src == src {
			return at.r
		}
	}
	at := &s.recent[s.oldest]
	s.oldest = (s.oldest + 1) % len(s.recent)
	at.src, at.r = src.clone(), s.engine.route(src)
	return at.r
}

// keep bounds the memory that a slot holds between events.
const keep = 64 << 10

// end lets go of the event.
func (s *scratch) end() {
	for _, n := range s.loaded {
		f := &s.slots[n]
		if len(f.elems) == 1 {
			f.elems[0] = elem{}
		} else {
			clear(f.elems)
		}
		if f.elems = f.elems[:0]; cap(f.buf) > keep {
			f.buf = nil
		}
		if cap(f.elems) > keep/32 {
			f.elems = nil
		}
	}
	clear(s.heard)
	if s.heard = s.heard[:0]; cap(s.heard) > keep/32 {
		s.heard = nil
	}
	s.loaded, s.event = s.loaded[:0], nil
}

// slot returns the field numbered n, read from the event when first asked for.
func (s *scratch) slot(n int32) *slot {
	f := &s.slots[n]
	if f.gen != s.gen {
		s.load(f, n)
	}
	return f
}

func (s *scratch) load(f *slot, n int32) {
	f.gen, f.folded = s.gen, false
	var v Value
	switch {
	case f.known:
		v = s.event.Value(f.id)
	case f.all:
		s.loaded = append(s.loaded, n)
		f.kind = List
		for _, h := range s.texts() {
			f.elems = append(f.elems, elem{raw: h.text})
		}
		return
	case !s.plain:
		v = s.event.Extra(s.engine.slots[n].name)
	}
	if f.kind = v.Kind; v.Kind <= Null {
		return
	}
	s.loaded = append(s.loaded, n)
	f.set(v)
	if f.memory == nil {
		return
	}
	for i := range f.elems {
		if e := &f.elems[i]; len(e.raw) <= memoLength {
			e.memo = f.memory.look(s.seed, s.gen, e.raw)
		}
	}
}

// heard is a text of the event, and the field that it was told with.
type heard struct {
	id   uint16
	text string
}

// texts returns the texts of the event, which tells them once.
func (s *scratch) texts() []heard {
	if s.told != s.gen {
		s.told = s.gen
		s.event.EachText(s.hear)
	}
	return s.heard
}

func (s *scratch) add(id uint16, text string) bool {
	s.heard = append(s.heard, heard{id, text})
	return true
}

func (f *slot) set(v Value) {
	switch v.Kind {
	case Text:
		if cap(f.elems) == 0 {
			f.elems = make([]elem, 1)
		}
		f.elems = f.elems[:1] // empty since end
		f.elems[0].raw = v.Str
	case Integer:
		f.elems = append(f.elems, elem{raw: view(strconv.AppendInt(f.digits[:0], v.Int, 10))})
	case Boolean:
		text := "false"
		if v.Int != 0 {
			text = "true"
		}
		f.elems = append(f.elems, elem{raw: text})
	case List:
		for _, text := range v.List {
			f.elems = append(f.elems, elem{raw: text})
		}
	}
}

// fold makes the folded texts, once.
func (f *slot) fold() {
	if f.folded {
		return
	}
	f.folded = true
	f.buf = f.buf[:0]
	for i := range f.elems {
		e := &f.elems[i]
		if e.memo != nil {
			e.folded = view(e.memo.text)
			continue
		}
		if folded(e.raw) {
			e.folded = e.raw
			continue
		}
		start := len(f.buf)
		f.buf = appendFold(f.buf, e.raw)
		e.folded = view(f.buf[start:])
	}
}

// view returns b as a string without copying. It is used for texts that are forgotten before
// their buffer is written again.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// holds reports whether the test is true of one value.
func (t *test) holds(e *elem) bool {
	text := e.raw
	if !t.cased {
		text = e.folded
	}
	switch t.kind {
	case equals:
		return text == t.text
	case contains:
		return strings.Contains(text, t.text)
	case hasPrefix:
		return strings.HasPrefix(text, t.text)
	case hasSuffix:
		return strings.HasSuffix(text, t.text)
	case matchesPattern:
		return t.pat.match(text)
	case matchesRegexp:
		return len(e.raw) >= t.least && t.re.MatchString(e.raw)
	case inPrefix:
		return t.inside(e.raw)
	case ordered:
		return t.compare(e.raw)
	}
	return false
}

func (t *test) compare(s string) bool {
	num, ok := number{}, false
	if t.part != noPart {
		num, ok = t.part.of(s)
	} else {
		num, ok = parseNumber(s)
	}
	return ok && t.cmp.holds(num.compare(t.num))
}

func (t *test) inside(s string) bool {
	if !addressLike(s) {
		return false
	}
	addr, err := netip.ParseAddr(s)
	return err == nil && t.net.Contains(addr.Unmap().WithZone(""))
}

// addressLike keeps texts that cannot be addresses from the parser, which allocates its errors.
func addressLike(s string) bool {
	if len(s) < 2 || len(s) > 64 {
		return false
	}
	marks := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == ':' || c == '.':
			marks++
		case c == '%':
			return marks > 1
		case digit(c) > 15:
			return false
		}
	}
	return marks > 1
}

// like compares each value of f with each of other.
func (t *test) like(f, other *slot) bool {
	if !t.cased {
		f.fold()
		other.fold()
	}
	for i := range f.elems {
		for j := range other.elems {
			a, b := f.elems[i].raw, other.elems[j].raw
			if !t.cased {
				a, b = f.elems[i].folded, other.elems[j].folded
			}
			if t.place.holds(a, b) {
				return true
			}
		}
	}
	return false
}

// holds reports whether b stands in s at this place.
func (p place) holds(s, b string) bool {
	switch p {
	case anywhere:
		return strings.Contains(s, b)
	case atStart:
		return strings.HasPrefix(s, b)
	case atEnd:
		return strings.HasSuffix(s, b)
	}
	return s == b
}
