package sigma

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// position is a place in a rule file, from 1.
type position struct{ line, col int }

// Parse reads all YAML documents of one file. Rules that are in order are returned even if
// others are not; the error is then an Errors that says what is wrong with those.
//
// Documents with "action: global" give their keys to the documents that follow, as old rule
// collections do; "action: reset" ends that, "action: repeat" adds the previous document's keys.
// Correlations and filters are refused with an error that wraps ErrUnsupported.
func Parse(file string, src []byte) ([]*Rule, error) {
	r := &reader{file: file, src: src}
	var rules []*Rule
	for _, doc := range r.collection() {
		before := len(r.errs)
		rule := r.rule(doc)
		if len(r.errs) == before {
			rules = append(rules, rule)
		}
	}
	return rules, r.errs.asError()
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
	rule := &Rule{SourceFile: r.file, Line: doc.Line, at: map[string]position{}, lines: r.sourceLines()}
	for _, later := range []string{"correlation", "filter"} {
		if i := valueIndex(doc, later); i > 0 {
			r.fault(at(doc.Content[i-1]), "the other rules of the file load", "%s rules arrive with a later version", later)
			r.errs[len(r.errs)-1].err = fmt.Errorf("%s: %w", later, ErrUnsupported)
			return nil
		}
	}
	for i := 0; i+1 < len(doc.Content); i += 2 {
		key, value := doc.Content[i], doc.Content[i+1]
		rule.at[key.Value] = at(key)
		r.entry(rule, key, value)
	}
	r.require(rule, doc, "logsource", "say which events it is about, such as category: process_creation")
	r.require(rule, doc, "detection", "write detection: with a selection and a condition")
	return rule
}

func (r *reader) require(rule *Rule, doc *yaml.Node, key, hint string) {
	if _, ok := rule.at[key]; !ok {
		r.fault(at(doc), hint, "the rule has no %s", key)
	}
}

// entry reads one top-level key of a rule.
func (r *reader) entry(rule *Rule, key, value *yaml.Node) {
	texts := map[string]*string{
		"title": &rule.Title, "id": &rule.ID, "name": &rule.Name, "status": &rule.Status, "author": &rule.Author,
		"description": &rule.Description, "license": &rule.License, "date": &rule.Date,
		"modified": &rule.Modified, "level": &rule.Level,
	}
	lists := map[string]*[]string{
		"tags": &rule.Tags, "references": &rule.References, "falsepositives": &rule.FalsePositives, "fields": nil, "scope": nil,
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
		rule.Related = r.related(value)
	case "logsource":
		r.logsource(rule, value)
	case "detection":
		r.detection(rule, value)
	case "taxonomy":
		if t := r.text("taxonomy", value); t != "" && t != "sigma" {
			r.fault(at(value), "only the standard taxonomy, sigma, has a field mapping", "unknown taxonomy %q", t)
		}
	default:
		if rule.Custom == nil {
			rule.Custom = map[string]*yaml.Node{}
		}
		rule.Custom[key.Value] = value
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

func (r *reader) logsource(rule *Rule, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.fault(at(n), "write category:, product: or service: below it", "logsource must be a map, not %s", kindName(n))
		return
	}
	parts := map[string]*string{
		"category": &rule.Logsource.Category, "product": &rule.Logsource.Product, "service": &rule.Logsource.Service,
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		rule.at["logsource."+key.Value] = at(key)
		if dst, ok := parts[key.Value]; ok {
			*dst = r.text(key.Value, value)
		}
	}
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
