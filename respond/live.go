package respond

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"picket/cacao"
	"picket/respond/action"
)

// live is a run with a goroutine that alone changes it: what persons, agents and time say comes in by
// channels, and is kept before it has an effect.
type live struct {
	e         *Engine
	run       *Run
	machine   *cacao.Machine // while it runs
	records   []Record       // not kept yet
	grave     bool           // one of them is about an act that cannot be taken back
	fresh     bool           // the journal has nothing of it yet
	replanned bool           // the journal has another plan of it
	kept      State          // as the journal has it
	saved     time.Time      // when it was last kept
	opening   *message       // that it came to be with
	owed      time.Time      // when a run that has its id already is due

	in      chan message
	results chan outcome
	gone    chan struct{}                 // closed when the goroutine ends
	doing   map[string]context.CancelFunc // acts in flight, by task
}

// message changes a run on somebody's behalf.
type message struct {
	do    func(*live) error
	reply chan reply
}

type reply struct {
	run Run
	err error
}

// outcome is how one act of a task came out.
type outcome struct {
	task   string
	item   *item
	result *action.Result
	output string
	status string
	last   bool // the task has no further acts in flight
}

// with lets f change a run, and returns it as it is then and was kept.
func (e *Engine) with(ctx context.Context, id string, f func(*live) error) (Run, error) {
	for {
		l, err := e.find(ctx, id)
		if err != nil {
			return Run{}, err
		}
		m := message{f, make(chan reply, 1)}
		select {
		case l.in <- m:
		case <-l.gone:
			continue // it ended meanwhile
		case <-ctx.Done():
			return Run{}, ctx.Err()
		}
		return m.answered(ctx)
	}
}

// answered waits for the answer to a message.
func (m *message) answered(ctx context.Context) (Run, error) {
	select {
	case r := <-m.reply:
		return r.run, r.err
	case <-ctx.Done():
		return Run{}, ctx.Err()
	}
}

// find returns the run's goroutine, started if need be.
func (e *Engine) find(ctx context.Context, id string) (*live, error) {
	for {
		e.mu.Lock()
		l, left := e.live[id], e.left
		e.mu.Unlock()
		if l != nil {
			return l, nil
		}
		k, err := e.o.Journal.Run(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", id, err)
		}
		r, err := e.read(k)
		if err != nil {
			return nil, err
		}
		l, err = e.admit(r, nil, left)
		if !errors.Is(err, errStale) {
			return l, err
		}
	}
}

// errStale says that a run may have been changed after it was read.
var errStale = errors.New("it was read before another changed it")

// fresh stands for a number of runs that had left: nobody can have changed the run since it was read.
const fresh = -1

// start makes a run live at the start of the engine.
func (e *Engine) start(r *Run) error {
	_, err := e.admit(r, nil, fresh)
	return err
}

// admit gives a run its goroutine, or returns the one that it has. A run that is new comes with the
// message that opens it, which is answered when the run is kept. One that is not new was read when so many
// runs had left.
func (e *Engine) admit(r *Run, opening *message, left int) (*live, error) {
	kept := r.State
	if opening != nil {
		kept = ""
	}
	l := &live{
		e: e, run: r, fresh: opening != nil, opening: opening, kept: kept, in: make(chan message), results: make(chan outcome), gone: make(chan struct{}), doing: map[string]context.CancelFunc{},
	}
	if r.work == nil {
		r.work = map[string]*work{}
	}
	if r.timers == nil {
		r.timers = map[string]time.Time{}
	}
	if r.State == Running {
		if err := l.resume(); err != nil {
			if opening != nil {
				return nil, err
			}
			r.Failure = err.Error()
			l.finish(Failed, "", r.Failure) // what holds is taken back as ever
		} else if r.Cancel != "" {
			l.note("cancel", "", byVerdict, r.Cancel, nil)
			l.machine.GiveUp(r.Cancel)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, errors.New("respond: the server ends")
	}
	if other := e.live[r.ID]; other != nil {
		return other, nil
	}
	if left != fresh && e.left != left {
		return nil, errStale
	}
	if opening != nil {
		if err := opening.do(l); err != nil {
			return nil, err
		}
	}
	e.live[r.ID], l.owed = l, e.due[r.ID]
	delete(e.due, r.ID)
	e.wait.Go(l.loop)
	return l, nil
}

// resume builds the machine of a run that is going on.
func (l *live) resume() error {
	p, lib, err := l.run.playbooks()
	if err != nil {
		return err
	}
	if l.e.o.Config.Signatures.Mode == SignaturesRequire {
		all := []*cacao.Playbook{p}
		for _, called := range lib {
			all = append(all, called)
		}
		if err := l.e.signed(all, l.run.Plan.Class); err != nil {
			return fmt.Errorf("signatures are required: %w", err)
		}
	}
	if l.run.position != nil {
		l.machine = cacao.ResumeMachine(p, lib, *l.run.position, cacao.Limits{})
		l.run.position = l.machine.Position()
		if err := p.Runnable(l.e.o.Now()); err != nil {
			l.machine.GiveUp(err.Error())
		}
		return nil
	}
	if l.machine, err = cacao.NewMachine(p, lib, l.run.Plan.Given, cacao.Limits{}); err != nil {
		return err
	}
	l.run.position = l.machine.Position()
	return nil
}

func (l *live) kick() {
	select {
	case l.in <- message{func(*live) error { return nil }, make(chan reply, 1)}:
	case <-l.gone:
	}
}

// loop is the life of a run: keep what happened, begin what is due, wait for what comes.
func (l *live) loop() {
	defer close(l.gone)
	answer, found := l.opening, l.opening == nil // who found it has something to say
	var failed error
	for {
		begin := l.prepare()
		var err error
		if soon := answer == nil && l.soon(); !soon || time.Since(l.saved) >= saveEvery {
			err = l.save(soon)
		}
		if answer != nil {
			answer.reply <- reply{l.run.clone(), errors.Join(failed, err)}
			answer, failed = nil, nil
		}
		if err != nil && (errors.Is(err, ErrFenced) || l.e.ctx.Err() != nil || l.kept != Running) {
			l.leave() // who asked for the change is told that it was not made
			return
		}
		if err == nil {
			for _, b := range begin {
				l.begin(b)
			}
		} else {
			l.e.o.Log.Error("a run was not kept and waits; it is tried again", "run", l.run.ID, "error", err)
			l.unbegin(begin)
		}
		if err == nil && l.run.State != Running && len(l.doing) == 0 && !found {
			l.leave()
			return
		}
		found = false
		if !l.next(&answer, &failed, err != nil) {
			if err := l.save(false); err != nil {
				l.e.o.Log.Warn("the last steps of a run were not kept: they are done again, under the same ids", "run", l.run.ID, "error", err)
			}
			l.leave()
			return
		}
	}
}

// next waits for one thing to happen and takes it in. It returns false when the engine ends.
func (l *live) next(answer **message, failed *error, again bool) bool {
	var timer <-chan time.Time
	if at := l.run.due(); len(l.records) > 0 && !again {
		timer = time.After(saveEvery)
	} else if again {
		timer = time.After(time.Second)
	} else if !at.IsZero() {
		timer = time.After(min(max(at.Sub(l.e.o.Now()), time.Millisecond), time.Minute)) // the clock may be set
	} else if l.run.State != Running {
		timer = time.After(time.Minute) // who found it has gone away
	}
	select {
	case <-l.e.ctx.Done():
		return false
	case m := <-l.in:
		*answer = &m
		l.followClock()
		*failed = m.do(l)
	case o := <-l.results:
		l.outcome(o)
	case <-timer:
		l.tick()
	}
	return true
}

// leave takes the run out of those that are live.
func (l *live) leave() {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	for _, cancel := range l.doing {
		cancel()
	}
	delete(l.e.live, l.run.ID)
	l.e.left++
	due := l.run.due()
	switch {
	case l.kept == "": // the journal has nothing of it, or another that was there before
		due = l.owed
	case len(l.records) > 0: // what changed was not kept: look at what was
		due = l.e.o.Now().Add(time.Minute)
	}
	if !due.IsZero() {
		l.e.due[l.run.ID] = l.e.look(due)
		select {
		case l.e.wake <- struct{}{}:
		default:
		}
	}
}

// note writes down what happened, to be kept with the next save.
func (l *live) note(what, task, who, text string, data any) {
	r := Record{Time: l.e.o.Now().UTC(), What: what, Task: task, Who: who, Text: text}
	if data != nil {
		b, err := json.Marshal(data)
		if err != nil {
			l.e.o.Log.Error("what happened in a run was written without its data", "run", l.run.ID, "error", err)
		}
		r.Data = b
	}
	if task != "" && l.machine != nil {
		for _, t := range l.machine.Tasks() {
			if t.ID == task {
				r.Step = t.Step
			}
		}
	}
	l.run.seq++
	r.Seq = l.run.seq
	l.records = append(l.records, r)
}

// saveEvery is how long what may be kept soon is gathered.
const saveEvery = 10 * time.Millisecond

// light are what happens in a run that a crash may take: done again, it comes to the same, as who carries
// acts out does a request once.
var light = []string{"intent", "outcome", "done", "timer"}

// soon reports whether what happened may be kept a moment later: nobody waits for it, and none of it
// can do harm twice.
func (l *live) soon() bool {
	return !l.grave && l.kept == Running && l.run.State == Running &&
		!slices.ContainsFunc(l.records, func(r Record) bool { return !slices.Contains(light, r.What) })
}

// save keeps the run with what happened to it.
func (l *live) save(soon bool) error {
	if len(l.records) == 0 {
		return nil
	}
	l.run.Changed, l.run.Fence = l.e.o.Now().UTC(), l.e.fence
	k, err := keep(l.run, l.fresh || l.replanned)
	if err != nil {
		return err
	}
	k.Soon = soon
	if err := l.e.o.Journal.Save(context.WithoutCancel(l.e.ctx), l.e.fence, k, l.records); err != nil {
		return fmt.Errorf("keeping run %s: %w", l.run.ID, err)
	}
	l.fresh, l.replanned, l.records, l.grave, l.kept, l.saved = false, false, nil, false, l.run.State, time.Now()
	l.e.o.Changed(l.run.clone())
	return nil
}

// clone returns the run as it is now, for others to read.
func (r *Run) clone() Run {
	c := *r
	c.Approvals, c.Asks, c.Holds = all0(slices.Clone(r.Approvals)), all0(slices.Clone(r.Asks)), all0(slices.Clone(r.Holds))
	c.position, c.work, c.timers, c.bodies = nil, nil, nil, nil
	return c
}

// finish comes to a last state.
func (l *live) finish(s State, who, text string) {
	r := l.run
	r.State, r.Ended, r.Asks = s, l.e.o.Now().UTC(), nil
	r.position, r.work, r.timers = nil, map[string]*work{}, map[string]time.Time{}
	l.machine = nil
	l.note("end", "", who, text, nil)
	l.e.metrics.runs.WithLabelValues(string(s)).Inc()
}
