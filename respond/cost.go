package respond

import (
	"context"

	"picket/event"
	"picket/respond/action"
)

// Cost is one thing that a plan would cost, for people: it is not in the plan's hash.
type Cost struct {
	What     string `json:"what"`     // requests, ranks, gpu-hours, replicas, or workload where none is known
	Of       string `json:"of"`       // the workload
	Value    string `json:"value"`    // in words; NotKnown where nobody can say
	Evidence string `json:"evidence"` // what it is known from, or why it is not
}

// NotKnown is the value of a cost that nobody can say. It is never a guess, and never none.
const NotKnown = "not known"

// maxCosts bounds what is told of a plan.
const maxCosts = 64

// costs asks what the acts of a plan would cost, where something in it does more than look.
func (e *Engine) costs(ctx context.Context, inc *event.Incident, p *Plan) []Cost {
	if e.o.Costs == nil || p.Class == action.Observe || e.o.Executor == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, planTimeout)
	defer cancel()
	list := e.o.Costs(ctx, inc, p.kept())
	return list[:min(len(list), maxCosts)]
}
