package lab

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"picket/event"
)

// Report is what came of one attack.
type Report struct {
	Scenario  string         `json:"scenario"`
	Threat    string         `json:"threat,omitempty"`
	Title     string         `json:"title"`
	Seed      uint64         `json:"seed"`
	Container string         `json:"container"`
	Started   time.Time      `json:"started"`
	Seconds   float64        `json:"seconds"`
	Steps     []StepResult   `json:"steps"`
	Effects   []Effect       `json:"effects"`
	Findings  []Expected     `json:"findings"`           // what had to be found
	Others    []string       `json:"others,omitempty"`   // rules that fired on the container beside
	Observed  []Observed     `json:"observed,omitempty"` // where a finding is missing: what the store has of the attack
	Incident  *IncidentFound `json:"incident,omitempty"` // what Picket made of it
	Missing   []string       `json:"missing,omitempty"`  // why the run did not pass
	Leftovers []string       `json:"leftovers,omitempty"`
	Asked     bool           `json:"asked"` // false where no Picket was asked: findings were not waited for
	Passed    bool           `json:"passed"`
}

// StepResult is one step as it ran.
type StepResult struct {
	ID      string    `json:"id"`
	Run     string    `json:"run"`
	Status  int       `json:"status"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	Stdout  string    `json:"stdout,omitempty"`
	Stderr  string    `json:"stderr,omitempty"`
}

// Effect is one proof that the attack worked, or did not.
type Effect struct {
	Want  string `json:"want"`
	Found string `json:"found"`
	OK    bool   `json:"ok"`
}

// Expected is one finding that had to come.
type Expected struct {
	Rule     string         `json:"rule"`
	Finding  string         `json:"finding,omitempty"` // its id; "" where none came
	Severity event.Severity `json:"severity,omitempty"`
	Summary  string         `json:"summary,omitempty"`
	Seconds  float64        `json:"seconds,omitempty"` // from the end of the attack until the API had it
	Late     bool           `json:"late,omitempty"`    // it took longer than max_seconds
}

// IncidentFound is the incident that holds the attack's findings.
type IncidentFound struct {
	ID       string  `json:"id"`
	Title    string  `json:"title"`
	Risk     int     `json:"risk"`
	Findings int     `json:"findings"`
	Seconds  float64 `json:"seconds"`
	Number   int     `json:"number"` // how many incidents name the container; 1 is right
}

// Err returns nil where the run passed, else what was missing.
func (r Report) Err() error {
	if r.Passed {
		return nil
	}
	return fmt.Errorf("%s did not pass: %s", r.Scenario, strings.Join(r.Missing, "; "))
}

// verdict sets Passed and Missing.
func (r *run) verdict() {
	rep := &r.report
	miss := func(format string, args ...any) { rep.Missing = append(rep.Missing, fmt.Sprintf(format, args...)) }
	for _, e := range rep.Effects {
		if !e.OK {
			miss("the attack had no effect: want %s, but %s", e.Want, e.Found)
		}
	}
	for _, f := range rep.Findings {
		switch {
		case f.Finding == "":
			miss("no finding of %s", f.Rule)
		case f.Late:
			miss("the finding of %s took %.1f s", f.Rule, f.Seconds)
		}
	}
	if rep.Asked && r.Scenario.Tier == "benign" && len(rep.Others) > 0 {
		miss("silence was expected, but these rules fired: %s", strings.Join(rep.Others, ", "))
	}
	if rep.Asked && r.Scenario.Expect.Incident.One {
		switch {
		case rep.Incident == nil:
			miss("no incident names the container")
		case rep.Incident.Number != 1:
			miss("%d incidents name the container, want one", rep.Incident.Number)
		}
	}
	for _, o := range rep.Observed {
		if !o.Seen {
			miss("the store has no %s of %s", o.What, o.Value)
		}
	}
	for _, l := range rep.Leftovers {
		miss("left behind: %s", l)
	}
	rep.Passed = len(rep.Missing) == 0
	if rep.Passed {
		r.say("passed", "%s in %.1f s", rep.Scenario, rep.Seconds)
		return
	}
	for _, m := range rep.Missing {
		r.say("MISSING", "%s", m)
	}
}

var errImpatient = errors.New("patience is over")
