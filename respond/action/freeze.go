package action

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Freezer stops cgroups where they stand. What it froze goes on when this program ends; Thaw lets go
// what an earlier one left frozen too, and does nothing to what goes on.
type Freezer interface {
	Host
	Lineages
	Freeze(cgroup string) error
	Thaw(cgroup string) error
	Frozen(cgroup string) (bool, error)
}

// defaultTTL is how long workloads are held where nobody said.
const defaultTTL = 10 * time.Minute

type freeze struct{ h Freezer }

// NewFreeze returns the act that makes a workload stand still.
func NewFreeze(h Freezer) Action { return freeze{h} }

func (freeze) Kind() Kind                { return Freeze }
func (freeze) Class() Class              { return Reversible }
func (freeze) DefaultTTL() time.Duration { return defaultTTL }
func (freeze) endsWithProgram()          {}

func (a freeze) Plan(_ context.Context, r *Request) (*Plan, error) {
	if err := needsGroup(Freeze, r.Target); err != nil {
		return nil, err
	}
	t, all, err := pin(a.h, r.Target)
	if err != nil {
		return nil, err
	}
	return &Plan{
		Target: t, Class: Reversible, Hits: hits(all),
		Effects: []string{
			processes(len(all)) + " of " + t.String() + " stand still, with those that they would start",
			"memory, GPU memory, files and connections stay held; other ends, and what waits for these processes, may give up",
		},
		Undo: "they go on where they stood",
	}, nil
}

func (a freeze) Do(_ context.Context, r *Request) (*Result, error) {
	cgroups, err := gather(a.h, r.Target)
	if err != nil {
		return nil, err
	}
	for _, c := range cgroups {
		if err := a.h.Freeze(c); err != nil {
			return nil, errors.Join(err, each(cgroups, a.h.Thaw), scatter(a.h, r.Target, cgroups))
		}
	}
	if r.Target.Process == nil { // it may have been made anew under our hands
		if _, _, err := pin(a.h, r.Target); errors.Is(err, ErrGone) {
			return nil, errors.Join(err, each(cgroups, a.h.Thaw))
		}
	}
	return &Result{State: Done, Detail: r.Target.String() + " stands still"}, nil
}

func (a freeze) Verify(_ context.Context, r *Request) (bool, string, error) {
	cgroups, err := gathered(a.h, r.Target)
	if err != nil {
		return false, "", err
	}
	for _, c := range cgroups {
		if is, err := a.h.Frozen(c); err != nil {
			return false, "", err
		} else if !is {
			return false, fmt.Sprintf("cgroup %s goes on", c), nil
		}
	}
	if len(cgroups) == 0 {
		return false, r.Target.String() + " is not there any more", nil
	}
	return true, r.Target.String() + " stands still", nil
}

func (a freeze) Undo(_ context.Context, r *Request) (*Result, error) {
	cgroups, err := gathered(a.h, r.Target)
	if err == nil {
		err = each(cgroups, a.h.Thaw)
	}
	if err == nil {
		err = scatter(a.h, r.Target, cgroups)
	}
	if err != nil {
		return nil, err
	}
	return &Result{State: Undone, Detail: r.Target.String() + " goes on"}, nil
}
