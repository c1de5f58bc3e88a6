package sigma

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Problem is something legal about a rule, correlation or filter that is probably not meant.
type Problem struct {
	Meta *Meta
	Line int
	Msg  string
	Hint string
}

// String returns position, message and hint on one line.
func (p Problem) String() string {
	s := fmt.Sprintf("%s:%d: %s", p.Meta.SourceFile, p.Line, p.Msg)
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// Lint looks for what is legal but probably not meant: what a rule lacks, what has no effect and
// what can never fire. Rules may come from several files; schema may be nil if it is not known.
// Problems come rule by rule, in the order of lines.
func Lint(rules []*Rule, schema Schema) []Problem {
	var all []Problem
	ids, names := map[string]*Meta{}, map[string]*Meta{}
	for _, rule := range rules {
		l := &linter{meta: &rule.Meta, schema: schema}
		l.metadata()
		l.unique("id", rule.ID, ids)
		l.unique("name", rule.Name, names)
		if rule.Logsource == (Logsource{}) {
			l.note(rule.LineOf("logsource"), "name a category, product or service", "the rule is evaluated on every event")
		}
		l.detection(rule)
		all = append(all, l.sorted()...)
	}
	return all
}

// SingleValued is a Schema that knows which fields never have more than one value. With it, Lint
// finds that "a" and "b" cannot both be the text of such a field.
type SingleValued interface{ Single(field string) bool }

type linter struct {
	meta   *Meta
	schema Schema
	found  []Problem
}

func (l *linter) note(line int, hint, format string, args ...any) {
	l.found = append(l.found, Problem{Meta: l.meta, Line: line, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

// sorted returns what was found, in the order of lines.
func (l *linter) sorted() []Problem {
	slices.SortStableFunc(l.found, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return l.found
}

var (
	uuid      = regexp.MustCompile(`^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$`)
	levels    = []string{"informational", "low", "medium", "high", "critical"}
	statuses  = []string{"stable", "test", "experimental", "deprecated", "unsupported"}
	tagSpaces = []string{"attack", "atlas", "car", "cve", "d3fend", "detection", "stp", "tlp", "picket"}
)

func (l *linter) metadata() {
	r := l.meta
	if r.Title == "" {
		l.note(r.LineOf("title"), "say in a few words what happened", "the rule has no title")
	}
	switch {
	case r.ID == "":
		l.note(r.LineOf("id"), "write id: with a random UUID", "the rule has no id")
	case !uuid.MatchString(r.ID):
		l.note(r.LineOf("id"), "write a random UUID", "id %s is not a UUID", r.ID)
	}
	switch {
	case r.Level == "":
		l.note(r.LineOf("level"), "one of "+strings.Join(levels, ", "), "the rule has no level")
	case !slices.Contains(levels, r.Level):
		l.note(r.LineOf("level"), "one of "+strings.Join(levels, ", "), "unknown level %s", r.Level)
	}
	if r.Status != "" && !slices.Contains(statuses, r.Status) {
		l.note(r.LineOf("status"), "one of "+strings.Join(statuses, ", "), "unknown status %s", r.Status)
	}
	for _, tag := range r.Tags {
		space, _, ok := strings.Cut(tag, ".")
		if !ok || !slices.Contains(tagSpaces, space) {
			l.note(r.LineOf("tags"), "known are "+strings.Join(tagSpaces, ", "), "tag %s is in no known namespace", tag)
		}
	}
}

// unique notes that value was used before.
func (l *linter) unique(what, value string, seen map[string]*Meta) {
	if value == "" {
		return
	}
	if first, ok := seen[value]; ok {
		l.note(l.meta.LineOf(what), "give each rule its own", "%s %s is used before, in %s:%d", what, value, first.SourceFile, first.LineOf(what))
		return
	}
	seen[value] = l.meta
}

func (l *linter) detection(rule *Rule) {
	for _, s := range rule.searches {
		if !s.used {
			l.note(s.pos.line, "use it in the condition, or remove it", "identifier %s is not used", s.name)
		}
	}
	for _, it := range rule.items() {
		l.item(it)
	}
	if rule.cond == nil {
		return
	}
	j := judge{}
	if s, ok := l.schema.(SingleValued); ok {
		j.single = s.Single
	}
	if v := j.verdict(rule.cond); v != maybe {
		what := map[truth]string{never: "can never fire", always: "fires on every event"}[v]
		l.note(rule.LineOf("detection.condition"), "a part of the condition contradicts or excludes another", "the rule %s", what)
	}
}

func (l *linter) item(it *item) {
	for _, name := range it.fields() {
		if l.schema == nil {
			break
		}
		if _, ok := l.schema.Field(name); !ok {
			l.found = append(l.found, unknownField(l.meta, it, name))
		}
	}
	if it.all && len(it.values) == 1 {
		l.note(it.pos.line, "remove all, or add values", "all has no effect on a single value of %s", it.name())
	}
	for _, v := range it.values {
		if v.kind == valueNull && len(it.values) > 1 {
			l.note(v.pos.line, "write a map of its own for field: null", "null inside the list of %s is beyond the specification", it.name())
		}
	}
}

func (it *item) name() string {
	if it.field == "" {
		return "keywords"
	}
	return it.field
}

func unknownField(m *Meta, it *item, name string) Problem {
	return Problem{
		Meta: m, Line: it.pos.line, Msg: fmt.Sprintf("field %s is not known, so it is never present", name),
		Hint: "field names are case-sensitive",
	}
}
