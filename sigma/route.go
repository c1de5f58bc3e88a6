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
	leads  []lead
	sought []uint64 // by atom: the leads tell whether it is true
	fields []fieldIndex
	known  int // fields[known:] are not the schema's
	// texts finds the rules that search keywords, or is nil. What it finds the searched fields find
	// in their own values, too, so that no value is looked through twice.
	texts *fieldIndex
	own   []bool // by id of the schema: a searched field among fields
}

// lead is what follows from one text or run that was found.
type lead struct {
	rules []int32 // may fire
	atom  int32   // is true, or -1
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

// candidates returns the rules that may fire, in the order of Rules.
func (s *scratch) candidates(r *route) []int32 {
	s.wanted, s.at = append(s.wanted[:0], r.always...), r
	fields := r.fields
	if s.plain {
		fields = fields[:r.known]
	}
	for i := range fields {
		index := &fields[i]
		f := s.slot(index.slot)
		if f.kind == Absent {
			continue
		}
		s.follow(index.any)
		for j := range f.elems {
			e := &f.elems[j]
			if e.memo != nil {
				s.follow(e.memo.leads(r, index))
				continue
			}
			f.fold()
			s.found = index.find(s.found[:0], e.folded)
			s.follow(s.found)
		}
	}
	if r.texts != nil {
		for i := range s.texts() {
			s.look(&s.heard[i])
		}
	}
	if len(s.wanted) > len(r.always) {
		slices.Sort(s.wanted)
	}
	return s.wanted
}

// look looks for keywords in one text of the event, unless the field that it is of does.
func (s *scratch) look(h *heard) {
	r, text := s.at, h.text
	if int(h.id) < len(r.own) && r.own[h.id] {
		return
	}
	if !folded(text) {
		if cap(s.text) > keep {
			s.text = nil
		}
		s.text = appendFold(s.text[:0], text)
		text = view(s.text)
	}
	s.found = r.texts.find(s.found[:0], text)
	s.follow(s.found)
}

// follow makes the rules of leads candidates, each once, and their atoms true.
func (s *scratch) follow(leads []int32) {
	for _, i := range leads {
		l := &s.at.leads[i]
		if l.atom >= 0 {
			s.known[l.atom] = s.gen<<1 | 1
		}
		for _, n := range l.rules {
			if s.asked[n] != s.gen {
				s.asked[n] = s.gen
				s.wanted = append(s.wanted, n)
			}
		}
	}
}
