package cacao

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// run goes on until every branch waits for a task, or the run is over.
func (m *Machine) run() {
	m.runBranch((*workflow)(nil).of(m, &m.at.Root), &m.at.Root)
}

func (m *Machine) runBranch(w *workflow, b *Branch) {
	for !b.Ended && !m.at.Root.Ended {
		for _, in := range b.Inner {
			m.runBranch(w.of(m, in), in)
		}
		switch b.Stage {
		case entering:
			m.enter(w, b)
		case inside:
			if slices.ContainsFunc(b.Inner, func(in *Branch) bool { return !in.Ended }) {
				return
			}
			m.joined(w, b)
		default:
			return
		}
	}
}

// count takes one of the steps that a run may take, and ends the run where there are none left.
func (m *Machine) count() bool {
	if m.at.Steps++; m.at.Steps > m.lim.Steps {
		m.GiveUp(fmt.Sprintf("more than %d steps: the run was ended", m.lim.Steps))
		return false
	}
	return true
}

// enter takes a branch into its step.
func (m *Machine) enter(w *workflow, b *Branch) {
	s := w.p.Workflow[b.Step]
	switch {
	case !m.count():
	case s == nil:
		m.end(b, &Failure{b.Step, "it is not in the workflow"})
	case s.Type == StartStep:
		m.goTo(w, b, s.OnCompletion)
	case s.Type == EndStep:
		b.Ended = true
	case s.Delay > 0:
		b.Stage = delaying
	default:
		m.begin(w, b, s)
	}
}

// begin starts what a step does, its delay being over.
func (m *Machine) begin(w *workflow, b *Branch, s *Step) {
	own, err := s.Begin(w.view(b))
	if err != nil {
		m.fail(w, b, err.Error())
		return
	}
	b.Own = own
	switch s.Type {
	case ActionStep:
		b.Stage = doing
	case PlaybookStep:
		m.call(w, b, s)
	case ParallelStep:
		m.branch(w, b, s.NextSteps...)
	case IfStep, WhileStep:
		m.decide(w, b, s)
	case SwitchStep:
		v, err := w.view(b).Get(strings.TrimSuffix(s.Switch, ":value"))
		switch {
		case err != nil:
			m.fail(w, b, err.Error())
		case s.Case(v.Value.Text) == "":
			m.succeed(w, b, s)
		default:
			m.branch(w, b, s.Case(v.Value.Text))
		}
	default:
		m.fail(w, b, fmt.Sprintf("a step of type %q cannot be run", s.Type))
	}
}

// branch opens inner branches, each at a step.
func (m *Machine) branch(w *workflow, b *Branch, steps ...string) {
	if w.depth >= m.lim.Depth {
		m.fail(w, b, fmt.Sprintf("more than %d branches and playbooks within one another", m.lim.Depth))
		return
	}
	b.Stage, b.Inner = inside, nil
	for i, to := range steps {
		b.Inner = append(b.Inner, &Branch{ID: fmt.Sprintf("%s.%d/%d", b.ID, b.Visit, b.Next+i), Step: to})
	}
}

// call opens the workflow of another playbook, with the values of in_args for its variables.
func (m *Machine) call(w *workflow, b *Branch, s *Step) {
	p := m.lib[s.PlaybookID]
	switch {
	case p == nil:
		m.fail(w, b, fmt.Sprintf("playbook %s is not known", s.PlaybookID))
		return
	case s.PlaybookVersion != "" && s.PlaybookVersion != p.Modified:
		m.fail(w, b, fmt.Sprintf("playbook %s is known in the version of %s, not of %s", s.PlaybookID, p.Modified, s.PlaybookVersion))
		return
	}
	given, seen := map[string]string{}, w.view(b)
	for _, name := range s.InArgs {
		name = strings.TrimSuffix(name, ":value")
		v, err := seen.Get(name)
		if err != nil {
			m.fail(w, b, err.Error())
			return
		}
		given[name] = v.Value.Text
	}
	vars, err := p.Begin(given)
	if err != nil {
		m.fail(w, b, fmt.Sprintf("playbook %s: %v", s.PlaybookID, err))
		return
	}
	m.branch(w, b, p.Start)
	for _, in := range b.Inner {
		in.Whole, in.Playbook, in.Vars = true, s.PlaybookID, vars
	}
}

// decide evaluates the condition of an if or while over the values of now.
func (m *Machine) decide(w *workflow, b *Branch, s *Step) {
	cond, err := ParseCondition(s.Condition)
	if err != nil {
		m.fail(w, b, err.Error())
		return
	}
	answer, err := cond.Eval(w.view(b))
	switch {
	case err != nil:
		m.fail(w, b, err.Error())
	case answer == Ask:
		b.Stage = asking
	default:
		m.decided(w, b, s, answer == True)
	}
}

func (m *Machine) decided(w *workflow, b *Branch, s *Step, yes bool) {
	to := s.OnFalse
	if yes {
		to = s.OnTrue
	}
	switch {
	case s.Type == WhileStep && !yes, to == "":
		m.succeed(w, b, s)
	case s.Type == WhileStep && b.Next >= m.lim.Loops:
		m.fail(w, b, fmt.Sprintf("more than %d rounds", m.lim.Loops))
	default:
		m.branch(w, b, to)
	}
}

// joined goes on where all inner branches of a step have ended.
func (m *Machine) joined(w *workflow, b *Branch) {
	s, inner := w.p.Workflow[b.Step], b.Inner
	b.Inner = nil
	for _, in := range inner {
		if in.Failure != nil {
			m.failAs(w, b, in.Failure)
			return
		}
	}
	switch s.Type {
	case WhileStep:
		b.Next++
		if m.count() {
			m.decide(w, b, s)
		}
		return
	case PlaybookStep:
		values := map[string]string{}
		for _, name := range s.OutArgs {
			name = strings.TrimSuffix(name, ":value")
			if v, err := inner[0].Vars.Get(name); err == nil {
				values[name] = v.Value.Text
			}
		}
		if err := assign(w, b, s, values); err != nil {
			m.fail(w, b, err.Error())
			return
		}
	}
	m.succeed(w, b, s)
}

// finish takes the outcome of a task.
func (m *Machine) finish(w *workflow, b *Branch, t Task, o Outcome) {
	s := w.p.Workflow[b.Step]
	switch {
	case t.Kind == DeadlineTask:
		m.fail(w, b, fmt.Sprintf("ACTION_TIMEOUT: it was not done within %d ms", s.Timeout))
	case o.Failed != "":
		m.fail(w, b, o.Failed)
	case t.Kind == DelayTask:
		m.begin(w, b, s)
	case t.Kind == QuestionTask:
		m.decided(w, b, s, o.Yes)
	default:
		if err := assign(w, b, s, o.Vars); err != nil {
			m.fail(w, b, err.Error())
			return
		}
		if b.Next++; b.Next >= s.CommandCount() {
			m.succeed(w, b, s)
			return
		}
		m.count()
	}
}

// assign writes what came out of a step to the variables that its out_args name.
func assign(w *workflow, b *Branch, s *Step, values map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !s.outArg(name) {
			return fmt.Errorf("variable %s is not in out_args", name)
		}
		into := w.whole.Vars
		if _, own := b.Own[name]; own {
			into = b.Own
		}
		if err := into.Set(name, values[name]); err != nil {
			return err
		}
	}
	return nil
}

func (m *Machine) succeed(w *workflow, b *Branch, s *Step) {
	m.goTo(w, b, firstOf(s.OnSuccess, s.OnCompletion))
}

// goTo takes a branch to another step.
func (m *Machine) goTo(w *workflow, b *Branch, to string) {
	if to == "" {
		m.fail(w, b, "the step does not say what comes after it")
		return
	}
	b.Step, b.Stage, b.Own, b.Next, b.Inner = to, entering, nil, 0, nil
	b.Visit++
}

func (m *Machine) fail(w *workflow, b *Branch, cause string) { m.failAs(w, b, &Failure{b.Step, cause}) }

// failAs takes the way of failure: on_failure, else the end of the branch, which fails the step
// around it, and at the end of that chain workflow_exception.
func (m *Machine) failAs(w *workflow, b *Branch, f *Failure) {
	b.Inner = nil
	switch s := w.p.Workflow[b.Step]; {
	case s.OnFailure != "":
		m.goTo(w, b, s.OnFailure)
	case b.Whole && w.p.Exception != "" && !b.Handling:
		b.Handling, b.Failure = true, f
		for name, text := range map[string]string{"__failed_step__": f.Step, "__error__": f.Cause} {
			_ = b.Vars.Set(name, text) // for who declares it
		}
		m.goTo(w, b, w.p.Exception)
	default:
		m.end(b, f)
	}
}

func (m *Machine) end(b *Branch, f *Failure) {
	b.Ended, b.Inner = true, nil
	if b.Failure == nil { // the first one tells why
		b.Failure = f
	}
}
