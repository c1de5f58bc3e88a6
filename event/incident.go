package event

import "time"

// IncidentStatus is where an incident stands.
type IncidentStatus string

// The statuses of an incident.
const (
	IncidentOpen         IncidentStatus = "open"
	IncidentAcknowledged IncidentStatus = "acknowledged"
	IncidentClosed       IncidentStatus = "closed"
)

// Verdict is what a person decided about a closed incident.
type Verdict string

// The verdicts. An incident that is not closed has none.
const (
	TruePositive  Verdict = "true_positive"
	FalsePositive Verdict = "false_positive"
)

// Incident is a set of findings that belong together.
type Incident struct {
	ID         string         `json:"id"` // derived from its first finding
	Title      string         `json:"title"`
	Status     IncidentStatus `json:"status"`
	Verdict    Verdict        `json:"verdict,omitempty"`
	Severity   Severity       `json:"severity"`
	Risk       int            `json:"risk"` // 0 to 100
	FirstSeen  time.Time      `json:"first_seen"`
	LastSeen   time.Time      `json:"last_seen"`
	Hosts      []string       `json:"hosts"`
	Summary    string         `json:"summary"` // the story in one or two sentences
	Story      []Passage      `json:"story"`   // the story in order
	Techniques []Technique    `json:"techniques"`
	Entities   []Entity       `json:"entities"`
	Processes  []ProcessNode  `json:"processes"`
	Findings   []FindingRef   `json:"findings"`
	FindingN   int            `json:"finding_count"`
	Log        []Change       `json:"log"`            // who changed what, oldest first
	Tags       []string       `json:"tags,omitempty"` // of the assets that it is about, by the configuration
	Version    int64          `json:"version"`        // counts changes
}

// Passage is one sentence of an incident's story.
type Passage struct {
	Time     time.Time `json:"time"`
	Text     string    `json:"text"`
	Finding  string    `json:"finding"` // id of the finding it tells of
	Severity Severity  `json:"severity"`
	Tactic   string    `json:"tactic,omitempty"`
}

// FindingRef names a finding of an incident.
type FindingRef struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Rule     string    `json:"rule"`
	Title    string    `json:"title"`
	Severity Severity  `json:"severity"`
	Host     string    `json:"host"`
	Process  string    `json:"process,omitempty"` // UID of the acting process
	Count    int       `json:"count"`
}

// Change is one entry of an incident's log.
type Change struct {
	Time time.Time `json:"time"`
	Who  string    `json:"who"` // user name, or picket
	What string    `json:"what"`
	Note string    `json:"note,omitempty"`
}
