package sigma

import "go.yaml.in/yaml/v3"

// position is a place in a rule file, from 1.
type position struct{ line, col int }

// Collection is what the documents of a file, or of several, hold, each kind in the order read.
type Collection struct {
	Rules        []*Rule
	Correlations []*Correlation
	Filters      []*Filter
}

// Add appends what other holds.
func (c *Collection) Add(other *Collection) {
	c.Rules = append(c.Rules, other.Rules...)
	c.Correlations = append(c.Correlations, other.Correlations...)
	c.Filters = append(c.Filters, other.Filters...)
}

// Parse reads all YAML documents of one file. What is in order is returned even if other documents
// are not; the error is then an Errors that says what is wrong with those. The collection is never
// nil. Whether the rules that correlations and filters name exist shows only once all files are
// read: Link and Compile look.
//
// Documents with "action: global" give their keys to the documents that follow, as old rule
// collections do; "action: reset" ends that, "action: repeat" adds the previous document's keys.
func Parse(file string, src []byte) (*Collection, error) {
	r := &reader{file: file, src: src}
	c := &Collection{}
	for _, doc := range r.collection() {
		before := len(r.errs)
		switch {
		case valueIndex(doc, "correlation") > 0:
			if made := r.correlation(doc); len(r.errs) == before {
				c.Correlations = append(c.Correlations, made)
			}
		case valueIndex(doc, "filter") > 0:
			if made := r.filter(doc); len(r.errs) == before {
				c.Filters = append(c.Filters, made)
			}
		default:
			if made := r.rule(doc); len(r.errs) == before {
				c.Rules = append(c.Rules, made)
			}
		}
	}
	return c, r.errs.asError()
}

// collection returns the documents that are rules, with the keys of global ones added.
func (r *reader) collection() []*yaml.Node {
	var global, previous *yaml.Node
	var rules []*yaml.Node
	for _, doc := range r.documents() {
		if doc.Kind != yaml.MappingNode {
			r.fault(at(doc), "a rule begins with keys such as title: and detection:", "the document is not a map of keys")
			continue
		}
		action := ""
		if a := lookup(doc, "action"); a != nil {
			action = a.Value
		}
		switch action {
		case "global":
			global = onto(global, doc)
			continue
		case "reset":
			global = nil
			continue
		case "repeat":
			doc = onto(previous, doc)
		case "":
			doc = onto(global, doc)
		default:
			r.fault(at(lookup(doc, "action")), "known are global, reset and repeat", "unknown action %q", action)
			continue
		}
		previous = doc
		rules = append(rules, doc)
	}
	return rules
}

// onto returns doc with the keys of base that it does not have.
func onto(base, doc *yaml.Node) *yaml.Node {
	merged := copyMap(doc)
	if base != nil {
		merged.Content = append([]*yaml.Node(nil), base.Content...)
		mergeInto(merged, doc, true)
	}
	if i := valueIndex(merged, "action"); i > 0 {
		merged.Content = append(merged.Content[:i-1:i-1], merged.Content[i+1:]...)
	}
	return merged
}

// rule reads one document. It is of use only if it noted no fault.
func (r *reader) rule(doc *yaml.Node) *Rule {
	rule := &Rule{Meta: r.newMeta(doc)}
	for i := 0; i+1 < len(doc.Content); i += 2 {
		switch key, value := doc.Content[i], doc.Content[i+1]; key.Value {
		case "logsource":
			rule.Logsource = r.logsource(&rule.Meta, value)
		case "detection":
			r.detection(rule, value)
		default:
			r.entry(&rule.Meta, key, value)
		}
	}
	r.require(&rule.Meta, "logsource", "say which events it is about, such as category: process_creation")
	r.require(&rule.Meta, "detection", "write detection: with a selection and a condition")
	return rule
}

// newMeta returns a Meta that knows where the keys of doc stand.
func (r *reader) newMeta(doc *yaml.Node) Meta {
	m := Meta{SourceFile: r.file, Line: doc.Line, at: map[string]position{}, lines: r.sourceLines()}
	for i := 0; i+1 < len(doc.Content); i += 2 {
		m.at[doc.Content[i].Value] = at(doc.Content[i])
	}
	return m
}

func (r *reader) require(m *Meta, key, hint string) {
	if _, ok := m.at[key]; !ok {
		r.fault(position{m.Line, 1}, hint, "the rule has no %s", key)
	}
}

// entry reads one top-level key that all kinds of document have.
func (r *reader) entry(m *Meta, key, value *yaml.Node) {
	texts := map[string]*string{
		"title": &m.Title, "id": &m.ID, "name": &m.Name, "status": &m.Status, "author": &m.Author,
		"description": &m.Description, "license": &m.License, "date": &m.Date,
		"modified": &m.Modified, "level": &m.Level,
	}
	lists := map[string]*[]string{
		"tags": &m.Tags, "references": &m.References, "falsepositives": &m.FalsePositives, "fields": nil, "scope": nil,
	}
	if dst, ok := texts[key.Value]; ok {
		*dst = r.text(key.Value, value)
		return
	}
	if dst, ok := lists[key.Value]; ok {
		if list := r.list(key.Value, value); dst != nil {
			*dst = list
		}
		return
	}
	switch key.Value {
	case "related":
		m.Related = r.related(value)
	case "taxonomy":
		if t := r.text("taxonomy", value); t != "" && t != "sigma" {
			r.fault(at(value), "only the standard taxonomy, sigma, has a field mapping", "unknown taxonomy %q", t)
		}
	default:
		if m.Custom == nil {
			m.Custom = map[string]*yaml.Node{}
		}
		m.Custom[key.Value] = value
	}
}

// text returns the source text of a scalar; null is "".
func (r *reader) text(key string, n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		r.fault(at(n), "", "%s must be a text, not %s", key, kindName(n))
		return ""
	}
	if n.ShortTag() == "!!null" {
		return ""
	}
	return n.Value
}

// list returns the texts of a list. A single text stands for a list of one.
func (r *reader) list(key string, n *yaml.Node) []string {
	if n.Kind == yaml.ScalarNode {
		if t := r.text(key, n); t != "" {
			return []string{t}
		}
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		r.fault(at(n), "", "%s must be a list, not %s", key, kindName(n))
		return nil
	}
	var list []string
	for _, kid := range n.Content {
		list = append(list, r.text("an entry of "+key, kid))
	}
	return list
}

func (r *reader) related(n *yaml.Node) []Related {
	var list []Related
	for _, kid := range n.Content {
		if n.Kind != yaml.SequenceNode || kid.Kind != yaml.MappingNode {
			r.fault(at(n), "write - id: … and type: …", "related must be a list of maps")
			return nil
		}
		var rel Related
		if id := lookup(kid, "id"); id != nil {
			rel.ID = r.text("id", id)
		}
		if t := lookup(kid, "type"); t != nil {
			rel.Type = r.text("type", t)
		}
		list = append(list, rel)
	}
	return list
}

func (r *reader) logsource(m *Meta, n *yaml.Node) (l Logsource) {
	if n.Kind != yaml.MappingNode {
		r.fault(at(n), "write category:, product: or service: below it", "logsource must be a map, not %s", kindName(n))
		return l
	}
	parts := map[string]*string{"category": &l.Category, "product": &l.Product, "service": &l.Service}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		m.at["logsource."+key.Value] = at(key)
		if dst, ok := parts[key.Value]; ok {
			*dst = r.text(key.Value, value)
		}
	}
	return l
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		if n.ShortTag() == "!!null" {
			return "nothing"
		}
		return "a single value"
	}
	return "this"
}
