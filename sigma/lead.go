package sigma

import "slices"

// router makes a route.
type router struct {
	engine  *Engine
	route   *route
	common  map[string]int // grams by how many needs have them
	numbers map[clueKey]int32
	at      map[int32]int // fields by slot
	texts   []keyword     // keywords
}

type keyword struct {
	need
	number int32
}

// clueKey tells needs apart.
type clueKey struct {
	slot                  int32
	text, way             string
	whole, prefix, suffix bool
	any                   bool
}

func (e *Engine) newRoute(groups []Logsource) *route {
	r := &route{sought: make([]uint64, len(e.atoms)/64+1)}
	b := &router{engine: e, route: r, common: map[string]int{}, numbers: map[clueKey]int32{}, at: map[int32]int{}}
	var rules []int32
	for _, l := range groups {
		rules = append(rules, e.groups[l]...)
	}
	slices.Sort(rules)
	for _, n := range rules {
		for _, w := range e.witnesses[n] {
			for i := range w.text {
				for size := least; size <= 4 && i+size <= len(w.text); size++ {
					b.common[w.text[i:i+size]]++
				}
			}
		}
	}
	for _, n := range rules {
		if len(e.witnesses[n]) == 0 {
			r.always = append(r.always, n)
		}
		for _, w := range e.witnesses[n] {
			b.add(w, n)
		}
	}
	slices.SortStableFunc(r.fields, func(a, b fieldIndex) int {
		switch ka, kb := e.slots[a.slot].known, e.slots[b.slot].known; {
		case ka == kb:
			return 0
		case ka:
			return -1
		}
		return 1
	})
	for r.known < len(r.fields) && e.slots[r.fields[r.known].slot].known {
		r.known++
	}
	b.share()
	for i := range r.fields {
		r.fields[i].grams.seal()
	}
	return r
}

// add makes w lead to rule n.
func (b *router) add(w need, n int32) {
	key := clueKey{w.slot, w.text, w.way.String(), w.whole, w.prefix, w.suffix, w.any}
	r := b.route
	number, ok := b.numbers[key]
	if ok {
		if l := &r.leads[number]; l.rules[len(l.rules)-1] != n {
			l.rules = append(l.rules, n)
		}
	} else {
		number = int32(len(r.leads))
		b.numbers[key] = number
		r.leads = append(r.leads, lead{rules: []int32{n}, atom: -1})
	}
	if w.exact {
		r.leads[number].atom = w.atom
		r.sought[w.atom>>6] |= 1 << (w.atom & 63)
	}
	switch {
	case ok:
	case b.engine.slots[w.slot].all:
		b.texts = append(b.texts, keyword{w, number})
	default:
		i, ok := b.at[w.slot]
		if !ok {
			i = len(r.fields)
			b.at[w.slot] = i
			r.fields = append(r.fields, *newFieldIndex(w.slot))
		}
		r.fields[i].add(w, number, b.common)
	}
}

// share makes the searched fields find keywords, and an index for all other texts.
func (b *router) share() {
	r := b.route
	if len(b.texts) == 0 {
		return
	}
	r.texts = newFieldIndex(b.texts[0].slot)
	for _, w := range b.texts {
		r.texts.add(w.need, w.number, b.common)
	}
	r.texts.grams.seal()
	for i := range r.fields[:r.known] {
		spec := b.engine.slots[r.fields[i].slot]
		if !spec.searched {
			continue
		}
		id := int(spec.id)
		if id >= len(r.own) {
			r.own = append(r.own, make([]bool, id+1-len(r.own))...)
		}
		r.own[id] = true
		for _, w := range b.texts {
			r.fields[i].add(w.need, w.number, b.common)
		}
	}
}

// fieldIndex finds the clues in a field.
type fieldIndex struct {
	slot    int32
	whole   map[string]int32
	lengths uint64 // bit n: a whole text is n bytes long; the last bit, that many or more
	grams   gramScan
	runs    []*shiftIndex
	any     []int32 // what the field leads to where it is there
}

func newFieldIndex(slot int32) *fieldIndex {
	return &fieldIndex{slot: slot, whole: map[string]int32{}}
}

// add makes w be looked for. common says how many needs have a gram.
func (f *fieldIndex) add(w need, number int32, common map[string]int) {
	switch {
	case w.any:
		f.any = append(f.any, number)
	case w.whole:
		f.whole[w.text] = number
		f.lengths |= lengthBit(w.text)
	case w.way != nil:
		if k := len(f.runs); k == 0 || !f.runs[k-1].add(w.way, number) {
			f.runs = append(f.runs, &shiftIndex{})
			f.runs[k].add(w.way, number)
		}
	default:
		f.grams.add(w, number, common)
	}
}

func lengthBit(text string) uint64 { return 1 << min(len(text), 63) }

// find appends the numbers of what is found in text to dst. A number may be appended several times.
func (f *fieldIndex) find(dst []int32, text string) []int32 {
	if f.lengths&lengthBit(text) != 0 {
		if number, ok := f.whole[text]; ok {
			dst = append(dst, number)
		}
	}
	dst = f.grams.find(dst, text)
	for _, x := range f.runs {
		dst = x.find(dst, text)
	}
	return dst
}
