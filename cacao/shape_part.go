package cacao

import (
	"fmt"
	"maps"
	"slices"
)

// oldSteps are names that steps had before 2.0 or have in look-alikes, and what 2.0 calls them.
var oldSteps = map[string]string{
	"single": ActionStep, "playbook": PlaybookStep, "decision": IfStep, "condition": IfStep, "if": IfStep,
	"while": WhileStep, "switch": SwitchStep,
}

func (s *shape) step(ptr string, o object) {
	kind, _ := o["type"].(string)
	own, known := stepProps[kind]
	if _, has := o["type"]; has && !known {
		hint := "the types are start, end, action, playbook-action, parallel, if-condition, while-condition and switch-condition"
		if now := oldSteps[kind]; now != "" {
			hint = fmt.Sprintf("CACAO 2.0 calls it %s", now)
		}
		s.stop(join(ptr, "type"), fmt.Sprintf("there is no step of type %q", kind), hint)
		return
	}
	s.object(ptr, o, stepCommon, own)
	s.each(join(ptr, "step_variables"), o["step_variables"], s.variable)
	if commands, ok := o["commands"].([]any); ok {
		for i, c := range commands {
			s.command(join(join(ptr, "commands"), i), c)
		}
	}
	if cases, ok := o["cases"].(object); ok {
		for _, name := range slices.Sorted(maps.Keys(cases)) {
			s.value(join(join(ptr, "cases"), name), cases[name], "id")
		}
	}
}

func (s *shape) command(ptr string, v any) {
	o, ok := v.(object)
	if !ok {
		s.stop(ptr, "a command is an object, this is "+kindOf(v), "")
		return
	}
	s.object(ptr, o, commandProps, nil)
	s.lists(join(ptr, "headers"), o["headers"])
}

func (s *shape) agent(ptr string, o object) {
	s.object(ptr, o, agentProps, nil)
	s.lists(join(ptr, "address"), o["address"])
}

// lists checks an object of which each value is a list of texts.
func (s *shape) lists(ptr string, v any) {
	m, _ := v.(object)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		s.value(join(ptr, key), m[key], "texts")
	}
}

func (s *shape) variable(ptr string, o object) {
	s.object(ptr, o, variableProps, nil)
	switch v := o["value"].(type) {
	case nil, string:
	case object:
		if o["type"] != "dictionary" {
			s.stop(join(ptr, "value"), "must be a string, is an object", "only a dictionary has an object as its value")
		}
	default:
		s.stop(join(ptr, "value"), "must be a string, is "+kindOf(v), fmt.Sprintf("values are written in quotes, numbers too: %q", fmt.Sprint(v)))
	}
}

func (s *shape) signatures(ptr string, v any) {
	list, _ := v.([]any)
	for i, item := range list {
		at := join(ptr, i)
		for {
			o, ok := item.(object)
			if !ok {
				s.stop(at, "a signature is an object, this is "+kindOf(item), "")
				break
			}
			s.object(at, o, signatureProps, nil)
			if item, ok = o["signature"]; !ok {
				break
			}
			at = join(at, "signature")
		}
	}
}
