package events

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// AckDelay is how long rows stay unacknowledged after the store took them. The store has them on
// disk within about two seconds; a kill before that loses them, and they are then written again.
const AckDelay = 5 * time.Second

const (
	settle     = 2 * time.Second        // after it the store shows every row it was given
	gather     = 50 * time.Millisecond  // how long the first line of a post waits for others
	sweep      = 500 * time.Millisecond // how often held rows are looked at
	suspicious = time.Minute            // how long after a start everything is checked for repeats
	postRows   = 4000
	postBytes  = 4 << 20
	idsAtOnce  = 500
)

// Batch is some events of one host, on their way to the store.
type Batch struct {
	Host  string // who sent them, as proven by its certificate
	Lines []byte // JSON lines
	N     int    // how many
	// Again says that the batch may have been handed over before.
	Again bool
	// Ack is called once when the lines are safe, or will never be taken.
	Ack func()
}

// WriterOptions tunes a Writer.
type WriterOptions struct {
	Log        *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil registers nothing
	// Generation names the running store; it changes with each start. nil asks the store itself.
	Generation func() string
	Delay      time.Duration // 0: AckDelay
	MaxBytes   int           // lines held back before Add blocks; 0: 16 MiB
}

// Writer puts batches into the store so that none is lost or shown twice, whatever ends when: it
// acknowledges a batch only when its rows have been in the same store process for AckDelay, writes
// it again where the store was started anew, and leaves out rows that are there already.
type Writer struct {
	c     *Client
	o     WriterOptions
	begun time.Time
	m     writerMetrics

	space  chan struct{} // one token: room was made
	wake   chan struct{}
	mu     sync.Mutex
	queue  []*Batch
	queued int // bytes
	held   []*post
}

// post is what was written in one request.
type post struct {
	host    string
	batches []*Batch
	gen     string
	at      time.Time
	check   bool      // look for its rows before writing
	after   time.Time // when such a look is sure to see them
}

// NewWriter returns a Writer; Run makes it work.
func NewWriter(c *Client, o WriterOptions) *Writer {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Delay <= 0 {
		o.Delay = AckDelay
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 16 << 20
	}
	w := &Writer{c: c, o: o, begun: c.opt.Now(), space: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
	w.m = newWriterMetrics(o.Registerer, w)
	return w
}

// Add takes a batch. It blocks while too much is waiting, and fails only when ctx ends.
func (w *Writer) Add(ctx context.Context, b Batch) error {
	for {
		w.mu.Lock()
		if w.queued == 0 || w.queued+len(b.Lines) <= w.o.MaxBytes {
			w.queue = append(w.queue, &b)
			w.queued += len(b.Lines)
			w.mu.Unlock()
			signal(w.wake)
			return nil
		}
		w.mu.Unlock()
		select {
		case <-w.space:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is there already
	}
}

// Run writes until ctx ends. What is not acknowledged by then comes again from where it came.
func (w *Writer) Run(ctx context.Context) error {
	tick := time.NewTimer(time.Hour)
	defer tick.Stop()
	for {
		w.mu.Lock()
		if len(w.held) > 0 {
			tick.Reset(sweep)
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
			if !pause(ctx, gather) {
				return nil
			}
			for _, p := range w.take() {
				if !w.write(ctx, p) {
					return nil
				}
				w.release(ctx)
			}
		case <-tick.C:
		}
		w.release(ctx)
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// take makes posts of what is queued: by host, since the store is told the host once per request.
func (w *Writer) take() []*post {
	w.mu.Lock()
	queue := w.queue
	w.queue, w.queued = nil, 0
	w.mu.Unlock()
	signal(w.space)
	var out []*post
	open := map[string]*post{}
	rows, size := map[*post]int{}, map[*post]int{}
	now := w.c.opt.Now()
	for _, b := range queue {
		p := open[b.Host]
		if p == nil || rows[p]+b.N > postRows || size[p]+len(b.Lines) > postBytes {
			p = &post{host: b.Host, check: now.Sub(w.begun) < suspicious, after: w.begun.Add(settle)}
			open[b.Host], out = p, append(out, p)
		}
		p.batches = append(p.batches, b)
		rows[p] += b.N
		size[p] += len(b.Lines)
		p.check = p.check || b.Again
	}
	return out
}

// write posts p until the store has it, and holds it. It reports false when ctx ended.
func (w *Writer) write(ctx context.Context, p *post) bool {
	delay := 100 * time.Millisecond
	for told := false; ; {
		err := w.try(ctx, p)
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil:
			if told {
				w.o.Log.Info("event store takes events again", "host", p.host)
			}
			return true
		case errors.Is(err, ErrRefused):
			w.o.Log.Error("events are dropped: the store will not take them", "host", p.host, "error", err)
			w.m.refused.Add(float64(p.rows()))
			p.ack()
			return true
		}
		w.m.failures.Inc()
		if !told {
			told = true
			w.o.Log.Warn("event store takes no events; they wait", "host", p.host, "error", err)
		}
		if !errors.Is(err, errNotSent) {
			p.check, p.after = true, w.c.opt.Now().Add(settle) // it may have taken them all the same
		}
		if !pause(ctx, delay) {
			return false
		}
		delay = min(2*delay, 2*time.Second)
	}
}

var errNotSent = errors.New("not sent")

func (w *Writer) try(ctx context.Context, p *post) error {
	gen, err := w.generation(ctx)
	if err != nil {
		return errors.Join(err, errNotSent)
	}
	lines, n := p.lines()
	good, kept := clean(lines, w.c.opt.Now())
	if p.check {
		if !pause(ctx, p.after.Sub(w.c.opt.Now())) {
			return ctx.Err()
		}
		if good, kept, err = w.missing(ctx, p.host, good, kept); err != nil {
			return errors.Join(err, errNotSent)
		}
	}
	if kept > 0 {
		if err := w.c.post(ctx, p.host, good); err != nil {
			return err
		}
	}
	w.m.rows.Add(float64(kept))
	w.m.skipped.Add(float64(max(n-kept, 0)))
	p.gen, p.at = gen, w.c.opt.Now()
	w.mu.Lock()
	w.held = append(w.held, p)
	w.mu.Unlock()
	return nil
}

// missing leaves out the lines whose events the store has.
func (w *Writer) missing(ctx context.Context, host string, lines []byte, n int) ([]byte, int, error) {
	var ids []string
	var rows [][]byte
	var first, last time.Time
	for line := range bytes.Lines(lines) {
		id, at := identify(line)
		if id == "" {
			continue // clean has dropped such lines
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
		ids, rows = append(ids, id), append(rows, line)
	}
	have := map[string]bool{}
	for at := 0; at < len(ids); at += idsAtOnce {
		if err := w.c.ids(ctx, host, ids[at:min(at+idsAtOnce, len(ids))], first, last, have); err != nil {
			return nil, 0, err
		}
	}
	out, kept := make([]byte, 0, len(lines)), 0
	for i, line := range rows {
		if !have[ids[i]] {
			have[ids[i]] = true // twice in this post
			out = append(out, line...)
			kept++
		}
	}
	w.m.repeats.Add(float64(n - kept))
	return out, kept, nil
}

// release acknowledges what is safe by now, and writes again what a new start of the store may
// have lost.
func (w *Writer) release(ctx context.Context) {
	w.mu.Lock()
	now, n := w.c.opt.Now(), 0
	for n < len(w.held) && now.Sub(w.held[n].at) >= w.o.Delay {
		n++
	}
	due := w.held[:n:n]
	w.held = w.held[n:]
	w.mu.Unlock()
	if n == 0 {
		return
	}
	gen, err := w.generation(ctx)
	if err != nil {
		w.mu.Lock()
		w.held = append(due, w.held...)
		w.mu.Unlock()
		return
	}
	for i, p := range due {
		if p.gen == gen {
			p.ack()
			continue
		}
		w.m.rewritten.Add(float64(p.rows()))
		p.check, p.after = true, time.Time{} // a store that was started anew shows all it has
		if !w.write(ctx, p) {
			w.mu.Lock()
			w.held = append(due[i:], w.held...)
			w.mu.Unlock()
			return
		}
	}
}

func (p *post) lines() (lines []byte, n int) {
	for _, b := range p.batches {
		lines = append(lines, b.Lines...)
		if l := len(lines); l > 0 && lines[l-1] != '\n' {
			lines = append(lines, '\n')
		}
		n += b.N
	}
	return lines, n
}

func (p *post) rows() (n int) {
	for _, b := range p.batches {
		n += b.N
	}
	return n
}

func (p *post) ack() {
	for _, b := range p.batches {
		if b.Ack != nil {
			b.Ack()
		}
	}
}
