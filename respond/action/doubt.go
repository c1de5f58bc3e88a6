package action

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// What a person asked for and nobody could tell the outcome of is looked at again for a while; then a
// person is asked. What a run asked for is asked about by the run.
const (
	doubtEvery = 5 * time.Second
	doubtFor   = time.Minute
	doubtLook  = 30 * time.Second // that one look may take
)

// lookAgain settles acts whose outcome is unknown, until ctx ends.
func (l *Local) lookAgain(ctx context.Context) {
	t := time.NewTicker(doubtEvery)
	defer t.Stop()
	for {
		for _, id := range l.doubtful() {
			if ctx.Err() == nil {
				l.look(ctx, id, time.Now())
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// doubtful returns the ids of the acts that are in doubt. There are none but for moments: the other records,
// which are many, are not copied for that.
func (l *Local) doubtful() (ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, rec := range l.journal.records {
		if rec.doubtful() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// doubtful reports whether nobody knows how the act came out, and nobody is asked.
func (r *Record) doubtful() bool {
	return r.Result.State == Unknown && r.Request.Run == "" && !r.Asked
}

// look looks at an act once more, and asks a person where its time for that is over.
func (l *Local) look(ctx context.Context, id string, now time.Time) {
	release, err := l.turn(ctx, "id "+id)
	if err != nil {
		return
	}
	defer release()
	rec, ok := l.record(id)
	act := l.acts[rec.Request.Kind]
	if !ok || !rec.doubtful() || act == nil { // it was settled meanwhile, or a newer version knew it
		return
	}
	ctx, cancel := context.WithTimeout(ctx, doubtLook)
	defer cancel()
	if leavesNoTrace(act) { // to look again would tell nothing
		rec.Asked = true
		res := rec.Result
		res.Detail += "; a person says whether it holds"
		_, _ = l.settle(&rec, &res) // it has no way to fail
		return
	}
	holds, detail, err := act.Verify(ctx, &rec.Request)
	if err == nil && !holds && act.Class() == Reversible {
		_, err = takeBack(ctx, act, &rec.Request) // a part of it may hold
	}
	res := rec.Result
	switch {
	case err == nil && holds:
		res.State, res.Detail = Done, "looked at again: "+detail
	case err == nil:
		res.State, res.Detail, res.Until = Failed, "looked at again, nothing of it holds: "+detail, time.Time{}
	case now.Sub(rec.Begun) < doubtFor && !now.Before(rec.Begun): // or the clock was set back
		return
	default:
		rec.Asked = true
		res.Detail = fmt.Sprintf("%s; for %s nobody could tell: a person says whether it holds (%v)", res.Detail, doubtFor, err)
	}
	_, _ = l.settle(&rec, &res) // it has no way to fail
}

// Settle takes a person's word on an act whose outcome is unknown.
func (l *Local) Settle(ctx context.Context, id string, holds bool, by string) (*Result, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	if by == "" {
		return nil, fmt.Errorf("%w: it does not say who answers", ErrInvalid)
	}
	release, err := l.turn(ctx, "id "+id)
	if err != nil {
		return nil, err
	}
	defer release()
	rec, ok := l.record(id)
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: %q", ErrNotFound, id)
	case rec.Request.Run != "":
		return nil, fmt.Errorf("%w: run %s asks about it: answer there", ErrInvalid, rec.Request.Run)
	case rec.Result.State != Unknown:
		return nil, fmt.Errorf("%w: how %s came out is known: it is %s", ErrInvalid, id, rec.Result.State)
	}
	res := rec.Result
	res.State, res.Detail = Done, by+" says that it was done, and holds"
	if !holds {
		res.State, res.Detail, res.Until = Failed, by+" says that nothing of it holds", time.Time{}
	}
	rec.Asked = false
	return l.settle(&rec, &res)
}
