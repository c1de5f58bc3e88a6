package respond

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"picket/cacao"
	"picket/respond/action"
)

// CheckLocal says what keeps an agent from running a playbook by itself while its server is away: then
// nobody can be asked, and nothing but its own host be acted on. What cannot be taken back is refused
// unless destructive says otherwise. The error names the step.
func (l *Library) CheckLocal(word string, destructive bool) error {
	b, err := l.Book(word)
	if err != nil {
		return err
	}
	all, err := l.called(b.Playbook)
	if err != nil {
		return fmt.Errorf("playbook %s: %w", b.Word, err)
	}
	for _, p := range all {
		ids := make([]string, 0, len(p.Workflow))
		for id := range p.Workflow {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for _, id := range ids {
			if err := localStep(p, p.Workflow[id], destructive); err != nil {
				return fmt.Errorf("playbook %s: /workflow/%s%w", p.Name, id, err)
			}
		}
	}
	return nil
}

// localStep says what of a step an agent does not do by itself.
func localStep(p *cacao.Playbook, s *cacao.Step, destructive bool) error {
	switch s.Type {
	case cacao.IfStep, cacao.WhileStep:
		if c, err := cacao.ParseCondition(s.Condition); err == nil && c.Dialect == cacao.Question {
			return errors.New("/condition: a person decides it, and an agent has nobody to ask")
		}
	case cacao.ActionStep:
		for n := range s.CommandCount() {
			if err := localCommand(&order{p: p, step: s, index: n}, destructive); err != nil {
				return fmt.Errorf("/commands/%d: %w", n%max(len(s.Commands), 1), err)
			}
		}
	}
	return nil
}

// localCommand says why an agent does not carry a command out by itself.
func localCommand(o *order, destructive bool) error {
	cmd, _ := o.step.CommandAt(o.index)
	switch {
	case cmd.Type == "manual":
		return errors.New("a person does it, and an agent has nobody to ask")
	case cmd.Type == "http-api", cmd.Type == "openc2-http" && !o.ours():
		return errors.New("it is a request over HTTP, which only the server sends")
	case cmd.Type != "openc2-http":
		return fmt.Errorf("a command of type %s is refused: agents run as root, and run no commands of playbooks; name an act of Picket's own (openc2-http), or leave the playbook to the server, which asks a person", cmd.Type)
	}
	body, err := cmd.Body()
	if err != nil {
		return err
	}
	var c openC2
	dec := json.NewDecoder(bytes.NewReader([]byte(body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return fmt.Errorf("content is no OpenC2 command that Picket knows: %w", err)
	}
	kind, err := c.kind()
	if err != nil || kind == Undo {
		return err
	}
	if _, err := c.ttl(actClass[kind]); err != nil {
		return err
	}
	if action.OfServer(kind) {
		return fmt.Errorf("%s is done by the server, which is away then", kind)
	}
	if asksAlways(kind) {
		return fmt.Errorf("%s is approved by a person each time, and an agent has nobody to ask", kind)
	}
	if actClass[kind] == action.Destructive && !destructive {
		return fmt.Errorf("%s cannot be taken back: say destructive: true where an agent may do it without a person", kind)
	}
	return c.localTarget()
}

// localTarget says why what a command is about cannot be found on an agent's own host.
func (c *openC2) localTarget() error {
	var t struct {
		Entity string            `json:"entity"`
		Object *action.ObjectPin `json:"object"`
	}
	if raw := c.Target["x-picket"]; raw != nil {
		if err := json.Unmarshal(raw, &t); err != nil {
			return fmt.Errorf("content/target/x-picket: %w", err)
		}
	}
	switch {
	case slices.Contains([]string{"pod", "node", "incident"}, t.Entity):
		return fmt.Errorf("content/target/x-picket/entity: %s is not a thing of the agent's own host", t.Entity)
	case t.Object != nil && t.Object.Of != action.Slurm:
		return fmt.Errorf("content/target/x-picket/object: a thing of %s is acted on by the server", t.Object.Of)
	}
	return nil
}
