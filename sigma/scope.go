package sigma

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// scope says which rules or items a transformation is about. The zero value is about all.
type scope[T any] struct {
	tests []func(T) bool
	any   bool // one test is enough
	not   bool
	and   *scope[T] // must hold too
}

func (s *scope[T]) holds(x T) bool {
	if s.and != nil && !s.and.holds(x) {
		return false
	}
	if len(s.tests) == 0 {
		return true
	}
	is := func(test func(T) bool) bool { return test(x) }
	if s.any {
		return slices.ContainsFunc(s.tests, is) != s.not
	}
	return !slices.ContainsFunc(s.tests, func(test func(T) bool) bool { return !test(x) }) != s.not
}

// scopeOf reads the conditions below prefix+"conditions", or prefix+"_conditions", and how they are joined.
func scopeOf[T any](r *reader, n *yaml.Node, prefix string, read func(*reader, string, *yaml.Node) func(T) bool) scope[T] {
	var s scope[T]
	if list := lookup(n, prefix+"_conditions"); list != nil {
		for _, c := range r.maps(prefix+"_conditions", list) {
			kind := ""
			if t := lookup(c, "type"); t != nil {
				kind = t.Value
			}
			if test := read(r, kind, c); test != nil {
				s.tests = append(s.tests, test)
			}
		}
	}
	if op := lookup(n, prefix+"_cond_op"); op != nil {
		if s.any = op.Value == "or"; !s.any && op.Value != "and" {
			r.fault(at(op), "write and, or or", "conditions are joined by and or by or, not by %q", op.Value)
		}
	}
	if not := lookup(n, prefix+"_cond_not"); not != nil {
		s.not = r.boolean(prefix+"_cond_not", not)
	}
	return s
}

func (r *reader) boolean(key string, n *yaml.Node) bool {
	if n.ShortTag() != "!!bool" {
		r.fault(at(n), "", "%s must be true or false", key)
	}
	return strings.EqualFold(n.Value, "true")
}

// ruleTest reads a rule condition.
func ruleTest(r *reader, kind string, n *yaml.Node) func(*Rule) bool {
	field := func(key string) string {
		if v := lookup(n, key); v != nil {
			return r.text(key, v)
		}
		return ""
	}
	switch kind {
	case "logsource":
		r.only(n, "type", "category", "product", "service")
		want := Logsource{Category: field("category"), Product: field("product"), Service: field("service")}
		if want == (Logsource{}) {
			r.fault(at(n), "name a category, product or service", "the condition names no log source")
		}
		return func(rule *Rule) bool { return want.Covers(rule.Logsource) }
	case "tag":
		r.only(n, "type", "tag")
		want := field("tag")
		return func(rule *Rule) bool {
			return slices.ContainsFunc(rule.Tags, func(t string) bool { return strings.EqualFold(t, want) })
		}
	case "rule_attribute":
		r.only(n, "type", "attribute", "value", "op")
		return r.attribute(n, field("attribute"), field("value"), field("op"))
	case "is_sigma_rule":
		return func(*Rule) bool { return true }
	}
	r.fault(at(n), "known are logsource, tag, rule_attribute and is_sigma_rule", "unknown rule condition %q", kind)
	return nil
}

func (r *reader) attribute(n *yaml.Node, name, want, op string) func(*Rule) bool {
	get, ok := map[string]func(*Rule) string{
		"id": func(r *Rule) string { return r.ID }, "name": func(r *Rule) string { return r.Name },
		"title": func(r *Rule) string { return r.Title }, "author": func(r *Rule) string { return r.Author },
		"level": func(r *Rule) string { return r.Level }, "status": func(r *Rule) string { return r.Status },
	}[name]
	if !ok {
		r.fault(at(n), "known are id, name, title, author, level and status", "unknown attribute %q", name)
		return nil
	}
	if op != "" && op != "eq" && op != "ne" {
		r.fault(at(n), "known are eq and ne", "unknown comparison %q", op)
	}
	return func(rule *Rule) bool { return strings.EqualFold(get(rule), want) == (op != "ne") }
}

// itemTest reads a condition about an item or the name of its field.
func itemTest(r *reader, kind string, n *yaml.Node) func(*item) bool {
	if kind == "match_string" {
		return r.matchString(n)
	}
	return fieldTest(r, kind, n)
}

// fieldTest reads a condition about the name of an item's field.
func fieldTest(r *reader, kind string, n *yaml.Node) func(*item) bool {
	if kind != "include_fields" && kind != "exclude_fields" {
		r.fault(at(n), "known are match_string (of an item), include_fields and exclude_fields", "unknown condition %q", kind)
		return nil
	}
	r.only(n, "type", "fields", "mode")
	var fields []string
	if list := lookup(n, "fields"); list != nil {
		fields = r.list("fields", list)
	}
	if len(fields) == 0 {
		r.fault(at(n), "add fields: with a list of names", "%s names no fields", kind)
	}
	in := func(name string) bool { return slices.Contains(fields, name) }
	if mode := lookup(n, "mode"); mode != nil && mode.Value != "plain" {
		if mode.Value != "re" {
			r.fault(at(mode), "known are plain and re", "unknown mode %q", mode.Value)
		}
		var res []*regexp.Regexp
		for _, f := range fields {
			if re := r.anchored(n, f); re != nil {
				res = append(res, re)
			}
		}
		in = func(name string) bool {
			return slices.ContainsFunc(res, func(re *regexp.Regexp) bool { return re.MatchString(name) })
		}
	}
	include := kind == "include_fields"
	return func(it *item) bool { return in(it.field) == include }
}

// matchString reads a condition about the texts of an item, as they are once contains, startswith
// and endswith have added their wildcards.
func (r *reader) matchString(n *yaml.Node) func(*item) bool {
	r.only(n, "type", "cond", "pattern", "negate")
	all, negate := false, false
	if c := lookup(n, "cond"); c != nil {
		if all = c.Value == "all"; !all && c.Value != "any" {
			r.fault(at(c), "write any or all", "a condition is about any or all values, not %q", c.Value)
		}
	}
	if v := lookup(n, "negate"); v != nil {
		negate = r.boolean("negate", v)
	}
	p := lookup(n, "pattern")
	if p == nil {
		r.fault(at(n), "add pattern: with a regular expression", "match_string has no pattern")
		return nil
	}
	re := r.anchored(p, p.Value)
	if re == nil {
		return nil
	}
	return func(it *item) bool {
		hit := func(v value) bool { return v.kind == valueText && re.MatchString(it.place.around(v.text)) != negate }
		if all {
			return !slices.ContainsFunc(it.values, func(v value) bool { return !hit(v) })
		}
		return slices.ContainsFunc(it.values, hit)
	}
}

// around returns a text with the wildcards that the place stands for.
func (p place) around(s string) string {
	if p == anywhere || p == atEnd {
		s = "*" + s
	}
	if p == anywhere || p == atStart {
		s += "*"
	}
	return s
}

// anchored compiles an expression that must match from the beginning of a text on.
func (r *reader) anchored(n *yaml.Node, expr string) *regexp.Regexp {
	re, err := regexp.Compile("^(?:" + expr + ")")
	if err != nil {
		r.fault(at(n), "look-around and back-references are not known here", "%q is not a regular expression: %v", shorten(expr), err)
		return nil
	}
	return re
}
