package respond

import (
	"context"
	"fmt"

	"picket/event"
	"picket/respond/action"
)

// Simulation says what a playbook would have done about incidents of the past. Agents are not asked:
// what their acts would have hit is not there any more.
type Simulation struct {
	Playbook  string              `json:"playbook"`
	Plans     []Simulated         `json:"plans"`
	Acts      map[action.Kind]int `json:"acts"`      // in all, over all branches
	Benign    map[action.Kind]int `json:"benign"`    // of those, for incidents that were false positives
	Asked     int                 `json:"asked"`     // plans in which something could not be taken back
	Wrong     int                 `json:"wrong"`     // plans for false positives
	Undecided int                 `json:"undecided"` // plans for incidents without a verdict
}

// Add takes in a simulation of the same playbook over further incidents.
func (s *Simulation) Add(o *Simulation) {
	s.Plans = append(s.Plans, o.Plans...)
	s.Asked, s.Wrong, s.Undecided = s.Asked+o.Asked, s.Wrong+o.Wrong, s.Undecided+o.Undecided
	for k, n := range o.Acts {
		s.Acts[k] += n
	}
	for k, n := range o.Benign {
		s.Benign[k] += n
	}
}

// Simulated is one incident of a simulation.
type Simulated struct {
	Incident string              `json:"incident"`
	Title    string              `json:"title"`
	Verdict  event.Verdict       `json:"verdict,omitempty"`
	Acts     map[action.Kind]int `json:"acts"`
	Error    string              `json:"error,omitempty"` // why it could not have been run
}

// Simulate plans a playbook for incidents, without asking agents.
func (e *Engine) Simulate(ctx context.Context, playbook string, incidents []string) (*Simulation, error) {
	b, err := e.o.Library.Book(playbook)
	if err != nil {
		return nil, err
	}
	dry := &Engine{o: e.o}
	dry.o.Executor = nil
	sim := &Simulation{Playbook: b.Word, Plans: []Simulated{}, Acts: map[action.Kind]int{}, Benign: map[action.Kind]int{}}
	for _, id := range incidents {
		inc, err := e.o.Incidents.Incident(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("incident %s: %w", id, err)
		}
		one := Simulated{Incident: inc.ID, Title: inc.Title, Verdict: inc.Verdict, Acts: map[action.Kind]int{}}
		plan, _, err := dry.planFor(ctx, b, &inc, nil, nil)
		if err != nil {
			one.Error = err.Error()
			sim.Plans = append(sim.Plans, one)
			continue
		}
		for _, a := range plan.Acts {
			one.Acts[a.Kind]++
			sim.Acts[a.Kind]++
			if inc.Verdict == event.FalsePositive {
				sim.Benign[a.Kind]++
			}
		}
		switch inc.Verdict {
		case event.FalsePositive:
			sim.Wrong++
		case "":
			sim.Undecided++
		}
		if plan.Class == action.Destructive {
			sim.Asked++
		}
		sim.Plans = append(sim.Plans, one)
	}
	return sim, nil
}
