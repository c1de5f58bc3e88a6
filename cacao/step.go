package cacao

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// The types of steps.
const (
	StartStep    = "start"
	EndStep      = "end"
	ActionStep   = "action"
	PlaybookStep = "playbook-action"
	ParallelStep = "parallel"
	IfStep       = "if-condition"
	WhileStep    = "while-condition"
	SwitchStep   = "switch-condition"
)

// Step is a step of a workflow. Which fields mean something depends on its type.
type Step struct {
	Type         string    `json:"type"`
	Name         string    `json:"name,omitempty"`
	Description  string    `json:"description,omitempty"`
	Delay        int64     `json:"delay,omitempty"`   // milliseconds before it starts
	Timeout      int64     `json:"timeout,omitempty"` // milliseconds after which it has failed
	Variables    Variables `json:"step_variables,omitempty"`
	Owner        string    `json:"owner,omitempty"`
	OnCompletion string    `json:"on_completion,omitempty"`
	OnSuccess    string    `json:"on_success,omitempty"`
	OnFailure    string    `json:"on_failure,omitempty"`

	Commands []Command `json:"commands,omitempty"` // action
	Agent    string    `json:"agent,omitempty"`
	Targets  []string  `json:"targets,omitempty"`
	InArgs   []string  `json:"in_args,omitempty"` // action, playbook-action
	OutArgs  []string  `json:"out_args,omitempty"`

	PlaybookID      string    `json:"playbook_id,omitempty"`
	PlaybookVersion Timestamp `json:"playbook_version,omitempty"`

	NextSteps []string          `json:"next_steps,omitempty"` // parallel
	Condition string            `json:"condition,omitempty"`  // if, while
	OnTrue    string            `json:"on_true,omitempty"`
	OnFalse   string            `json:"on_false,omitempty"`
	Switch    string            `json:"switch,omitempty"`
	Cases     map[string]string `json:"cases,omitempty"`
}

// link is a reference from a step to another, by the property that holds it.
type link struct{ property, to string }

// next returns where a step goes in its own branch.
func (s *Step) next() []link {
	var out []link
	for _, l := range []link{{"on_completion", s.OnCompletion}, {"on_success", s.OnSuccess}, {"on_failure", s.OnFailure}} {
		if l.to != "" {
			out = append(out, l)
		}
	}
	return out
}

// branches returns where the branches of a step begin.
func (s *Step) branches() []link {
	var out []link
	for i, to := range s.NextSteps {
		out = append(out, link{fmt.Sprintf("next_steps/%d", i), to})
	}
	for _, l := range []link{{"on_true", s.OnTrue}, {"on_false", s.OnFalse}} {
		if l.to != "" {
			out = append(out, l)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Cases)) {
		out = append(out, link{"cases/" + pointerEscape.Replace(name), s.Cases[name]})
	}
	return out
}

// Case returns the step that a switch goes to for a value: its case, else the one named default,
// else "", which completes the switch without a branch.
func (s *Step) Case(value string) string {
	if to, ok := s.Cases[value]; ok {
		return to
	}
	return s.Cases["default"]
}

// Command is one command of an action.
type Command struct {
	Type        string              `json:"type"`
	Description string              `json:"description,omitempty"`
	Command     string              `json:"command,omitempty"`
	CommandB64  string              `json:"command_b64,omitempty"`
	Version     string              `json:"version,omitempty"`
	Activity    string              `json:"playbook_activity,omitempty"`
	Headers     map[string][]string `json:"headers,omitempty"` // http-api, openc2-http
	Content     string              `json:"content,omitempty"`
	ContentB64  string              `json:"content_b64,omitempty"`
}

// Text returns the command, decoded where it is given as base64.
func (c *Command) Text() (string, error) { return either("command", c.Command, c.CommandB64) }

// Body returns the content of a command over HTTP, decoded where it is given as base64.
func (c *Command) Body() (string, error) { return either("content", c.Content, c.ContentB64) }

func either(name, plain, encoded string) (string, error) {
	if encoded == "" {
		return plain, nil
	}
	if plain != "" {
		return "", fmt.Errorf("%s and %s_b64 are both set: keep one", name, name)
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", fmt.Errorf("%s_b64 is no base64: %w", name, err)
	}
	return string(b), nil
}

// Agent is who carries out commands, or what they are carried out on.
type Agent struct {
	Type           string              `json:"type"`
	Name           string              `json:"name"`
	Description    string              `json:"description,omitempty"`
	Address        map[string][]string `json:"address,omitempty"` // by dname, ipv4, ipv6, l2mac, vlan, url
	Port           string              `json:"port,omitempty"`
	Authentication string              `json:"authentication_info,omitempty"`
	Category       []string            `json:"category,omitempty"`
	Sector         string              `json:"sector,omitempty"`
	Logical        []string            `json:"logical,omitempty"`
}

// Person reports whether a person stands behind the agent, rather than a program.
func (a *Agent) Person() bool {
	return slices.Contains([]string{"group", "individual", "location", "organization", "sector"}, a.Type)
}

// Secret says how to sign in at an agent or target. The document should name a key in a key store
// (kms) and hold no secret of its own; this type gives out the name alone.
type Secret struct {
	Type  string `json:"type"`
	KMS   bool   `json:"kms,omitempty"`
	KeyID string `json:"kms_key_identifier,omitempty"`
}

// Marking says who may be shown the playbook and under which terms.
type Marking struct {
	Type       string    `json:"type"`
	ID         string    `json:"id"`
	CreatedBy  string    `json:"created_by"`
	Created    Timestamp `json:"created"`
	Revoked    bool      `json:"revoked,omitempty"`
	ValidFrom  Timestamp `json:"valid_from,omitempty"`
	ValidUntil Timestamp `json:"valid_until,omitempty"`
	Statement  string    `json:"statement,omitempty"`
	TLP        string    `json:"tlpv2_level,omitempty"`
	IEPTLP     string    `json:"tlp,omitempty"`
}

// levels of TLP 2.0, from what everybody may see to what stays with its receivers.
var levels = []string{"TLP:CLEAR", "TLP:GREEN", "TLP:AMBER", "TLP:AMBER+STRICT", "TLP:RED"}

// TLP returns the strictest TLP level of the playbook's markings, or "" where none names one. A
// marking that is not defined in the document counts as TLP:RED: better kept than leaked.
func (p *Playbook) TLP() string {
	level := -1
	for _, id := range p.Markings {
		m, known := p.DataMarkings[id]
		switch {
		case !known:
			level = len(levels) - 1
		case m.Type == "marking-tlp":
			level = max(level, slices.Index(levels, m.TLP))
		case m.Type == "marking-iep":
			level = max(level, slices.Index(levels, m.IEPTLP))
		}
	}
	if level < 0 {
		return ""
	}
	return levels[level]
}

// Shareable says why the playbook must not go to somebody outside who may see up to a TLP level.
func (p *Playbook) Shareable(upTo string) error {
	limit := slices.Index(levels, upTo)
	if limit < 0 {
		return errors.New("there is no TLP level " + upTo)
	}
	if own := p.TLP(); slices.Index(levels, own) > limit {
		return fmt.Errorf("playbook %s is marked %s and must not go where %s ends", p.ID, own, upTo)
	}
	return nil
}
