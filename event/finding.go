package event

import (
	"encoding/json"
	"time"
)

// Severity orders findings and incidents. The names are Sigma's levels.
type Severity uint8

// The severities.
const (
	Informational Severity = iota + 1
	Low
	Medium
	High
	Critical
)

var severityNames = [...]string{"", "informational", "low", "medium", "high", "critical"}

// String returns the Sigma level name.
func (s Severity) String() string { return severityNames[min(s, Critical)] }

// MarshalText writes the level name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a level name; an unknown one is Informational.
func (s *Severity) UnmarshalText(b []byte) error {
	*s = ParseSeverity(string(b))
	return nil
}

// ParseSeverity reads a Sigma level; an unknown one, and "", is Informational.
func ParseSeverity(level string) Severity {
	for i, n := range severityNames {
		if n == level && i > 0 {
			return Severity(i)
		}
	}
	return Informational
}

// Technique is one entry of ATT&CK or ATLAS, with the tactic it serves.
type Technique struct {
	Framework string `json:"framework"` // attack or atlas
	ID        string `json:"id"`        // T1041, AML.T0025
	Name      string `json:"name,omitempty"`
	Tactic    string `json:"tactic,omitempty"` // exfiltration
}

// EntityKind is what an entity is.
type EntityKind string

// The kinds of entity, from narrow to wide.
const (
	EntityProcess   EntityKind = "process"
	EntityContainer EntityKind = "container"
	EntityWorkload  EntityKind = "workload"
	EntityModel     EntityKind = "model"
	EntityAddress   EntityKind = "address"
	EntityUser      EntityKind = "user"
	EntityHost      EntityKind = "host"
)

// Entity is something that findings can share. ID is unique within its Kind over the fleet.
type Entity struct {
	Kind EntityKind `json:"kind"`
	ID   string     `json:"id"`
	Name string     `json:"name"`
}

// Rule says which detection made a finding.
type Rule struct {
	ID     string   `json:"id"`   // the Sigma rule's id, or the detector's name
	Name   string   `json:"name"` // file name without its ending
	Title  string   `json:"title"`
	Threat string   `json:"threat,omitempty"` // folder below threats/
	Author string   `json:"author,omitempty"`
	Tags   []string `json:"tags,omitempty"`
}

// ProcessNode is a process as a finding carries it: enough to draw its tree far from its host.
type ProcessNode struct {
	UID       string    `json:"uid"`
	ParentUID string    `json:"parent_uid,omitempty"`
	PID       uint32    `json:"pid"`
	Start     time.Time `json:"start"`
	StartBoot uint64    `json:"start_boot,omitempty"` // ns since the boot; 0: not known, as of a recording
	Boot      string    `json:"boot,omitempty"`       // its id
	Name      string    `json:"name"`
	Exe       string    `json:"exe"`
	Cmdline   string    `json:"cmdline"`
	User      string    `json:"user,omitempty"`
	Container string    `json:"container,omitempty"`
	Drift     bool      `json:"drift,omitempty"`
}

// Finding is a detection's verdict on one or more events.
type Finding struct {
	ID         string            `json:"id"` // derived from rule and events
	Time       time.Time         `json:"time"`
	Host       string            `json:"host"`
	Rule       Rule              `json:"rule"`
	Severity   Severity          `json:"severity"`
	Summary    string            `json:"summary"` // one plain sentence: who did what to what
	Techniques []Technique       `json:"techniques,omitempty"`
	Entities   []Entity          `json:"entities"`
	Processes  []ProcessNode     `json:"processes,omitempty"` // the acting process first, then its ancestors
	Container  *Container        `json:"container,omitempty"`
	Workload   *Workload         `json:"workload,omitempty"`
	Model      *Model            `json:"model,omitempty"`
	Events     []json.RawMessage `json:"events"` // flat event records: first contributors, at most 10
	EventIDs   []string          `json:"event_ids"`
	Count      int               `json:"count"` // how many events matched, ≥ 1
}

// Node returns p as a finding carries it.
func (p *Process) Node() ProcessNode {
	n := ProcessNode{UID: p.UID, PID: p.PID, Start: p.Start, StartBoot: p.StartBoot, Boot: p.Boot, Name: p.Name(), Exe: p.Exe, Cmdline: p.Cmdline, User: p.User, Drift: p.Layer == LayerUpper}
	if p.Parent != nil {
		n.ParentUID = p.Parent.UID
	}
	if p.Container != nil {
		n.Container = p.Container.ID
	}
	return n
}
