package node

import (
	"context"
	"slices"
	"sync"

	"picket/event"
)

// answersAtOnce bounds the incidents that are answered at the same time.
const answersAtOnce = 16

// answers hands changed incidents to who answers them, apart from the way of findings: agents are asked,
// and one that is silent takes its time. So there is one at a time for each host, and a silent host keeps
// only those incidents waiting that are about it.
type answers struct {
	mu      sync.Mutex
	waiting []event.Incident // as they are now, in the order in which they came
	busy    map[string]bool  // hosts whose incidents are being answered
	changed chan struct{}
}

func newAnswers() *answers {
	return &answers{busy: map[string]bool{}, changed: make(chan struct{}, 1)}
}

// put notes that an incident changed. One that waits already waits as it is now.
func (a *answers) put(inc event.Incident) {
	a.mu.Lock()
	if n := slices.IndexFunc(a.waiting, func(w event.Incident) bool { return w.ID == inc.ID }); n >= 0 {
		a.waiting[n] = inc
	} else {
		a.waiting = append(a.waiting, inc)
	}
	a.mu.Unlock()
	a.poke()
}

func (a *answers) poke() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// run has incidents answered until ctx ends, and returns when none is being answered any more.
func (a *answers) run(ctx context.Context, answer func(context.Context, event.Incident)) error {
	var all sync.WaitGroup
	defer all.Wait()
	free := make(chan struct{}, answersAtOnce)
	for {
		select {
		case <-ctx.Done():
			return nil
		case free <- struct{}{}:
		}
		inc, hosts, ok := a.next(ctx)
		if !ok {
			return nil
		}
		all.Go(func() {
			answer(ctx, inc)
			a.mu.Lock()
			for _, h := range hosts {
				delete(a.busy, h)
			}
			a.mu.Unlock()
			<-free
			a.poke()
		})
	}
}

// next waits for an incident none of whose hosts is busy, and makes them so.
func (a *answers) next(ctx context.Context) (inc event.Incident, hosts []string, ok bool) {
	for {
		a.mu.Lock()
		for n, w := range a.waiting {
			hosts = append(slices.Clone(w.Hosts), "incident "+w.ID) // the same one is not answered twice at once
			if slices.ContainsFunc(hosts, func(h string) bool { return a.busy[h] }) {
				continue
			}
			for _, h := range hosts {
				a.busy[h] = true
			}
			a.waiting = slices.Delete(a.waiting, n, n+1)
			a.mu.Unlock()
			return w, hosts, true
		}
		a.mu.Unlock()
		select {
		case <-ctx.Done():
			return inc, nil, false
		case <-a.changed:
		}
	}
}
