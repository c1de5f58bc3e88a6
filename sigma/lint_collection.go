package sigma

import "slices"

// Lint looks for what is legal but probably not meant in all that c holds: rules, then correlations,
// then filters. The schema may be nil if it is not known.
func (c *Collection) Lint(schema Schema) []Problem {
	all := Lint(c.Rules, schema)
	for _, one := range c.Correlations {
		l := &linter{meta: &one.Meta, schema: schema}
		l.metadata()
		l.correlation(one)
		all = append(all, l.sorted()...)
	}
	for _, f := range c.Filters {
		l := &linter{meta: &f.Meta, schema: schema}
		l.filter(f, c.Rules)
		all = append(all, l.sorted()...)
	}
	return all
}

func (l *linter) correlation(c *Correlation) {
	if len(c.GroupBy) == 0 {
		l.note(c.LineOf("correlation"), "add group-by:, such as the host or the user", "all events of all hosts fall into one window")
	}
	check := func(part, name string) {
		if l.schema == nil || c.Aliases[name] != nil {
			return
		}
		if _, ok := l.schema.Field(name); !ok {
			l.note(c.LineOf(part), "field names are case-sensitive", "field %s is not known, so nothing is counted", name)
		}
	}
	for _, name := range c.GroupBy {
		check("correlation.group-by", name)
	}
	for _, name := range c.Condition.Fields {
		check("correlation.condition.field", name)
	}
	for name := range c.Aliases {
		if !slices.Contains(c.GroupBy, name) && !slices.Contains(c.Condition.Fields, name) {
			l.note(c.LineOf("correlation.aliases"), "use it in group-by, or remove it", "alias %s is not used", name)
		}
	}
}

func (l *linter) filter(f *Filter, rules []*Rule) {
	if f.Title == "" {
		l.note(f.Line, "say in a few words what is hidden", "the filter has no title")
	}
	if f.mixed() {
		l.note(f.LineOf("filter"), "write filter-mode: suppress or and", "the condition has not inside: what it matches is hidden, which may be the reverse of what is meant")
	}
	for _, r := range rules {
		named := slices.Contains(f.Rules, r.ID) || slices.Contains(f.Rules, r.Name)
		if named && !f.Logsource.Covers(r.Logsource) {
			l.note(f.LineOf("logsource"), "give the filter no more of a log source than the rule has", "the filter's log source is not that of rule %s, so it hides nothing of it", r.Name)
		}
	}
	l.detection(f.body)
}
