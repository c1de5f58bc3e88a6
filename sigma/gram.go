package sigma

import (
	"encoding/binary"
	"math/bits"
)

// gramIndex finds which of many literals stand in a text. Each literal is looked for by a few
// neighbouring bytes of it, its gram: one bit per hash answers for most bytes of most texts, and
// where it does not, the literal itself is compared.
//
// Only every second place of a text is looked at. Of two grams one byte apart one begins at such a
// place, wherever the literal stands: so each literal has two, and half of the places cost nothing.
type gramIndex struct {
	size  int // of a gram in bytes, 2 to 4
	shift uint8
	bits  []uint64
	clues map[uint32][]clue // until sealed
	table []bucket          // by hash, the next one where taken; a power of two long
	hold  []clue            // of all buckets
}

// bucket is the literals of one gram.
type bucket struct {
	gram     uint32
	from, to int32 // in hold; empty where equal
}

// clue is a text that is looked for.
type clue struct {
	text           string
	at             int // of the gram in text
	prefix, suffix bool
	number         int32 // of the lead
}

func newGramIndex(size int) *gramIndex {
	return &gramIndex{size: size, clues: map[uint32][]clue{}}
}

// add makes the text of w a clue, by its gram at a place.
func (g *gramIndex) add(w need, number int32, at int) {
	key := uint32(0)
	for i := range g.size {
		key |= uint32(w.text[at+i]) << (8 * i)
	}
	g.clues[key] = append(g.clues[key], clue{text: w.text, at: at, prefix: w.prefix, suffix: w.suffix, number: number})
}

// seal makes g ready to find.
func (g *gramIndex) seal() {
	size := max(6, bits.Len(uint(len(g.clues)))+6)
	g.shift = uint8(32 - size)
	g.bits = make([]uint64, 1<<(size-6))
	g.table = make([]bucket, 1<<bits.Len(uint(2*len(g.clues))))
	for key, list := range g.clues {
		h := g.hash(key)
		g.bits[h>>6] |= 1 << (h & 63)
		i := h & uint32(len(g.table)-1)
		for g.table[i].from != g.table[i].to {
			i = (i + 1) & uint32(len(g.table)-1)
		}
		g.table[i] = bucket{key, int32(len(g.hold)), int32(len(g.hold) + len(list))}
		g.hold = append(g.hold, list...)
	}
	g.clues = nil
}

// hashFactor is 2 to the 32nd by the golden ratio (Knuth 1973, multiplicative hashing).
const hashFactor = 0x9e3779b1

func (g *gramIndex) hash(key uint32) uint32 { return key * hashFactor >> (g.shift & 31) }

// marked reports whether a gram with this hash may be among those looked for.
func (g *gramIndex) marked(h uint32) bool { return g.bits[h>>6]>>(h&63)&1 == 1 }

// try appends the numbers of the literals that have the gram key at a place in text.
func (g *gramIndex) try(dst []int32, text string, at int, key uint32) []int32 {
	if h := g.hash(key); g.marked(h) {
		return g.hit(dst, text, at, key, h)
	}
	return dst
}

func (g *gramIndex) hit(dst []int32, text string, at int, key, h uint32) []int32 {
	last := uint32(len(g.table) - 1)
	for i := h & last; ; i = (i + 1) & last {
		b := &g.table[i]
		if b.from == b.to {
			return dst
		}
		if b.gram != key {
			continue
		}
		for j := b.from; j < b.to; j++ {
			l := &g.hold[j]
			from := at - l.at
			to := from + len(l.text)
			if from < 0 || to > len(text) || l.prefix && from > 0 || l.suffix && to < len(text) || text[from:to] != l.text {
				continue
			}
			dst = append(dst, l.number)
		}
		return dst
	}
}

// gramScan looks for literals of all lengths in one pass.
type gramScan struct {
	four, three, two *gramIndex // by size of gram; nil where there is none
	pair             *gramIndex // of literals of two bytes, which begin anywhere
}

// add makes the text of w be looked for. common says how many texts have a gram.
func (s *gramScan) add(w need, number int32, common map[string]int) {
	length := len(w.text)
	if length == least && !w.prefix {
		index(&s.pair, length).add(w, number, 0)
		return
	}
	size := min(length-1, 4)
	if w.prefix { // it can stand at one place only
		size = min(length, 4)
	}
	to := &s.four
	switch size {
	case 3:
		to = &s.three
	case 2:
		to = &s.two
	}
	usual := func(at int) int { return common[w.text[at:at+size]] }
	best := 0
	if w.prefix {
		for at := 2; at+size <= length; at += 2 {
			if usual(at) < usual(best) {
				best = at
			}
		}
		index(to, size).add(w, number, best)
		return
	}
	for at := 1; at+1+size <= length; at++ {
		if usual(at)+usual(at+1) < usual(best)+usual(best+1) {
			best = at
		}
	}
	index(to, size).add(w, number, best)
	index(to, size).add(w, number, best+1)
}

// index returns an index, made if need be.
func index(g **gramIndex, size int) *gramIndex {
	if *g == nil {
		*g = newGramIndex(size)
	}
	return *g
}

// seal makes s ready to find.
func (s *gramScan) seal() {
	for _, g := range []*gramIndex{s.four, s.three, s.two, s.pair} {
		if g != nil {
			g.seal()
		}
	}
}

// find appends the numbers of all literals in text.
func (s *gramScan) find(dst []int32, text string) []int32 {
	i := 0
	if four := s.four; four != nil {
		dst = four.find(dst, text)
	}
	three, two, pair := s.three, s.two, s.pair
	if three == nil && two == nil && pair == nil {
		return dst
	}
	for ; i+4 <= len(text); i += 2 {
		key := binary.LittleEndian.Uint32([]byte(text[i : i+4]))
		if three != nil {
			if h := three.hash(key & 0xffffff); three.marked(h) {
				dst = three.hit(dst, text, i, key&0xffffff, h)
			}
		}
		if two != nil {
			if h := two.hash(key & 0xffff); two.marked(h) {
				dst = two.hit(dst, text, i, key&0xffff, h)
			}
		}
		if pair != nil {
			if h := pair.hash(key & 0xffff); pair.marked(h) {
				dst = pair.hit(dst, text, i, key&0xffff, h)
			}
			if h := pair.hash(key >> 8 & 0xffff); pair.marked(h) {
				dst = pair.hit(dst, text, i+1, key>>8&0xffff, h)
			}
		}
	}
	return s.rest(dst, text, i)
}

// find appends the numbers of the literals of g, whose grams have four bytes.
func (g *gramIndex) find(dst []int32, text string) []int32 {
	bits, shift := g.bits, g.shift&31
	for i := 0; i+4 <= len(text); i += 2 {
		key := binary.LittleEndian.Uint32([]byte(text[i : i+4]))
		h := key * hashFactor >> shift
		if bits[h>>6]>>(h&63)&1 == 1 {
			dst = g.hit(dst, text, i, key, h)
		}
	}
	return dst
}

// rest is find for what is behind the last place where four bytes are left.
func (s *gramScan) rest(dst []int32, text string, i int) []int32 {
	for ; i+least <= len(text); i += 2 {
		key := uint32(text[i]) | uint32(text[i+1])<<8
		if s.two != nil {
			dst = s.two.try(dst, text, i, key)
		}
		if s.pair != nil {
			dst = s.pair.try(dst, text, i, key)
		}
		if i+3 > len(text) {
			break
		}
		key |= uint32(text[i+2]) << 16
		if s.three != nil {
			dst = s.three.try(dst, text, i, key)
		}
		if s.pair != nil {
			dst = s.pair.try(dst, text, i+1, key>>8)
		}
	}
	return dst
}
