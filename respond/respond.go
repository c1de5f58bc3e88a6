// Package respond answers incidents. A playbook and an incident make a plan, which says what would be
// done to what; a person or a rule of the configuration approves that plan and no other; the run of it
// goes on where it stood after a crash, does nothing destructive twice, and can be taken back.
//
// [Engine] decides and remembers. It touches the world through an [action.Executor] alone, and through
// requests over HTTP that a playbook names.
package respond

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
	"picket/respond/action"
)

var (
	// ErrNotFound says that there is no such playbook, run or question.
	ErrNotFound = errors.New("not found")
	// ErrInvalid says that what was asked for makes no sense, or must not be.
	ErrInvalid = errors.New("invalid")
	// ErrConflict says that the run is not any more what the caller saw.
	ErrConflict = errors.New("changed meanwhile")
	// ErrFenced says that another server has taken the runs over.
	ErrFenced = errors.New("another server has taken the runs over")
)

// Incidents tells what is known of an incident.
type Incidents interface {
	Incident(ctx context.Context, id string) (event.Incident, error)
}

// Options sets up an Engine.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // nil: time.Now

	Journal   Journal
	Incidents Incidents
	// Executor carries acts out; without one plans are made, and none is run.
	Executor action.Executor
	Library  *Library
	Config   Config
	// Costs says what acts would cost, in words for people; nil says nothing. What it does not know it
	// says so of.
	Costs func(ctx context.Context, inc *event.Incident, acts []Act) []Cost
	// Agent is the host whose agent answers by itself, while its server is away; "" is a server.
	Agent string
	// Transport sends the requests of http-api commands; nil is one that refuses what no playbook has
	// business with, see [NewTransport].
	Transport http.RoundTripper
	// Changed is told each run that changed. It must not block.
	Changed func(Run)
}

// Engine plans and runs playbooks. It is safe for concurrent use.
type Engine struct {
	o       Options
	fence   uint64
	metrics *metrics
	http    *http.Client

	ctx  context.Context // of what runs; ends with Close
	end  context.CancelFunc
	wait sync.WaitGroup

	mu      sync.Mutex
	live    map[string]*live
	left    int                  // how many ceased to be live
	due     map[string]time.Time // when something must happen to a run that is not live
	stopped string               // who stopped all acts; "" lets them go on
	closed  bool
	wake    chan struct{}
	recent  map[string][]time.Time // when a rule started runs, for its limit
	wrong   map[string][]time.Time // when a rule turned out to have answered a false positive
	told    map[string]bool        // runs that count in wrong
	spent   []spent                // by rules, without a person
}

// New takes the runs over from whoever had them, and goes on with those that were not over.
func New(ctx context.Context, o Options) (*Engine, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Library == nil {
		o.Library = &Library{}
	}
	if o.Transport == nil {
		o.Transport = NewTransport()
	}
	if o.Changed == nil {
		o.Changed = func(Run) {}
	}
	o.Config = o.Config.withDefaults()
	if err := o.Config.Check(o.Library); err != nil {
		return nil, err
	}
	e := &Engine{
		o: o, metrics: newMetrics(o.Registerer), live: map[string]*live{}, due: map[string]time.Time{}, wake: make(chan struct{}, 1), recent: map[string][]time.Time{}, wrong: map[string][]time.Time{}, told: map[string]bool{},
		http: &http.Client{Transport: o.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	var err error
	if e.fence, err = o.Journal.TakeOver(ctx); err != nil {
		return nil, fmt.Errorf("respond: %w", err)
	}
	if e.stopped, err = o.Journal.Stopped(ctx); err != nil {
		return nil, fmt.Errorf("respond: %w", err)
	}
	e.ctx, e.end = context.WithCancel(context.Background())
	err = e.remember(ctx)
	if err == nil {
		err = e.recover(ctx)
	}
	if err != nil {
		e.end()
		return nil, fmt.Errorf("respond: %w", err)
	}
	e.wait.Go(e.watch)
	return e, nil
}

// recover makes the runs that were going on go on, and notes when the others are due.
func (e *Engine) recover(ctx context.Context) error {
	open, err := e.o.Journal.Runs(ctx, Query{Open: true})
	if err != nil {
		return err
	}
	var wrong []string
	for _, k := range open {
		r, err := e.read(k)
		if err != nil {
			e.o.Log.Error("a run cannot be read and does not go on", "run", k.ID, "error", err)
			continue
		}
		is := e.wrongly(ctx, r)
		if r.State == Running {
			if is {
				r.Cancel = falseAlarm
			}
			if err := e.start(r); err != nil {
				e.o.Log.Error("a run does not go on", "run", r.ID, "error", err)
			}
			continue
		}
		e.due[r.ID] = e.look(k.Due)
		if is {
			wrong = append(wrong, r.ID)
		}
	}
	e.wait.Go(func() { e.recall(wrong) })
	return nil
}

// Close stops what runs, between two of its steps or in the middle of one; the next engine goes on.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.end()
	e.wait.Wait()
	return nil
}

// watch lets time pass for runs that are not live: requests that nobody answered, acts whose time is over.
func (e *Engine) watch() {
	for e.ctx.Err() == nil { // what is due at the end is done by the next start
		now := e.o.Now()
		next := now.Add(time.Minute)
		var over []string
		e.mu.Lock()
		for id, at := range e.due {
			switch {
			case at.IsZero():
				delete(e.due, id)
			case !at.After(now):
				over = append(over, id)
			case at.Before(next):
				next = at
			}
		}
		e.mu.Unlock()
		slices.Sort(over)
		for _, id := range over {
			if _, err := e.with(e.ctx, id, func(l *live) error { l.tick(); return nil }); err != nil && e.ctx.Err() == nil && !errors.Is(err, ErrNotFound) {
				e.o.Log.Warn("what was due for a run was not done; it is tried again", "run", id, "error", err)
				e.setDue(id, now.Add(time.Minute))
			}
		}
		if len(over) > 0 {
			continue
		}
		timer := time.NewTimer(max(next.Sub(now), time.Millisecond))
		select {
		case <-e.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-e.wake:
			timer.Stop()
		}
	}
}

func (e *Engine) setDue(id string, at time.Time) {
	e.mu.Lock()
	e.due[id] = at
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// SetStopped stops all acts of all runs, or lets them go on. What was begun is finished, and undoing
// is not stopped.
func (e *Engine) SetStopped(ctx context.Context, by string, stop bool) error {
	who := ""
	if stop {
		who = by
	}
	if err := e.o.Journal.SetStopped(ctx, who); err != nil {
		return fmt.Errorf("respond: %w", err)
	}
	e.mu.Lock()
	e.stopped = who
	lives := make([]*live, 0, len(e.live))
	for _, l := range e.live {
		lives = append(lives, l)
	}
	e.mu.Unlock()
	for _, l := range lives {
		l.kick()
	}
	return nil
}

// Stopped says who stopped all acts, "" where nobody did.
func (e *Engine) Stopped() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stopped
}

type metrics struct {
	runs, acts *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "picket_respond_runs_total", Help: "Runs of playbooks that came to a state."}, []string{"state"}),
		acts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "picket_respond_acts_total", Help: "Acts of runs, by how they came out."}, []string{"kind", "state"}),
	}
	if r != nil {
		r.MustRegister(m.runs, m.acts)
	}
	return m
}
