package sigma

// Match calls hit with each rule that ev fires: each once, in the order of the event's log
// sources and within one in the order of Rules. It is not called with what a filter hides. Match does
// not allocate unless a rule fires.
func (e *Engine) Match(ev Event, hit func(*Rule)) {
	s := e.scratch.Get().(*scratch)
	s.begin(ev)
	sources := ev.Logsources()
	for _, src := range sources {
		for _, n := range s.candidates(s.route(src)) {
			if len(sources) > 1 {
				if s.seen[n] == s.gen {
					continue
				}
				s.seen[n] = s.gen
			}
			if s.holds(&e.trees[n]) && !e.hides(s, n) {
				hit(e.rules[n])
			}
		}
	}
	s.end()
	e.scratch.Put(s)
}

// holds reports whether t is true of the event. What the value of one field decides is decided once
// for each value that is remembered.
func (s *scratch) holds(t *tree) bool {
	if t.op == opLeaf {
		return s.atom(t.atom)
	}
	if !t.one {
		return s.decide(t)
	}
	f := s.slot(t.slot)
	if f.kind == Absent {
		return t.absent
	}
	if len(f.elems) != 1 || f.elems[0].memo == nil {
		return s.decide(t)
	}
	m := f.elems[0].memo
	result, known := m.knows(t.bit)
	if !known {
		result = s.decide(t)
		m.learn(t.bit, s.engine.slots[t.slot].bits, result)
	}
	return result
}

func (s *scratch) decide(t *tree) bool {
	switch t.op {
	case opNot:
		return !s.holds(&t.kids[0])
	case opAnd:
		for i := range t.kids {
			if !s.holds(&t.kids[i]) {
				return false
			}
		}
		return true
	}
	for i := range t.kids {
		if s.holds(&t.kids[i]) {
			return true
		}
	}
	return false
}

// atom reports whether atom n is true of the event, and remembers it. What the route's indexes look
// for is known already.
func (s *scratch) atom(n int32) bool {
	if known := s.known[n]; known>>1 == s.gen {
		return known&1 == 1
	}
	if s.at.sought[n>>6]>>(n&63)&1 == 1 { // it would have been found
		return false
	}
	result := s.evaluate(&s.engine.atoms[n])
	s.known[n] = s.gen << 1
	if result {
		s.known[n] |= 1
	}
	return result
}

func (s *scratch) evaluate(a *atom) bool {
	f := s.slot(a.slot)
	switch a.kind {
	case isNull:
		return f.kind == Absent || f.kind == Null
	case isThere:
		return f.kind != Absent
	case hasValue:
		return f.kind != Absent && f.kind != Null
	case likeField:
		return a.like(f, s.slot(a.other))
	}
	if len(f.elems) == 0 {
		return false
	}
	for i := range f.elems {
		e := &f.elems[i]
		if m := e.memo; m != nil {
			result, known := m.knows(a.bit)
			if !known {
				e.folded = view(m.text)
				result = a.holds(e)
				m.learn(a.bit, s.engine.slots[a.slot].bits, result)
			}
			if result {
				return true
			}
			continue
		}
		if !a.cased && a.kind <= matchesPattern {
			f.fold()
		}
		if a.holds(e) {
			return true
		}
	}
	return false
}
