package sigma

import (
	"maps"
	"slices"
	"strings"
)

// route is the rules for events of one log source, with what tells which of them to evaluate.
type route struct {
	number int     // among the engine's routes, from 0
	always []int32 // rules without a witness
	fields []fieldIndex
	known  int // fields[known:] are not the schema's
	// texts finds the rules that search keywords, or is nil. What it finds the known fields find in
	// their own values, too, so that no value is looked through twice.
	texts *fieldIndex
	own   []bool // by id of the schema: the field is among fields
}

// fieldIndex finds the rules whose witness is in a field.
type fieldIndex struct {
	slot  int32
	whole map[string][]int32
	grams gramScan
	runs  []*shiftIndex
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
		r.number = len(e.shared)
		e.shared[key.String()] = r
	}
	old := *e.routes.Load()
	if len(old) >= maxRoutes {
		return r
	}
	wider := make(map[Logsource]*route, len(old)+1)
	maps.Copy(wider, old)
	wider[src.clone()] = r
	e.routes.Store(&wider)
	return r
}

func (l Logsource) words() []string { return []string{l.Category, l.Product, l.Service} }

// clone returns a log source whose texts are its own.
func (l Logsource) clone() Logsource {
	return Logsource{strings.Clone(l.Category), strings.Clone(l.Product), strings.Clone(l.Service)}
}

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
			if e.slots[w.slot].all {
				if r.texts == nil {
					r.texts = newFieldIndex(w.slot)
				}
				r.texts.add(w, n, common)
				continue
			}
			i, ok := at[w.slot]
			if !ok {
				i = len(r.fields)
				at[w.slot] = i
				r.fields = append(r.fields, *newFieldIndex(w.slot))
			}
			r.fields[i].add(w, n, common)
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
	if r.texts != nil {
		e.share(r, rules, common)
		r.texts.grams.seal()
	}
	for i := range r.fields {
		r.fields[i].grams.seal()
	}
	return r
}

// share makes the known fields find the keywords of rules.
func (e *Engine) share(r *route, rules []int32, common map[string]int) {
	for i := range r.fields[:r.known] {
		id := int(e.slots[r.fields[i].slot].id)
		if id >= len(r.own) {
			r.own = append(r.own, make([]bool, id+1-len(r.own))...)
		}
		r.own[id] = true
		for _, n := range rules {
			for _, w := range e.witnesses[n] {
				if e.slots[w.slot].all {
					r.fields[i].add(w, n, common)
				}
			}
		}
	}
}

func newFieldIndex(slot int32) *fieldIndex {
	return &fieldIndex{slot: slot, whole: map[string][]int32{}}
}

// add makes w lead to rule n.
func (f *fieldIndex) add(w need, n int32, common map[string]int) {
	if w.whole {
		f.whole[w.text] = appendOnce(f.whole[w.text], n)
		return
	}
	if w.way != nil {
		if k := len(f.runs); k == 0 || !f.runs[k-1].add(w.way, n) {
			f.runs = append(f.runs, &shiftIndex{})
			f.runs[k].add(w.way, n)
		}
		return
	}
	f.grams.add(w, n, common)
}

func appendOnce(list []int32, n int32) []int32 {
	if len(list) > 0 && list[len(list)-1] == n {
		return list
	}
	return append(list, n)
}

// find appends the rules whose witness is in text to dst. A rule may be appended several times.
func (f *fieldIndex) find(dst []int32, text string) []int32 {
	if len(f.whole) > 0 {
		dst = append(dst, f.whole[text]...)
	}
	dst = f.grams.find(dst, text)
	for _, x := range f.runs {
		dst = x.find(dst, text)
	}
	return dst
}

// candidates returns the rules that may fire, in the order of Rules.
func (s *scratch) candidates(r *route) []int32 {
	s.wanted = append(s.wanted[:0], r.always...)
	fields := r.fields
	if s.plain {
		fields = fields[:r.known]
	}
	for i := range fields {
		index := &fields[i]
		f := s.slot(index.slot)
		for j := range f.elems {
			e := &f.elems[j]
			if e.memo != nil {
				s.want(e.memo.rules(r, index))
				continue
			}
			f.fold()
			s.found = index.find(s.found[:0], e.folded)
			s.want(s.found)
		}
	}
	if r.texts != nil {
		s.searched = r
		s.event.EachText(s.seek)
		s.searched = nil
	}
	if len(s.wanted) > len(r.always) {
		slices.Sort(s.wanted)
	}
	return s.wanted
}

// look looks for keywords in one text of the event, unless the field that it is of does.
func (s *scratch) look(id uint16, text string) bool {
	r := s.searched
	if int(id) < len(r.own) && r.own[id] {
		return true
	}
	if !folded(text) {
		if cap(s.text) > keep {
			s.text = nil
		}
		s.text = appendFold(s.text[:0], text)
		text = view(s.text)
	}
	s.found = r.texts.find(s.found[:0], text)
	s.want(s.found)
	return true
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
