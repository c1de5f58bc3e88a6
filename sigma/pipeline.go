package sigma

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Pipeline rewrites rules for events that have other field names, values or log sources than the
// rules' authors had in mind. It is read from the YAML form that pySigma gave such pipelines; what
// is not carried out here is refused when it is read. It does not change.
//
// Transformations: field_name_mapping, field_name_prefix, field_name_prefix_mapping,
// field_name_suffix, drop_detection_item, add_condition, change_logsource, replace_string,
// value_placeholders, rule_failure. Each may be limited by rule_conditions (logsource, tag,
// rule_attribute), detection_item_conditions (match_string, include_fields, exclude_fields) and
// field_name_conditions (the latter two), joined by …_cond_op (and, or) and turned by …_cond_not.
type Pipeline struct {
	Name       string
	Priority   int // of several pipelines, lower ones go first
	SourceFile string

	vars  placeholders
	steps []*transformation
}

// transformation is one step of a pipeline. It changes a rule or each of its items.
type transformation struct {
	pos    position
	source string // the line, to show it in errors
	rules  scope[*Rule]
	items  scope[*item]
	onRule func(*Rule, placeholders) *refusal
	onItem func(*node) *refusal
}

// ParsePipeline reads a pipeline. The error is an Errors that says what is wrong, and where.
func ParsePipeline(file string, src []byte) (*Pipeline, error) {
	r := &reader{file: file, src: src}
	docs := r.documents()
	p := &Pipeline{SourceFile: file, vars: placeholders{}}
	switch {
	case len(r.errs) > 0:
	case len(docs) != 1 || docs[0].Kind != yaml.MappingNode:
		r.fault(position{1, 1}, "write name:, priority: and transformations:", "a pipeline is one map of keys")
	default:
		r.pipeline(p, docs[0])
	}
	if err := r.errs.asError(); err != nil {
		return nil, err
	}
	return p, nil
}

func (r *reader) pipeline(p *Pipeline, doc *yaml.Node) {
	for i := 0; i+1 < len(doc.Content); i += 2 {
		key, value := doc.Content[i], doc.Content[i+1]
		switch key.Value {
		case "name":
			p.Name = r.text("name", value)
		case "priority":
			if err := value.Decode(&p.Priority); err != nil {
				r.fault(at(value), "write a number such as 50", "priority is not a number")
			}
		case "vars":
			r.pairs("vars", value, func(name string, n *yaml.Node) { p.vars[name] = r.list("a variable", n) })
		case "transformations":
			list := r.maps("transformations", value)
			if len(list) > maxTransformations {
				r.fault(at(value), "split the pipeline", "the pipeline has more than %d transformations", maxTransformations)
				return
			}
			for _, n := range list {
				p.steps = append(p.steps, r.transformation(n))
			}
		case "allowed_backends": // of no meaning for an engine that is not one
		default:
			r.fault(at(key), "known are name, priority, vars and transformations", "%q is not part of the pipelines that are carried out here", key.Value)
		}
	}
}

// maps returns the entries of a list of maps.
func (r *reader) maps(key string, n *yaml.Node) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		r.fault(at(n), "begin each entry with - type:", "%s must be a list, not %s", key, kindName(n))
		return nil
	}
	var list []*yaml.Node
	for _, kid := range n.Content {
		if kid.Kind != yaml.MappingNode {
			r.fault(at(kid), "begin it with type:", "an entry of %s must be a map, not %s", key, kindName(kid))
			continue
		}
		list = append(list, kid)
	}
	return list
}

// pairs calls visit with each entry of a map, in the order written.
func (r *reader) pairs(key string, n *yaml.Node, visit func(string, *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.fault(at(n), "write name: value below it", "%s must be a map, not %s", key, kindName(n))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		visit(n.Content[i].Value, n.Content[i+1])
	}
}

// only notes the keys of n that are not known.
func (r *reader) only(n *yaml.Node, known ...string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := n.Content[i]; !slices.Contains(known, key.Value) {
			r.fault(at(key), "known here are "+strings.Join(known, ", "), "unknown key %q", key.Value)
		}
	}
}

// Apply returns rules as pipelines rewrite them: by priority, and those of one priority in the
// order given. The rules given are not changed; those that no step is about are returned as they
// are. A rule for which a step fails is left out, and the error is then an Errors about these.
func Apply(rules []*Rule, pipelines ...*Pipeline) ([]*Rule, error) {
	ordered := slices.Clone(pipelines)
	slices.SortStableFunc(ordered, func(a, b *Pipeline) int { return cmp.Compare(a.Priority, b.Priority) })
	vars := placeholders{}
	for _, p := range ordered {
		maps.Copy(vars, p.vars)
	}
	var out []*Rule
	var errs Errors
	for _, rule := range rules {
		changed, err := rule.rewritten(ordered, vars)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, changed)
	}
	return out, errs.asError()
}

// rewritten returns the rule as the pipelines make it: itself if none is about it.
func (r *Rule) rewritten(pipelines []*Pipeline, vars placeholders) (*Rule, *Error) {
	result := r
	for _, p := range pipelines {
		for _, t := range p.steps {
			if !t.rules.holds(result) {
				continue
			}
			if result == r {
				result = r.clone()
			}
			if bad := t.apply(result, vars); bad != nil {
				return nil, &Error{
					File: p.SourceFile, Line: t.pos.line, Col: t.pos.col, Source: t.source, Hint: bad.hint,
					Msg: bad.msg + ", in rule " + r.SourceFile + ": " + cmp.Or(r.Title, r.ID),
				}
			}
		}
	}
	return result, nil
}

func (t *transformation) apply(rule *Rule, vars placeholders) *refusal {
	if t.onRule != nil {
		return t.onRule(rule, vars)
	}
	var leaves []*node
	seen := map[*node]bool{}
	for _, s := range rule.searches {
		leaves = s.expr.leaves(leaves, seen)
	}
	if len(leaves) > maxValues {
		return refuse("map to fewer names", "the rule stands for more than %d tests", maxValues)
	}
	for _, n := range leaves {
		if t.items.holds(n.item) {
			if bad := t.onItem(n); bad != nil {
				return bad
			}
		}
	}
	rule.searches = slices.DeleteFunc(rule.searches, func(s *search) bool { return !s.expr.prune() })
	if !rule.cond.prune() {
		return refuse("limit the step, or leave the rule out", "nothing is left of the condition")
	}
	return nil
}

// leaves appends the leaves below n that were not seen yet.
func (n *node) leaves(list []*node, seen map[*node]bool) []*node {
	if seen[n] {
		return list
	}
	seen[n] = true
	if n.op == opLeaf && n.item != nil {
		return append(list, n)
	}
	for _, kid := range n.kids {
		list = kid.leaves(list, seen)
	}
	return list
}

// prune removes what is empty below n, and reports whether anything is left.
func (n *node) prune() bool {
	if n.op == opLeaf {
		return n.item != nil
	}
	n.kids = slices.DeleteFunc(n.kids, func(kid *node) bool { return !kid.prune() })
	return len(n.kids) > 0
}

// clone returns a copy whose tests can be changed.
func (r *Rule) clone() *Rule {
	c := *r
	known := map[*node]*node{}
	c.searches = make([]*search, len(r.searches))
	for i, s := range r.searches {
		copied := *s
		copied.expr = s.expr.clone(known)
		c.searches[i] = &copied
	}
	c.cond = r.cond.clone(known)
	return &c
}

// clone copies n; what is shared stays shared.
func (n *node) clone(known map[*node]*node) *node {
	if n == nil {
		return nil
	}
	if c, ok := known[n]; ok {
		return c
	}
	c := &node{op: n.op}
	known[n] = c
	if n.item != nil {
		c.item = n.item.clone()
	}
	for _, kid := range n.kids {
		c.kids = append(c.kids, kid.clone(known))
	}
	return c
}

func (it *item) clone() *item {
	c := *it
	c.values = slices.Clone(it.values)
	return &c
}
