package sigma

import "math/bits"

// shiftIndex finds which of some factors stand in a text, all in one pass: bit n of its state says
// that the text up to here ends with the first bytes of a factor, up to the one that bit n is.
// This is the shift-and algorithm (Baeza-Yates and Gonnet 1992).
type shiftIndex struct {
	next  [256]uint64 // by byte: the places that take it
	first uint64
	last  uint64
	used  int
	leads [64]int32 // numbers, by last place
}

// add makes a factor be looked for. It reports false where there is no room.
func (x *shiftIndex) add(way factor, number int32) bool {
	if x.used+len(way) > 64 {
		return false
	}
	x.first |= 1 << x.used
	for i := range way {
		for c := range 256 {
			if way[i].has(byte(c)) {
				x.next[c] |= 1 << (x.used + i)
			}
		}
	}
	x.used += len(way)
	end := x.used - 1
	x.last |= 1 << end
	x.leads[end] = number
	return true
}

// find appends the numbers of all factors in text, each once.
func (x *shiftIndex) find(dst []int32, text string) []int32 {
	state, found := uint64(0), uint64(0)
	for i := range len(text) {
		state = (state<<1 | x.first) & x.next[text[i]]
		found |= state
	}
	for found &= x.last; found != 0; found &= found - 1 {
		dst = append(dst, x.leads[bits.TrailingZeros64(found)])
	}
	return dst
}
