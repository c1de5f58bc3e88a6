package cacao

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Limits bound what a run of a playbook may take. The zero value of each field is its default.
type Limits struct {
	Steps int // steps and commands in all; 10,000
	Loops int // rounds of one while; 100
	Depth int // branches and called playbooks within one another; 32
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		field *int
		value int
	}{{&l.Steps, 10_000}, {&l.Loops, 100}, {&l.Depth, 32}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return l
}

// Machine steps through a playbook. It does nothing itself: [Machine.Tasks] says what is to be done
// now, and [Machine.Finish] tells it how that came out. It has no clock; the same outcomes in the same
// order lead to the same place. Its [Position] is plain data that can be kept and gone on from.
//
// It is not safe for concurrent use.
type Machine struct {
	p   *Playbook
	lib Library
	lim Limits
	at  Position
}

// Library holds the playbooks that others call, by id. Each is there in the one version that is run.
type Library map[string]*Playbook

// Position is where a run stands: a tree of branches, each at one step.
type Position struct {
	Root  Branch `json:"root"`
	Steps int    `json:"steps"` // taken so far
}

// Branch is one way through a workflow, or a part of one: of a parallel step, an if, a while, a
// switch, or the whole workflow of a playbook, which alone has variables.
type Branch struct {
	ID       string    `json:"id"`
	Playbook string    `json:"playbook,omitempty"` // of a called one; "" is the playbook around it
	Vars     Variables `json:"vars,omitempty"`
	Whole    bool      `json:"whole,omitempty"` // the workflow of a playbook
	Step     string    `json:"step"`
	Visit    int       `json:"visit"` // counts the steps of this branch
	Stage    stage     `json:"stage,omitempty"`
	Own      Variables `json:"own,omitempty"`  // of the step, fresh at each visit
	Next     int       `json:"next,omitempty"` // command, or round of a while
	Inner    []*Branch `json:"inner,omitempty"`
	Handling bool      `json:"handling,omitempty"` // in workflow_exception
	Ended    bool      `json:"ended,omitempty"`
	Failure  *Failure  `json:"failure,omitempty"`
}

// stage is what a branch waits for at its step.
type stage string

const (
	entering stage = ""
	delaying stage = "delay"
	asking   stage = "ask"
	doing    stage = "do"
	inside   stage = "inside" // for its inner branches
)

// Failure says which step failed and why.
type Failure struct { //nolint:errname // it is where a run failed first, and an error where one is wanted
	Step  string `json:"step"`
	Cause string `json:"cause"`
}

func (f *Failure) Error() string { return fmt.Sprintf("step %s: %s", f.Step, f.Cause) }

// TaskKind is what sort of thing is to be done.
type TaskKind string

// The kinds of tasks. Deadline is done when its time is over, and the step that it belongs to has
// then failed; it goes away by itself when the step ends before.
const (
	CommandTask  TaskKind = "command"
	QuestionTask TaskKind = "question"
	DelayTask    TaskKind = "delay"
	DeadlineTask TaskKind = "deadline"
)

// Task is one thing that is to be done before the run goes on. Its ID says where in the run it stands
// and is never used twice in one.
type Task struct {
	ID       string
	Kind     TaskKind
	Playbook *Playbook // whose definitions of agents and targets hold
	Step     string
	Command  *Command  // CommandTask
	Index    int       // of the command in its step, over all targets
	Target   string    // key in target_definitions, "" where the step names none
	Question string    // QuestionTask
	Wait     int64     // DelayTask, DeadlineTask: milliseconds
	Vars     Variables // what its texts may refer to; not to be changed
}

// Outcome is how a task came out.
type Outcome struct {
	Failed string            `json:"failed,omitempty"` // why it failed; "" is success
	Vars   map[string]string `json:"vars,omitempty"`   // values for out_args, by name
	Yes    bool              `json:"yes,omitempty"`    // the answer to a question
}

// ErrNoTask is the error of an outcome that nobody waits for: it is done, or its step ended before.
var ErrNoTask = errors.New("there is no such task now")

// NewMachine starts a run of a playbook with the values that the trigger gives. The playbook and those
// in the library must be valid.
func NewMachine(p *Playbook, lib Library, given map[string]string, lim Limits) (*Machine, error) {
	vars, err := p.Begin(given)
	if err != nil {
		return nil, err
	}
	m := &Machine{p: p, lib: lib, lim: lim.withDefaults(), at: Position{Root: Branch{ID: "0", Whole: true, Vars: vars, Step: p.Start}}}
	m.run()
	return m, nil
}

// ResumeMachine goes on from a position of a run of the same playbooks.
func ResumeMachine(p *Playbook, lib Library, at Position, lim Limits) *Machine {
	return &Machine{p: p, lib: lib, lim: lim.withDefaults(), at: at}
}

// Begin returns the variables with which a run of the playbook starts. A declared value that refers to
// another variable is replaced by that one's; a value that was given never is: it may be anybody's.
func (p *Playbook) Begin(given map[string]string) (Variables, error) {
	vars, err := p.Variables.Start(given)
	if err != nil {
		return nil, err
	}
	declared := maps.Clone(p.Variables)
	maps.DeleteFunc(declared, func(name string, _ Variable) bool { _, is := given[name]; return is })
	resolved, err := declared.resolve(vars)
	maps.Copy(vars, resolved)
	return vars, err
}

// Begin returns the step's own variables as they are when it begins, where seen are those around it.
func (s *Step) Begin(seen Variables) (Variables, error) {
	own := maps.Clone(s.Variables)
	resolved, err := own.resolve(seen.Within(s))
	maps.Copy(own, resolved)
	return own, err
}

// resolve returns the variables whose value refers to others, with the values that these have in seen.
func (v Variables) resolve(seen Variables) (Variables, error) {
	out := Variables{}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		x := v[name]
		if !x.Value.Known || !reference.MatchString(x.Value.Text) {
			continue
		}
		text, err := Substitute(x.Value.Text, seen, Raw)
		if err == nil {
			err = CheckType(x.Type, text)
		}
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", name, err)
		}
		x.Value.Text = text
		out[name] = x
	}
	return out, nil
}

// Position returns where the run stands. It changes with the machine.
func (m *Machine) Position() *Position { return &m.at }

// Ended reports whether the run is over, and why it failed, where it did.
func (m *Machine) Ended() (bool, *Failure) { return m.at.Root.Ended, m.at.Root.Failure }

// Tasks returns what is to be done now, in the order of the branches.
func (m *Machine) Tasks() []Task {
	var out []Task
	m.each(func(_ *workflow, _ *Branch, t Task) bool {
		out = append(out, t)
		return true
	})
	return out
}

// Finish tells how a task came out, and goes on as far as that leads.
func (m *Machine) Finish(id string, o Outcome) error {
	found := false
	m.each(func(w *workflow, b *Branch, t Task) bool {
		if t.ID != id {
			return true
		}
		found = true
		m.finish(w, b, t, o)
		return false
	})
	if !found {
		return fmt.Errorf("task %s: %w", id, ErrNoTask)
	}
	m.run()
	return nil
}

// GiveUp ends the run here, with a reason.
func (m *Machine) GiveUp(cause string) {
	if r := &m.at.Root; !r.Ended {
		r.Inner, r.Ended, r.Failure = nil, true, &Failure{r.Step, cause}
	}
}

// workflow is the playbook that a branch belongs to, with the branch that holds its variables.
type workflow struct {
	p     *Playbook
	whole *Branch
	depth int
}

func (w *workflow) of(m *Machine, b *Branch) *workflow {
	switch {
	case !b.Whole:
		return &workflow{w.p, w.whole, w.depth + 1}
	case b.Playbook == "":
		return &workflow{m.p, b, 0}
	}
	return &workflow{m.lib[b.Playbook], b, w.depth + 1}
}

// view returns what the step of a branch sees.
func (w *workflow) view(b *Branch) Variables {
	out := maps.Clone(w.whole.Vars)
	maps.Copy(out, b.Own)
	return out
}

// each calls f with every task that is due, until it returns false.
func (m *Machine) each(f func(*workflow, *Branch, Task) bool) {
	m.eachIn((*workflow)(nil).of(m, &m.at.Root), &m.at.Root, f)
}

func (m *Machine) eachIn(w *workflow, b *Branch, f func(*workflow, *Branch, Task) bool) bool {
	if b.Ended {
		return true
	}
	s := w.p.Workflow[b.Step]
	t := Task{ID: fmt.Sprintf("%s.%d", b.ID, b.Visit), Playbook: w.p, Step: b.Step}
	if s.Timeout > 0 && b.Stage != delaying {
		end := t
		end.ID, end.Kind, end.Wait = t.ID+"t", DeadlineTask, s.Timeout
		if !f(w, b, end) {
			return false
		}
	}
	switch b.Stage {
	case delaying:
		t.ID, t.Kind, t.Wait = t.ID+"d", DelayTask, s.Delay
	case asking:
		t.ID, t.Kind, t.Question = fmt.Sprintf("%sq%d", t.ID, b.Next), QuestionTask, s.Condition
		t.Vars = w.view(b)
	case doing:
		t.ID, t.Kind, t.Index = fmt.Sprintf("%sc%d", t.ID, b.Next), CommandTask, b.Next
		t.Command, t.Target = s.CommandAt(b.Next)
		t.Vars = w.view(b)
	default:
		for _, in := range b.Inner {
			if !m.eachIn(w.of(m, in), in, f) {
				return false
			}
		}
		return true
	}
	return f(w, b, t)
}

// CommandCount returns how many commands an action runs: all of them on each target.
func (s *Step) CommandCount() int { return max(len(s.Commands), 1) * max(len(s.Targets), 1) }

// CommandAt returns the command with a number in that order, and the key of its target. An action
// without commands asks a person to do what it describes.
func (s *Step) CommandAt(n int) (*Command, string) {
	target := ""
	if per := max(len(s.Commands), 1); len(s.Targets) > 0 {
		target = s.Targets[n/per]
		n %= per
	}
	if len(s.Commands) == 0 {
		return &Command{Type: "manual", Command: firstOf(s.Description, s.Name, "carry out this step")}, target
	}
	return &s.Commands[n], target
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// outArg returns whether a step may assign a variable.
func (s *Step) outArg(name string) bool {
	return slices.ContainsFunc(s.OutArgs, func(arg string) bool { return strings.TrimSuffix(arg, ":value") == name })
}
