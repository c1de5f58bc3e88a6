package respond

import (
	"context"
	"errors"
	"fmt"
	"time"

	"picket/event"
	"picket/respond/action"
)

// ByAgent begins the name under which an agent acts by itself; its host follows.
const ByAgent = "agent:"

// Handover is a run of an agent's own, for the server that comes back.
type Handover struct {
	Kept    Kept     `json:"kept"`
	Records []Record `json:"records"`
}

// maxHandover bounds the records that come with a run.
const maxHandover = 200

// Handover returns the oldest run that is over, for another engine to take over: nil where there is
// none. A rule that only suggested has nothing that could be handed over, and is forgotten.
func (e *Engine) Handover(ctx context.Context) (*Handover, error) {
	list, err := e.o.Journal.Runs(ctx, Query{})
	if err != nil {
		return nil, err
	}
	var oldest *Kept
	for i := range list { // the latest first
		r, err := e.read(list[i])
		if err == nil && r.State.Over() {
			oldest = &list[i]
		}
	}
	if oldest == nil {
		return nil, nil
	}
	records, err := e.o.Journal.Records(ctx, oldest.ID)
	if err != nil {
		return nil, err
	}
	return &Handover{*oldest, records[:min(len(records), maxHandover)]}, nil
}

// Release forgets a run that another engine has taken over. What it holds ends in its time all the same.
func (e *Engine) Release(ctx context.Context, id string) error {
	j, ok := e.o.Journal.(interface {
		Forget(ctx context.Context, id string) error
	})
	if !ok {
		return errors.New("respond: this journal forgets nothing")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.live[id] != nil {
		return fmt.Errorf("run %s: %w: something of it is going on", id, ErrConflict)
	}
	if err := j.Forget(ctx, id); err != nil {
		return err
	}
	delete(e.due, id)
	return nil
}

// Adopt takes a run over that the agent of a host did by itself, once: the same again is the run that
// is there. What it holds is taken back by this engine from then on, as its fence is the higher one.
// An agent is believed about its own host alone, and about what is over.
func (e *Engine) Adopt(ctx context.Context, host, incident string, h Handover) (Run, error) {
	id := event.HashID("agent", host, h.Kept.ID)
	if was, err := e.Get(ctx, id); !errors.Is(err, ErrNotFound) {
		return was, err
	}
	r, err := e.read(h.Kept)
	if err != nil {
		return Run{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := ownRun(r, host, e.o.Now()); err != nil {
		return Run{}, fmt.Errorf("%w: a run of the agent of %s: %w", ErrInvalid, host, err)
	}
	r.ID, r.Incident, r.By, r.Approvals, r.Asks, r.seq = id, incident, ByAgent+host, nil, nil, 0
	r.position, r.work, r.timers = nil, nil, nil
	m := message{func(l *live) error {
		for _, was := range h.Records[:min(len(h.Records), maxHandover)] {
			l.run.seq++
			was.Seq = l.run.seq
			l.records = append(l.records, was)
		}
		l.note("adopt", "", r.By, "done by the agent while the server was away; the server sees to it from here on", nil)
		l.e.metrics.runs.WithLabelValues(string(r.State)).Inc()
		return nil
	}, make(chan reply, 1)}
	l, err := e.admit(r, &m, fresh)
	if err != nil {
		return Run{}, err
	}
	if l.run != r {
		return e.kept(ctx, id)
	}
	return m.answered(ctx)
}

// ownRun says why a run is none that the agent of a host may have done by itself.
func ownRun(r *Run, host string, now time.Time) error {
	switch {
	case r.Plan == nil:
		return errors.New("it has no plan")
	case !r.State.Over():
		return fmt.Errorf("it is %s, and not over", r.State)
	case len(r.Plan.Acts) > maxActs || len(r.Holds) > maxActs:
		return fmt.Errorf("it has more than %d acts", maxActs)
	}
	for _, a := range r.Plan.Acts {
		if a.Target.Host != host && a.Kind != Undo {
			return fmt.Errorf("an act is for host %q", a.Target.Host)
		}
	}
	for i := range r.Holds {
		h := &r.Holds[i]
		if h.Request.Target.Host != host || actClass[h.Request.Kind] != action.Reversible {
			return fmt.Errorf("it holds %s of %s", h.Request.Kind, Describe(h.Request.Target, nil))
		}
		if last := now.Add(maxTTL); h.Until.After(last) {
			h.Until = last
		}
	}
	return nil
}

// heldByAgent says which agent holds something of a plan by itself already, "" where none does.
func heldByAgent(p *Plan) string {
	for _, a := range p.Acts {
		if a.Held != "" {
			return a.Held
		}
	}
	return ""
}
