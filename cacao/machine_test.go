package cacao_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"picket/cacao"
)

// flow is a playbook made of steps in short: the names are the keys of the workflow.
func flow(vars cacao.Variables, steps map[string]*cacao.Step) *cacao.Playbook {
	return &cacao.Playbook{ID: "playbook--" + uuid(1), Variables: vars, Start: "start", Workflow: steps}
}

func act(name, next string) *cacao.Step {
	return &cacao.Step{Type: cacao.ActionStep, Commands: []cacao.Command{{Type: "manual", Command: name}}, OnCompletion: next}
}

func start(next string) *cacao.Step { return &cacao.Step{Type: cacao.StartStep, OnCompletion: next} }

func end() *cacao.Step { return &cacao.Step{Type: cacao.EndStep} }

func text(value string) cacao.Variable {
	return cacao.Variable{Type: "string", Value: cacao.Known(value)}
}

// drive runs a machine to its end, one task at a time, and returns what it did. Tasks come out as
// answers says by command or question; others succeed. A deadline is never met unless named.
func drive(t testing.TB, m *cacao.Machine, answers map[string]cacao.Outcome) []string {
	t.Helper()
	var trace []string
	for n := 0; ; n++ {
		if ended, f := m.Ended(); ended {
			word := "end"
			if f != nil {
				word = "failed " + f.Step + ": " + f.Cause
			}
			return append(trace, word)
		}
		if n > 100_000 {
			t.Fatal("it does not end")
		}
		task, o := choose(t, m.Tasks(), answers)
		trace = append(trace, said(task))
		if err := m.Finish(task.ID, o); err != nil {
			t.Fatal(err)
		}
	}
}

// said tells a task in short.
func said(task cacao.Task) string {
	s := string(task.Kind)
	switch task.Kind {
	case cacao.CommandTask:
		s, _ = cacao.Substitute(task.Command.Command, task.Vars, cacao.Raw)
		if task.Target != "" {
			s += "@" + task.Target
		}
	case cacao.QuestionTask:
		s = "? " + task.Question
	}
	return s
}

func choose(t testing.TB, tasks []cacao.Task, answers map[string]cacao.Outcome) (cacao.Task, cacao.Outcome) {
	t.Helper()
	for _, task := range tasks {
		o, named := answers[said(task)]
		if named || task.Kind != cacao.DeadlineTask {
			return task, o
		}
	}
	t.Fatalf("nothing to do, and not over: %v", tasks)
	return cacao.Task{}, cacao.Outcome{}
}

func TestMachine(t *testing.T) {
	failed := func(why string) cacao.Outcome { return cacao.Outcome{Failed: why} }
	two := func(s *cacao.Step, ok, bad string) *cacao.Step {
		s.OnCompletion, s.OnSuccess, s.OnFailure = "", ok, bad
		return s
	}
	exception := func(p *cacao.Playbook, to string) *cacao.Playbook { p.Exception = to; return p }
	for _, c := range []struct {
		name    string
		p       *cacao.Playbook
		answers map[string]cacao.Outcome
		want    []string
	}{
		{"commands in order, all on each target", flow(nil, map[string]*cacao.Step{
			"start": start("a"), "end": end(),
			"a": {Type: cacao.ActionStep, Commands: []cacao.Command{{Command: "x"}, {Command: "y"}}, Targets: []string{"t1", "t2"}, OnCompletion: "end"},
		}), nil, []string{"x@t1", "y@t1", "x@t2", "y@t2", "end"}},
		{"a failure ends the step's commands and takes on_failure", flow(nil, map[string]*cacao.Step{
			"start": start("a"), "end": end(), "b": act("mend", "end"),
			"a": two(&cacao.Step{Type: cacao.ActionStep, Commands: []cacao.Command{{Command: "x"}, {Command: "y"}}}, "end", "b"),
		}), map[string]cacao.Outcome{"x": failed("no")}, []string{"x", "mend", "end"}},
		{"a failure without on_failure takes workflow_exception, and the run has failed", exception(flow(cacao.Variables{"__error__": text(""), "__failed_step__": text("")}, map[string]*cacao.Step{
			"start": start("a"), "end": end(), "a": act("x", "b"), "b": act("y", "end"),
			"tell": act("tell of __failed_step__:value: __error__:value", "bad"), "bad": end(),
		}), "tell"), map[string]cacao.Outcome{"x": failed("no")}, []string{"x", "tell of a: no", "failed a: no"}},
		{"the exception's own failure does not come back to it", exception(flow(nil, map[string]*cacao.Step{
			"start": start("a"), "end": end(), "a": act("x", "end"), "tell": act("tell", "bad"), "bad": end(),
		}), "tell"), map[string]cacao.Outcome{"x": failed("no"), "tell": failed("neither")}, []string{"x", "tell", "failed a: no"}},
		{"all branches of a parallel step end before one's failure counts", flow(nil, map[string]*cacao.Step{
			"start": start("p"), "p": {Type: cacao.ParallelStep, NextSteps: []string{"a", "b"}, OnSuccess: "end", OnFailure: "mend"}, "end": end(),
			"a": act("x", "ea"), "ea": end(), "b": act("y", "b2"), "b2": act("z", "eb"), "eb": end(), "mend": act("mend", "end"),
		}), map[string]cacao.Outcome{"x": failed("no")}, []string{"x", "y", "z", "mend", "end"}},
		{"a while sees fresh values", flow(cacao.Variables{"__n__": {Type: "integer", Value: cacao.Known("0")}}, map[string]*cacao.Step{
			"start": start("w"), "w": {Type: cacao.WhileStep, Condition: "__n__:value < 2", OnTrue: "a", OnCompletion: "end"}, "end": end(), "ea": end(),
			"a": {Type: cacao.ActionStep, Commands: []cacao.Command{{Command: "n is __n__:value"}}, OutArgs: []string{"__n__"}, OnCompletion: "ea"},
		}), map[string]cacao.Outcome{"n is 0": {Vars: map[string]string{"__n__": "1"}}, "n is 1": {Vars: map[string]string{"__n__": "2"}}}, []string{"n is 0", "n is 1", "end"}},
		{"a while is bounded", flow(nil, map[string]*cacao.Step{
			"start": start("w"), "w": {Type: cacao.WhileStep, Condition: "go on?", OnTrue: "ea", OnSuccess: "end", OnFailure: "mend"}, "end": end(), "ea": end(), "mend": act("mend", "end"),
		}), map[string]cacao.Outcome{"? go on?": {Yes: true}}, append(slices.Repeat([]string{"? go on?"}, 101), "mend", "end")},
		{"a question decides", flow(nil, map[string]*cacao.Step{
			"start": start("i"), "i": {Type: cacao.IfStep, Condition: "really?", OnTrue: "a", OnFalse: "b", OnCompletion: "end"}, "end": end(),
			"a": act("x", "ea"), "ea": end(), "b": act("y", "eb"), "eb": end(),
		}), map[string]cacao.Outcome{"? really?": {Yes: false}}, []string{"? really?", "y", "end"}},
		{"a variable without a value fails a condition, which is not false", flow(cacao.Variables{"__x__": {Type: "string"}}, map[string]*cacao.Step{
			"start": start("i"), "i": {Type: cacao.IfStep, Condition: "__x__:value = 'a'", OnTrue: "a", OnCompletion: "end"}, "end": end(), "a": act("x", "ea"), "ea": end(),
		}), nil, []string{"failed i: condition \"__x__:value = 'a'\": variable __x__ has no value"}},
		{"a switch takes its case, its default, or none", flow(cacao.Variables{"__k__": text("b")}, map[string]*cacao.Step{
			"start": start("s"), "s": {Type: cacao.SwitchStep, Switch: "__k__:value", Cases: map[string]string{"a": "a", "default": "d"}, OnCompletion: "s2"}, "end": end(),
			"s2": {Type: cacao.SwitchStep, Switch: "__k__:value", Cases: map[string]string{"a": "a"}, OnCompletion: "end"},
			"a":  act("x", "ea"), "ea": end(), "d": act("y", "ed"), "ed": end(),
		}), nil, []string{"y", "end"}},
		{"a delay comes first, a deadline fails the step", flow(nil, map[string]*cacao.Step{
			"start": start("a"), "end": end(), "mend": act("mend", "end"),
			"a": {Type: cacao.ActionStep, Delay: 5, Timeout: 7, Commands: []cacao.Command{{Command: "x"}}, OnSuccess: "end", OnFailure: "mend"},
		}), map[string]cacao.Outcome{"deadline": {}}, []string{"delay", "deadline", "mend", "end"}},
		{"a deadline of a parallel step ends its branches", flow(nil, map[string]*cacao.Step{
			"start": start("p"), "p": {Type: cacao.ParallelStep, Timeout: 7, NextSteps: []string{"a", "b"}, OnCompletion: "end"}, "end": end(),
			"a": act("x", "ea"), "ea": end(), "b": act("y", "eb"), "eb": end(),
		}), map[string]cacao.Outcome{"deadline": {}}, []string{"deadline", "failed p: ACTION_TIMEOUT: it was not done within 7 ms"}},
		{
			"what is not in out_args is not assigned", flow(cacao.Variables{"__x__": text("")}, map[string]*cacao.Step{"start": start("a"), "end": end(), "a": act("x", "end")}),
			map[string]cacao.Outcome{"x": {Vars: map[string]string{"__x__": "1"}}},
			[]string{"x", "failed a: variable __x__ is not in out_args"},
		},
		{"an action without commands is a person's", flow(nil, map[string]*cacao.Step{"start": start("a"), "end": end(), "a": {Type: cacao.ActionStep, Description: "call them", OnCompletion: "end"}}), nil, []string{"call them", "end"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := cacao.NewMachine(c.p, nil, nil, cacao.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, drive(t, m, c.answers)); d != "" {
				t.Error(d)
			}
		})
	}
}

// What is given from outside is never looked through for references; what is declared is.
func TestMachineVariables(t *testing.T) {
	p := flow(cacao.Variables{"__host__": text("h1"), "__given__": {Type: "string", External: true}, "__told__": text("on __host__:value")}, map[string]*cacao.Step{
		"start": start("a"), "end": end(),
		"a": {
			Type: cacao.ActionStep, Variables: cacao.Variables{"__own__": text("own __given__:value")},
			Commands: []cacao.Command{{Command: "__told__:value, __own__:value"}}, OnCompletion: "end",
		},
	})
	if _, err := cacao.NewMachine(p, nil, nil, cacao.Limits{}); err == nil || !strings.Contains(err.Error(), "__given__ is external") {
		t.Errorf("got %v", err)
	}
	m, err := cacao.NewMachine(p, nil, map[string]string{"__given__": "__host__:value"}, cacao.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"on h1, own __host__:value", "end"}, drive(t, m, nil)); d != "" {
		t.Error(d)
	}
}

func TestMachineCalls(t *testing.T) {
	inner := flow(cacao.Variables{"__who__": {Type: "string", External: true}, "__result__": {Type: "string"}}, map[string]*cacao.Step{
		"start": start("a"), "end": end(),
		"a": {Type: cacao.ActionStep, Commands: []cacao.Command{{Command: "greet __who__:value"}}, OutArgs: []string{"__result__"}, OnCompletion: "end"},
	})
	inner.ID, inner.Modified = "playbook--"+uuid(2), "2026-01-01T00:00:00.000Z"
	outer := func(version cacao.Timestamp) *cacao.Playbook {
		return flow(cacao.Variables{"__who__": text("Ada"), "__result__": {Type: "string"}}, map[string]*cacao.Step{
			"start": start("c"), "end": end(), "a": act("got __result__:value", "end"),
			"c": {Type: cacao.PlaybookStep, PlaybookID: inner.ID, PlaybookVersion: version, InArgs: []string{"__who__"}, OutArgs: []string{"__result__"}, OnCompletion: "a"},
		})
	}
	answers := map[string]cacao.Outcome{"greet Ada": {Vars: map[string]string{"__result__": "hello"}}}
	for version, want := range map[cacao.Timestamp][]string{
		"":                         {"greet Ada", "got hello", "end"},
		inner.Modified:             {"greet Ada", "got hello", "end"},
		"2025-01-01T00:00:00.000Z": {"failed c: playbook " + inner.ID + " is known in the version of 2026-01-01T00:00:00.000Z, not of 2025-01-01T00:00:00.000Z"},
	} {
		m, err := cacao.NewMachine(outer(version), cacao.Library{inner.ID: inner}, nil, cacao.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, drive(t, m, answers)); d != "" {
			t.Error(d)
		}
	}
	self := flow(nil, map[string]*cacao.Step{"start": start("c"), "end": end(), "c": {Type: cacao.PlaybookStep, PlaybookID: "playbook--" + uuid(1), OnCompletion: "end"}})
	m, err := cacao.NewMachine(self, cacao.Library{self.ID: self}, nil, cacao.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if ended, f := m.Ended(); !ended || f == nil || !strings.Contains(f.Cause, "more than 32") {
		t.Errorf("a playbook that calls itself: %v %v", ended, f)
	}
}

func TestMachineRefusesALateOutcome(t *testing.T) {
	m, err := cacao.NewMachine(flow(nil, map[string]*cacao.Step{"start": start("a"), "end": end(), "a": act("x", "end")}), nil, nil, cacao.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	id := m.Tasks()[0].ID
	if err := m.Finish(id, cacao.Outcome{}); err != nil {
		t.Fatal(err)
	}
	if err := m.Finish(id, cacao.Outcome{}); !errors.Is(err, cacao.ErrNoTask) {
		t.Errorf("got %v", err)
	}
}

// maker makes a valid playbook out of bytes: nested steps of every type.
type maker struct {
	data  []byte
	steps map[string]*cacao.Step
	n     int
}

func (g *maker) byte() int {
	if len(g.data) == 0 {
		return 0
	}
	b := g.data[0]
	g.data = g.data[1:]
	return int(b)
}

func (g *maker) add(kind string, s *cacao.Step) string {
	g.n++
	s.Type = kind
	id := kind + "--" + uuid(100+g.n)
	g.steps[id] = s
	return id
}

// chain makes a branch of a few steps and its end, and returns where it begins.
func (g *maker) chain(depth int) string {
	at := g.add(cacao.EndStep, &cacao.Step{})
	for range g.byte() % 3 {
		at = g.step(depth, at)
	}
	return at
}

func (g *maker) step(depth int, next string) string {
	s := &cacao.Step{OnCompletion: next}
	if g.byte()%4 == 0 {
		s.OnCompletion, s.OnSuccess, s.OnFailure = "", next, next
	}
	if g.byte()%5 == 0 {
		s.Delay, s.Timeout = 1, 1
	}
	kind := g.byte() % 6
	if depth == 0 {
		kind = 0
	}
	switch kind {
	case 1:
		s.NextSteps = []string{g.chain(depth - 1), g.chain(depth - 1)}
		return g.add(cacao.ParallelStep, s)
	case 2:
		s.Condition, s.OnTrue, s.OnFalse = "__n__:value > 3", g.chain(depth-1), g.chain(depth-1)
		return g.add(cacao.IfStep, s)
	case 3:
		s.Condition, s.OnTrue = []string{"shall it go on?", "__n__:value < 5"}[g.byte()%2], g.chain(depth-1)
		return g.add(cacao.WhileStep, s)
	case 4:
		s.Switch, s.Cases = "__n__:value", map[string]string{"1": g.chain(depth - 1), "default": g.chain(depth - 1)}
		return g.add(cacao.SwitchStep, s)
	}
	s.Agent, s.OutArgs = "group--"+uuid(20), []string{"__n__"}
	s.Commands = slices.Repeat([]cacao.Command{{Type: "manual", Command: "do __n__:value"}}, 1+g.byte()%2)
	return g.add(cacao.ActionStep, s)
}

// Any valid playbook ends within its bounds, however its tasks come out; gone on from a position that
// was kept, it goes the same way; and no task has the id of another.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{2, 1, 0, 1, 2, 2, 1, 1, 3, 1, 1, 1, 1}, uint64(1))
	f.Add([]byte("the quick brown fox jumps over the lazy dog, twice or more"), uint64(7))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		g := &maker{data: data[:min(len(data), 200)], steps: map[string]*cacao.Step{}}
		first := g.step(3, g.chain(3))
		p := flow(cacao.Variables{"__n__": {Type: "integer", Value: cacao.Known("0")}}, g.steps)
		p.Type, p.SpecVersion, p.Name, p.CreatedBy = "playbook", "cacao-2.0", "made", "identity--"+uuid(2)
		p.Created, p.Modified = "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.000Z"
		p.Agents = map[string]*cacao.Agent{"group--" + uuid(20): {Type: "group", Name: "people"}}
		p.Start = g.add(cacao.StartStep, &cacao.Step{OnCompletion: first})
		if bad := p.Validate().Errors(); len(bad) > 0 && !strings.Contains(bad.Error(), "nothing to do") {
			t.Fatalf("the playbook is not valid: %v", bad)
		}
		lim := cacao.Limits{Steps: 300, Loops: 4}
		m, err := cacao.NewMachine(p, nil, nil, lim)
		if err != nil {
			t.Fatal(err)
		}
		seen, n := map[string]bool{}, 0
		for ; ; n++ {
			if ended, _ := m.Ended(); ended {
				break
			}
			tasks := m.Tasks()
			if len(tasks) == 0 || n > 2000 {
				t.Fatalf("it does not end: %d tasks after %d", len(tasks), n)
			}
			seed = seed*6364136223846793005 + 1442695040888963407
			task := tasks[int(seed>>33)%len(tasks)]
			if seen[task.ID] {
				t.Fatalf("task %s came twice", task.ID)
			}
			seen[task.ID] = true
			o := cacao.Outcome{Yes: seed>>40&1 == 1}
			switch {
			case seed>>50&7 == 0:
				o.Failed = "no"
			case task.Kind == cacao.CommandTask:
				o.Vars = map[string]string{"__n__": fmt.Sprint(seed >> 41 & 7)}
			}
			kept := marshal(t, m.Position())
			var at cacao.Position
			if err := json.Unmarshal(kept, &at); err != nil {
				t.Fatal(err)
			}
			other := cacao.ResumeMachine(p, nil, at, lim)
			if err := errors.Join(m.Finish(task.ID, o), other.Finish(task.ID, o)); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(marshal(t, m.Position())), string(marshal(t, other.Position()))); d != "" {
				t.Fatalf("gone on from what was kept it went another way:\n%s", d)
			}
		}
		if m.Position().Steps > lim.Steps+1 {
			t.Errorf("%d steps", m.Position().Steps)
		}
	})
}
