package cacao

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// scope is a branch of a workflow, or the workflow itself: the steps between its entry and its end.
type scope struct {
	name   string // the place of the reference that enters it; "" for the workflow
	parent *scope
	writes map[string]string // variables that steps in it assign, and where
}

// walker follows a workflow and gives each step to the branch that it stands in.
type walker struct {
	c      *checker
	owner  map[string]*scope
	active map[string]bool // on the way from the start to where we are
}

// graph checks where the steps lead: that all references hold, that each branch keeps to steps of its
// own up to an end of its own, that nothing goes round outside a while, and that every step is reached.
func (c *checker) graph() {
	w := &walker{c: c, owner: map[string]*scope{}, active: map[string]bool{}}
	top := &scope{writes: map[string]string{}}
	c.entry("/workflow_start", c.p.Start, StartStep)
	if c.p.Exception != "" {
		c.entry("/workflow_exception", c.p.Exception, "")
		w.walk(top, "/workflow_exception", c.p.Exception)
	}
	w.walk(top, "/workflow_start", c.p.Start)
	doing := 0
	for _, id := range slices.Sorted(maps.Keys(c.p.Workflow)) {
		s := c.p.Workflow[id]
		if s.Type == ActionStep || s.Type == PlaybookStep {
			doing++
		}
		if w.owner[id] == nil {
			c.warn(join("/workflow", id), "no step leads here", "link it, or remove it")
		}
		if s.Type == StartStep && id != c.p.Start {
			c.err(join("/workflow", id), "a second start step", "a workflow has one start, named by workflow_start")
		}
	}
	if doing == 0 {
		c.err("/workflow", "there is nothing to do in it", "a workflow has at least a start, an action or playbook-action, and an end")
	}
}

func (c *checker) entry(ptr, id, kind string) {
	s := c.p.Workflow[id]
	switch {
	case s == nil && id != "":
		c.err(ptr, fmt.Sprintf("%s is not in workflow", id), "name a step of it")
	case s != nil && kind != "" && s.Type != kind:
		c.err(ptr, fmt.Sprintf("names a %s step", s.Type), "it must be a "+kind+" step")
	}
}

// walk visits the step that the reference at ptr names, as a part of a branch.
func (w *walker) walk(in *scope, ptr, id string) {
	s := w.c.p.Workflow[id]
	if s == nil {
		return
	}
	if owner := w.owner[id]; owner != nil {
		w.again(in, owner, ptr, id, s)
		return
	}
	w.owner[id] = in
	w.active[id] = true
	defer delete(w.active, id)
	at := join("/workflow", id)
	w.writes(in, at, s)
	w.branches(in, at, s)
	for _, l := range s.next() {
		to := at + "/" + l.property
		w.c.entry(to, l.to, "")
		w.walk(in, to, l.to)
	}
}

// again judges a reference to a step that was visited before.
func (w *walker) again(in, owner *scope, ptr, id string, s *Step) {
	switch {
	case owner == in && w.active[id]:
		w.c.err(ptr, fmt.Sprintf("goes back to %s, so that the workflow may never end", id), "loops are made with a while-condition step")
	case owner == in:
	case s.Type == EndStep:
		w.c.err(ptr, fmt.Sprintf("%s ends another branch (%s)", id, owner.place()), "give each branch an end step of its own")
	default:
		w.c.err(ptr, fmt.Sprintf("jumps to %s, which stands in another branch (%s)", id, owner.place()), "a branch keeps to its own steps and its own end; what comes after it is named by the branching step")
	}
}

func (s *scope) place() string {
	if s.name == "" {
		return "the workflow itself"
	}
	return s.name
}

// branches walks the branches of a step, each a scope of its own.
func (w *walker) branches(in *scope, at string, s *Step) {
	entered := map[string]bool{}
	var inner []*scope
	for _, l := range s.branches() {
		to := at + "/" + l.property
		w.c.entry(to, l.to, "")
		if entered[l.to] {
			if s.Type == ParallelStep {
				w.c.err(to, "the same branch twice", "")
			}
			continue // two cases of a switch may lead to one branch
		}
		entered[l.to] = true
		branch := &scope{name: to, parent: in, writes: map[string]string{}}
		w.walk(branch, to, l.to)
		inner = append(inner, branch)
	}
	if s.Type == ParallelStep {
		w.races(inner)
	}
}

// writes notes which variables of the playbook a step assigns, in its branch and in those around it.
func (w *walker) writes(in *scope, at string, s *Step) {
	for i, name := range s.OutArgs {
		name = strings.TrimSuffix(name, ":value")
		if _, own := s.Variables[name]; own {
			continue
		}
		for sc := in; sc != nil; sc = sc.parent {
			if sc.writes[name] == "" {
				sc.writes[name] = fmt.Sprintf("%s/out_args/%d", at, i)
			}
		}
	}
}

// races warns of variables that two branches assign at the same time.
func (w *walker) races(branches []*scope) {
	first := map[string]string{}
	for _, b := range branches {
		for _, name := range slices.Sorted(maps.Keys(b.writes)) {
			if other := first[name]; other != "" {
				w.c.warn(b.writes[name], fmt.Sprintf("variable %s is assigned in a parallel branch too (%s)", name, other), "which value stays is a matter of luck: use two variables")
				continue
			}
			first[name] = b.writes[name]
		}
	}
}
