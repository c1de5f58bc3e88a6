package detect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"picket/sigma"
)

// Attack is what detection needs to know of an attack of a threat's attack.yml: which rules must fire when the
// lab plays it, and which techniques it stands for. The lab reads the rest.
type Attack struct {
	ID, Title  string
	Techniques []string // ATT&CK and ATLAS ids
	Rules      []string // names of the rules that must fire

	lines map[string]int // of the entries of Techniques and Rules
	file  string
	line  int
}

var yamlLine = regexp.MustCompile(`line (\d+): (.*)`)

// attacks reads an attack.yml, of which each document is an attack. One with a fault is left out.
func (l *loader) attacks(file string, src []byte) (list []*Attack) {
	dec := yaml.NewDecoder(bytes.NewReader(src))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			line, msg := 0, strings.TrimPrefix(err.Error(), "yaml: ")
			if m := yamlLine.FindStringSubmatch(msg); m != nil {
				line, _ = strconv.Atoi(m[1]) // digits
				msg = m[2]
			}
			l.fault(file, line, "is not YAML: "+msg, "")
			return list
		}
		if a := l.attack(file, &doc); a != nil {
			list = append(list, a)
		}
	}
	if len(list) == 0 && len(bytes.TrimSpace(src)) == 0 {
		l.fault(file, 1, "is not a mapping", attackHint)
	}
	return list
}

const attackHint = "an attack has id, title, steps, verify and expect"

// attack reads one attack, nil where it is none.
func (l *loader) attack(file string, doc *yaml.Node) *Attack {
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		l.fault(file, max(doc.Line, 1), "is not a mapping", attackHint)
		return nil
	}
	top := doc.Content[0]
	a := &Attack{ID: text(child(top, "id")), Title: text(child(top, "title")), file: l.at(file), line: top.Line, lines: map[string]int{}}
	if a.ID == "" || a.Title == "" {
		l.fault(file, top.Line, "has no id or no title", "name it as threat.variant, and say in a sentence what the attacker does")
	}
	for _, n := range []*yaml.Node{child(top, "atlas"), child(child(top, "attack"), "techniques")} {
		if n == nil {
			continue
		}
		for _, id := range n.Content {
			a.Techniques = append(a.Techniques, id.Value)
			a.lines[id.Value] = id.Line
		}
	}
	if found := child(child(top, "expect"), "findings"); found != nil {
		for _, f := range found.Content {
			rule := child(f, "rule")
			if rule == nil {
				l.fault(file, f.Line, "expects a finding without a rule", "write {rule: its name}")
				continue
			}
			a.Rules = append(a.Rules, rule.Value)
			a.lines[rule.Value] = rule.Line
		}
	}
	if steps := child(top, "steps"); steps == nil || len(steps.Content) == 0 {
		l.fault(file, top.Line, "has no steps", "an attack that does nothing shows nothing")
	}
	return a
}

// check tells what the attack names that is not there.
func (a *Attack) check(t *Threat) (problems sigma.Errors) {
	names := map[string]bool{}
	for _, r := range t.Rules {
		names[ruleName(&r.Meta)] = true
	}
	for _, c := range t.Correlations {
		names[ruleName(&c.Meta)] = true
	}
	for _, r := range a.Rules {
		if !names[r] {
			problems = append(problems, fault(a.file, a.lines[r], 1, fmt.Sprintf("expects rule %q, which the threat does not have", r), ""))
		}
	}
	for _, id := range a.Techniques {
		framework := "attack"
		if strings.HasPrefix(id, "AML.") {
			framework = "atlas"
		}
		if _, ok := techniqueID(framework, strings.ToLower(id)); !ok {
			problems = append(problems, fault(a.file, a.lines[id], 1, fmt.Sprintf("%q is no technique id", id), "such as T1041 or AML.T0025"))
		}
	}
	if !strings.HasPrefix(a.ID, t.Name+".") {
		problems = append(problems, fault(a.file, a.line, 1, fmt.Sprintf("the attack is called %q, and its folder %s", a.ID, t.Name), "name it as "+t.Name+".variant: the lab finds it by that"))
	}
	if len(a.Rules) == 0 {
		problems = append(problems, fault(a.file, a.line, 1, "expects no finding", "say under expect.findings which rules must fire"))
	}
	return problems
}

func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// child returns the value of a key of a mapping, nil if it has none.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
