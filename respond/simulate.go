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
	Playbook string              `json:"playbook"`
	Plans    []Simulated         `json:"plans"`
	Acts     map[action.Kind]int `json:"acts"`   // in all, over all branches
	Benign   map[action.Kind]int `json:"benign"` // of those, for incidents that were false positives
	Asked    int                 `json:"asked"`  // plans in which something could not be taken back
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
		plan, _, err := dry.planFor(ctx, b, &inc, nil)
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
		if plan.Class == action.Destructive {
			sim.Asked++
		}
		sim.Plans = append(sim.Plans, one)
	}
	return sim, nil
}
