package sigma

import (
	"maps"
	"math/bits"
	"slices"
	"strings"
)

// route is the rules for events of one log source, with what tells which of them to evaluate.
type route struct {
	always []int32 // rules without a witness
	fields []fieldIndex
}

// fieldIndex finds the rules whose witness is in a field.
type fieldIndex struct {
	slot  int32
	whole map[string][]int32
	grams []*gramIndex
}

// gramIndex finds rules by a few neighbouring bytes of a text. One bit per hash answers for most
// bytes of most events.
type gramIndex struct {
	size  int // of a gram in bytes, 2 to 4
	mask  uint32
	shift uint8
	bits  []uint64
	rules map[uint32][]int32
}

// maxRoutes bounds the log sources whose route is kept at hand.
const maxRoutes = 1024

// route returns the rules that apply to events of src.
func (e *Engine) route(src Logsource) *route {
	if r, ok := (*e.routes.Load())[src]; ok {
		return r
	}
	var groups []Logsource
	for l := range e.groups {
		if l.Covers(src) {
			groups = append(groups, l)
		}
	}
	slices.SortFunc(groups, func(a, b Logsource) int { return slices.Compare(a.words(), b.words()) })
	var key strings.Builder
	for _, l := range groups {
		key.WriteString(strings.Join(l.words(), "\x00") + "\x01")
	}
	e.widen.Lock()
	defer e.widen.Unlock()
	r, ok := e.shared[key.String()]
	if !ok {
		r = e.newRoute(groups)
		e.shared[key.String()] = r
	}
	old := *e.routes.Load()
	if len(old) >= maxRoutes {
		return r
	}
	wider := make(map[Logsource]*route, len(old)+1)
	maps.Copy(wider, old)
	wider[Logsource{strings.Clone(src.Category), strings.Clone(src.Product), strings.Clone(src.Service)}] = r
	e.routes.Store(&wider)
	return r
}

func (l Logsource) words() []string { return []string{l.Category, l.Product, l.Service} }

func (e *Engine) newRoute(groups []Logsource) *route {
	r := &route{}
	var rules []int32
	common := map[string]int{} // grams by how many needs have them
	for _, l := range groups {
		for _, n := range e.groups[l] {
			rules = append(rules, n)
			for _, w := range e.witnesses[n] {
				for i := range w.text {
					for size := least; size <= 4 && i+size <= len(w.text); size++ {
						common[w.text[i:i+size]]++
					}
				}
			}
		}
	}
	slices.Sort(rules)
	at := map[int32]int{}
	for _, n := range rules {
		if len(e.witnesses[n]) == 0 {
			r.always = append(r.always, n)
		}
		for _, w := range e.witnesses[n] {
			i, ok := at[w.slot]
			if !ok {
				i = len(r.fields)
				at[w.slot] = i
				r.fields = append(r.fields, fieldIndex{slot: w.slot, whole: map[string][]int32{}})
			}
			r.fields[i].add(w, n, common)
		}
	}
	for i := range r.fields {
		for _, g := range r.fields[i].grams {
			g.seal()
		}
	}
	return r
}

// add makes w lead to rule n.
func (f *fieldIndex) add(w need, n int32, common map[string]int) {
	if w.whole {
		f.whole[w.text] = appendOnce(f.whole[w.text], n)
		return
	}
	size := min(len(w.text), 4)
	gram := w.text[:size]
	for i := 1; i+size <= len(w.text); i++ {
		if g := w.text[i : i+size]; common[g] < common[gram] {
			gram = g
		}
	}
	i := slices.IndexFunc(f.grams, func(g *gramIndex) bool { return g.size == size })
	if i < 0 {
		i = len(f.grams)
		f.grams = append(f.grams, &gramIndex{size: size, mask: uint32(1<<(8*size) - 1), rules: map[uint32][]int32{}})
	}
	key := uint32(0)
	for _, c := range []byte(gram) {
		key = key<<8 | uint32(c)
	}
	f.grams[i].rules[key] = appendOnce(f.grams[i].rules[key], n)
}

func appendOnce(list []int32, n int32) []int32 {
	if len(list) > 0 && list[len(list)-1] == n {
		return list
	}
	return append(list, n)
}

// seal sets the bits.
func (g *gramIndex) seal() {
	size := max(6, bits.Len(uint(len(g.rules)))+5)
	g.shift = uint8(32 - size)
	g.bits = make([]uint64, 1<<(size-6))
	for key := range g.rules {
		h := g.hash(key)
		g.bits[h>>6] |= 1 << (h & 63)
	}
}

func (g *gramIndex) hash(key uint32) uint32 { return key * 0x9e3779b1 >> g.shift }

// candidates returns the rules that may fire, in the order of Rules.
func (s *scratch) candidates(r *route) []int32 {
	s.wanted = append(s.wanted[:0], r.always...)
	for i := range r.fields {
		index := &r.fields[i]
		f := s.slot(index.slot)
		if len(f.elems) == 0 {
			continue
		}
		f.fold()
		for j := range f.elems {
			text := f.elems[j].folded
			if len(index.whole) > 0 {
				s.want(index.whole[text])
			}
			for _, g := range index.grams {
				g.scan(s, text)
			}
		}
	}
	if len(s.wanted) > len(r.always) {
		slices.Sort(s.wanted)
	}
	return s.wanted
}

// scan wants the rules of all grams in text.
func (g *gramIndex) scan(s *scratch, text string) {
	key := uint32(0)
	for i := range len(text) {
		key = (key<<8 | uint32(text[i])) & g.mask
		if h := g.hash(key); i >= g.size-1 && g.bits[h>>6]>>(h&63)&1 == 1 {
			s.want(g.rules[key])
		}
	}
}

// want adds rules to the candidates, each once.
func (s *scratch) want(rules []int32) {
	for _, n := range rules {
		if s.asked[n] != s.gen {
			s.asked[n] = s.gen
			s.wanted = append(s.wanted, n)
		}
	}
}
