package action

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
)

// Cutter resets the connections of cgroups: those to a network, where it is valid, and to a port,
// where it is not 0. Connections lists them, in words.
type Cutter interface {
	Host
	Lineages
	Connections(cgroup string, peer netip.Prefix, port uint16) ([]string, error)
	Cut(cgroup string, peer netip.Prefix, port uint16) (n int, err error)
}

type cut struct{ h Cutter }

// NewCut returns the act that resets a workload's connections. The parameter port narrows it.
func NewCut(h Cutter) Action { return cut{h} }

func (cut) Kind() Kind   { return Cut }
func (cut) Class() Class { return Destructive }

// which reads the connections that are meant.
func (cut) which(r *Request) (peer netip.Prefix, port uint16, err error) {
	if peer, err = network(r.Target.Address); err != nil || r.Params["port"] == "" {
		return peer, 0, err
	}
	n, err := strconv.ParseUint(r.Params["port"], 10, 16)
	if err != nil || n == 0 {
		return peer, 0, fmt.Errorf("%w: port %q: want a number from 1 to 65535", ErrInvalid, r.Params["port"])
	}
	return peer, uint16(n), nil
}

func (a cut) Plan(_ context.Context, r *Request) (*Plan, error) {
	peer, port, err := a.which(r)
	if err == nil {
		err = needsGroup(Cut, r.Target)
	}
	if err != nil {
		return nil, err
	}
	t, all, err := pin(a.h, r.Target)
	if err != nil {
		return nil, err
	}
	p := &Plan{Target: t, Class: Destructive, Hits: hits(all)}
	if t.Process != nil { // whose sockets are which shows when they are in a cgroup of their own
		p.Effects = []string{"the connections that " + processes(len(all)) + " of " + t.String() + " have open are reset"}
	} else {
		list, err := a.h.Connections(t.Cgroup, peer, port)
		if err != nil {
			return nil, err
		}
		p.Hits = list[:min(len(list), maxHits)]
		p.Effects = []string{count(len(list), "connection", "connections") + " of " + t.String() + " are reset"}
	}
	p.Effects = append(p.Effects, "both ends get an error and may connect anew: isolate keeps them from it")
	return p, nil
}

func (a cut) Do(_ context.Context, r *Request) (*Result, error) {
	peer, port, err := a.which(r)
	if err != nil {
		return nil, err
	}
	cgroups, err := gather(a.h, r.Target)
	if err != nil {
		return nil, err
	}
	n := 0
	err = each(cgroups, func(c string) error {
		cut, err := a.h.Cut(c, peer, port)
		n += cut
		return err
	})
	said := count(n, "connection was", "connections were") + " reset"
	if err != nil {
		return &Result{State: Unknown, Detail: fmt.Sprintf("%s, others may be open: %v", said, errors.Join(err, scatter(a.h, r.Target, cgroups)))}, nil
	}
	if err := scatter(a.h, r.Target, cgroups); err != nil {
		said += fmt.Sprintf("; the processes could not be put back into their cgroup: %v", err)
	}
	return &Result{State: Done, Detail: said}, nil
}

// Verify cannot tell of a connection whether it was made after others were cut.
func (a cut) Verify(_ context.Context, r *Request) (bool, string, error) {
	peer, port, err := a.which(r)
	if err != nil {
		return false, "", err
	}
	cgroups, err := gathered(a.h, r.Target)
	if err != nil {
		return false, "", err
	}
	if len(cgroups) == 0 && r.Target.Process != nil {
		return false, "", errors.New("the lineage is in its own cgroups no more: what it has open cannot be told")
	}
	for _, c := range cgroups {
		list, err := a.h.Connections(c, peer, port)
		if err != nil {
			return false, "", err
		}
		if len(list) > 0 {
			return false, "", fmt.Errorf("%s open: whether they are new cannot be told", count(len(list), "connection is", "connections are"))
		}
	}
	return true, "no such connection is open", nil
}

func (cut) Undo(context.Context, *Request) (*Result, error) {
	return nil, fmt.Errorf("%w: a connection that was cut cannot be brought back", ErrInvalid)
}
