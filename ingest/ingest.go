// Package ingest reads what AI services tell of themselves: the requests in their access logs, and
// their metrics; and what clusters were asked, in the audit log of Kubernetes.
//
// What a log holds is a client's to choose, and who runs in a container chooses the log. So every
// length is bounded, nothing is believed but the place at which a server writes a thing, and what is
// not read is counted.
package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
)

const (
	pollEvery = 250 * time.Millisecond
	findEvery = 5 * time.Second
	keepEvery = 10 * time.Second
	forget    = time.Minute // after a log is no longer found

	maxSources = 128
	maxPoll    = 1 << 20  // bytes read of one log at a time
	maxBehind  = 64 << 20 // bytes that a log may be ahead of its reader; the oldest are passed over
)

// Options is what a Reader needs. With the zero value it reads nothing.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Logs       []Logs                  // beside those that are found
	Audit      []string                // patterns of files that are the audit log of Kubernetes
	Processes  func() []*event.Process // those of AI workloads, the root of each before its others
	State      string                  // file in which it is kept how far each log was read; "" keeps nothing
	Told       func(e *event.Event)    // is given the requests, in the one goroutine of Run
	Now        func() time.Time        // time.Now if nil
}

// Logs are access logs that somebody named.
type Logs struct {
	Paths  []string // patterns, as of a shell
	Engine string
}

// Source is a log that is read, as far as it was.
type Source struct {
	Name     string
	Engine   string
	PID      uint32 // of the service, 0 where it is not known
	Lines    uint64
	Requests uint64
	Refused  uint64 // lines too long, or that begin like a request and are none
	Dropped  uint64 // requests beyond the bound on a second
	Lost     uint64 // bytes passed over, as the log grew faster than it was read
	Lag      int64  // bytes not read yet
}

// Reader reads access logs.
type Reader struct {
	opts    Options
	started time.Time
	sources map[fileID]*source // of Run's goroutine
	kept    map[fileID]position
	tooMany int // logs that were found in this round and are not read

	mu     sync.Mutex
	status []Source
	total  Source // of logs that are no longer read
	unread int    // logs beyond the bounds
}

// New returns a Reader.
func New(opts Options) *Reader {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Processes == nil {
		opts.Processes = func() []*event.Process { return nil }
	}
	r := &Reader{opts: opts, started: opts.Now(), sources: map[fileID]*source{}, kept: map[fileID]position{}}
	r.load()
	if opts.Registerer != nil {
		opts.Registerer.MustRegister(r)
	}
	return r
}

// Run reads until ctx ends.
func (r *Reader) Run(ctx context.Context) {
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	defer r.save()
	defer r.close()
	var found, saved time.Time
	for {
		now := r.opts.Now()
		if now.Sub(found) >= findEvery {
			found = now
			r.find(now)
		}
		r.read(now)
		if now.Sub(saved) >= keepEvery {
			saved = now
			r.save()
		}
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}

// read takes in what logs have grown by.
func (r *Reader) read(now time.Time) {
	var status []Source
	for id, s := range r.sources {
		s.poll(now, r.opts.Told)
		if s.Lag == 0 && now.Sub(s.found) > forget {
			s.flush(now.Add(time.Hour), r.opts.Told)
			s.file.Close() //nolint:errcheck // it was only read
			delete(r.sources, id)
			r.keep(id, s)
			r.mu.Lock()
			r.total.add(&s.Source)
			r.mu.Unlock()
			continue
		}
		status = append(status, s.Source)
	}
	slices.SortFunc(status, func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	r.mu.Lock()
	r.status = status
	r.mu.Unlock()
}

// keep remembers how far a log was read that may come back. Of too many one is forgotten.
func (r *Reader) keep(id fileID, s *source) {
	for other := range r.kept {
		if len(r.kept) < maxKept {
			break
		}
		delete(r.kept, other)
	}
	r.kept[id] = s.position(id)
}

func (r *Reader) close() {
	for _, s := range r.sources {
		s.flush(r.opts.Now().Add(time.Hour), r.opts.Told) // what is counted is told of by nobody else
		s.file.Close()                                    //nolint:errcheck // it was only read
	}
}

// Sources returns the logs that are read, by name.
func (r *Reader) Sources() []Source {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.status)
}

func (s *Source) add(o *Source) {
	s.Lines, s.Requests, s.Refused = s.Lines+o.Lines, s.Requests+o.Requests, s.Refused+o.Refused
	s.Dropped, s.Lost, s.Lag = s.Dropped+o.Dropped, s.Lost+o.Lost, s.Lag+o.Lag
}

// Total returns the sum of all logs that were read, and how many are.
func (r *Reader) Total() (Source, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := r.total
	for i := range r.status {
		sum.add(&r.status[i])
	}
	sum.Lag -= r.total.Lag
	return sum, len(r.status)
}

// String says in a few words how reading goes.
func (r *Reader) String() string {
	t, n := r.Total()
	s := fmt.Sprintf("%d access logs are read: %d lines, %d requests, %d lines refused", n, t.Lines, t.Requests, t.Refused)
	if t.Dropped > 0 {
		s += fmt.Sprintf(", %d requests too many in a second were only counted", t.Dropped)
	}
	if t.Lost > 0 {
		s += fmt.Sprintf(", %d bytes were passed over", t.Lost)
	}
	r.mu.Lock()
	unread := r.unread
	r.mu.Unlock()
	if unread > 0 {
		s += fmt.Sprintf(", %d logs more than may be read are not", unread)
	}
	if t.Lag > 0 {
		s += fmt.Sprintf(", %d bytes wait", t.Lag)
	}
	return s
}

var ingestMetrics = []struct {
	desc *prometheus.Desc
	of   func(*Source) float64
	kind prometheus.ValueType
}{
	{ingestDesc("lines_total", "Lines of access logs that were read."), func(s *Source) float64 { return float64(s.Lines) }, prometheus.CounterValue},
	{ingestDesc("requests_total", "Requests found in them."), func(s *Source) float64 { return float64(s.Requests) }, prometheus.CounterValue},
	{ingestDesc("refused_total", "Lines too long, or that begin like a request and are none."), func(s *Source) float64 { return float64(s.Refused) }, prometheus.CounterValue},
	{ingestDesc("dropped_total", "Requests beyond the bound on a second."), func(s *Source) float64 { return float64(s.Dropped) }, prometheus.CounterValue},
	{ingestDesc("lost_bytes_total", "Bytes of logs that were passed over."), func(s *Source) float64 { return float64(s.Lost) }, prometheus.CounterValue},
	{ingestDesc("lag_bytes", "Bytes of logs that were not read yet."), func(s *Source) float64 { return float64(s.Lag) }, prometheus.GaugeValue},
}

var sourcesDesc = ingestDesc("logs", "Access logs that are read.")

func ingestDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("picket_ingest_"+name, help, nil, nil)
}

// Describe implements prometheus.Collector.
func (r *Reader) Describe(to chan<- *prometheus.Desc) {
	for _, m := range ingestMetrics {
		to <- m.desc
	}
	to <- sourcesDesc
}

// Collect implements prometheus.Collector.
func (r *Reader) Collect(to chan<- prometheus.Metric) {
	t, n := r.Total()
	for _, m := range ingestMetrics {
		to <- prometheus.MustNewConstMetric(m.desc, m.kind, m.of(&t))
	}
	to <- prometheus.MustNewConstMetric(sourcesDesc, prometheus.GaugeValue, float64(n))
}
