package cacao

import "fmt"

// Summary says which features a playbook uses, so that one who cannot run them need not look into it.
type Summary struct {
	Manual         bool `json:"manual_playbook,omitempty"` // only manual commands
	External       bool `json:"external_playbooks,omitempty"`
	Parallel       bool `json:"parallel_processing,omitempty"`
	If             bool `json:"if_logic,omitempty"`
	While          bool `json:"while_logic,omitempty"`
	Switch         bool `json:"switch_logic,omitempty"`
	Temporal       bool `json:"temporal_logic,omitempty"` // delays and timeouts
	Markings       bool `json:"data_markings,omitempty"`
	Signatures     bool `json:"digital_signatures,omitempty"`
	Countersigned  bool `json:"countersigned_signatures,omitempty"`
	WithExtensions bool `json:"extensions,omitempty"`
}

// Summarize derives the summary from the playbook itself. Trust it rather than the one in the document.
func (p *Playbook) Summarize() Summary {
	s := Summary{Markings: len(p.Markings) > 0, Signatures: len(p.Signatures) > 0}
	for _, sig := range p.Signatures {
		s.Countersigned = s.Countersigned || sig.Counter != nil
	}
	s.WithExtensions = len(p.raw) > 0 && hasExtensions(p.raw)
	commands, manual := 0, 0
	for _, step := range p.Workflow {
		s.External = s.External || step.Type == PlaybookStep
		s.Parallel = s.Parallel || step.Type == ParallelStep
		s.If = s.If || step.Type == IfStep
		s.While = s.While || step.Type == WhileStep
		s.Switch = s.Switch || step.Type == SwitchStep
		s.Temporal = s.Temporal || step.Delay > 0 || step.Timeout > 0
		for _, c := range step.Commands {
			commands++
			if c.Type == "manual" {
				manual++
			}
		}
	}
	s.Manual = commands == manual && !s.External
	return s
}

// hasExtensions reports whether an object or one in it carries an extension.
func hasExtensions(o object) bool {
	for _, name := range []string{"playbook_extensions", "step_extensions", "agent_target_extensions", "authentication_info_extensions", "marking_extensions"} {
		if m, ok := o[name].(object); ok && len(m) > 0 {
			return true
		}
	}
	for _, part := range []string{"workflow", "agent_definitions", "target_definitions", "authentication_info_definitions", "data_marking_definitions"} {
		m, _ := o[part].(object)
		for _, v := range m {
			if inner, ok := v.(object); ok && hasExtensions(inner) {
				return true
			}
		}
	}
	return false
}

// flags returns the summary by the names of its properties.
func (s Summary) flags() map[string]bool {
	return map[string]bool{
		"manual_playbook": s.Manual, "external_playbooks": s.External, "parallel_processing": s.Parallel, "if_logic": s.If,
		"while_logic": s.While, "switch_logic": s.Switch, "temporal_logic": s.Temporal, "data_markings": s.Markings,
		"digital_signatures": s.Signatures, "countersigned_signatures": s.Countersigned, "extensions": s.WithExtensions,
	}
}

// summary compares the summary in the document with the derived one.
func (c *checker) summary() {
	if c.p.Summary == nil {
		return
	}
	derived := c.p.Summarize().flags()
	for name, said := range c.p.Summary.flags() {
		if said != derived[name] {
			c.warn(join("/playbook_processing_summary", name), fmt.Sprintf("says %v, the playbook itself says %v", said, derived[name]), "correct it, or leave the summary out")
		}
	}
}
