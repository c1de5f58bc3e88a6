package node

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	crand "crypto/rand"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"picket/detect/principal"
	"picket/event"
	"picket/ingest/otlp"
)

const (
	maxReceived   = 64 << 10 // bytes of a line of the receiver
	receiverAgain = time.Minute
	reachedBack   = 10 * time.Minute // how old a request may be that has just arrived
)

// validateTraces checks what the ingest section says of traces.
func (g *Ingest) validateTraces() (key, msg string) {
	if g.Token != "" && !filepath.IsAbs(g.Token) {
		return "ingest.token", "want the whole path of a file"
	}
	if g.OTLP == "" {
		return "", ""
	}
	at, err := netip.ParseAddrPort(g.OTLP)
	switch {
	case err != nil:
		return "ingest.otlp", "want an IP address and a port, such as 127.0.0.1:4318"
	case !at.Addr().IsLoopback() && g.Token == "":
		return "ingest.otlp", "want a loopback address, or a token for senders in ingest.token"
	}
	return "", ""
}

// asking is what the agent knows of those who ask AI services.
type asking struct {
	watch *principal.Watch
	log   *slog.Logger

	mu     sync.Mutex
	counts otlp.Counts // of receivers that have ended, and of the one that runs
	before otlp.Counts
	odd    uint64 // lines of the receiver that say nothing
}

func newAsking(log *slog.Logger, reg *prometheus.Registry) *asking {
	k := &asking{watch: principal.New(), log: log}
	reg.MustRegister(k)
	return k
}

// startReceiver takes traces until ctx ends; the channel is closed then. What senders write is read by a
// program without privilege and without a way out, which is handed the open port.
func (a *agent) startReceiver(ctx context.Context, events chan struct{}) (<-chan struct{}, error) {
	done := make(chan struct{})
	if a.cfg.Ingest.OTLP == "" {
		close(done)
		return done, nil
	}
	secrets, err := receiverSecrets(a.cfg)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", a.cfg.Ingest.OTLP)
	if err != nil {
		return nil, &Error{Err: fmt.Errorf("taking traces: %w", err), Hint: "the address is ingest.otlp in picket.yaml", Code: ExitHost}
	}
	port, err := l.(*net.TCPListener).File()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("taking traces: %w", err), l.Close())
	}
	a.asking.log.Info("taking traces in OTLP", "address", l.Addr().String())
	go func() {
		defer close(done)
		defer func() { _ = errors.Join(l.Close(), port.Close()) }() // they were only listened at
		keepReceiving(ctx, a.asking.log, "traces", func() error { return a.receive(ctx, events, port, secrets) })
	}()
	return done, nil
}

// keepReceiving runs a receiver, and anew where it ends, until ctx does.
func keepReceiving(ctx context.Context, log *slog.Logger, what string, receive func() error) {
	for wait := time.Second; ; wait = min(2*wait, receiverAgain) {
		begun := time.Now()
		err := receive()
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > receiverAgain { // it had come up
			wait = time.Second
		}
		log.Error("a receiver ended; it is started again", "of", what, "error", err, "in", wait)
		select {
		case <-time.After(wait + rand.N(wait/4+1)): //nolint:gosec // a spread, no secret
		case <-ctx.Done():
			return
		}
	}
}

// receive runs the receiver once.
func (a *agent) receive(ctx context.Context, events chan struct{}, port *os.File, secrets []byte) error {
	f, err := handOver(secrets)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	said := &bounded{most: 4 << 10}
	out := &received{line: func(line []byte) { a.received(ctx, events, line) }, odd: a.asking.oddLine}
	err = runConfinedWith(ctx, []*os.File{port, f}, out, said, "agent", "--receiver")
	a.asking.ended()
	if said.Len() > 0 {
		return fmt.Errorf("%w: %s", cmp.Or(err, errors.New("without an error")), said.String())
	}
	return err
}

// handOver returns an open, nameless file with secrets.
func handOver(secrets []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("secrets", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("handing over secrets: %w", err)
	}
	f := os.NewFile(uintptr(fd), "secrets")
	if _, err := f.WriteAt(secrets, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("handing over secrets: %w", err), f.Close())
	}
	return f, nil
}

// received takes a line of the receiver. It may have been taken over by who sends it traces: of what it
// says the request alone is believed, and only that it is one.
func (a *agent) received(ctx context.Context, events chan struct{}, line []byte) {
	if counts, ok := bytes.CutPrefix(line, []byte("counts ")); ok {
		var c otlp.Counts
		if json.Unmarshal(counts, &c) != nil {
			a.asking.oddLine()
			return
		}
		a.asking.count(c)
		return
	}
	said, err := event.ParseRecord(line)
	if err != nil || said.Kind != event.ServiceRequest || said.Request == nil {
		a.asking.oddLine()
		return
	}
	a.reported(ctx, events, &event.Event{Kind: event.ServiceRequest, Time: said.Time, Request: said.Request})
}

// TracesAt says where the agent of this host takes traces, and the token that senders show; nothing where it
// takes none.
func TracesAt(cfg *Config) (address, token string, err error) {
	if cfg.Ingest.OTLP == "" {
		return "", "", nil
	}
	token, err = tracesToken(cfg)
	return cfg.Ingest.OTLP, token, err
}

// tracesToken is the token that senders of traces must show; "" where they need none.
func tracesToken(cfg *Config) (string, error) {
	return readToken("ingest.token", cfg.Ingest.Token)
}

// readToken reads a token of senders out of the file that a key of the configuration names; "" is none.
func readToken(key, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", &Error{Err: fmt.Errorf("%s: %w", key, err), Code: ExitConfig}
	}
	first, _, _ := strings.Cut(string(b), "\n")
	token := strings.TrimSpace(first)
	if len(token) < 16 {
		return "", &Error{Err: fmt.Errorf("%s: the first line of %s has less than 16 characters", key, file), Hint: "openssl rand -hex 32 > " + file, Code: ExitConfig}
	}
	return token, nil
}

// receiverSecrets is what the receiver must know and others must not: the token, and the key of hashes,
// which is made when it is first needed.
func receiverSecrets(cfg *Config) ([]byte, error) {
	var s secretsOfReceiver
	var err error
	if s.Token, err = tracesToken(cfg); err != nil {
		return nil, err
	}
	name := filepath.Join(cfg.dir("agent"), "prompts.key")
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		b = make([]byte, len(s.Key))
		_, _ = crand.Read(b) // it never fails
		err = os.WriteFile(name, b, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("key of hashes: %w", err)
	}
	if copy(s.Key[:], b) != len(s.Key) {
		return nil, &Error{Err: fmt.Errorf("key of hashes: %s is cut", name), Hint: "remove it: hashes of prompts from before cannot be compared with new ones then", Code: ExitHost}
	}
	return json.Marshal(struct{ Token, Key string }{s.Token, hex.EncodeToString(s.Key[:])})
}

// received splits the receiver's output into lines. One that is too long is counted and left out.
type received struct {
	line    func([]byte)
	odd     func()
	rest    []byte
	tooLong bool
}

func (r *received) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		b = rest
		if r.tooLong = r.tooLong || len(r.rest)+len(line) > maxReceived; !r.tooLong {
			r.rest = append(r.rest, line...)
		}
		if !whole {
			break
		}
		if r.tooLong {
			r.odd()
		} else if len(r.rest) > 0 {
			r.line(r.rest)
		}
		r.rest, r.tooLong = r.rest[:0], false
	}
	return n, nil
}

// bounded keeps the beginning of what is written.
type bounded struct {
	bytes.Buffer
	most int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), max(0, b.most-b.Len()))])
	return len(p), nil
}

func (k *asking) oddLine() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.odd++
}

// count takes what the receiver that runs has counted so far.
func (k *asking) count(c otlp.Counts) {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.before
	k.counts = otlp.Counts{Bodies: b.Bodies + c.Bodies, Refused: b.Refused + c.Refused, Spans: b.Spans + c.Spans, Requests: b.Requests + c.Requests, Dropped: b.Dropped + c.Dropped}
}

// ended notes that the next receiver counts from zero.
func (k *asking) ended() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.before = k.counts
}

var (
	otlpBodies    = prometheus.NewDesc("picket_ingest_otlp_bodies_total", "Bodies of traces that were read.", nil, nil)
	otlpRefused   = prometheus.NewDesc("picket_ingest_otlp_refused_total", "Bodies and connections that were refused.", nil, nil)
	otlpSpans     = prometheus.NewDesc("picket_ingest_otlp_spans_total", "Spans in them.", nil, nil)
	otlpRequests  = prometheus.NewDesc("picket_ingest_otlp_requests_total", "Requests to models that spans were about.", nil, nil)
	otlpDropped   = prometheus.NewDesc("picket_ingest_otlp_dropped_total", "Requests past what is taken in a second.", nil, nil)
	otlpOdd       = prometheus.NewDesc("picket_ingest_otlp_odd_lines_total", "Lines of the receiver that say nothing.", nil, nil)
	askersKnown   = prometheus.NewDesc("picket_principals", "Principals that are told apart.", nil, nil)
	askersDropped = prometheus.NewDesc("picket_principals_replaced_total", "Principals that gave their place to others, as too many asked.", nil, nil)
)

// Describe implements prometheus.Collector.
func (k *asking) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(k, to) }

// Collect implements prometheus.Collector.
func (k *asking) Collect(to chan<- prometheus.Metric) {
	k.mu.Lock()
	c, odd := k.counts, k.odd
	k.mu.Unlock()
	for desc, n := range map[*prometheus.Desc]uint64{
		otlpBodies: c.Bodies, otlpRefused: c.Refused, otlpSpans: c.Spans, otlpRequests: c.Requests, otlpDropped: c.Dropped, otlpOdd: odd,
		askersDropped: k.watch.Replaced(),
	} {
		to <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n))
	}
	to <- prometheus.MustNewConstMetric(askersKnown, prometheus.GaugeValue, float64(k.watch.Known()))
}
