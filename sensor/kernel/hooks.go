package kernel

import (
	"slices"

	"picket/event"
)

// Hook is a BPF program and what it is attached to.
type Hook struct {
	Feature string       `json:"feature"` // the row of Probe that speaks of it
	Program string       `json:"program"`
	Uses    string       `json:"uses"` // where the feature attaches
	Kinds   []event.Kind `json:"-"`    // that it makes
}

// Hooks returns the programs that a sensor loads for some kinds of event, in the order of Probe.
func Hooks(kinds ...event.Kind) []Hook {
	var out []Hook
	for _, f := range features {
		for _, p := range f.parts {
			if slices.ContainsFunc(p.kinds, func(k event.Kind) bool { return slices.Contains(kinds, k) }) {
				out = append(out, Hook{Feature: f.name, Program: p.program, Uses: f.uses, Kinds: slices.Clone(p.kinds)})
			}
		}
	}
	return out
}
