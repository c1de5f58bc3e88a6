package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

const countsEvery = 5 * time.Second

// receiverPort is the port that the agent hands a receiver as descriptor 3. Readers of other things run as
// the same user: one that was taken over cannot look into this one from here on.
func receiverPort() (net.Listener, error) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("keeping others of this user out: %w", err)
	}
	f := os.NewFile(3, "port")
	defer f.Close() //nolint:errcheck // the listener has a copy
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("port of the receiver: %w", err)
	}
	return l, nil
}

// report is what a receiver writes to its agent: an event a line, and now and then a line with counts.
type report struct {
	gone context.CancelCauseFunc // ends the receiver
	mu   sync.Mutex
	out  io.Writer
	line []byte
}

// tell writes an event.
func (r *report) tell(e *event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line = append(e.AppendRecord(r.line[:0]), '\n')
	r.write(r.line)
}

func (r *report) write(line []byte) {
	if _, err := r.out.Write(line); err != nil {
		r.gone(fmt.Errorf("the agent is gone: %w", err))
	}
}

// serve has a receiver serve until ctx ends or the agent is gone, and writes what it counts.
func (r *report) serve(ctx context.Context, counts func() any, serve func(context.Context) error) error {
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		tick := time.NewTicker(countsEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			b, err := json.Marshal(counts())
			if err != nil {
				r.gone(err)
				return
			}
			r.mu.Lock()
			r.write(slices.Concat([]byte("counts "), b, []byte("\n")))
			r.mu.Unlock()
		}
	}()
	err := serve(ctx)
	r.gone(nil)
	<-counted
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// reported hands on an event of a receiver, at the time that it says, where that can be.
func (a *agent) reported(ctx context.Context, events chan struct{}, e *event.Event) {
	if now := time.Now(); e.Time.After(now) || now.Sub(e.Time) > reachedBack {
		e.Time = now
	}
	e.Host = a.cfg.Host
	select {
	case <-events:
		a.handle(e)
		events <- struct{}{}
	case <-ctx.Done():
	}
}
