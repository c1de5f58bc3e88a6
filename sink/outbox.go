package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
)

// Options sets up an Outbox. The zero value of each field is a sensible default.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Mapping    Mapping
	// MaxBytes bounds the outbox on disk; where an output stays away for longer, the oldest records
	// go, and are counted. Default 256 MiB.
	MaxBytes int64
	// MinWait and MaxWait bound the pause before a failed batch is sent again. Defaults 250 ms, 60 s.
	MinWait, MaxWait time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 256 << 20
	}
	if o.MinWait <= 0 {
		o.MinWait = 250 * time.Millisecond
	}
	if o.MaxWait <= 0 {
		o.MaxWait = 60 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Outbox takes findings and incidents and brings them to every output.
type Outbox struct {
	opt     Options
	log     *log
	courier []*courier
	metrics *metrics
	release sync.Mutex
}

// Open opens the outbox in dir and its outputs. Only one process may have it open.
func Open(dir string, configs []Config, opt Options) (*Outbox, error) {
	if err := Check(configs); err != nil {
		return nil, err
	}
	opt = opt.withDefaults()
	l, err := openLog(dir, opt.MaxBytes, opt.Log)
	if err != nil {
		return nil, err
	}
	o := &Outbox{opt: opt, log: l, metrics: newMetrics(opt.Registerer)}
	for _, c := range configs {
		if err := o.add(c, nil); err != nil {
			return nil, errors.Join(fmt.Errorf("sink %s: %w", c.name(), err), o.Close())
		}
	}
	return o, nil
}

// add opens an output; s is given by tests.
func (o *Outbox) add(c Config, s Sink) (err error) {
	if s == nil {
		if s, err = open(c); err != nil {
			return err
		}
	}
	name := c.name()
	k := &courier{
		name: name, sink: s, opt: o.opt, box: o, metrics: o.metrics.of(name),
		dead: &deadLetters{path: filepath.Join(o.log.dir, name+".dead.jsonl")},
	}
	k.reader, err = openReader(o.log, name, k.lost, k.corrupt)
	if err != nil {
		return err
	}
	k.done = k.reader.next
	o.courier = append(o.courier, k)
	return nil
}

// Run delivers until ctx ends. A batch under way then is sent again the next time.
func (o *Outbox) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, k := range o.courier {
		all.Go(func() { k.run(ctx) })
	}
	all.Wait()
	return ctx.Err()
}

// Close closes outputs and outbox. Call it after Run has returned.
func (o *Outbox) Close() error {
	var errs []error
	for _, k := range o.courier {
		k.reader.close()
		if c, ok := k.sink.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(append(errs, o.log.close())...)
}

// Finding queues a finding for every output and returns when it is safely on disk.
func (o *Outbox) Finding(f event.Finding, incident string) error {
	b, err := o.opt.Mapping.Finding(f, incident)
	if err != nil {
		o.metrics.unmapped.Inc()
		return fmt.Errorf("finding %s: %w", f.ID, err)
	}
	return o.Append(b)
}

// Incident queues an incident for every output and returns when it is safely on disk.
func (o *Outbox) Incident(i event.Incident) error {
	b, err := o.opt.Mapping.Incident(i)
	if err != nil {
		o.metrics.unmapped.Inc()
		return fmt.Errorf("incident %s: %w", i.ID, err)
	}
	return o.Append(b)
}

// Append queues records, each one line of JSON, and returns when they are safely on disk.
func (o *Outbox) Append(records ...json.RawMessage) error {
	if len(o.courier) == 0 || len(records) == 0 {
		return nil
	}
	lines := make([][]byte, len(records))
	for i, r := range records {
		lines[i] = r
	}
	if err := o.log.append(o.opt.Now(), lines); err != nil {
		o.metrics.appendErrors.Inc()
		return err
	}
	o.metrics.appended.Add(float64(len(records)))
	o.metrics.size(o.log)
	return nil
}

// passed frees the segments that all outputs have passed.
func (o *Outbox) passed() {
	o.release.Lock()
	defer o.release.Unlock()
	slowest := ^uint64(0)
	for _, k := range o.courier {
		slowest = min(slowest, k.delivered())
	}
	o.log.release(slowest)
	o.metrics.size(o.log)
}

// Status is how an output is.
type Status struct {
	Name    string        `json:"name"`
	To      string        `json:"to"`
	OK      bool          `json:"ok"`             // the last attempt succeeded
	Error   string        `json:"error"`          // of the last attempt
	Pending uint64        `json:"pending"`        // records to be sent
	Lag     time.Duration `json:"lag"`            // age of the oldest of them
	Sent    uint64        `json:"sent"`           // since the start
	Dead    uint64        `json:"dead"`           // refused for good, kept in <name>.dead.jsonl
	Lost    uint64        `json:"lost"`           // gone unsent, as the outbox was full or the disk spoiled them
	Tries   int           `json:"tries,omitzero"` // failed attempts in a row
}

// Status returns how each output is.
func (o *Outbox) Status() []Status {
	out := make([]Status, len(o.courier))
	for i, k := range o.courier {
		out[i] = k.status()
	}
	return out
}
