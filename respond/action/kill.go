package action

import (
	"context"
	"errors"
	"fmt"
)

// Killer ends processes, and returns when they have ended.
type Killer interface {
	Host
	Lineages
	Kill(cgroup string) (n int, err error)
	KillProcess(pid int, start uint64) error
}

type kill struct{ h Killer }

// NewKill returns the act that ends a process, a lineage or all of a cgroup.
func NewKill(h Killer) Action { return kill{h} }

func (kill) Kind() Kind   { return Kill }
func (kill) Class() Class { return Destructive }

func (a kill) Plan(_ context.Context, r *Request) (*Plan, error) {
	t, all, err := pin(a.h, r.Target)
	if err != nil {
		return nil, err
	}
	return &Plan{
		Target: t, Class: Destructive, Hits: hits(all),
		Effects: []string{
			processes(len(all)) + " of " + t.String() + " get SIGKILL: what they hold in memory is lost",
			"a supervisor, such as systemd, a container runtime or the kubelet, may start them anew",
		},
	}, nil
}

func (a kill) Do(_ context.Context, r *Request) (*Result, error) {
	t := r.Target
	if t.Process != nil && !t.Lineage {
		if _, _, err := pin(a.h, t); err != nil {
			return nil, err
		}
		if err := a.h.KillProcess(t.Process.PID, t.Process.Start); err != nil {
			return &Result{State: Unknown, Detail: err.Error()}, nil
		}
		return &Result{State: Done, Detail: t.String() + " has ended"}, nil
	}
	cgroups, err := gather(a.h, t)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, c := range cgroups {
		ended, err := a.h.Kill(c)
		if n += ended; err != nil {
			return &Result{State: Unknown, Detail: fmt.Sprintf("of %s some may have ended: %v", t, err)}, nil
		}
	}
	if err := scatter(a.h, t, cgroups); err != nil {
		return &Result{State: Done, Detail: fmt.Sprintf("%s of %s have ended; their cgroup could not be removed: %v", processes(n), t, err)}, nil
	}
	return &Result{State: Done, Detail: fmt.Sprintf("%s of %s have ended", processes(n), t)}, nil
}

// Verify cannot tell of a cgroup with processes in it whether they are those that were meant.
func (a kill) Verify(_ context.Context, r *Request) (bool, string, error) {
	t := r.Target
	_, all, err := pin(a.h, t)
	switch {
	case errors.Is(err, ErrGone) && t.Process != nil && t.Lineage && t.Process.BootID == a.h.BootID():
		left, err := a.left(t)
		if err != nil || left > 0 {
			return false, "", errors.Join(err, fmt.Errorf("process %d is gone, and %s that it started are left", t.Process.PID, processes(left)))
		}
	case errors.Is(err, ErrGone):
	case err != nil:
		return false, "", err
	case t.Process != nil:
		return false, t.String() + " is there still", nil
	case len(all) > 0:
		return false, "", fmt.Errorf("%s are in %s: whether they are those that were meant cannot be told", processes(len(all)), t)
	}
	return true, t.String() + " is gone", nil
}

// left counts those of a lineage that are in the cgroups that were made for it.
func (a kill) left(t Target) (n int, err error) {
	cgroups, err := a.h.Gathered(t.Process.PID, t.Process.Start)
	for _, c := range cgroups {
		_, all, gone := a.h.Members(c)
		if n += len(all); gone != nil && !errors.Is(gone, ErrGone) {
			err = errors.Join(err, gone)
		}
	}
	return n, err
}

func (kill) Undo(context.Context, *Request) (*Result, error) {
	return nil, fmt.Errorf("%w: what was killed cannot be brought back", ErrInvalid)
}
