package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
)

const (
	batchEvents = 100
	batchBytes  = 64 << 10
	batchWait   = 50 * time.Millisecond
	queueBytes  = 8 << 20 // events that wait for the disk
)

// AgentOptions tunes an Agent.
type AgentOptions struct {
	Log          *slog.Logger          // nil discards
	Registerer   prometheus.Registerer // nil registers nothing
	Dir          string                // of the spool
	SpoolBytes   int64                 // most bytes of events on disk, the oldest go first; 0: 256 MiB
	FindingBytes int64                 // the same for findings; 0: 64 MiB
	// Held is called before n events are taken: until Kept they are in memory alone.
	Held func(n int)
	// Kept is called when n events outlive the end of this process, or were dropped and counted.
	Kept func(n int)
}

// Agent sends what a host's agent sees to the hub. Its methods are safe for concurrent use, and
// none waits for the network.
type Agent struct {
	o        AgentOptions
	name     string
	nc       *nats.Conn
	events   *spool
	findings *spool
	m        agentMetrics
	end      context.CancelFunc
	wait     sync.WaitGroup
	full     chan struct{} // a batch is full
	some     chan struct{} // a batch has begun

	mu     sync.Mutex
	batch  []byte
	count  uint32
	queue  []record
	queued int
	closed bool
}

// NewAgent opens the spool, sends what an earlier run left in it, and connects to the hub as soon
// as that can be reached, again and again.
func NewAgent(b Bundle, o AgentOptions) (*Agent, error) {
	if err := b.validate(); err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Held == nil {
		o.Held = func(int) {}
	}
	if o.Kept == nil {
		o.Kept = func(int) {}
	}
	if o.SpoolBytes <= 0 {
		o.SpoolBytes = 256 << 20
	}
	if o.FindingBytes <= 0 {
		o.FindingBytes = 64 << 20
	}
	a := &Agent{o: o, name: b.Name, full: make(chan struct{}, 1), some: make(chan struct{}, 1)}
	a.m = newAgentMetrics(o.Registerer)
	var err error
	if a.events, err = a.open("events", o.SpoolBytes, a.m.droppedEvents); err != nil {
		return nil, err
	}
	if a.findings, err = a.open("findings", o.FindingBytes, a.m.droppedFindings); err != nil {
		a.events.close()
		return nil, err
	}
	if err := a.connect(b); err != nil {
		a.events.close()
		a.findings.close()
		return nil, err
	}
	a.m.watch(o.Registerer, a)
	ctx, cancel := context.WithCancel(context.Background())
	a.end = cancel
	a.run(func() { a.gather(ctx) })
	for _, s := range []*sender{
		{a: a, spool: a.events, subject: subjectEvents + b.Name, window: 4 << 20},
		{a: a, spool: a.findings, subject: subjectFindings + b.Name, window: 4 << 20},
	} {
		a.run(func() { s.run(ctx) })
	}
	return a, nil
}

func (a *Agent) run(f func()) { a.wait.Go(f) }

func (a *Agent) open(what string, size int64, dropped prometheus.Counter) (*spool, error) {
	s, err := openSpool(filepath.Join(a.o.Dir, what), size, func(n uint32) {
		dropped.Add(float64(n))
	}, func(err error) {
		if err == nil {
			a.o.Log.Info("the spool works again", "spool", what)
			return
		}
		a.m.spoolErrors.Inc()
		a.o.Log.Error("the spool cannot be written or read; records wait in memory", "spool", what, "error", err)
	})
	if err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	return s, nil
}

func (a *Agent) connect(b Bundle) error {
	conf, err := b.tlsConfig()
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	a.nc, err = nats.Connect(b.URL,
		nats.Name(b.Name), nats.Secure(conf), nats.CustomInboxPrefix(inbox(b.Name)),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), // the spool is the buffer
		nats.IgnoreAuthErrorAbort(), nats.Timeout(3*time.Second), nats.PingInterval(10*time.Second), nats.MaxPingsOutstanding(2), nats.FlusherTimeout(10*time.Second), // a write that stalls holds pings up
		nats.CustomReconnectDelay(reconnectDelay),
		nats.ConnectHandler(a.connected), nats.ReconnectHandler(a.connected),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				a.o.Log.Warn("the hub is away; records wait in the spool", "url", b.URL, "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			a.o.Log.Error("the hub complains", "error", err)
		}))
	if err != nil {
		return fmt.Errorf("stream: connecting to %s: %w", b.URL, err)
	}
	if !a.nc.IsConnected() {
		a.o.Log.Info("waiting for the hub; records wait in the spool", "url", b.URL)
	}
	return nil
}

// reconnectDelay is short for the minute in which a server that was started anew comes back.
func reconnectDelay(attempts int) time.Duration {
	if attempts < 200 {
		return 250 * time.Millisecond
	}
	return 2 * time.Second
}

func (a *Agent) connected(nc *nats.Conn) {
	a.o.Log.Info("connected to the hub", "url", nc.ConnectedUrlRedacted())
	signal(a.events.wake)
	signal(a.findings.wake)
}

// PublishEvents takes n events as JSON lines, and copies them. They are sent within 50 ms, or wait.
// Where more come than the disk takes, the newest are dropped and counted.
func (a *Agent) PublishEvents(lines []byte, n int) {
	a.o.Held(n)
	if len(lines) > MaxPayload-batchBytes {
		a.dropped(n)
		return
	}
	a.mu.Lock()
	if a.closed || a.queued+len(lines) > queueBytes {
		a.mu.Unlock()
		a.dropped(n)
		return
	}
	first := len(a.batch) == 0
	a.batch = append(a.batch, lines...)
	if l := len(a.batch); l > 0 && a.batch[l-1] != '\n' {
		a.batch = append(a.batch, '\n')
	}
	a.count += uint32(n)
	a.queued += len(lines)
	full := a.count >= batchEvents || len(a.batch) >= batchBytes
	if full {
		a.cut()
	}
	a.mu.Unlock()
	a.m.events.Add(float64(n))
	if full {
		signal(a.full)
	} else if first {
		signal(a.some)
	}
}

func (a *Agent) dropped(n int) {
	a.m.droppedEvents.Add(float64(n))
	a.o.Kept(n)
}

// cut ends the batch.
func (a *Agent) cut() {
	if len(a.batch) > 0 {
		a.queue = append(a.queue, record{count: a.count, payload: a.batch})
		a.batch, a.count = make([]byte, 0, len(a.batch)), 0
	}
}

// gather writes batches to the spool: when they are full, or 50 ms after they began.
func (a *Agent) gather(ctx context.Context) {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	for {
		select {
		case <-a.some:
			t.Reset(batchWait)
			continue
		case <-a.full:
			a.spoolEvents(false)
		case <-t.C:
			a.spoolEvents(true)
		case <-ctx.Done():
			a.spoolEvents(true)
			return
		}
	}
}

func (a *Agent) spoolEvents(all bool) {
	a.mu.Lock()
	if all {
		a.cut()
	}
	queue := a.queue
	a.queue = nil
	a.mu.Unlock()
	size := 0
	for _, r := range queue {
		size += len(r.payload)
		r.id = event.HashID(a.name, string(r.payload))
		if err := a.events.append(r); err != nil {
			a.m.droppedEvents.Add(float64(r.count))
			a.o.Log.Error("events are dropped", "count", r.count, "error", err)
		}
		a.o.Kept(int(r.count))
	}
	a.mu.Lock()
	a.queued = max(a.queued-size, 0)
	if len(a.batch) == 0 && len(a.queue) == 0 {
		a.queued = 0
	}
	a.mu.Unlock()
}

// PublishFinding writes a finding to the spool and has it sent at once. When it returns nil, the
// finding outlives the end of this process.
func (a *Agent) PublishFinding(f event.Finding) error {
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("stream: finding %s: %w", f.ID, err)
	}
	a.mu.Lock()
	closed := a.closed
	a.mu.Unlock()
	if closed {
		return fmt.Errorf("stream: finding %s: %w", f.ID, ErrClosed)
	}
	if err := a.findings.append(record{id: a.name + "-" + f.ID, count: 1, payload: b}); err != nil {
		a.m.droppedFindings.Inc()
		return fmt.Errorf("stream: finding %s: %w", f.ID, err)
	}
	a.m.findings.Inc()
	return nil
}

// Heartbeat tells the hub how the agent is. Where the hub is away nobody hears it.
func (a *Agent) Heartbeat(h event.Heartbeat) { a.say(subjectHeartbeat, "a heartbeat", h) }

// say tells the hub something that need not be kept.
func (a *Agent) say(subject, what string, x any) {
	b, err := json.Marshal(x)
	if err == nil {
		err = a.nc.Publish(subject+a.name, b)
	}
	if err != nil && !errors.Is(err, nats.ErrReconnectBufExceeded) && a.nc.IsConnected() {
		a.o.Log.Warn("the hub was not told", "what", what, "error", err)
	}
}

// Connected reports whether the hub can be reached now.
func (a *Agent) Connected() bool { return a.nc.IsConnected() }

// Pending returns the bytes of events and of findings that the hub has not acknowledged.
func (a *Agent) Pending() (events, findings int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(a.queued) + a.events.pending(), a.findings.pending()
}

// Close gives what is on its way up to two seconds to arrive; the rest stays in the spool.
func (a *Agent) Close() error {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return nil
	}
	a.closed = true
	a.mu.Unlock()
	a.spoolEvents(true)
	for until := time.Now().Add(2 * time.Second); a.nc.IsConnected() && time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if e, f := a.Pending(); e+f == 0 {
			break
		}
	}
	a.end()
	a.nc.Close()
	a.wait.Wait()
	a.events.close()
	a.findings.close()
	return nil
}
