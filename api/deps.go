package api

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"picket/event"
)

// Deps are the parts that the API shows and changes. Their errors may wrap ErrNotFound,
// ErrConflict, ErrInvalid or ErrAway; others become a 500 whose text stays in the log.
type Deps struct {
	Incidents Incidents
	Findings  Findings
	Events    Events
	Fleet     Fleet
	Inventory Inventory
	Health    Health
	Rules     Rules
	Actions   Actions
	Accounts  Accounts
	Audit     Audit // nil keeps no audit log
	Runs      Runs  // nil runs no playbooks
}

func (d Deps) validate() error {
	for _, part := range []struct {
		name string
		set  bool
	}{
		{"Incidents", d.Incidents != nil},
		{"Findings", d.Findings != nil},
		{"Events", d.Events != nil},
		{"Fleet", d.Fleet != nil},
		{"Inventory", d.Inventory != nil},
		{"Health", d.Health != nil},
		{"Rules", d.Rules != nil},
		{"Actions", d.Actions != nil},
		{"Accounts", d.Accounts != nil},
	} {
		if !part.set {
			return errors.New("api: Deps." + part.name + " is missing")
		}
	}
	return nil
}

// Cursor names the last row of a page, in a list whose newest row comes first. The next page holds
// what sorts after (Time, ID), both descending. The zero Cursor is the start.
type Cursor struct {
	Time time.Time
	ID   string
}

// IncidentQuery selects incidents, the one with the latest LastSeen first.
type IncidentQuery struct {
	Status   event.IncidentStatus // "" for all
	Severity event.Severity       // at least this; 0 for all
	Text     string               // case-insensitive, anywhere in id, title, summary or an entity's name
	Limit    int
	Before   Cursor // of LastSeen and ID
}

// IncidentChange is a change that a person makes. Empty fields stay as they are.
type IncidentChange struct {
	Status  event.IncidentStatus
	Verdict event.Verdict
	Note    string
	// Version is the incident's version that the person saw. Another one is ErrConflict; 0 is not compared.
	Version int64
}

// Incidents lists and changes incidents.
type Incidents interface {
	List(ctx context.Context, q IncidentQuery) ([]event.Incident, error)
	Get(ctx context.Context, id string) (event.Incident, error)
	Update(ctx context.Context, id, who string, c IncidentChange) (event.Incident, error)
}

// FindingQuery selects findings, the latest first.
type FindingQuery struct {
	Rule     string         // rule id or name
	Severity event.Severity // at least this; 0 for all
	Host     string
	Incident string // incident id
	Limit    int
	Before   Cursor // of Time and ID
}

// Findings lists findings.
type Findings interface {
	List(ctx context.Context, q FindingQuery) ([]event.Finding, error)
	Get(ctx context.Context, id string) (event.Finding, error)
}

// EventQuery selects stored events.
type EventQuery struct {
	Text       string    // LogsQL; "" for all
	Start, End time.Time // both included
	Limit      int       // newest rows
}

// Bucket is how many events happened from Time until the next bucket's Time.
type Bucket struct {
	Time  time.Time `json:"time"`
	Count uint64    `json:"count"`
}

// Events searches stored events. A query that the store cannot read is ErrInvalid, with a text that
// says where it is wrong.
type Events interface {
	// Query calls fn for each flat record. The record is fn's until it returns.
	Query(ctx context.Context, q EventQuery, fn func(json.RawMessage) error) error
	Hits(ctx context.Context, q EventQuery, buckets int) ([]Bucket, error)
}

// AgentStatus says whether an agent reports.
type AgentStatus string

// The statuses of an agent.
const (
	AgentOK     AgentStatus = "ok"
	AgentSilent AgentStatus = "silent" // reported once, but not lately
	AgentNever  AgentStatus = "never"  // enrolled, and never heard of since
)

// Agent is one host of the fleet.
type Agent struct {
	Host      string            `json:"host"`
	Status    AgentStatus       `json:"status" enum:"ok,silent,never"`
	LastSeen  *time.Time        `json:"last_seen,omitempty"`
	Heartbeat *event.Heartbeat  `json:"heartbeat,omitempty" doc:"What the agent last said of itself; without its metrics text"`
	Counters  map[string]uint64 `json:"counters" doc:"received, dropped and what else the agent counts"`
}

// Fleet lists the agents.
type Fleet interface {
	Agents(ctx context.Context) ([]Agent, error)
}

// The statuses of a component and of the whole.
const (
	StatusOK       = "ok"
	StatusDegraded = "degraded" // works, with something missing that Detail names
	StatusFailed   = "failed"
)

// Component is one part of a running Picket.
type Component struct {
	Name     string   `json:"name"`
	Status   string   `json:"status" enum:"ok,degraded,failed"`
	Detail   string   `json:"detail,omitempty"`
	Restarts int      `json:"restarts"`
	Lag      *float64 `json:"lag,omitempty" doc:"Seconds that it is behind"`
}

// Report is the health of a running Picket.
type Report struct {
	Status     string      `json:"status" enum:"ok,degraded,failed"`
	Version    string      `json:"version,omitempty"`
	Components []Component `json:"components"`
}

// Health tells how the parts are. It answers from memory, at once.
type Health interface {
	Report(ctx context.Context) Report
}

// LoadedRule is a detection that is loaded.
type LoadedRule struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Title       string            `json:"title"`
	Threat      string            `json:"threat,omitempty"`
	Level       event.Severity    `json:"level"`
	Status      string            `json:"status,omitempty"`
	Description string            `json:"description,omitempty"`
	Author      string            `json:"author,omitempty"`
	Techniques  []event.Technique `json:"techniques"`

	Inactive   string `json:"inactive,omitempty" doc:"Why no event here can fire it, where none can"`
	Cost       int    `json:"cost" doc:"A guess at what it takes to evaluate, to compare rules by"`
	Hits       uint64 `json:"hits" doc:"How often it fired since the agents started"`
	Suppressed uint64 `json:"suppressed" doc:"How often that yielded no finding: an exception, a noisy rule, or a finding that had just said it"`
}

// Rules lists the loaded rules, and says what they cover of the catalogue of threats.
type Rules interface {
	Loaded(ctx context.Context) ([]LoadedRule, error)
	Coverage(ctx context.Context) ([]Covered, error)
}

// AuditEntry is one thing that somebody did, or tried to do.
type AuditEntry struct {
	Seq    int64     `json:"seq" doc:"From 1, without gaps"`
	Time   time.Time `json:"time"`
	Who    string    `json:"who" doc:"User, token:NAME, policy:RULE or time; empty for an unknown"`
	From   string    `json:"from" doc:"Remote address"`
	What   string    `json:"what" doc:"session.create, run.approve…"`
	Object string    `json:"object"`
	OK     bool      `json:"ok"`
	Detail string    `json:"detail" doc:"Of a run: its plan's hash"`
	Prev   string    `json:"prev" doc:"Hash of the entry before"`
	Hash   string    `json:"hash" doc:"SHA-256 of the entry, with Prev"`
}

// AuditQuery selects entries: behind After, where it is not negative, else before Before, or the last.
type AuditQuery struct {
	After, Before int64
	Limit         int
}

// AuditPage is entries, and the log's end as it was noted apart from it.
type AuditPage struct {
	Items []AuditEntry `json:"items"`
	Head  string       `json:"head,omitempty" doc:"NUMBER:HASH of the last entry, noted where the log is not"`
}

// Audit keeps who did what. Record must not block on the network.
type Audit interface {
	Record(ctx context.Context, e AuditEntry) error
	Entries(ctx context.Context, q AuditQuery) (AuditPage, error)
}
