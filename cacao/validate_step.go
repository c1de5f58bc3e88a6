package cacao

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// encodedOnly are the types of commands that are given as base64 alone.
var encodedOnly = []string{"elastic", "jupyter", "kestrel", "sigma", "yara"}

// fits names the types of agents that can carry out a command, where not all of them can.
var fits = map[string][]string{
	"manual":      {"group", "individual", "location", "organization", "sector", "security-category"},
	"bash":        {"linux", "ssh", "security-category", "net-address"},
	"ssh":         {"linux", "ssh", "security-category", "net-address"},
	"powershell":  {"net-address", "security-category", "ssh"},
	"http-api":    {"http-api", "net-address", "security-category"},
	"openc2-http": {"http-api", "net-address", "security-category"},
	"elastic":     {"http-api", "net-address", "security-category"},
	"jupyter":     {"http-api", "net-address", "security-category", "linux"},
	"kestrel":     {"http-api", "net-address", "security-category", "linux"},
	"caldera-cmd": {"security-category", "http-api", "net-address", "linux"},
	"sigma":       {"security-category", "net-address", "http-api", "linux"},
	"yara":        {"security-category", "net-address", "http-api", "linux", "ssh"},
}

// step checks one step, apart from where it leads.
func (c *checker) step(id string, s *Step) {
	ptr := join("/workflow", id)
	c.key(ptr, id, s.Type)
	c.variables(join(ptr, "step_variables"), s.Variables)
	for name := range s.Variables {
		if v, twice := c.p.Variables[name]; twice && v.Constant {
			c.warn(join(join(ptr, "step_variables"), name), "hides a constant of the playbook", "give it another name")
		}
	}
	c.ends(ptr, s)
	seen := c.p.Variables.Within(s)
	switch s.Type {
	case ActionStep:
		c.action(ptr, s)
	case PlaybookStep:
		if s.PlaybookID == c.p.ID {
			c.err(join(ptr, "playbook_id"), "the playbook calls itself", "it would never end")
		}
	case ParallelStep:
		if len(s.NextSteps) < 2 {
			c.err(join(ptr, "next_steps"), "a parallel step has at least two branches", "")
		}
	case IfStep, WhileStep:
		c.condition(ptr, s, seen)
	case SwitchStep:
		c.switches(ptr, s, seen)
	}
	c.args(ptr, s, seen)
	c.uses(ptr, s, seen)
}

// ends checks how a step goes on: by on_completion or by the two others, and an end not at all.
func (c *checker) ends(ptr string, s *Step) {
	next := s.next()
	switch {
	case s.Type == EndStep && len(next) > 0:
		c.err(join(ptr, next[0].property), "an end step leads nowhere", "remove "+next[0].property)
	case s.Type == StartStep && s.OnCompletion == "":
		c.err(ptr, "a start step needs on_completion", "name the first step")
	case s.Type == StartStep && len(next) > 1:
		c.err(join(ptr, next[1].property), "a start step cannot succeed or fail", "remove "+next[1].property)
	case s.Type == EndStep || s.Type == StartStep:
	case s.OnCompletion != "" && len(next) > 1:
		c.err(join(ptr, next[1].property), "on_completion excludes on_success and on_failure", "keep on_completion alone, or the other two")
	case s.OnCompletion == "" && s.OnSuccess == "":
		c.err(ptr, "the step does not say what comes after it", "add on_completion, or on_success and on_failure; a branch ends in an end step of its own")
	}
	if s.Type == StartStep || s.Type == EndStep {
		for _, name := range []string{"delay", "timeout"} {
			if name == "delay" && s.Delay > 0 || name == "timeout" && s.Timeout > 0 {
				c.warn(join(ptr, name), "has no meaning at a "+s.Type+" step", "")
			}
		}
	}
}

func (c *checker) action(ptr string, s *Step) {
	if len(s.Commands) == 0 {
		c.warn(ptr, "the action has no commands", "a person is asked to do what its description says")
	}
	agent := c.p.Agents[s.Agent]
	switch {
	case s.Agent == "" && len(s.Commands) > 0:
		c.err(ptr, "agent is missing", "name who carries the commands out, from agent_definitions")
	case s.Agent != "" && agent == nil:
		c.err(join(ptr, "agent"), fmt.Sprintf("%s is not in agent_definitions", s.Agent), "define it")
	}
	for i, id := range s.Targets {
		if c.p.Targets[id] == nil {
			c.err(join(join(ptr, "targets"), i), fmt.Sprintf("%s is not in target_definitions", id), "define it")
		}
	}
	for i := range s.Commands {
		at := join(join(ptr, "commands"), i)
		c.command(at, &s.Commands[i])
		if unfit(s.Commands[i].Type, agent) {
			c.warn(join(at, "type"), fmt.Sprintf("an agent of type %s can hardly carry out %s", agent.Type, s.Commands[i].Type), "name another agent")
		}
	}
}

func unfit(command string, a *Agent) bool {
	list, known := fits[command]
	return known && a != nil && !slices.Contains(list, a.Type)
}

func (c *checker) command(ptr string, cmd *Command) {
	text, err := cmd.Text()
	if err != nil {
		c.err(ptr, err.Error(), "")
	}
	if _, err := cmd.Body(); err != nil {
		c.err(ptr, err.Error(), "")
	}
	if _, known := fits[cmd.Type]; !known {
		c.warn(join(ptr, "type"), fmt.Sprintf("unknown type of command %q", cmd.Type), "a person is shown the command and decides")
	}
	switch {
	case err == nil && text == "":
		c.err(ptr, "the command is empty", "give command or command_b64")
	case slices.Contains(encodedOnly, cmd.Type) && cmd.CommandB64 == "":
		c.err(ptr, fmt.Sprintf("a %s command is given as command_b64", cmd.Type), "")
	case cmd.Type == "http-api" || cmd.Type == "openc2-http":
		if _, err := ParseRequest(text); err != nil {
			c.err(join(ptr, "command"), err.Error(), "write it like POST /path?x=y HTTP/1.1")
		}
	case len(cmd.Headers) > 0 || cmd.Content != "" || cmd.ContentB64 != "":
		c.warn(ptr, "headers and content mean something for http-api and openc2-http alone", "remove them")
	}
}

// args checks in_args and out_args.
func (c *checker) args(ptr string, s *Step, seen Variables) {
	for property, list := range map[string][]string{"in_args": s.InArgs, "out_args": s.OutArgs} {
		for i, name := range list {
			at := join(join(ptr, property), i)
			name = strings.TrimSuffix(name, ":value")
			v, declared := seen[name]
			switch {
			case !declared:
				c.err(at, fmt.Sprintf("variable %s is not declared", name), "declare it in playbook_variables or step_variables")
			case property == "out_args" && v.Constant:
				c.err(at, fmt.Sprintf("variable %s is constant: nothing may be assigned to it", name), "declare another, or drop constant")
			}
		}
	}
}

// uses checks that the variables in the texts of a step are declared.
func (c *checker) uses(ptr string, s *Step, seen Variables) {
	check := func(at, text string) {
		for _, m := range reference.FindAllStringSubmatch(text, -1) {
			if _, declared := seen[m[1]]; !declared {
				c.err(at, fmt.Sprintf("variable %s is not declared", m[1]), "declare it in playbook_variables or step_variables")
			}
		}
	}
	for i := range s.Commands {
		at, cmd := join(join(ptr, "commands"), i), &s.Commands[i]
		if text, err := cmd.Text(); err == nil {
			check(join(at, "command"), text)
		}
		if body, err := cmd.Body(); err == nil {
			check(join(at, "content"), body)
		}
		for _, name := range slices.Sorted(maps.Keys(cmd.Headers)) {
			for i, text := range cmd.Headers[name] {
				check(join(join(join(at, "headers"), name), i), text)
			}
		}
	}
}

// condition checks the condition of an if or while, and the variables in it.
func (c *checker) condition(ptr string, s *Step, seen Variables) {
	at := join(ptr, "condition")
	cond, err := ParseCondition(s.Condition)
	if err != nil {
		c.err(at, err.Error(), "")
		return
	}
	if cond.Warning != "" {
		c.warn(at, "is read as a question for a person: "+cond.Warning, "correct it, or write a plain question")
	}
	if cond.Observes() {
		c.err(at, "FOLLOWEDBY, WITHIN, REPEATS and START speak of observations, a playbook has variables", "compare variables")
	}
	for _, name := range cond.Variables() {
		if _, declared := seen[name]; !declared {
			c.err(at, fmt.Sprintf("variable %s is not declared", name), "declare it in playbook_variables or step_variables")
		}
	}
}

func (c *checker) switches(ptr string, s *Step, seen Variables) {
	name := strings.TrimSuffix(s.Switch, ":value")
	if _, declared := seen[name]; !declared {
		c.err(join(ptr, "switch"), fmt.Sprintf("%q is no declared variable", s.Switch), "write it like __kind__:value")
	}
	if len(s.Cases) == 0 {
		c.err(join(ptr, "cases"), "there are no cases", "")
	} else if _, has := s.Cases["default"]; !has {
		c.warn(join(ptr, "cases"), "there is no case named default", "a value that no case names goes on without a branch")
	}
}
