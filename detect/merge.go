package detect

import (
	"context"
	"errors"
	"io"
	"time"
)

// Input is a recording to be read.
type Input struct {
	Name string // for messages
	Data io.Reader
}

// held is an event that waits for its turn among those of other recordings.
type held struct {
	at  time.Time
	run func()
}

// ReadTogether replays several recordings as one, in the order of the times of their events, so that
// sequences span them. Within a recording the order of lines stays: an event without a time, or with
// an earlier one than the event before, follows that. Of events of one time those of the recording
// that is named first come first. The error joins those of recordings that could not be read to their
// end; the others were.
func (r *Replay) ReadTogether(ctx context.Context, inputs ...Input) error {
	var errs []error
	var open []*pass
	defer func() {
		for _, p := range open {
			p.close()
		}
	}()
	for _, in := range inputs {
		p, err := r.begin(in.Name, in.Data)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p.hold = true
		open = append(open, p)
	}
	for n := 1; ; n++ {
		var next *pass
		for _, p := range open {
			if err := p.fill(); err != nil {
				errs = append(errs, err)
			}
			if len(p.held) > 0 && (next == nil || p.held[0].at.Before(next.held[0].at)) {
				next = p
			}
		}
		if next == nil {
			return errors.Join(errs...)
		}
		next.held[0].run()
		next.last, next.held = next.held[0].at, next.held[1:]
		if n%pause == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			r.tellProgress(open)
		}
	}
}

// fill reads until an event waits, or the recording is over.
func (p *pass) fill() error {
	for len(p.held) == 0 && !p.ended {
		more, err := p.step()
		if err != nil || !more {
			p.ended = true
			p.end()
			return err
		}
	}
	return nil
}

// turn runs what is to be done with an event: now, or when its turn comes.
func (p *pass) turn(at time.Time, run func()) {
	if !p.hold {
		run()
		return
	}
	last := p.last
	if n := len(p.held); n > 0 {
		last = p.held[n-1].at
	}
	if at.Before(last) {
		at = last
	}
	p.held = append(p.held, held{at, run})
}

func (r *Replay) tellProgress(open []*pass) {
	if r.Progress == nil {
		return
	}
	read := int64(0)
	for _, p := range open {
		read += p.in.count.n
	}
	r.Progress(read)
}
