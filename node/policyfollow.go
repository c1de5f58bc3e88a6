package node

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"picket/event"
	"picket/policy"
)

// follow keeps policies as their files, names and programs are, until ctx ends.
// begin is called once there is an enforcer.
func (p *policies) follow(ctx context.Context, begin func()) {
	tick := time.NewTicker(policiesEvery)
	defer tick.Stop()
	programs, names := time.Now(), time.Now()
	for {
		if p.opened() != nil {
			begin()
		}
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			p.reload(ctx)
			if now.Sub(programs) >= programsEvery {
				programs = now
				p.prune()
			}
			if now.Sub(names) >= namesEvery {
				names = now
				p.mu.Lock()
				list := slices.Collect(maps.Values(p.loaded))
				p.mu.Unlock()
				p.lookUp(ctx, list)
			}
		}
	}
}

// lookUp asks what the names of policies stand for. An address that is no longer given stays
// allowed for an hour: connections to it may be open.
func (p *policies) lookUp(ctx context.Context, list []*policy.Policy) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, pol := range list {
		if pol.Egress == nil {
			continue
		}
		for _, name := range pol.Egress.Names() {
			addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
			if err != nil {
				p.log.Warn("a name in a policy cannot be resolved: what it stood for stays allowed for an hour", "policy", pol.Name, "name", name, "error", err)
			}
			p.note(name, addrs, time.Now())
		}
	}
}

func (p *policies) note(name string, addrs []netip.Addr, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.names[name] == nil {
		p.names[name] = map[netip.Addr]time.Time{}
	}
	for _, a := range addrs {
		p.names[name][a.Unmap().WithZone("")] = now
	}
	maps.DeleteFunc(p.names[name], func(_ netip.Addr, last time.Time) bool { return now.Sub(last) > nameKept })
}

// followPolicies makes the sensor report what policies about models need.
func (a *agent) followPolicies() {
	if m := a.policies.models(); !slices.Equal(m, a.protected) {
		a.protected = m
		a.followDemand()
	}
}

// startPolicies follows the policies. What they see goes the way of all events. The
// channel it returns closes when all of it has ended.
func (a *agent) startPolicies(ctx context.Context, events chan struct{}) <-chan struct{} {
	p, ended := a.policies, make(chan struct{})
	go func() {
		defer close(ended)
		var telling sync.WaitGroup
		defer telling.Wait()
		p.follow(ctx, sync.OnceFunc(func() {
			telling.Go(func() {
				err := p.enforcer.Run(ctx, func(e *event.Event) {
					<-events
					a.handle(e)
					events <- struct{}{}
				})
				if err != nil {
					p.log.Error("violations of policies are not told any more", "error", err)
				}
			})
		}))
	}()
	return ended
}

func (p *policies) close() error {
	p.foreseen.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = os.Remove(policyStatusFile(p.cfg)) // nothing is bound any more
	if p.enforcer == nil {
		return nil
	}
	for id := range p.bound {
		p.release(id)
	}
	return p.enforcer.Close()
}
