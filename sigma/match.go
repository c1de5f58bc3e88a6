package sigma

// Match calls hit with each rule that ev fires: each once, in the order of the event's log
// sources and within one in the order of Rules. What a filter hides is not called. It does not allocate unless a rule fires.
func (e *Engine) Match(ev Event, hit func(*Rule)) {
	s := e.scratch.Get().(*scratch)
	s.begin(ev)
	sources := ev.Logsources()
	for _, src := range sources {
		for _, n := range s.candidates(e.route(src)) {
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

// holds reports whether t is true of the event.
func (s *scratch) holds(t *tree) bool {
	switch t.op {
	case opLeaf:
		return s.atom(t.atom)
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

// atom reports whether atom n is true of the event, and remembers it.
func (s *scratch) atom(n int32) bool {
	if known := s.known[n]; known>>1 == s.gen {
		return known&1 == 1
	}
	a := &s.engine.atoms[n]
	result := s.evaluate(a)
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
	if !a.cased && a.kind <= matchesPattern {
		f.fold()
	}
	for i := range f.elems {
		if a.holds(&f.elems[i]) {
			return true
		}
	}
	return false
}
