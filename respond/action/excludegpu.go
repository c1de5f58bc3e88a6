package action

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ExcludeGPU is the act that keeps a workload from opening GPUs.
const ExcludeGPU Kind = "exclude-gpu"

// Excluder keeps cgroups from opening GPUs, until this program ends. OpenGPUs names the device files of
// GPUs that a process has open already.
type Excluder interface {
	Host
	Lineages
	BarGPUs(cgroup string) error
	AdmitGPUs(cgroup string) error
	GPUsBarred(cgroup string) (bool, error)
	OpenGPUs(pid int) []string
}

type excludeGPU struct{ h Excluder }

// NewExcludeGPU returns the act that keeps a workload from opening GPUs.
func NewExcludeGPU(h Excluder) Action { return excludeGPU{h} }

func (excludeGPU) Kind() Kind                { return ExcludeGPU }
func (excludeGPU) Class() Class              { return Reversible }
func (excludeGPU) DefaultTTL() time.Duration { return defaultTTL }
func (excludeGPU) endsWithProgram()          {}

func (a excludeGPU) Plan(_ context.Context, r *Request) (*Plan, error) {
	if err := needsGroup(ExcludeGPU, r.Target); err != nil {
		return nil, err
	}
	t, all, err := pin(a.h, r.Target)
	if err != nil {
		return nil, err
	}
	p := &Plan{
		Target: t, Class: Reversible, Hits: hits(all), Undo: "GPUs may be opened again",
		Effects: []string{processes(len(all)) + " of " + t.String() + ", and those that they start, open no GPU of this host any more"},
	}
	var files []string
	holders := 0
	for _, one := range all {
		open := a.h.OpenGPUs(one.PID)
		if len(open) > 0 {
			holders++
		}
		for _, f := range open {
			if !slices.Contains(files, f) && len(files) < maxHits {
				files = append(files, f)
			}
		}
	}
	if holders == 0 {
		p.Effects = append(p.Effects, "none of them has a GPU open now")
	} else {
		slices.Sort(files)
		p.Effects = append(p.Effects, fmt.Sprintf("%s have GPUs open (%s): what is open stays open, and computes on until it is closed or the process ends: freeze or kill stop it", processes(holders), strings.Join(files, ", ")))
	}
	p.Effects = append(p.Effects, "the GPU itself is not reset")
	return p, nil
}

func (a excludeGPU) Do(_ context.Context, r *Request) (*Result, error) {
	cgroups, err := gather(a.h, r.Target)
	if err != nil {
		return nil, err
	}
	for _, c := range cgroups {
		if err := a.h.BarGPUs(c); err != nil {
			return nil, errors.Join(err, each(cgroups, a.h.AdmitGPUs), scatter(a.h, r.Target, cgroups))
		}
	}
	return &Result{State: Done, Detail: r.Target.String() + " opens no GPU any more"}, nil
}

func (a excludeGPU) Verify(_ context.Context, r *Request) (bool, string, error) {
	cgroups, err := gathered(a.h, r.Target)
	if err != nil {
		return false, "", err
	}
	for _, c := range cgroups {
		if is, err := a.h.GPUsBarred(c); err != nil || !is {
			return false, fmt.Sprintf("cgroup %s may open GPUs", c), err
		}
	}
	if len(cgroups) == 0 {
		return false, r.Target.String() + " is not there any more", nil
	}
	return true, r.Target.String() + " opens no GPU", nil
}

func (a excludeGPU) Undo(_ context.Context, r *Request) (*Result, error) {
	cgroups, err := gathered(a.h, r.Target)
	if err == nil {
		err = each(cgroups, a.h.AdmitGPUs)
	}
	if err == nil {
		err = scatter(a.h, r.Target, cgroups)
	}
	if err != nil {
		return nil, err
	}
	return &Result{State: Undone, Detail: r.Target.String() + " may open GPUs again"}, nil
}
