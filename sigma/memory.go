package sigma

import "hash/maphash"

// memory remembers what was found out about the values of a field that come again and again, such
// as the executables of a host: which rules they lead to, and which tests are true of them. It has
// one place for each hash, so that what an attacker makes up displaces and never adds.
type memory struct {
	tags   []uint32 // by place: of the hash of its value, 0 where there is none
	places []memo
	looks  uint32 // since the last judgement
	found  uint32
	rest   uint32 // values to let pass before it is tried again
}

// memo is what is known of one value of a field.
type memo struct {
	key    []byte    // the value
	text   []byte    // folded
	credit uint8     // times it came, less the other values that asked for its place
	gen    uint32    // of the event that last looked
	routes []ofRoute // by number of the route
	known  []uint64  // by bit of a test or tree: found out
	truth  []uint64  // and true
}

// ofRoute is the leads of one route that a value has.
type ofRoute struct {
	done  bool
	leads []int32
}

const (
	memoPlaces  = 256     // of one field
	memoLength  = 256     // of a value
	memoCredit  = 7       // most credit of a value
	memoTrial   = 2048    // looks after which a memory is judged
	memoUseless = 512     // found in a trial, below which it rests
	memoRest    = 1 << 16 // values that pass a memory that rests
	memoLeast   = 64      // fewest results about a value; fewer are found as fast as they are looked up
	memoBits    = 1 << 15 // most results about a value that are remembered
)

// look returns the place of a value, made ready for it. It returns nil while the memory rests, and
// where another value keeps the place.
func (m *memory) look(seed maphash.Seed, gen uint32, value string) *memo {
	if m.rest > 0 {
		m.rest--
		return nil
	}
	if m.looks++; m.looks == memoTrial {
		if m.found < memoUseless {
			m.rest = memoRest
		}
		m.looks, m.found = 0, 0
	}
	if m.places == nil {
		m.places, m.tags = make([]memo, memoPlaces), make([]uint32, memoPlaces)
	}
	hash := maphash.String(seed, value)
	at, tag := hash%memoPlaces, uint32(hash>>32)|1
	p := &m.places[at]
	if m.tags[at] == tag && string(p.key) == value {
		m.found++
		p.gen, p.credit = gen, min(p.credit+1, memoCredit)
		return p
	}
	used := m.tags[at] != 0
	if used && p.gen == gen {
		return nil
	}
	if p.credit > 0 { // what comes once does not displace what comes again
		p.credit--
		return nil
	}
	m.tags[at], p.gen = tag, gen
	p.key = append(p.key[:0], value...)
	p.text = appendFold(p.text[:0], value)
	for i := range p.routes {
		p.routes[i].done = false
	}
	clear(p.known)
	return p
}

// leads returns the numbers of what is found in the value.
func (m *memo) leads(r *route, index *fieldIndex) []int32 {
	for len(m.routes) <= r.number {
		m.routes = append(m.routes, ofRoute{})
	}
	of := &m.routes[r.number]
	if !of.done {
		of.leads, of.done = index.find(of.leads[:0], view(m.text)), true
	}
	return of.leads
}

// knows returns what the value decides about the test or tree with this bit, if that was found out.
func (m *memo) knows(bit int32) (result, known bool) {
	word, mask := bit>>6, uint64(1)<<(bit&63)
	if int(word) >= len(m.known) || m.known[word]&mask == 0 {
		return false, false
	}
	return m.truth[word]&mask != 0, true
}

// learn keeps such a result. bits is how many there may be.
func (m *memo) learn(bit, bits int32, result bool) {
	if m.known == nil {
		words := int(bits+63) / 64
		m.known, m.truth = make([]uint64, words), make([]uint64, words)
	}
	word, mask := bit>>6, uint64(1)<<(bit&63)
	m.known[word] |= mask
	if result {
		m.truth[word] |= mask
	} else {
		m.truth[word] &^= mask
	}
}
