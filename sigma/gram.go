package sigma

import "math/bits"

// gramIndex finds which of many literals stand in a text. Each literal is looked for by its rarest
// few neighbouring bytes, its gram: one bit per hash answers for most bytes of most texts, and where
// it does not, the literal itself is compared.
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

// clue is a text that leads to rules.
type clue struct {
	text           string
	end            int // of the gram in text
	prefix, suffix bool
	rules          []int32
}

func newGramIndex(size int) *gramIndex {
	return &gramIndex{size: size, clues: map[uint32][]clue{}}
}

// add makes the text of w lead to rule n. common says how many texts have a gram.
func (g *gramIndex) add(w need, n int32, common map[string]int) {
	at := 0
	for i := 1; i+g.size <= len(w.text); i++ {
		if common[w.text[i:i+g.size]] < common[w.text[at:at+g.size]] {
			at = i
		}
	}
	key := uint32(0)
	for _, c := range []byte(w.text[at : at+g.size]) {
		key = key<<8 | uint32(c)
	}
	list := g.clues[key]
	for i := range list {
		if l := &list[i]; l.text == w.text && l.prefix == w.prefix && l.suffix == w.suffix {
			l.rules = appendOnce(l.rules, n)
			return
		}
	}
	g.clues[key] = append(list, clue{text: w.text, end: at + g.size, prefix: w.prefix, suffix: w.suffix, rules: []int32{n}})
}

// seal makes g ready to find.
func (g *gramIndex) seal() {
	size := max(6, bits.Len(uint(len(g.clues)))+5)
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

func (g *gramIndex) hash(key uint32) uint32 { return key * 0x9e3779b1 >> (g.shift & 31) }

// gramScan looks for the grams of all sizes in one pass.
type gramScan [5]*gramIndex // by size; nil where there is none

// find appends the rules of all literals in text.
func (g *gramScan) find(dst []int32, text string) []int32 {
	four, three, two := g[4], g[3], g[2]
	key := uint32(0)
	for i := range len(text) {
		key = key<<8 | uint32(text[i])
		if four != nil {
			if h := four.hash(key); four.marked(h) {
				dst = four.hit(dst, text, i+1, key, h)
			}
		}
		if three != nil {
			if h := three.hash(key & 0xffffff); three.marked(h) {
				dst = three.hit(dst, text, i+1, key&0xffffff, h)
			}
		}
		if two != nil {
			if h := two.hash(key & 0xffff); two.marked(h) {
				dst = two.hit(dst, text, i+1, key&0xffff, h)
			}
		}
	}
	return dst
}

// marked reports whether a gram with this hash may be among those looked for.
func (g *gramIndex) marked(h uint32) bool { return g.bits[h>>6]>>(h&63)&1 == 1 }

// hit appends the rules of the literals whose gram ends at a place in text.
func (g *gramIndex) hit(dst []int32, text string, end int, key, h uint32) []int32 {
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
			from := end - l.end
			to := from + len(l.text)
			if from < 0 || to > len(text) || l.prefix && from > 0 || l.suffix && to < len(text) || text[from:to] != l.text {
				continue
			}
			dst = append(dst, l.rules...)
		}
		return dst
	}
}
