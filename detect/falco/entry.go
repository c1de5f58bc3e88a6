package falco

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// entry is one map of a rule file: its keys, and what override says to do with each.
type entry struct {
	file   string
	node   *yaml.Node
	fields map[string]*yaml.Node
	add    bool              // append: true
	how    map[string]string // override: append or replace, by key
}

// keys are those that an entry of each kind may have.
var keys = map[string][]string{
	"rule": {
		"rule", "desc", "condition", "output", "priority", "tags", "enabled", "source", "exceptions", "append", "override",
		"warn_evttypes", "skip-if-unknown-filter", "capture", "capture_duration",
	},
	"macro":                    {"macro", "condition", "append", "override"},
	"list":                     {"list", "items", "append", "override"},
	"required_engine_version":  {"required_engine_version"},
	"required_plugin_versions": {"required_plugin_versions"},
}

// entry reads one entry of a file.
func (rs *Ruleset) entry(file string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		rs.fault(at(file, n), "entries are such as - rule:, - macro: and - list:", "an entry is not a map of keys")
		return
	}
	e := entry{file: file, node: n, fields: map[string]*yaml.Node{}, how: map[string]string{}}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if e.fields[key.Value] != nil {
			rs.fault(at(file, key), "keep one", fmt.Sprintf("%s is given twice", key.Value))
			return
		}
		e.fields[key.Value] = real(n.Content[i+1])
	}
	for _, kind := range []string{"rule", "macro", "list", "required_engine_version", "required_plugin_versions"} {
		if e.fields[kind] == nil {
			continue
		}
		if rs.modes(&e, kind) {
			switch kind {
			case "rule":
				rs.rule(&e)
			case "macro":
				rs.macro(&e)
			case "list":
				rs.list(&e)
			}
		}
		return
	}
	rs.fault(at(file, n), "entries begin with rule:, macro:, list:, required_engine_version: or required_plugin_versions:", "unknown kind of entry")
}

// modes reads append and override, and refuses keys that the kind of entry does not have.
func (rs *Ruleset) modes(e *entry, kind string) bool {
	for i := 0; i+1 < len(e.node.Content); i += 2 {
		if key := e.node.Content[i]; !slices.Contains(keys[kind], key.Value) {
			rs.fault(at(e.file, key), "known are "+strings.Join(keys[kind], ", "), fmt.Sprintf("unknown key %q of a %s", shorten(key.Value, 40), kind))
			return false
		}
	}
	if kind == "required_engine_version" || kind == "required_plugin_versions" {
		return true // what cannot be carried is told rule by rule
	}
	name := e.fields[kind]
	if name.Kind != yaml.ScalarNode || name.Value == "" {
		rs.fault(at(e.file, name), "give it a name", "the "+kind+" has no name")
		return false
	}
	if n := e.fields["append"]; n != nil {
		e.add = strings.EqualFold(n.Value, "true")
	}
	n := e.fields["override"]
	if n == nil {
		return true
	}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		key, mode := n.Content[i].Value, real(n.Content[i+1]).Value
		if mode != "append" && mode != "replace" || e.fields[key] == nil {
			rs.fault(at(e.file, n.Content[i]), "write append or replace for a key that the entry has", fmt.Sprintf("override %s: %s has no meaning", shorten(key, 40), shorten(mode, 40)))
			return false
		}
		e.how[key] = mode
	}
	return true
}

// changes reports whether the entry changes an earlier one rather than replacing it.
func (e *entry) changes() bool { return e.add || len(e.how) > 0 }

// appends reports whether the entry's key is added to what was there.
func (e *entry) appends(key string) bool { return e.add || e.how[key] == "append" }

// text returns the text of a key, with where it stands, or reports false where it is not there.
func (rs *Ruleset) text(e *entry, key string) (string, bool) {
	n := e.fields[key]
	if n == nil {
		return "", false
	}
	if n.Kind != yaml.ScalarNode {
		rs.fault(at(e.file, n), "", key+" must be a text")
		return "", false
	}
	return strings.TrimSpace(n.Value), true
}

func (rs *Ruleset) condition(e *entry) []segment {
	n := e.fields["condition"]
	if n == nil {
		return nil
	}
	if n.Kind != yaml.ScalarNode || strings.TrimSpace(n.Value) == "" {
		rs.fault(at(e.file, n), "write comparisons and macros joined by and, or, not", "condition must be a text")
		return nil
	}
	return []segment{{n.Value, e.file, n}}
}

// values returns the texts of a list. YAML's own reading of numbers is not asked for.
func (rs *Ruleset) values(file, key string, n *yaml.Node) []value {
	if n == nil || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		rs.fault(at(file, n), "write [a, b]", key+" must be a list")
		return nil
	}
	if len(n.Content) > maxItems {
		rs.fault(at(file, n), "split the list", fmt.Sprintf("%s has more than %d values", key, maxItems))
		return nil
	}
	var out []value
	for _, kid := range n.Content {
		if kid = real(kid); kid.Kind != yaml.ScalarNode {
			rs.fault(at(file, kid), "values are texts and numbers; a list is named, not nested", "a value of "+key+" is not a text")
			return nil
		}
		v, bad := item(kid.Value)
		if bad != "" {
			rs.fault(at(file, kid), `write a backslash as \\`, bad)
			return nil
		}
		out = append(out, v)
	}
	return out
}

// item reads a value of a list. Quotes inside the YAML text mark it as no list's name.
func item(s string) (value, string) {
	if n := len(s); n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n-1] == s[0] {
		text, bad := unquote(s[1:n-1], s[0])
		return value{text, true}, bad
	}
	return value{text: s}, ""
}

func (rs *Ruleset) macro(e *entry) {
	name := e.fields["macro"].Value
	cond := rs.condition(e)
	if cond == nil {
		if e.fields["condition"] == nil {
			rs.fault(at(e.file, e.node), "add condition:", fmt.Sprintf("macro %s has no condition", name))
		}
		return
	}
	old := rs.macros[name]
	switch {
	case e.changes() && old == nil:
		rs.fault(at(e.file, e.node), "define it first, or load the file that does before this one", fmt.Sprintf("there is no macro %s to change", name))
	case e.appends("condition") && old != nil:
		old.cond = append(old.cond, cond...)
	default:
		m := &macroDef{name: name, cond: cond, place: at(e.file, e.node)}
		rs.macros[name] = m
		rs.order = append(rs.order, m)
	}
}

func (rs *Ruleset) list(e *entry) {
	name := e.fields["list"].Value
	if e.fields["items"] == nil {
		rs.fault(at(e.file, e.node), "add items: []", fmt.Sprintf("list %s has no items", name))
		return
	}
	items := rs.values(e.file, "items", e.fields["items"])
	old := rs.lists[name]
	switch {
	case e.changes() && old == nil:
		rs.fault(at(e.file, e.node), "define it first, or load the file that does before this one", fmt.Sprintf("there is no list %s to change", name))
	case e.appends("items") && old != nil:
		old.items = append(old.items, items...)
	default:
		rs.lists[name] = &listDef{name: name, items: items, place: at(e.file, e.node)}
	}
}

func (rs *Ruleset) rule(e *entry) {
	name := e.fields["rule"].Value
	old := rs.byName[name]
	_, onlyToggle := e.fields["enabled"]
	onlyToggle = onlyToggle && len(e.fields) == 2 // - rule: X, enabled: false: an old way to switch one off
	if e.changes() || onlyToggle {
		if old == nil {
			rs.fault(at(e.file, e.node), "define it first, or load the file that does before this one", fmt.Sprintf("there is no rule %q to change", name))
			return
		}
		rs.change(old, e)
		return
	}
	r := &ruleDef{name: name, place: at(e.file, e.node), source: "syscall"}
	rs.change(r, e)
	if r.cond == nil {
		if e.fields["condition"] == nil {
			rs.fault(at(e.file, e.node), "add condition:", fmt.Sprintf("rule %q has no condition", name))
		}
		r.problem = "it has no condition that can be read"
	}
	if old != nil {
		*old = *r
		return
	}
	rs.byName[name] = r
	rs.rules = append(rs.rules, r)
}

// change gives r what the entry says.
func (rs *Ruleset) change(r *ruleDef, e *entry) {
	for key, dst := range map[string]*string{"desc": &r.desc, "output": &r.output, "priority": &r.priority, "source": &r.source} {
		switch s, ok := rs.text(e, key); {
		case ok && e.how[key] == "append":
			*dst += " " + s
		case ok:
			*dst = s
		}
	}
	if n := e.fields["enabled"]; n != nil {
		r.disabled = strings.EqualFold(n.Value, "false")
	}
	if cond := rs.condition(e); e.appends("condition") {
		r.cond = append(r.cond, cond...)
	} else if cond != nil {
		r.cond = cond
	}
	var tags []string
	for _, v := range rs.values(e.file, "tags", e.fields["tags"]) {
		tags = append(tags, v.text)
	}
	if e.appends("tags") {
		r.tags = append(r.tags, tags...)
	} else if tags != nil {
		r.tags = tags
	}
	rs.except(r, e)
}
