package principal

import (
	"math"
	"math/bits"
)

// sketchBits is how many bits of a hash choose a register: 2^10 of them tell numbers to within 3 %.
const sketchBits = 10

// sketch counts different things in little memory (HyperLogLog). Two of them can be merged: the
// result is that of one that had seen what both did.
type sketch struct{ register [1 << sketchBits]uint8 }

// add takes the hash of one thing.
func (s *sketch) add(h uint64) {
	at := h >> (64 - sketchBits)
	rank := uint8(min(bits.LeadingZeros64(h<<sketchBits), 64-sketchBits) + 1)
	s.register[at] = max(s.register[at], rank)
}

func (s *sketch) merge(other *sketch) {
	for i, r := range other.register {
		s.register[i] = max(s.register[i], r)
	}
}

// count says about how many different things there were.
func (s *sketch) count() int64 {
	const m = float64(1 << sketchBits)
	sum, empty := 0.0, 0.0
	for _, r := range s.register {
		sum += 1 / float64(uint64(1)<<r)
		if r == 0 {
			empty++
		}
	}
	n := 0.7213 / (1 + 1.079/m) * m * m / sum
	if n <= 2.5*m && empty > 0 {
		n = m * math.Log(m/empty)
	}
	return int64(math.Round(n))
}

// hash is FNV-1a with its bits spread. What is counted by it was hashed under a key before, or is of
// no use to one who makes it collide.
func hash(parts ...string) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range parts {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h = (h ^ 0x1F) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
