package api

import "net/http"

// Needs returns the least role for a pattern of the access table.
func Needs(pattern string) (Role, bool) { g, ok := access[pattern]; return g.role, ok }

// AccessPatterns returns the patterns of the access table.
func AccessPatterns() (all []string) {
	for p := range access {
		all = append(all, p)
	}
	return all
}

// Patterns returns every registered route.
func (s *Server) Patterns() []string { return s.patterns }

// Add registers a route behind the table's back.
func (s *Server) Add(pattern string, h http.HandlerFunc) { s.mux.HandleFunc(pattern, h) }

// Readers returns how many streams are open.
func (s *Server) Readers() int {
	s.live.mu.Lock()
	defer s.live.mu.Unlock()
	return len(s.live.readers)
}

// Tail is the live tail's filter, for tests.
func Tail(q, record string) (bool, error) {
	f, err := parseFilter(q)
	if err != nil {
		return false, err
	}
	return f.match(flatten([]byte(record))), nil
}
