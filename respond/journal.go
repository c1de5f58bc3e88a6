package respond

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"picket/cacao"
	"picket/respond/action"
)

// Journal keeps runs. What Save returned for is there after a crash of the machine, but for what may be
// kept [Kept.Soon].
type Journal interface {
	// TakeOver makes the caller the one who writes: Save refuses a lower number from then on.
	TakeOver(ctx context.Context) (fence uint64, err error)
	// Save keeps a run as it is now together with what happened to it, both or neither. It fails
	// with ErrFenced where another has taken over.
	Save(ctx context.Context, fence uint64, k Kept, records []Record) error
	Run(ctx context.Context, id string) (Kept, error) // or ErrNotFound
	Runs(ctx context.Context, q Query) ([]Kept, error)
	Records(ctx context.Context, run string) ([]Record, error)
	Stopped(ctx context.Context) (by string, err error)
	SetStopped(ctx context.Context, by string) error
}

// Kept is a run as the journal keeps it. Plan is nil in a Save that leaves it as it is.
type Kept struct {
	ID       string
	Incident string
	State    string
	Opened   time.Time
	Due      time.Time // when something must happen to it; zero: nothing
	Open     bool      // it is not over, or holds something
	Plan     []byte    // the plan and the bodies of its playbooks
	Doc      []byte    // all else
	// Soon says that Save may return before it is on the disk: it outlives the server, and what a crash
	// of the machine takes of it is done again under the same ids.
	Soon bool
}

// Query selects runs, the latest first.
type Query struct {
	Incident string
	Open     bool // all that are; the limit does not count
	Limit    int
}

// Record is one thing that happened to a run.
type Record struct {
	Seq  int64           `json:"seq"` // from 1, without gaps
	Time time.Time       `json:"time"`
	What string          `json:"what"`           // open, edit, approve, reject, expire, start, skip, intent, outcome, ask, answer, extend, undo, cancel, adopt, stop, clock, end
	Task string          `json:"task,omitempty"` // where in the run
	Step string          `json:"step,omitempty"` // of the playbook, that the task belongs to
	Who  string          `json:"who,omitempty"`
	Text string          `json:"text"`
	Data json.RawMessage `json:"data,omitempty"`
}

// State is where a run stands.
type State string

// The states of a run.
const (
	Suggested State = "suggested" // a rule found it fit; nobody was asked
	Waiting   State = "waiting"   // for approval
	Running   State = "running"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Rejected  State = "rejected"
	Expired   State = "expired"   // nobody approved it in time
	Cancelled State = "cancelled" // its incident was a false positive: nothing further was done
)

// Run is a run of a playbook, from its request on.
type Run struct {
	ID        string            `json:"id"`
	Incident  string            `json:"incident"`
	State     State             `json:"state"`
	By        string            `json:"by"` // user, policy:RULE or agent:HOST
	Reason    string            `json:"reason,omitempty"`
	Plan      *Plan             `json:"plan"`
	EditedBy  string            `json:"edited_by,omitempty"` // who chose the plan's targets last, where that is not who asked
	Values    map[string]string `json:"values,omitempty"`    // that who asked gave to the playbook's variables
	Approvals []Approval        `json:"approvals"`
	NotAfter  time.Time         `json:"not_after,omitzero"` // of the request for approval
	Opened    time.Time         `json:"opened"`
	Changed   time.Time         `json:"changed"`
	Ended     time.Time         `json:"ended,omitzero"`
	Failure   string            `json:"failure,omitempty"`
	Cancel    string            `json:"cancel,omitempty"` // why it ends before its steps are done
	Asks      []Ask             `json:"asks"`
	Holds     []Hold            `json:"holds"` // what it did that can be taken back, oldest first
	Fence     uint64            `json:"fence"`

	seq      int64
	position *cacao.Position
	work     map[string]*work     // acts that were begun, by task
	timers   map[string]time.Time // by task; of a question without a deadline of its step as well
	bodies   []json.RawMessage    // the playbook, and those that it calls
}

// Approval is a person's word on a plan.
type Approval struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Hash   string    `json:"hash"` // of the plan that was seen
	Reason string    `json:"reason,omitempty"`
}

// Ask is a question that waits for a person.
type Ask struct {
	Task   string    `json:"task"`
	Step   string    `json:"step"`
	What   AskKind   `json:"what"`
	Text   string    `json:"text"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"`
	Assign []string  `json:"assign,omitempty"` // variables that the answer may give values to
}

// AskKind is what an answer means.
type AskKind string

// The kinds of questions: a condition, something to do, an act of which nobody knows whether it holds.
const (
	Decide AskKind = "decide"
	DoIt   AskKind = "do"
	Holds  AskKind = "holds"
)

// Hold is an act that holds until it is taken back.
type Hold struct {
	Request action.Request `json:"request"`
	Until   time.Time      `json:"until"`
	Tries   int            `json:"tries,omitempty"` // of taking it back that failed
}

// work is the acts of one task.
type work struct {
	Items []*item `json:"items"`
}

// item is one act: an intent, and later its outcome.
type item struct {
	Request action.Request `json:"request"`
	Class   action.Class   `json:"class"`
	Result  *action.Result `json:"result,omitempty"`
	Asked   bool           `json:"asked,omitempty"` // a person is asked whether it holds
}

// Over reports whether nothing will be done any more, but for taking back.
func (s State) Over() bool {
	switch s {
	case Succeeded, Failed, Rejected, Expired, Cancelled:
		return true
	}
	return false
}

// owed says how much of what was to be taken back is held still, "" where nothing is.
func (r *Run) owed() string {
	n := 0
	for _, h := range r.Holds {
		if h.Tries > 0 {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %d acts that were to be taken back hold still, and are tried again", n)
}

// due returns when time alone changes something.
func (r *Run) due() time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	switch r.State {
	case Waiting:
		sooner(r.NotAfter)
	case Running:
		for _, t := range r.timers {
			sooner(t)
		}
	}
	for _, h := range r.Holds {
		sooner(h.Until)
	}
	return next
}

// doc is what of a run is written anew at each change.
type doc struct {
	*Run
	Plan     struct{}             `json:"plan,omitzero"` // hides the run's
	Seq      int64                `json:"seq"`
	Position *cacao.Position      `json:"position,omitempty"`
	Work     map[string]*work     `json:"work,omitempty"`
	Timers   map[string]time.Time `json:"timers,omitempty"`
}

// fixed is what of a run is written when it is opened, and when its plan is edited.
type fixed struct {
	Plan   *Plan             `json:"plan"`
	Bodies []json.RawMessage `json:"bodies"`
}

// keep returns a run as the journal keeps it.
func keep(r *Run, whole bool) (Kept, error) {
	k := Kept{ID: r.ID, Incident: r.Incident, State: string(r.State), Opened: r.Opened, Due: r.due()}
	k.Open = !r.State.Over() || len(r.Holds) > 0
	var err error
	if k.Doc, err = json.Marshal(doc{Run: r, Seq: r.seq, Position: r.position, Work: r.work, Timers: r.timers}); err == nil && whole {
		k.Plan, err = json.Marshal(fixed{r.Plan, r.bodies})
	}
	if err != nil {
		return k, fmt.Errorf("writing run %s: %w", r.ID, err)
	}
	return k, nil
}

// read is the reverse of keep.
func (e *Engine) read(k Kept) (*Run, error) {
	r := &Run{}
	d := doc{Run: r}
	var f fixed
	if err := json.Unmarshal(k.Doc, &d); err != nil {
		return nil, fmt.Errorf("reading run %s: %w", k.ID, err)
	}
	if err := json.Unmarshal(k.Plan, &f); err != nil {
		return nil, fmt.Errorf("reading the plan of run %s: %w", k.ID, err)
	}
	r.Plan, r.bodies, r.seq, r.position, r.work, r.timers = f.Plan, f.Bodies, d.Seq, d.Position, d.Work, d.Timers
	return r, nil
}
