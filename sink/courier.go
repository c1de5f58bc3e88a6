package sink

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// courier brings the outbox's records to one output, in order and at its own pace.
type courier struct {
	name    string
	sink    Sink
	opt     Options
	box     *Outbox
	reader  *reader
	dead    *deadLetters
	metrics counters

	mu     sync.Mutex
	done   uint64 // all before this are delivered
	oldest time.Time
	state  Status
}

// run delivers until ctx ends.
func (k *courier) run(ctx context.Context) {
	defer k.reader.close()
	for ctx.Err() == nil {
		batch, more, err := k.reader.batch()
		switch {
		case err != nil:
			k.attempt(err)
			k.opt.Log.Error("the outbox cannot be read", "sink", k.name, "err", err)
			pause(ctx, k.opt.MaxWait)
		case len(batch) == 0:
			select {
			case <-ctx.Done():
			case <-more:
			}
		default:
			k.mu.Lock()
			k.oldest = batch[0].at
			k.mu.Unlock()
			k.metrics.pending.Set(float64(k.status().Pending))
			k.deliver(ctx, batch)
		}
	}
}

// deliver sends a batch until the receiver has it, refusing for good what it refuses for good.
func (k *courier) deliver(ctx context.Context, batch []entry) {
	records := make([]json.RawMessage, len(batch))
	for i, e := range batch {
		records[i] = e.data
	}
	for tries := 0; ctx.Err() == nil; tries++ {
		err := k.sink.Send(ctx, records)
		if ctx.Err() != nil && err != nil {
			return // cut short by the shutdown: no failure
		}
		k.attempt(err)
		var refused *Refused
		switch {
		case err == nil:
			k.advance(batch, uint64(len(batch)))
			return
		case errors.As(err, &refused) && len(batch) > 1:
			half := len(batch) / 2 // look for the record that spoils the batch
			k.deliver(ctx, batch[:half])
			k.deliver(ctx, batch[half:])
			return
		case errors.As(err, &refused):
			if !k.bury(batch[0], refused) {
				pause(ctx, k.opt.MaxWait)
				continue
			}
			k.advance(batch, 0)
			return
		}
		wait := k.wait(tries, err)
		k.metrics.retries.Inc()
		if tries == 0 || tries&(tries-1) == 0 { // the log does not fill while a receiver is away for days
			k.opt.Log.Warn("sending failed, will try again", "sink", k.name, "to", k.sink.String(), "records", len(batch), "tries", tries+1, "wait", wait, "err", err)
		}
		pause(ctx, wait)
	}
}

// wait is how long to wait after the given number of failures: twice as long each time, with
// jitter, so that many servers do not come back at one moment; at least as long as asked for.
func (k *courier) wait(tries int, err error) time.Duration {
	d := min(k.opt.MinWait<<min(tries, 20), k.opt.MaxWait)
	d = d/2 + rand.N(d/2+1)
	if later, ok := errors.AsType[*Later](err); ok {
		d = max(d, min(later.After, 10*k.opt.MaxWait))
	}
	return d
}

// advance notes that the batch is done with; sent of it arrived.
func (k *courier) advance(batch []entry, sent uint64) {
	next := batch[len(batch)-1].seq + 1
	if err := k.reader.save(next); err != nil {
		k.opt.Log.Error("the place in the outbox was not saved: after a restart, records will be sent again", "sink", k.name, "err", err)
	}
	k.mu.Lock()
	k.done = next
	k.state.Sent += sent
	k.oldest = time.Time{}
	k.mu.Unlock()
	k.metrics.sent.Add(float64(sent))
	k.metrics.pending.Set(float64(k.status().Pending))
	k.box.passed()
}

// bury puts a record that the receiver will never take with the dead letters.
func (k *courier) bury(e entry, why *Refused) bool {
	if err := k.dead.add(k.opt.Now(), e.data, why.Reason); err != nil {
		k.opt.Log.Error("a refused record could not be set aside", "sink", k.name, "file", k.dead.path, "err", err)
		return false
	}
	k.mu.Lock()
	k.state.Dead++
	k.mu.Unlock()
	k.metrics.dead.Inc()
	k.opt.Log.Error("a record was refused and set aside", "sink", k.name, "file", k.dead.path, "reason", why.Reason)
	return true
}

func (k *courier) lost(n uint64) {
	k.gone(n)
	k.opt.Log.Error("the outbox was full: records went before they were sent", "sink", k.name, "records", n)
}

func (k *courier) corrupt(n uint64) {
	k.gone(n)
	k.opt.Log.Error("records of the outbox cannot be read: the disk spoiled them", "sink", k.name, "records", n)
}

func (k *courier) gone(n uint64) {
	k.mu.Lock()
	k.state.Lost += n
	k.mu.Unlock()
	k.metrics.lost.Add(float64(n))
}

// attempt remembers how the last attempt went.
func (k *courier) attempt(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var refused *Refused
	if err == nil || errors.As(err, &refused) { // who refuses a record is there
		k.state.Error, k.state.Tries = "", 0
		k.metrics.up.Set(1)
		return
	}
	k.state.Error = err.Error()
	k.state.Tries++
	k.metrics.up.Set(0)
}

func (k *courier) delivered() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.done
}

func (k *courier) status() Status {
	_, next, _ := k.box.log.bounds()
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.state
	s.Name, s.To, s.OK = k.name, k.sink.String(), s.Tries == 0
	if next > k.done {
		s.Pending = next - k.done
	}
	if s.Pending > 0 && !k.oldest.IsZero() {
		s.Lag = max(0, k.opt.Now().Sub(k.oldest))
	}
	return s
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
