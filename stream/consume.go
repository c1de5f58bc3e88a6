package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"picket/event"
)

const (
	ackWait     = 10 * time.Second // a server that was killed is handed what it held after this time
	maxHeld     = 144 << 20        // bytes of events handed over and not acknowledged
	maxHeldMsgs = 16384
	consumer    = "server"
)

// Batch is events of one agent, as JSON lines.
type Batch struct {
	From  string // the agent, as proven by its certificate
	Lines []byte
	N     int  // how many
	Again bool // may have been handed over before
	// Ack says that the events are kept elsewhere. It may be called from any goroutine, once.
	Ack func()
}

// Events calls fn for each batch of events, in order, until ctx ends. fn may keep a batch and
// acknowledge it later; a batch whose server ends before it is acknowledged is handed over again.
// While more than a bound is not acknowledged, fn is not called.
func (h *Hub) Events(ctx context.Context, fn func(Batch)) error {
	k := &keeper{held: map[uint64]jetstream.Msg{}, room: make(chan struct{}, 1), max: maxHeld}
	stop := make(chan struct{})
	defer close(stop)
	go k.prolong(stop)
	last := uint64(0)
	return h.consume(ctx, streamEvents, maxHeldMsgs, func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			h.o.Log.Error("a message of the stream has no place in it", "error", err)
			return
		}
		seq, size := meta.Sequence.Stream, len(m.Data())
		if meta.NumDelivered == 1 {
			if last > 0 && seq > last+1 {
				h.m.discarded.Add(float64(seq - last - 1))
				h.o.Log.Warn("events were discarded before they were read: more came than the stream keeps", "messages", seq-last-1)
			}
			last = max(last, seq)
		}
		if !k.hold(ctx, seq, m, size) {
			return // it is being dealt with, or the server stops
		}
		n, err := strconv.Atoi(m.Headers().Get(headerCount))
		if err != nil || n < 0 {
			n = strings.Count(string(m.Data()), "\n")
		}
		h.m.events.Add(float64(n))
		fn(Batch{
			From: strings.TrimPrefix(m.Subject(), subjectEvents), Lines: m.Data(), N: n, Again: meta.NumDelivered > 1,
			Ack: func() {
				if err := m.Ack(); err != nil && h.ctx.Err() == nil {
					h.o.Log.Warn("a batch could not be acknowledged; it comes again", "error", err)
				}
				k.free(seq, size)
			},
		})
	})
}

// Findings calls fn for each finding, in order, until ctx ends. from is the agent that sent it, as
// proven by its certificate. Where fn fails, the finding is handed over again, a second later.
func (h *Hub) Findings(ctx context.Context, fn func(from string, f event.Finding) error) error {
	return h.consume(ctx, streamFindings, 256, func(m jetstream.Msg) {
		from := strings.TrimPrefix(m.Subject(), subjectFindings)
		var f event.Finding
		err := json.Unmarshal(m.Data(), &f)
		if err == nil {
			err = sound(&f)
		}
		if err != nil {
			h.m.unreadable.Inc()
			h.o.Log.Error("a finding is dropped: it cannot be read", "agent", from, "error", err)
			h.settle(m.Term())
			return
		}
		h.m.findings.Inc()
		if err := fn(from, f); err != nil {
			if ctx.Err() == nil {
				h.o.Log.Error("a finding is not dealt with yet; it is tried again", "agent", from, "finding", f.ID, "error", err)
			}
			h.settle(m.NakWithDelay(time.Second))
			return
		}
		h.settle(m.Ack())
	})
}

// sound refuses a finding that no store could take under its id, which no agent of ours sends. It would
// be handed over again for ever, and enough of them would keep back those of other hosts.
func sound(f *event.Finding) error {
	odd := func(r rune) bool { return r <= ' ' || r > '~' }
	switch {
	case f.ID == "" || len(f.ID) > 128 || strings.ContainsFunc(f.ID, odd):
		return fmt.Errorf("its id has %d bytes, or others than printable ones", len(f.ID))
	case len(f.Rule.ID) > 1024 || len(f.Rule.Name) > 1024 || len(f.Host) > 1024:
		return errors.New("its rule or host has a name of more than 1,024 bytes")
	}
	return nil
}

func (h *Hub) settle(err error) {
	if err != nil && h.ctx.Err() == nil && !errors.Is(err, nats.ErrConnectionClosed) {
		h.o.Log.Warn("a finding could not be acknowledged; it comes again", "error", err)
	}
}

// Heartbeats calls fn for each heartbeat until ctx ends. One that nobody hears is gone.
func (h *Hub) Heartbeats(ctx context.Context, fn func(from string, b event.Heartbeat)) error {
	return hear(ctx, h, subjectHeartbeat, "a heartbeat", fn)
}

// consume hands the messages of a stream to fn, one at a time.
func (h *Hub) consume(ctx context.Context, stream string, pending int, fn func(jetstream.Msg)) error {
	c, err := h.js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: consumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: pending, MaxDeliver: -1,
	})
	if err != nil {
		return fmt.Errorf("stream: reading %s: %w", stream, err)
	}
	// Bytes, not messages, are what is asked for ahead: messages may be large.
	cc, err := c.Consume(fn, jetstream.PullMaxBytes(MaxPayload+1<<20), jetstream.PullExpiry(30*time.Second), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		h.o.Log.Debug("reading a stream", "stream", stream, "error", err)
	}))
	if err != nil {
		return fmt.Errorf("stream: reading %s: %w", stream, err)
	}
	select {
	case <-ctx.Done():
		cc.Stop()
		return nil
	case <-cc.Closed():
		if ctx.Err() != nil || h.ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("stream: reading %s ended: %w", stream, errors.Join(errors.New("the hub closed it"), h.Health()))
	}
}

// Lag is what waits in a stream.
type Lag struct {
	Waiting uint64 // messages that were not handed over yet
	Held    int    // messages handed over and not acknowledged
	Kept    uint64 // messages on disk
	Bytes   uint64 // of them
}

// Lag returns what waits in the events' stream and in the findings'. It asks the hub's server
// itself, as a request over the bus would wake a dozen goroutines.
func (h *Hub) Lag() (events, findings Lag, err error) {
	info, err := h.ns.JszAccount(&server.JSzOptions{Account: server.DEFAULT_GLOBAL_ACCOUNT, Streams: true, Consumer: true})
	if err != nil {
		return events, findings, fmt.Errorf("stream: %w", err)
	}
	for _, s := range info.Streams {
		l := Lag{Kept: s.State.Msgs, Bytes: s.State.Bytes, Waiting: s.State.Msgs}
		for _, c := range s.Consumer {
			if c.Name == consumer {
				l.Waiting, l.Held = c.NumPending, c.NumAckPending
			}
		}
		switch s.Name {
		case streamEvents:
			events = l
		case streamFindings:
			findings = l
		}
	}
	return events, findings, nil
}

// keeper knows the messages that were handed over and not acknowledged, and bounds their bytes.
type keeper struct {
	mu   sync.Mutex
	held map[uint64]jetstream.Msg
	size int
	max  int
	room chan struct{}
}

// hold waits for room. It reports false for a message that is held already.
func (k *keeper) hold(ctx context.Context, seq uint64, m jetstream.Msg, size int) bool {
	for {
		k.mu.Lock()
		if _, have := k.held[seq]; have {
			k.mu.Unlock()
			return false
		}
		if k.size == 0 || k.size+size <= k.max {
			k.held[seq] = m
			k.size += size
			k.mu.Unlock()
			return true
		}
		k.mu.Unlock()
		select {
		case <-k.room:
		case <-ctx.Done():
			return false
		}
	}
}

func (k *keeper) free(seq uint64, size int) {
	k.mu.Lock()
	delete(k.held, seq)
	k.size -= size
	k.mu.Unlock()
	select {
	case k.room <- struct{}{}:
	default: // a waiter was told already
	}
}

// prolong tells the hub that held messages are being worked on, so that it does not send them again.
func (k *keeper) prolong(stop <-chan struct{}) {
	t := time.NewTicker(ackWait / 3)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		k.mu.Lock()
		held := make([]jetstream.Msg, 0, len(k.held))
		for _, m := range k.held {
			held = append(held, m)
		}
		k.mu.Unlock()
		for _, m := range held {
			_ = m.InProgress() // acknowledged meanwhile, or sent again after all: both are harmless
		}
	}
}
