package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Options sets up a Local. Dir and Host are needed.
type Options struct {
	Log    *slog.Logger // nil discards
	Dir    string       // of the journal and the stop switch
	Host   string       // name of this host, as targets have it
	BootID string
	// Told hears of each act that came out or ended. It is called at once, and may be called from
	// several goroutines.
	Told func(Request, Result)
}

const (
	maxRequest = 16 << 10 // bytes, as JSON
	maxTTL     = 7 * 24 * time.Hour
	maxOutput  = 16 << 10
	keepHits   = 20
	retryUndo  = 5 * time.Second
)

var requestID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

// Local is the Executor of this host. The same request is done once, also over a crash: what is to be
// done is written down before it is done, and how it came out after. Acts that are held are taken back
// when their time is over, by Run.
type Local struct {
	o    Options
	acts Registry

	mu      sync.Mutex // of what follows
	journal *journal
	busy    map[string]chan struct{} // what is acted on
	failed  map[string]time.Time     // acts that could not be taken back, and when that was tried

	settled chan struct{} // closed when what an earlier run began is known
	wake    chan struct{}
}

// Open reads the journal. Nothing is carried out before Run has settled what an earlier run began.
func Open(o Options, acts ...Action) (*Local, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Told == nil {
		o.Told = func(Request, Result) {}
	}
	known, err := NewRegistry(acts...)
	if err != nil {
		return nil, err
	}
	j, err := openJournal(filepath.Join(o.Dir, "actions.journal"))
	if err != nil {
		return nil, err
	}
	return &Local{
		o: o, acts: known, journal: j, busy: map[string]chan struct{}{}, failed: map[string]time.Time{},
		settled: make(chan struct{}), wake: make(chan struct{}, 1),
	}, nil
}

// Close closes the journal, after Run has returned.
func (l *Local) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.journal.close()
}

// check refuses requests that make no sense, and fills in what goes without saying.
func (l *Local) check(r *Request) (Action, error) {
	b, err := json.Marshal(r)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	case len(b) > maxRequest:
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d", ErrInvalid, len(b), maxRequest)
	case r.TTL < 0 || r.TTL > maxTTL:
		return nil, fmt.Errorf("%w: a time of %s: want up to a week", ErrInvalid, r.TTL)
	case r.Target.Host != "" && r.Target.Host != l.o.Host:
		return nil, fmt.Errorf("%w: it is for host %s, and this is %s", ErrInvalid, r.Target.Host, l.o.Host)
	}
	r.Target.Host = l.o.Host
	act, err := l.acts.Of(r.Kind)
	if err != nil {
		return nil, err
	}
	if d, ok := act.(interface{ DefaultTTL() time.Duration }); ok && r.TTL == 0 {
		r.TTL = d.DefaultTTL()
	}
	if act.Class() != Reversible && r.TTL != 0 {
		return nil, fmt.Errorf("%w: %s is not taken back, and so not after %s", ErrInvalid, r.Kind, r.TTL)
	}
	return act, nil
}

// Plan says what an act would do now. Its request needs no id, and nobody who asks.
func (l *Local) Plan(ctx context.Context, r *Request) (*Plan, error) {
	c := *r
	act, err := l.check(&c)
	if err != nil {
		return nil, err
	}
	p, err := act.Plan(ctx, &c)
	if err == nil && p.Undo != "" && c.TTL > 0 {
		p.Undo += ", by itself after " + c.TTL.String()
	}
	if err == nil {
		l.tellHeld(&c, p)
	}
	return p, err
}

// tellHeld says in a plan that another act holds the same already.
func (l *Local) tellHeld(r *Request, p *Plan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, o := range l.journal.records {
		if id != r.ID && o.held() && o.Request.Kind == r.Kind && o.Request.Target.key() == p.Target.key() {
			p.Held = o.Request.By
			p.Effects = append(p.Effects, fmt.Sprintf("act %s of %s holds it already, until %s", id, o.Request.By, o.Result.Until.UTC().Format(time.DateTime)))
			return
		}
	}
}

// Do carries a request out, or returns how it came out before. An error means that nothing was done
// and nothing kept.
func (l *Local) Do(ctx context.Context, r *Request) (*Result, error) {
	c := *r
	act, err := l.check(&c)
	switch {
	case err != nil:
		return nil, err
	case !requestID.MatchString(r.ID):
		return nil, fmt.Errorf("%w: id %q: want letters, digits and . _ : -, at most 128", ErrInvalid, r.ID)
	case r.By == "":
		return nil, fmt.Errorf("%w: it does not say who asks for it", ErrInvalid)
	}
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	release, err := l.turn(ctx, "id "+c.ID)
	if err != nil {
		return nil, err
	}
	defer release()
	if old, ok := l.record(c.ID); ok {
		if old.Request.Kind != c.Kind || old.Request.Run != c.Run || !sameTarget(old.Request.Target, c.Target) {
			return nil, fmt.Errorf("%w: the id %s was given to another act: %s of %s", ErrInvalid, c.ID, old.Request.Kind, old.Request.Target)
		}
		return &old.Result, nil
	}
	if why, err := l.fenced(&c); why != "" || err != nil {
		return &Result{ID: c.ID, State: Refused, Detail: why, At: time.Now()}, err
	}
	return l.begin(context.WithoutCancel(ctx), act, &c) // who asked may go away: what is begun is finished
}

// begin pins a request's target and does what it asks for, unless something speaks against it.
func (l *Local) begin(ctx context.Context, act Action, r *Request) (*Result, error) {
	rec := &Record{Request: *r, Class: act.Class(), Boot: l.o.BootID, Begun: time.Now()}
	if why, stopped := l.Stopped(); stopped {
		return l.settle(rec, &Result{State: Refused, Detail: "all acts are stopped on this host: " + why})
	}
	p, err := act.Plan(ctx, r)
	if errors.Is(err, ErrInvalid) {
		return nil, err
	}
	if err == nil && r.graver(p.Class) {
		err = fmt.Errorf("%s: %w", strings.Join(p.Effects, "; "), ErrGraver)
	}
	if err != nil {
		return l.settle(rec, &Result{State: stateOf(err), Detail: err.Error()})
	}
	r.Target = p.Target
	rec.Request, rec.Hits = *r, p.Hits[:min(len(p.Hits), keepHits)]
	release, err := l.turn(ctx, r.Target.key())
	if err != nil {
		return nil, err
	}
	defer release()
	why, err := l.intend(rec, act)
	if err != nil {
		return nil, err
	}
	if why != "" {
		return l.settle(rec, &Result{State: Refused, Detail: why})
	}
	res, err := act.Do(ctx, r)
	if err != nil {
		res = &Result{State: stateOf(err), Detail: err.Error()}
	}
	if (res.State == Done || res.State == Unknown) && r.TTL > 0 {
		res.Until = rec.Result.Until
	}
	return l.settle(rec, res)
}

// intend writes down what is about to be done, where the budget allows it. What ends with this program is
// not waited for until it is on the disk: a host that dies takes the act with what was written of it.
func (l *Local) intend(rec *Record, act Action) (refused string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	why, trip := l.journal.spend(&rec.Request, act.Class(), rec.Begun)
	if trip {
		l.o.Log.Error("acts of a kind are disarmed", "kind", rec.Request.Kind, "why", why)
		err = l.journal.append(entry{Trips: map[Kind]time.Time{rec.Request.Kind: rec.Begun}})
	}
	if why != "" || err != nil {
		return why, err
	}
	if rec.Request.TTL > 0 {
		rec.Result.Until = rec.Begun.Add(rec.Request.TTL)
	}
	kept := *rec
	return "", l.journal.write(entry{Record: &kept}, !endsWithProgram(act))
}

// settle writes down how an act came out, and tells.
func (l *Local) settle(rec *Record, res *Result) (*Result, error) {
	res.ID, res.At = rec.Request.ID, time.Now()
	if len(res.Output) > maxOutput {
		res.Output = strings.ToValidUTF8(res.Output[:maxOutput], "") + "…"
	}
	kept := *rec
	kept.Result = *res
	l.mu.Lock()
	err := l.journal.append(entry{Record: &kept})
	if err != nil { // the world is as it is: the next run looks at it
		l.journal.take(entry{Record: &kept})
	}
	l.mu.Unlock()
	if err != nil {
		l.o.Log.Error("how an act came out could not be written down", "id", res.ID, "state", res.State, "error", err)
	}
	l.o.Log.Warn("act", "id", res.ID, "kind", kept.Request.Kind, "target", kept.Request.Target.String(), "by", kept.Request.By, "state", res.State, "detail", res.Detail)
	l.o.Told(kept.Request, *res)
	l.poke()
	return res, nil
}

// Verify says whether an act holds now, of one that is known by its id as it was pinned.
func (l *Local) Verify(ctx context.Context, r *Request) (bool, string, error) {
	c := *r
	if old, ok := l.record(r.ID); ok {
		c = old.Request
	}
	act, err := l.check(&c)
	if err != nil {
		return false, "", err
	}
	return act.Verify(ctx, &c)
}

// Undo takes back the act whose id the request has. The rest of the request says who asks and why.
func (l *Local) Undo(ctx context.Context, r *Request) (*Result, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	if why, err := l.fenced(r); why != "" || err != nil {
		return &Result{ID: r.ID, State: Refused, Detail: why, At: time.Now()}, err
	}
	by := "taken back by " + r.By
	if r.Reason != "" {
		by += ": " + r.Reason
	}
	return l.undo(context.WithoutCancel(ctx), r.ID, by)
}

func (l *Local) undo(ctx context.Context, id, why string) (*Result, error) {
	release, err := l.turn(ctx, "id "+id)
	if err != nil {
		return nil, err
	}
	defer release()
	rec, ok := l.record(id)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, id)
	}
	act, err := l.acts.Of(rec.Request.Kind)
	if err != nil {
		return nil, err
	}
	switch {
	case rec.Result.State == Undone:
		return &rec.Result, nil
	case act.Class() != Reversible:
		return nil, fmt.Errorf("%w: %s cannot be taken back", ErrInvalid, rec.Request.Kind)
	case rec.Result.State == Refused || rec.Result.State == Gone:
		return nil, fmt.Errorf("%w: nothing was done that could be taken back: %s", ErrInvalid, rec.Result.Detail)
	}
	release, err = l.turn(ctx, rec.Request.Target.key())
	if err != nil {
		return nil, err
	}
	defer release()
	_, own := act.(interface{ undoesOwn() })
	if other := l.heldToo(&rec); other != "" && !own {
		return l.settle(&rec, &Result{State: Undone, Detail: why + "; act " + other + " holds it on"})
	}
	res, err := takeBack(ctx, act, &rec.Request)
	if err != nil {
		return nil, fmt.Errorf("take back %s of %s: %w", rec.Request.Kind, rec.Request.Target, err)
	}
	res.State, res.Detail = Undone, why+"; "+res.Detail
	return l.settle(&rec, res)
}

// takeBack has an act taken back. One that says that it was not is an error.
func takeBack(ctx context.Context, act Action, r *Request) (*Result, error) {
	res, err := act.Undo(ctx, r)
	if err == nil && res.State != Undone {
		err = errors.New(res.Detail)
	}
	return res, err
}

// heldToo returns another act that holds the same on the same target.
func (l *Local) heldToo(rec *Record) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, o := range l.journal.records {
		if id != rec.Request.ID && o.held() && o.Request.Kind == rec.Request.Kind && o.Request.Target.key() == rec.Request.Target.key() {
			return id
		}
	}
	return ""
}

// Extend makes an act that is held hold for a time from now.
func (l *Local) Extend(ctx context.Context, id string, ttl time.Duration, by string) (*Result, error) {
	if ttl <= 0 || ttl > maxTTL {
		return nil, fmt.Errorf("%w: a time of %s: want up to a week", ErrInvalid, ttl)
	}
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	release, err := l.turn(ctx, "id "+id)
	if err != nil {
		return nil, err
	}
	defer release()
	rec, ok := l.record(id)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, id)
	}
	if !rec.held() {
		return nil, fmt.Errorf("%w: %s is %s and not held", ErrInvalid, id, rec.Result.State)
	}
	rec.Request.TTL = ttl
	if e, ok := l.acts[rec.Request.Kind].(interface {
		Extend(ctx context.Context, r *Request) error
	}); ok {
		if err := e.Extend(ctx, &rec.Request); err != nil {
			return nil, fmt.Errorf("extend %s: %w", id, err)
		}
	}
	res := rec.Result
	res.Until, res.Detail = time.Now().Add(ttl), "held for "+ttl.String()+" more by "+by
	return l.settle(&rec, &res)
}

// Records returns what is kept, the newest first.
func (l *Local) Records() []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []Record{}
	for _, r := range l.journal.sorted() {
		out = append(out, *r)
	}
	return out
}

// timedRecords returns those that are to be taken back in time.
func (l *Local) timedRecords() (out []Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.journal.records {
		if r.timed() {
			out = append(out, *r)
		}
	}
	return out
}

// record returns a copy of what is kept of an act.
func (l *Local) record(id string) (Record, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.journal.records[id]; r != nil {
		return *r, true
	}
	return Record{}, false
}

// fenced says why a run's holder may not act any more, "" where it may.
func (l *Local) fenced(r *Request) (why string, err error) {
	if r.Run == "" {
		return "", nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.journal.fences[r.Run]
	switch {
	case ok && r.Fence < known.N:
		return fmt.Sprintf("run %s is another's now: it shows %d, and %d was seen", r.Run, r.Fence, known.N), nil
	case ok && r.Fence == known.N:
		return "", nil
	}
	return "", l.journal.append(entry{Fence: &fence{Run: r.Run, N: r.Fence, Seen: time.Now()}})
}

// sameTarget reports whether two targets, of which the first is pinned, mean the same.
func sameTarget(pinned, asked Target) bool {
	same := pinned.Host == asked.Host && pinned.Lineage == asked.Lineage && pinned.Container == asked.Container && pinned.Address == asked.Address &&
		(asked.Cgroup == pinned.Cgroup || asked.Cgroup == "") && (asked.CgroupID == pinned.CgroupID || asked.CgroupID == 0) &&
		(asked.Process == nil) == (pinned.Process == nil) && (asked.File == nil) == (pinned.File == nil)
	if same && asked.Process != nil {
		a, p := asked.Process, pinned.Process
		same = a.PID == p.PID && (a.Start == p.Start || a.Start == 0)
	}
	same = same && pinned.Object.same(asked.Object)
	return same && (asked.File == nil || asked.File.Path == pinned.File.Path)
}

// turn waits until nothing else goes on under a key.
func (l *Local) turn(ctx context.Context, key string) (release func(), err error) {
	for {
		l.mu.Lock()
		other := l.busy[key]
		if other == nil {
			done := make(chan struct{})
			l.busy[key] = done
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				delete(l.busy, key)
				close(done)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ready waits until what an earlier run began is known.
func (l *Local) ready(ctx context.Context) error {
	select {
	case <-l.settled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Local) poke() {
	select {
	case l.wake <- struct{}{}:
	default: // it is awake
	}
}
