package respond

import (
	"encoding/json"
	"fmt"
	"slices"

	"picket/cacao"
	"picket/respond/action"
)

// asksAlways reports whether a person approves an act each time, whatever a rule says.
func asksAlways(k action.Kind) bool { return k == action.ResetGPU }

// asks reports whether a plan holds an act that a person approves each time. What a command means whose
// values are not known yet is asked again when it is done.
func (p *Plan) asks() bool {
	return slices.ContainsFunc(p.Acts, func(a Act) bool { return asksAlways(a.Kind) })
}

// asks says which step of a playbook, or of those that it calls, a person approves each time; nil where
// there is none.
func (l *Library) asks(word string) error {
	b, err := l.Book(word)
	if err != nil {
		return err
	}
	all, err := l.called(b.Playbook)
	if err != nil {
		return fmt.Errorf("playbook %s: %w", b.Word, err)
	}
	for _, p := range all {
		for id, s := range p.Workflow {
			if s.Type != cacao.ActionStep {
				continue
			}
			for n := range s.CommandCount() {
				cmd, _ := s.CommandAt(n)
				body, err := cmd.Body()
				var c openC2
				if err != nil || json.Unmarshal([]byte(body), &c) != nil {
					continue // no command for Picket
				}
				if kind, err := c.kind(); err == nil && asksAlways(kind) {
					return fmt.Errorf("playbook %s: /workflow/%s: %s is approved by a person each time: leave destructive out, and auto asks", p.Name, id, kind)
				}
			}
		}
	}
	return nil
}
