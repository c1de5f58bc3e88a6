package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"picket/cacao"
	"picket/node"
	"picket/playbooks"
)

type playbookShowCmd struct {
	Output string `short:"o" enum:"text,json,dot" default:"text" help:"How to print: text, json or dot (Graphviz)."`
	File   string `arg:"" name:"playbook" help:"A file, or the name of a built-in playbook."`
}

func (c *playbookShowCmd) Run(a *app) error {
	p, err := readPlaybook(c.File)
	if errors.Is(err, fs.ErrNotExist) && dashedWords.MatchString(c.File) {
		p, err = builtInPlaybook(c.File)
	}
	if err != nil {
		return err
	}
	switch c.Output {
	case "json":
		return a.printJSON(p)
	case "dot":
		a.dot(p)
		return nil
	}
	a.printf("%s\n%s, version of %s\n", printable(p.Name, false), printable(p.ID, false), printable(string(p.Modified), false))
	if level := p.TLP(); level != "" {
		a.printf("%s\n", printable(level, false))
	}
	for _, s := range p.Signatures {
		a.printf("signed by %s with %s at %s; picket playbook verify says whether that counts\n", printable(s.Signee, false), printable(s.Algorithm, false), printable(string(s.Created), false))
	}
	t := &stepTree{a: a, p: p, shown: map[string]bool{}}
	t.walk("", "", p.Start)
	if p.Exception != "" {
		a.printf("on failure without a way of its own:\n")
		t.walk("  ", "", p.Exception)
	}
	return nil
}

// builtInPlaybook reads a playbook that comes with Picket.
func builtInPlaybook(name string) (*cacao.Playbook, error) {
	data, err := fs.ReadFile(playbooks.FS, name+".json")
	if err != nil {
		return nil, &node.Error{
			Err:  fmt.Errorf("playbook: there is no file %s, and no built-in playbook of that name", name),
			Hint: "picket playbook list names those of the server; picket playbook export NAME > NAME.json writes one",
			Code: node.ExitFailure,
		}
	}
	return cacao.Parse(data)
}

// stepTree prints steps, their branches indented; a step that was printed before is named alone.
type stepTree struct {
	a     *app
	p     *cacao.Playbook
	shown map[string]bool
}

func (t *stepTree) walk(indent, label, id string) {
	for id != "" {
		s := t.p.Workflow[id]
		if s == nil {
			t.a.printf("%s%s%s is missing\n", indent, label, printable(id, false))
			return
		}
		t.a.printf("%s%s%s\n", indent, label, printable(stepLine(id, s), false))
		if t.shown[id] {
			return
		}
		t.shown[id] = true
		for i, to := range s.NextSteps {
			t.walk(indent+"  ", fmt.Sprintf("branch %d: ", i+1), to)
		}
		t.branch(indent, "true: ", s.OnTrue)
		t.branch(indent, "false: ", s.OnFalse)
		for _, name := range slices.Sorted(maps.Keys(s.Cases)) {
			t.branch(indent, printable(name, false)+": ", s.Cases[name])
		}
		t.branch(indent, "on failure: ", s.OnFailure)
		label, id = "", s.OnCompletion+s.OnSuccess // one of them at most, in what is valid
	}
}

func (t *stepTree) branch(indent, label, id string) {
	if id != "" {
		t.walk(indent+"  ", label, id)
	}
}

// stepLine says in one line what a step does, and how its condition was read.
func stepLine(id string, s *cacao.Step) string {
	line := s.Type
	if s.Name != "" {
		line += " " + s.Name
	}
	if s.Condition != "" {
		line += fmt.Sprintf(" [%s]", s.Condition)
		if cond, err := cacao.ParseCondition(s.Condition); err == nil {
			line += " read as " + string(cond.Dialect)
		}
	}
	if s.Switch != "" {
		line += " by " + s.Switch
	}
	parts := []string{line}
	for _, c := range s.Commands {
		if text, err := c.Text(); err == nil {
			first, _, _ := strings.Cut(text, "\n")
			if order := openC2Of(&c); order != "" {
				first = order
			}
			parts = append(parts, fmt.Sprintf("%s: %s", c.Type, short(first, 60)))
		}
	}
	_, number, _ := strings.Cut(id, "--")
	return strings.Join(parts, " · ") + " (" + short(number, 9) + ")"
}

// openC2Of says what an OpenC2 command orders, "" where it is none.
func openC2Of(c *cacao.Command) string {
	var order struct {
		Action string `json:"action"`
		Target map[string]struct {
			Entity string `json:"entity"`
		} `json:"target"`
	}
	body, err := c.Body()
	if c.Type != "openc2-http" || err != nil || json.Unmarshal([]byte(body), &order) != nil {
		return ""
	}
	words := []string{order.Action}
	for _, kind := range slices.Sorted(maps.Keys(order.Target)) {
		words = append(words, cmp.Or(order.Target[kind].Entity, kind))
	}
	return strings.Join(words, " ")
}

// dot prints the workflow as a graph.
func (a *app) dot(p *cacao.Playbook) {
	a.printf("digraph playbook {\n")
	for _, id := range slices.Sorted(maps.Keys(p.Workflow)) {
		s := p.Workflow[id]
		a.printf("  %s [label=%s];\n", dotText(id), dotText(stepLine(id, s)))
		edge := func(label, to string) {
			if to != "" {
				a.printf("  %s -> %s [label=%s];\n", dotText(id), dotText(to), dotText(label))
			}
		}
		edge("", s.OnCompletion)
		edge("success", s.OnSuccess)
		edge("failure", s.OnFailure)
		edge("true", s.OnTrue)
		edge("false", s.OnFalse)
		for i, to := range s.NextSteps {
			edge(fmt.Sprint(i+1), to)
		}
		for _, name := range slices.Sorted(maps.Keys(s.Cases)) {
			edge(name, s.Cases[name])
		}
	}
	a.printf("}\n")
}

func dotText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(printable(s, false)) + `"`
}
