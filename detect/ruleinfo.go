package detect

import "picket/event"

// RuleInfo describes a loaded rule.
type RuleInfo struct {
	event.Rule
	Level    event.Severity `json:"level"`
	Sequence bool           `json:"sequence"` // a correlation of other rules
	Alerts   bool           `json:"alerts"`   // yields findings by itself; else a building block
	Playbook string         `json:"playbook,omitempty"`
	File     string         `json:"file"`
	Cost     int            `json:"cost"` // a guess at what it takes to evaluate, to compare rules by

	// Since the agent started: how often it fired, and how often that yielded no finding, because
	// an exception hid it, it was noisy, or a finding had just said the same.
	Hits      uint64 `json:"hits"`
	Excepted  uint64 `json:"excepted,omitempty"`
	Throttled uint64 `json:"throttled,omitempty"`
	Repeated  uint64 `json:"repeated,omitempty"`

	Inactive string `json:"inactive,omitempty"` // why no event can fire it, where none can
}

// Info describes the rule as one of the loaded ones is.
func (r Inactive) Info() RuleInfo {
	why := r.Reason
	if why == noSensor {
		why = r.About + ": " + why
	}
	return RuleInfo{Rule: r.Rule, Level: r.Level, File: r.File, Inactive: why}
}

// Rules returns the loaded rules, by name.
func (e *Engine) Rules() []RuleInfo {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]RuleInfo, len(e.set.all))
	for i, r := range e.set.all {
		out[i] = RuleInfo{
			Rule: r.info, Level: r.severity, Sequence: r.sequence, Alerts: r.alerts || r.sequence, Playbook: r.playbook, File: r.file, Cost: r.cost,
			Hits: r.hits, Excepted: r.excepted, Throttled: r.throttled, Repeated: r.repeated,
		}
	}
	return out
}

// Inactive returns the rules that were read but that no event here can fire, in the order loaded.
// It is not to be changed.
func (e *Engine) Inactive() []Inactive {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.set.inactive
}

// noticed bounds what waits to be said.
const noticed = 100

// say keeps texts for Notices. What is said meanwhile is more use than all of it.
func (e *Engine) say(texts ...string) {
	for _, t := range texts {
		if t != "" && len(e.notices) < noticed {
			e.notices = append(e.notices, t)
		}
	}
}

// Notices returns what is to be said of the rules since the last call: which are throttled, and
// which exceptions have expired.
func (e *Engine) Notices() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.notices
	e.notices = nil
	return out
}
