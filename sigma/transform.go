package sigma

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// scopeKeys are the keys that every transformation may have.
var scopeKeys = []string{
	"id", "type", "rule_conditions", "rule_cond_op", "rule_cond_not", "detection_item_conditions", "detection_item_cond_op",
	"detection_item_cond_not", "field_name_conditions", "field_name_cond_op", "field_name_cond_not",
}

// transformation reads one step of a pipeline. It is of use only if it noted no fault.
func (r *reader) transformation(n *yaml.Node) *transformation {
	t := &transformation{pos: at(n), source: r.line(n.Line)}
	kind := lookup(n, "type")
	if kind == nil {
		r.fault(at(n), "add type: such as field_name_mapping", "the transformation has no type")
		return t
	}
	known := map[string]struct {
		read func(*reader, *transformation, *yaml.Node)
		keys []string
	}{
		"field_name_mapping":        {(*reader).mapNames, []string{"mapping"}},
		"field_name_prefix_mapping": {(*reader).mapPrefixes, []string{"mapping"}},
		"field_name_prefix":         {(*reader).addPrefix, []string{"prefix"}},
		"field_name_suffix":         {(*reader).addSuffix, []string{"suffix"}},
		"drop_detection_item":       {(*reader).dropItem, nil},
		"add_condition":             {(*reader).addCondition, []string{"conditions", "negated", "template", "name"}},
		"change_logsource":          {(*reader).changeLogsource, []string{"category", "product", "service"}},
		"replace_string":            {(*reader).replaceString, []string{"regex", "replacement"}},
		"value_placeholders":        {(*reader).placeholders, []string{"include", "exclude"}},
		"rule_failure":              {(*reader).ruleFailure, []string{"message"}},
	}
	k, ok := known[kind.Value]
	if !ok {
		names := slices.Sorted(maps.Keys(known))
		r.fault(at(kind), "known are "+strings.Join(names, ", "), "unknown transformation %q", kind.Value)
		return t
	}
	r.only(n, append(slices.Clone(k.keys), scopeKeys...)...)
	t.rules = scopeOf(r, n, "rule", ruleTest)
	t.items = scopeOf(r, n, "detection_item", itemTest)
	names := scopeOf(r, n, "field_name", fieldTest)
	t.items.and = &names
	k.read(r, t, n)
	if t.onRule != nil && len(t.items.tests)+len(names.tests) > 0 {
		r.fault(at(n), "limit it with rule_conditions", "%s changes a rule as a whole", kind.Value)
	}
	return t
}

// need returns the value of a key that a transformation must have, null if it does not.
func (r *reader) need(n *yaml.Node, key string) *yaml.Node {
	if v := lookup(n, key); v != nil {
		return v
	}
	r.fault(at(n), "add "+key+":", "the transformation has no %s", key)
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: n.Line, Column: n.Column}
}

func (r *reader) mapNames(t *transformation, n *yaml.Node) {
	mapping := map[string][]string{}
	r.pairs("mapping", r.need(n, "mapping"), func(name string, to *yaml.Node) {
		mapping[name] = r.fieldNames(name, to)
	})
	t.onItem = func(leaf *node) *refusal {
		return leaf.rename(func(name string) []string {
			if to, ok := mapping[name]; ok {
				return to
			}
			return []string{name}
		})
	}
}

// Bounds on what the steps of a pipeline can make of a rule.
const (
	maxTransformations = 1000
	maxAlternatives    = 64       // names of one field
	maxFieldName       = 1 << 10  // bytes
	maxReplacement     = 1 << 10  // bytes
	maxReplaced        = 64 << 10 // bytes of a value
)

// fieldNames reads what a field is called elsewhere.
func (r *reader) fieldNames(name string, n *yaml.Node) []string {
	names := r.list("a mapping", n)
	if len(names) == 0 || len(names) > maxAlternatives {
		r.fault(at(n), "name the field it is called there", "%q has %d names, 1 to %d are possible", shorten(name), len(names), maxAlternatives)
	}
	return names
}

// mapPrefixes replaces the first prefix of the mapping that a name begins with.
func (r *reader) mapPrefixes(t *transformation, n *yaml.Node) {
	type pair struct {
		from string
		to   []string
	}
	var mapping []pair
	r.pairs("mapping", r.need(n, "mapping"), func(name string, to *yaml.Node) {
		mapping = append(mapping, pair{name, r.fieldNames(name, to)})
	})
	t.onItem = func(leaf *node) *refusal {
		return leaf.rename(func(name string) []string {
			for _, p := range mapping {
				if rest, ok := strings.CutPrefix(name, p.from); ok {
					var out []string
					for _, to := range p.to {
						out = append(out, to+rest)
					}
					return out
				}
			}
			return []string{name}
		})
	}
}

func (r *reader) addPrefix(t *transformation, n *yaml.Node) {
	prefix := r.text("prefix", r.need(n, "prefix"))
	t.onItem = func(leaf *node) *refusal {
		return leaf.rename(func(name string) []string { return []string{prefix + name} })
	}
}

func (r *reader) addSuffix(t *transformation, n *yaml.Node) {
	suffix := r.text("suffix", r.need(n, "suffix"))
	t.onItem = func(leaf *node) *refusal {
		return leaf.rename(func(name string) []string { return []string{name + suffix} })
	}
}

// rename gives the leaf's field, and the fields that it is compared with, other names. Several
// names are alternatives.
func (n *node) rename(names func(string) []string) *refusal {
	it := n.item
	if it.do == doFieldref && !it.expand {
		var values []value
		for _, v := range it.values {
			for _, name := range names(v.text) {
				v.text = name
				values = append(values, v)
			}
		}
		if len(values) > maxValues {
			return refuse("map to fewer names", "the rule would have more than %d values", maxValues)
		}
		if it.all && len(values) > len(it.values) {
			return refuse("map the field to one name", "%s must equal all of several fields, one of which has several names", it.field)
		}
		it.values = values
	}
	if it.field == "" {
		return nil
	}
	to := names(it.field)
	for _, name := range to {
		if len(name) > maxFieldName {
			return refuse("use shorter names", "a field's name became longer than %d bytes", maxFieldName)
		}
	}
	if len(to) == 1 {
		it.field = to[0]
		return nil
	}
	n.op, n.item = opOr, nil
	for _, name := range to {
		c := it.clone()
		c.field = name
		n.kids = append(n.kids, &node{item: c})
	}
	return nil
}

// dropItem removes items. A map, list or identifier of which nothing is left goes too.
func (r *reader) dropItem(t *transformation, _ *yaml.Node) {
	t.onItem = func(leaf *node) *refusal {
		leaf.item = nil
		return nil
	}
}

func (r *reader) addCondition(t *transformation, n *yaml.Node) {
	conditions, negated, template := r.need(n, "conditions"), false, false
	if v := lookup(n, "negated"); v != nil {
		negated = r.boolean("negated", v)
	}
	if v := lookup(n, "template"); v != nil {
		template = r.boolean("template", v)
	}
	if conditions.Kind != yaml.MappingNode {
		r.fault(at(conditions), "write field: value below it", "conditions must be a map, not %s", kindName(conditions))
		return
	}
	left := maxValues
	added := r.entries("conditions", conditions, &left)
	t.onRule = func(rule *Rule, _ placeholders) *refusal {
		extra := added.clone(map[*node]*node{})
		extra.walk(func(it *item) {
			it.pos = position{rule.Line, 1} // faults of a rule are shown in its file
			for i := range it.values {
				if it.values[i].pos = it.pos; template {
					it.values[i].text = rule.Logsource.fill(it.values[i].text)
				}
			}
		})
		rule.searches = append(rule.searches, &search{name: "_added", pos: position{rule.Line, 1}, expr: extra, used: true})
		if negated {
			extra = &node{op: opNot, kids: []*node{extra}}
		}
		rule.cond = &node{op: opAnd, kids: []*node{extra, rule.cond}}
		return nil
	}
}

// fill replaces $category, $product and $service in s.
func (l Logsource) fill(s string) string {
	return strings.NewReplacer(
		"${category}", l.Category, "${product}", l.Product, "${service}", l.Service,
		"$category", l.Category, "$product", l.Product, "$service", l.Service,
	).Replace(s)
}

func (r *reader) changeLogsource(t *transformation, n *yaml.Node) {
	var to Logsource
	for i, dst := range []*string{&to.Category, &to.Product, &to.Service} {
		key := [...]string{"category", "product", "service"}[i]
		if v := lookup(n, key); v != nil {
			*dst = r.text(key, v)
		}
	}
	if to == (Logsource{}) {
		r.fault(at(n), "name a category, product or service", "the new log source is empty")
	}
	t.onRule = func(rule *Rule, _ placeholders) *refusal {
		rule.Logsource = to
		return nil
	}
}

// groupRef is a reference to a group in the replacements of pySigma, which is written in Python.
var groupRef = regexp.MustCompile(`\\g<(\w+)>|\\(\d)|\\(\\)|\$`)

// replaceString replaces what an expression matches in texts, as the rule writes them. Values that
// a modifier encodes stay as they are: what is replaced would be searched for in another form.
func (r *reader) replaceString(t *transformation, n *yaml.Node) {
	expr := r.need(n, "regex")
	re, err := regexp.Compile(expr.Value)
	if err != nil {
		r.fault(at(expr), "look-around and back-references are not known here", "%q is not a regular expression: %v", shorten(expr.Value), err)
		return
	}
	if to := lookup(n, "replacement"); to != nil && len(to.Value) > maxReplacement {
		r.fault(at(to), "", "the replacement is longer than %d bytes", maxReplacement)
	}
	with := groupRef.ReplaceAllStringFunc(r.text("replacement", r.need(n, "replacement")), func(ref string) string {
		switch ref {
		case "$":
			return "$$"
		case `\\`:
			return `\`
		}
		return "${" + strings.TrimSuffix(strings.TrimPrefix(ref[1:], "g<"), ">") + "}"
	})
	t.onItem = func(leaf *node) *refusal {
		it := leaf.item
		if it.do != doText || it.encoded() {
			return nil
		}
		for i := range it.values {
			v := &it.values[i]
			if v.kind != valueText {
				continue
			}
			if len(v.text) > maxReplaced {
				return refuse("limit the step", "a value is longer than %d bytes", maxReplaced)
			}
			v.text = re.ReplaceAllString(v.text, with)
			if bad := it.check(*v); bad != nil {
				return bad
			}
		}
		return nil
	}
}

// encoded reports whether a modifier turns the item's texts into others.
func (it *item) encoded() bool {
	return slices.ContainsFunc(it.mods, func(m string) bool {
		return strings.HasPrefix(m, "base64") || strings.HasPrefix(m, "utf16") || m == "wide"
	})
}

// placeholders gives placeholders the values that the pipelines' variables have. Those without a
// variable are left to Options.Placeholders.
func (r *reader) placeholders(t *transformation, n *yaml.Node) {
	var include, exclude []string
	if v := lookup(n, "include"); v != nil {
		include = r.list("include", v)
	}
	if v := lookup(n, "exclude"); v != nil {
		exclude = r.list("exclude", v)
	}
	t.onRule = func(rule *Rule, vars placeholders) *refusal {
		rule.vars = maps.Clone(rule.vars)
		for name, values := range vars {
			if len(include) > 0 && !slices.Contains(include, name) || slices.Contains(exclude, name) {
				continue
			}
			if rule.vars == nil {
				rule.vars = placeholders{}
			}
			rule.vars[name] = values
		}
		return nil
	}
}

func (r *reader) ruleFailure(t *transformation, n *yaml.Node) {
	message := r.text("message", r.need(n, "message"))
	t.onRule = func(*Rule, placeholders) *refusal {
		return refuse("the pipeline says so", "%s", message)
	}
}

// with returns the values of placeholders that a rule is compiled with: its own before those of all.
func (own placeholders) with(all placeholders) placeholders {
	if len(own) == 0 {
		return all
	}
	merged := maps.Clone(own)
	for name, values := range all {
		if _, ok := merged[name]; !ok {
			merged[name] = values
		}
	}
	return merged
}
