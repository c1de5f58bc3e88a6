package artifact

// scan is one scan under way.
type scan struct {
	o      Options
	report Report
}

// issue adds what was found in a part.
func (s *scan) issue(p *part, i Issue) {
	i.Part = p.name
	s.report.Issues = append(s.report.Issues, i)
}

// nested scans a member of a part, and reports whether the limits let it.
func (s *scan) nested(p *part) bool { return true }
