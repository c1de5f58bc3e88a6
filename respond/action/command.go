package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Op says what a Command asks for.
type Op string

// What an agent can be asked.
const (
	OpPlan   Op = "plan"
	OpDo     Op = "do"
	OpVerify Op = "verify"
	OpUndo   Op = "undo"
	OpExtend Op = "extend"
	OpList   Op = "list"
	OpShow   Op = "show"
	OpAnswer Op = "answer" // whether an act holds of which nobody knows
	OpStop   Op = "stop"
	OpResume Op = "resume"
	OpRun    Op = "run"   // the oldest run of the agent's own that is over
	OpTaken  Op = "taken" // the server has taken over the run with the id
)

// Command asks the executor of a host for something, over whatever leads there.
type Command struct {
	Op      Op            `json:"op"`
	Request *Request      `json:"request,omitempty"` // plan, do, verify and undo
	ID      string        `json:"id,omitempty"`      // extend, answer and show
	TTL     time.Duration `json:"ttl,omitempty"`     // extend
	By      string        `json:"by,omitempty"`      // extend, answer, stop and resume
	Holds   bool          `json:"holds,omitempty"`   // answer
	Reason  string        `json:"reason,omitempty"`  // stop
	Limit   int           `json:"limit,omitempty"`   // list; 0 for all
}

// Answer is what the executor says.
type Answer struct {
	Plan    *Plan    `json:"plan,omitempty"`
	Result  *Result  `json:"result,omitempty"`
	Records []Record `json:"records,omitempty"`
	Holds   bool     `json:"holds,omitempty"`
	Detail  string   `json:"detail,omitempty"`
	Stopped string   `json:"stopped,omitempty"` // list: why all acts are stopped
	// Run is what OpRun asks for; nothing where there is none.
	Run   json.RawMessage `json:"run,omitempty"`
	Error string          `json:"error,omitempty"`
	Why   string          `json:"why,omitempty"` // the word of the error's kind
}

// whys are the words under which kinds of errors travel.
var whys = map[string]error{"invalid": ErrInvalid, "not-found": ErrNotFound, "gone": ErrGone, "protected": ErrProtected}

// Err returns what the executor failed with.
func (a *Answer) Err() error {
	if a.Error == "" {
		return nil
	}
	if is := whys[a.Why]; is != nil {
		return &remoteError{text: a.Error, is: is}
	}
	return errors.New(a.Error)
}

// remoteError has the text of an error elsewhere and its kind.
type remoteError struct {
	text string
	is   error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }

// Answer carries a command out.
func (l *Local) Answer(ctx context.Context, c Command) (a Answer) {
	err := l.answer(ctx, c, &a)
	if err == nil {
		return a
	}
	a.Error = err.Error()
	for why, is := range whys {
		if errors.Is(err, is) {
			a.Why = why
		}
	}
	return a
}

func (l *Local) answer(ctx context.Context, c Command, a *Answer) (err error) {
	switch c.Op {
	case OpPlan, OpDo, OpVerify, OpUndo:
		if c.Request == nil {
			return fmt.Errorf("%w: %s without a request", ErrInvalid, c.Op)
		}
	}
	switch c.Op {
	case OpPlan:
		a.Plan, err = l.Plan(ctx, c.Request)
	case OpDo:
		a.Result, err = l.Do(ctx, c.Request)
	case OpVerify:
		a.Holds, a.Detail, err = l.Verify(ctx, c.Request)
	case OpUndo:
		a.Result, err = l.Undo(ctx, c.Request)
	case OpExtend:
		a.Result, err = l.Extend(ctx, c.ID, c.TTL, c.By)
	case OpAnswer:
		a.Result, err = l.Settle(ctx, c.ID, c.Holds, c.By)
	case OpList:
		a.Records = l.Records()
		if c.Limit > 0 {
			a.Records = a.Records[:min(c.Limit, len(a.Records))]
		}
		a.Stopped = l.resting()
	case OpShow:
		r, ok := l.record(c.ID)
		if !ok {
			return fmt.Errorf("%w: %q", ErrNotFound, c.ID)
		}
		a.Records = []Record{r}
	case OpStop:
		err = l.Stop(c.By, c.Reason)
	case OpResume:
		err = l.Resume(c.By)
	default:
		err = fmt.Errorf("%w: it is no command: %q", ErrInvalid, c.Op)
	}
	return err
}

// resting says what of the acts is not carried out, "" where all are.
func (l *Local) resting() string {
	why, _ := l.Stopped()
	l.mu.Lock()
	defer l.mu.Unlock()
	if kinds := l.journal.disarmed(); why == "" && kinds != "" {
		return kinds + " is disarmed, as it hit too much within a minute"
	}
	return why
}

// Remote is the Executor of a host that Ask leads to.
type Remote struct {
	Ask func(ctx context.Context, c Command) (Answer, error)
}

// Plan says what an act would do now.
func (r Remote) Plan(ctx context.Context, q *Request) (*Plan, error) {
	a, err := r.ask(ctx, Command{Op: OpPlan, Request: q})
	return a.Plan, err
}

// Do carries a request out, or returns how it came out before.
func (r Remote) Do(ctx context.Context, q *Request) (*Result, error) {
	a, err := r.ask(ctx, Command{Op: OpDo, Request: q})
	return a.Result, err
}

// Verify says whether an act holds now.
func (r Remote) Verify(ctx context.Context, q *Request) (bool, string, error) {
	a, err := r.ask(ctx, Command{Op: OpVerify, Request: q})
	return a.Holds, a.Detail, err
}

// Undo takes back the act whose id the request has.
func (r Remote) Undo(ctx context.Context, q *Request) (*Result, error) {
	a, err := r.ask(ctx, Command{Op: OpUndo, Request: q})
	return a.Result, err
}

// Extend lets the act whose id the request has hold for a time from now.
func (r Remote) Extend(ctx context.Context, q *Request, ttl time.Duration, by string) (*Result, error) {
	a, err := r.ask(ctx, Command{Op: OpExtend, Request: q, ID: q.ID, TTL: ttl, By: by})
	return a.Result, err
}

func (r Remote) ask(ctx context.Context, c Command) (Answer, error) {
	a, err := r.Ask(ctx, c)
	if err == nil {
		err = a.Err()
	}
	if err == nil && (c.Op == OpPlan && a.Plan == nil || (c.Op == OpDo || c.Op == OpUndo || c.Op == OpExtend) && a.Result == nil) {
		err = errors.New("the agent's answer holds nothing")
	}
	return a, err
}
