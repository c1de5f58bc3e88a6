package action

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Isolator keeps packets from and to cgroups, until a time at which the kernel itself lets go, or
// until this program ends. Cut resets connections; see Cutter.
type Isolator interface {
	Host
	Lineages
	Isolate(cgroup string, until time.Time) error
	Restore(cgroup string) error
	Isolated(cgroup string) (bool, error)
	Cut(cgroup string, peer netip.Prefix, port uint16) (n int, err error)
}

type isolate struct{ h Isolator }

// NewIsolate returns the act that cuts a workload off the network.
func NewIsolate(h Isolator) Action { return isolate{h} }

func (isolate) Kind() Kind                { return Isolate }
func (isolate) Class() Class              { return Reversible }
func (isolate) DefaultTTL() time.Duration { return defaultTTL }
func (isolate) endsWithProgram()          {}

func (a isolate) Plan(_ context.Context, r *Request) (*Plan, error) {
	if err := needsGroup(Isolate, r.Target); err != nil {
		return nil, err
	}
	t, all, err := pin(a.h, r.Target)
	if err != nil {
		return nil, err
	}
	p := &Plan{
		Target: t, Class: Reversible, Hits: hits(all), Undo: "packets pass again",
		Effects: []string{"no packet passes to or from " + t.String() + ", loopback included: " + processes(len(all))},
	}
	if t.Process != nil {
		p.Effects = append(p.Effects, "connections that are open are reset and stay so: the kernel knows them by the cgroup in which they were made")
	} else {
		p.Effects = append(p.Effects, "connections that are open stall, and go on after if their other ends wait so long")
	}
	return p, nil
}

func (a isolate) Do(_ context.Context, r *Request) (*Result, error) {
	cgroups, err := gather(a.h, r.Target)
	if err != nil {
		return nil, err
	}
	until := time.Now().Add(r.TTL)
	for _, c := range cgroups {
		if err := a.h.Isolate(c, until); err != nil {
			return nil, errors.Join(err, each(cgroups, a.h.Restore), scatter(a.h, r.Target, cgroups))
		}
	}
	res := &Result{State: Done, Detail: r.Target.String() + " is off the network"}
	if r.Target.Process == nil {
		return res, nil
	}
	reset := 0
	err = each(cgroups, func(c string) error {
		n, err := a.h.Cut(c, netip.Prefix{}, 0)
		reset += n
		return err
	})
	res.Detail += fmt.Sprintf("; %s reset", count(reset, "connection was", "connections were"))
	if err != nil {
		res.Detail += fmt.Sprintf(", others may go on: %v", err)
	}
	return res, nil
}

// Extend gives the kernel the new end.
func (a isolate) Extend(_ context.Context, r *Request) error {
	cgroups, err := gathered(a.h, r.Target)
	if err != nil {
		return err
	}
	until := time.Now().Add(r.TTL)
	return each(cgroups, func(c string) error { return a.h.Isolate(c, until) })
}

func (a isolate) Verify(_ context.Context, r *Request) (bool, string, error) {
	cgroups, err := gathered(a.h, r.Target)
	if err != nil {
		return false, "", err
	}
	for _, c := range cgroups {
		if is, err := a.h.Isolated(c); err != nil || !is {
			return false, fmt.Sprintf("packets of cgroup %s pass", c), err
		}
	}
	if len(cgroups) == 0 {
		return false, r.Target.String() + " is not there any more", nil
	}
	return true, r.Target.String() + " is off the network", nil
}

func (a isolate) Undo(_ context.Context, r *Request) (*Result, error) {
	cgroups, err := gathered(a.h, r.Target)
	if err == nil {
		err = each(cgroups, a.h.Restore)
	}
	if err == nil {
		err = scatter(a.h, r.Target, cgroups)
	}
	if err != nil {
		return nil, err
	}
	return &Result{State: Undone, Detail: r.Target.String() + " is back on the network"}, nil
}
