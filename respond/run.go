package respond

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"picket/cacao"
	"picket/event"
	"picket/respond/action"
)

// What a step may take that says nothing about it.
const (
	actTimeout = 5 * time.Minute
	askTimeout = 24 * time.Hour
)

// begun is a task whose acts are to be carried out once the intent to do so is kept.
type begun struct {
	task  cacao.Task
	work  *work
	again bool // the intent is of before a crash: look first
}

// prepare writes down what is due now: intents, questions, timers. What it returns begins when that
// is kept.
func (l *live) prepare() []begun {
	if l.machine == nil {
		return nil
	}
	var out []begun
	for l.run.State == Running {
		if over, f := l.machine.Ended(); over {
			l.drop(nil)
			if len(l.doing) > 0 {
				return nil // what is in flight is waited for
			}
			if l.run.Cancel != "" {
				l.cancelled()
				return nil
			}
			if f != nil {
				l.run.Failure = f.Error()
				l.finish(Failed, "", l.run.Failure)
			} else {
				l.finish(Succeeded, "", "every step was done"+l.run.owed())
			}
			return nil
		}
		tasks := l.machine.Tasks()
		l.drop(tasks)
		changed := false
		for _, t := range tasks {
			b, err := l.task(t)
			if errors.Is(err, errLeftOut) {
				l.note("skip", t.ID, "", err.Error(), nil)
				l.end(t.ID, cacao.Outcome{})
				changed = true
				break
			}
			if err != nil { // it fails before anything of it begins
				l.end(t.ID, cacao.Outcome{Failed: err.Error()})
				changed = true
				break
			}
			if b != nil {
				out = append(out, *b)
			}
		}
		if !changed {
			return out
		}
	}
	return out
}

// drop forgets what belongs to tasks that are not due any more: their step ended without them.
func (l *live) drop(tasks []cacao.Task) {
	due := map[string]bool{}
	for _, t := range tasks {
		due[t.ID] = true
	}
	l.run.Asks = slices.DeleteFunc(l.run.Asks, func(a Ask) bool { return !due[a.Task] })
	for id := range l.run.timers {
		if !due[id] {
			delete(l.run.timers, id)
		}
	}
	for id := range l.run.work {
		switch cancel := l.doing[id]; {
		case due[id]:
		case cancel != nil:
			cancel() // the outcome is waited for and kept all the same
		default:
			delete(l.run.work, id)
			l.note("outcome", id, "", "it was begun before the server ended, and its step is over: nobody knows how it came out", nil)
		}
	}
}

// task takes up a task that is due, unless that was done before. An error is a failure of its step.
func (l *live) task(t cacao.Task) (*begun, error) {
	r, now := l.run, l.e.o.Now().UTC()
	if _, has := r.timers[t.ID]; has {
		return nil, nil
	}
	switch t.Kind {
	case cacao.DelayTask, cacao.DeadlineTask:
		r.timers[t.ID] = now.Add(time.Duration(t.Wait) * time.Millisecond)
		l.note("timer", t.ID, "", fmt.Sprintf("%s: %s until %s", t.Kind, t.Step, r.timers[t.ID].Format(time.RFC3339)), nil)
		return nil, nil
	case cacao.QuestionTask:
		l.ask(Ask{Task: t.ID, Step: t.Step, What: Decide, Text: t.Question})
		return nil, nil
	}
	if w := r.work[t.ID]; w != nil { // begun before, maybe by another server
		if l.doing[t.ID] != nil || l.e.Stopped() != "" || slices.ContainsFunc(w.Items, func(i *item) bool { return i.Asked }) {
			return nil, nil
		}
		return &begun{t, w, true}, nil
	}
	acts, err := l.approved(t)
	if err != nil {
		return nil, err
	}
	if acts[0].Kind == Manual {
		var assign []string
		for _, name := range t.Playbook.Workflow[t.Step].OutArgs {
			assign = append(assign, strings.TrimSuffix(name, ":value"))
		}
		l.ask(Ask{Task: t.ID, Step: t.Step, What: DoIt, Text: acts[0].Text, Assign: assign})
		return nil, nil
	}
	if l.e.Stopped() != "" {
		return nil, nil // until the stop is lifted
	}
	return l.intend(t, acts)
}

// intend writes down what is going to be done for a task.
func (l *live) intend(t cacao.Task, acts []Act) (*begun, error) {
	r, now, w := l.run, l.e.o.Now().UTC(), &work{}
	var gone []*item
	for _, a := range acts { // before anything is written down: a step does all of its acts, or none
		if onAgent(a.Kind) && l.e.o.Executor == nil {
			return nil, errors.New("no agent takes acts")
		}
		if asksAlways(a.Kind) && len(r.Approvals) == 0 {
			return nil, fmt.Errorf("%s is approved by a person each time, and nobody has", a.Kind)
		}
		if a.Error != "" {
			return nil, fmt.Errorf("it could not be planned, so nobody approved what it would hit: %s", a.Error)
		}
	}
	for n, a := range acts {
		i := &item{Class: a.Class, Request: action.Request{
			ID: event.HashID("act", r.ID, t.ID, fmt.Sprint(n)), Run: r.ID, Step: t.Step, Fence: l.e.fence, Kind: a.Kind, Class: a.Class, Target: a.Target,
			Params: a.Params, TTL: a.TTL, By: r.By, Reason: r.Reason, Incident: r.Incident,
		}}
		if a.Gone != "" {
			i.Result = &action.Result{ID: i.Request.ID, State: action.Gone, Detail: a.Gone, At: now}
			gone = append(gone, i)
		} else if actClass[a.Kind] == action.Reversible { // also where the agent says that work is lost by it
			r.Holds = append(r.Holds, Hold{Request: i.Request, Until: now.Add(a.TTL)}) // owed from before it is done
		}
		l.grave = l.grave || worse(a.Class, action.Reversible) == action.Destructive
		w.Items = append(w.Items, i)
		l.note("intent", t.ID, "", fmt.Sprintf("%s %s", a.Kind, Describe(a.Target, a.Params)), i.Request)
	}
	for _, i := range gone {
		l.note("outcome", t.ID, "", fmt.Sprintf("%s: %s. %s", i.Request.Kind, i.Result.State, i.Result.Detail), i.Result)
	}
	r.work[t.ID] = w
	return &begun{t, w, false}, nil
}

// Describe names what an act is done to.
func Describe(t action.Target, params map[string]string) string {
	switch {
	case t.Container != "":
		return "container " + t.Container + " on " + t.Host
	case t.Cgroup != "":
		return "cgroup " + t.Cgroup + " on " + t.Host
	case t.Process != nil && t.Lineage:
		return fmt.Sprintf("process %d and what it started on %s", t.Process.PID, t.Host)
	case t.Process != nil:
		return fmt.Sprintf("process %d on %s", t.Process.PID, t.Host)
	case t.File != nil:
		return "file " + t.File.Path + " on " + t.Host
	case t.Object != nil:
		return t.Object.String()
	case params["url"] != "":
		return params["method"] + " " + params["url"]
	}
	return "for the incident"
}

// errLeftOut says that a command has no targets any more: its step goes on without it.
var errLeftOut = errors.New("who chose the targets left all of it out")

// approved returns the acts of a task as they stand in the plan. A command that is another with the
// values of now than with those of then was not approved.
func (l *live) approved(t cacao.Task) ([]Act, error) {
	called := ""
	if t.Playbook.ID != l.run.Plan.Playbook {
		called = t.Playbook.ID
	}
	var planned []Act
	left := false
	for _, a := range l.run.Plan.Acts {
		if a.Playbook != called || a.Step != t.Step || a.Index != t.Index {
			continue
		}
		if left = left || a.LeftOut; !a.LeftOut {
			planned = append(planned, a)
		}
	}
	if len(planned) == 0 && left {
		return nil, errLeftOut
	}
	if len(planned) == 0 {
		return nil, errors.New("it is not in the plan that was approved")
	}
	changed := errors.New("with the values of now it is not what was planned: plan again")
	if onAgent(planned[0].Kind) { // its targets are those of the plan
		req, err := cacao.ForHTTP(t.Command, t.Vars)
		if err == nil && sum([]byte(req.Body)) != planned[0].Digest {
			err = changed
		}
		return planned, err
	}
	now, err := l.e.acts(&order{p: t.Playbook, step: t.Playbook.Workflow[t.Step], index: t.Index, vars: t.Vars}, &event.Incident{ID: l.run.Incident})
	switch {
	case err != nil:
		return nil, err
	case planned[0].Kind == Manual:
		return now, nil // the text may tell values that were not known then
	case now[0].Open != "":
		return nil, errors.New(now[0].Open)
	case now[0].Digest != planned[0].Digest && now[0].Class != action.Observe:
		return nil, changed
	case planned[0].Kind == HTTP:
		return now, nil
	}
	return planned, nil
}

// ask puts a question to people.
func (l *live) ask(a Ask) {
	a.Since = l.e.o.Now().UTC()
	a.Until = a.Since.Add(askTimeout)
	l.run.Asks = append(l.run.Asks, a)
	if a.What != Holds {
		l.run.timers[a.Task] = a.Until
	}
	l.note("ask", a.Task, "", a.Text, nil)
}

// end finishes a task.
func (l *live) end(task string, o cacao.Outcome) {
	delete(l.run.work, task)
	delete(l.run.timers, task)
	l.run.Asks = slices.DeleteFunc(l.run.Asks, func(a Ask) bool { return a.Task == task })
	text := "done"
	if o.Failed != "" {
		text = "failed: " + o.Failed
	}
	l.note("done", task, "", text, o)
	if err := l.machine.Finish(task, o); err != nil && !errors.Is(err, cacao.ErrNoTask) {
		l.e.o.Log.Error("a run did not take an outcome", "run", l.run.ID, "task", task, "error", err)
	}
}

// begin carries the acts of a task out, one after the other, in a goroutine of its own.
func (l *live) begin(b begun) {
	ctx, cancel := context.WithTimeout(l.e.ctx, actTimeout)
	l.doing[b.task.ID] = cancel
	stop := l.gone
	l.e.wait.Go(func() {
		defer cancel()
		for n, i := range b.work.Items {
			o := outcome{task: b.task.ID, item: i, last: n == len(b.work.Items)-1}
			if i.Result == nil {
				o.result = l.e.carryOut(ctx, b, i, &o)
			}
			select {
			case l.results <- o:
			case <-stop:
				return
			}
		}
	})
}

// unbegin forgets intents that could not be kept, so that they are written anew.
func (l *live) unbegin(list []begun) {
	had := len(l.records)
	for _, b := range list {
		if !b.again {
			delete(l.run.work, b.task.ID)
			l.run.Holds = slices.DeleteFunc(l.run.Holds, func(h Hold) bool {
				return slices.ContainsFunc(b.work.Items, func(i *item) bool { return i.Request.ID == h.Request.ID })
			})
			l.records = slices.DeleteFunc(l.records, func(r Record) bool { return (r.What == "intent" || r.What == "outcome") && r.Task == b.task.ID })
		}
	}
	l.run.seq -= int64(had - len(l.records)) // their numbers have no gaps
	for i := range l.records {
		l.records[i].Seq = l.run.seq - int64(len(l.records)-1-i)
	}
}

// carryOut does one act, or, where it may have been done before, looks first.
func (e *Engine) carryOut(ctx context.Context, b begun, i *item, o *outcome) *action.Result {
	r := i.Request
	unknown := func(why string) *action.Result {
		return &action.Result{ID: r.ID, State: action.Unknown, Detail: why, At: e.o.Now().UTC()}
	}
	if r.Kind == Undo {
		return &action.Result{ID: r.ID, State: action.Done, At: e.o.Now().UTC()} // by the loop, which owns what is held
	}
	if r.Kind == HTTP {
		if b.again && i.Class != action.Observe {
			return unknown("the server ended while the request was under way: nobody can say whether it came through")
		}
		return e.send(ctx, b, i, o)
	}
	if e.o.Executor == nil {
		return unknown("no agent takes acts")
	}
	r.Fence = e.fence
	if b.again && i.Class != action.Observe {
		holds, detail, err := e.o.Executor.Verify(ctx, &r)
		switch {
		case err != nil:
			return unknown("it may have been done before the server ended, and cannot be looked at: " + err.Error())
		case holds:
			return &action.Result{ID: r.ID, State: action.Done, Detail: detail, At: e.o.Now().UTC()}
		}
	}
	res, err := e.o.Executor.Do(ctx, &r)
	if err != nil {
		return unknown(err.Error())
	}
	return res
}

// outcome takes in how an act came out, and ends its task with the last.
func (l *live) outcome(o outcome) {
	r := l.run
	if o.result != nil {
		o.item.Result = o.result
		l.grave = l.grave || worse(o.item.Class, action.Reversible) == action.Destructive
		if o.item.Request.Kind == Undo {
			if left := l.undo("", "the playbook says so", nil); len(left) > 0 {
				o.result.State, o.result.Detail = action.Failed, strings.Join(left, "; ")
			}
		}
		l.e.metrics.acts.WithLabelValues(string(o.item.Request.Kind), string(o.result.State)).Inc()
		l.note("outcome", o.task, "", fmt.Sprintf("%s: %s. %s", o.item.Request.Kind, o.result.State, o.result.Detail), o.result)
		l.settleHold(o.item.Request.ID, o.result)
	}
	if !o.last {
		return
	}
	if cancel := l.doing[o.task]; cancel != nil {
		cancel()
		delete(l.doing, o.task)
	}
	w := r.work[o.task]
	if w == nil {
		return // its step had ended before
	}
	if !l.askUnknown(o.task, w) {
		l.conclude(o.task, w, o)
	}
}

// settleHold notes until when an act holds, or that it does not.
func (l *live) settleHold(id string, res *action.Result) {
	for n := range l.run.Holds {
		if h := &l.run.Holds[n]; h.Request.ID == id {
			switch res.State {
			case action.Done, action.Unknown:
				if !res.Until.IsZero() {
					h.Until = res.Until
				}
			case action.Refused, action.Gone, action.Failed, action.Undone:
				l.run.Holds = slices.Delete(l.run.Holds, n, n+1)
			}
			return
		}
	}
}

// askUnknown asks a person about acts of which nobody knows whether they hold.
func (l *live) askUnknown(task string, w *work) bool {
	asked := false
	for _, i := range w.Items {
		if i.Result != nil && i.Result.State == action.Unknown && !i.Asked {
			i.Asked, asked = true, true
			l.ask(Ask{
				Task: task, Step: i.Request.Step, What: Holds,
				Text: fmt.Sprintf("Was this done, and does it hold? %s %s. %s", i.Request.Kind, Describe(i.Request.Target, i.Request.Params), i.Result.Detail),
			})
		}
	}
	return asked
}

// conclude ends a task all of whose acts have an outcome.
func (l *live) conclude(task string, w *work, o outcome) {
	var bad []string
	for _, i := range w.Items {
		if i.Result == nil || !good(i) {
			detail := "it has no outcome"
			if i.Result != nil {
				detail = fmt.Sprintf("%s: %s", i.Result.State, i.Result.Detail)
			}
			bad = append(bad, fmt.Sprintf("%s %s: %s", i.Request.Kind, Describe(i.Request.Target, i.Request.Params), detail))
		}
	}
	l.end(task, cacao.Outcome{Failed: strings.Join(bad, "; "), Vars: l.assigns(task, o)})
}

// good reports whether an act came out as it was wanted: what is gone need not be contained any more. A
// job of Slurm is not among it: one that its user requeues is another one to Slurm, and runs on.
func good(i *item) bool {
	switch i.Result.State {
	case action.Done, action.Undone:
		return true
	case action.Gone:
		return slices.Contains([]action.Kind{
			action.Freeze, action.Kill, action.Isolate, action.Cut, action.ExcludeGPU, action.IsolatePod, action.Evict, action.DeletePod,
		}, i.Request.Kind)
	}
	return false
}

// assigns gives what came out to the variables that the step's out_args name: of a request the body
// to the first and the status to the second, of another act its output.
func (l *live) assigns(task string, o outcome) map[string]string {
	if o.output == "" && o.status == "" {
		return nil
	}
	for _, t := range l.machine.Tasks() {
		if t.ID != task {
			continue
		}
		out := map[string]string{}
		for n, name := range t.Playbook.Workflow[t.Step].OutArgs {
			switch name = strings.TrimSuffix(name, ":value"); n {
			case 0:
				out[name] = o.output
			case 1:
				out[name] = o.status
			}
		}
		return out
	}
	return nil
}

// tick does what is due by now.
func (l *live) tick() {
	l.followClock()
	r, now := l.run, l.e.o.Now()
	if r.State == Waiting && !r.NotAfter.IsZero() && !now.Before(r.NotAfter) {
		l.finish(Expired, "", "nobody approved it in time: nothing was done")
	}
	if r.State == Running && l.machine != nil {
		for _, t := range l.machine.Tasks() {
			at, has := r.timers[t.ID]
			if !has || now.Before(at) {
				continue
			}
			o := cacao.Outcome{}
			if t.Kind == cacao.QuestionTask || t.Kind == cacao.CommandTask {
				o.Failed = "nobody answered in time"
			}
			l.end(t.ID, o)
			break // what is due then is looked at anew
		}
	}
	l.undo("", "its time is over", func(h Hold) bool { return !now.Before(h.Until) })
}
