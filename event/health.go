package event

import "time"

// Capability is one thing that a sensor can or cannot do on this kernel.
type Capability struct {
	Name   string `json:"name"` // exec, file-read, connect…
	OK     bool   `json:"ok"`
	Detail string `json:"detail"` // what it uses, or why it cannot and what that costs
}

// RuleGroup is rules that an agent does not use, for one reason.
type RuleGroup struct {
	About  string `json:"about,omitempty"` // their log source, where that is the reason
	Reason string `json:"reason"`
	Rules  int    `json:"rules"`
}

// Heartbeat is what an agent says of itself every few seconds.
type Heartbeat struct {
	Host         string       `json:"host"`
	Time         time.Time    `json:"time"`
	Version      string       `json:"version"`
	Kernel       string       `json:"kernel"`
	Boot         string       `json:"boot"` // boot id
	Started      time.Time    `json:"started"`
	Capabilities []Capability `json:"capabilities"`
	Rules        int          `json:"rules"`
	RuleErrors   []string     `json:"rule_errors,omitempty"` // the first of them
	RulesWrong   int          `json:"rules_wrong,omitempty"`
	RulesResting []RuleGroup  `json:"rules_resting,omitempty"` // read, but no event here can fire them
	Workloads    []Workload   `json:"workloads,omitempty"`
	Models       []Model      `json:"models,omitempty"`
	GPUs         []GPUState   `json:"gpus,omitempty"`
	Runs         int          `json:"runs,omitempty"` // of playbooks of its own, that wait for the server to take them over
	// Metrics is the agent's registry in the Prometheus text format.
	Metrics string `json:"metrics"`
}
