package respond

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gowebpki/jcs"

	"picket/cacao"
	"picket/event"
	"picket/respond/action"
)

// Plan says what a playbook would do about an incident, before anything is done. Its hash covers what
// would be done to what; who approves, approves that and nothing else.
type Plan struct {
	Playbook  string            `json:"playbook"`
	Name      string            `json:"name"`
	Version   string            `json:"version"` // of the playbook: when it was modified
	Body      string            `json:"body"`    // hash of the playbook and of those that it calls
	Incident  string            `json:"incident"`
	Given     map[string]string `json:"given"` // values of its variables
	Class     action.Class      `json:"class"` // of its worst act that is not left out; one that is not known yet counts as destructive
	Acts      []Act             `json:"acts"`
	Questions []Question        `json:"questions"`
	Warnings  []string          `json:"warnings"`
	Costs     []Cost            `json:"costs"` // for people, as the tags: neither is in the hash
	Tags      []string          `json:"tags"`  // that the incident bears
	Hash      string            `json:"hash"`
}

// Act is one thing that a plan would do, or a step that a person would do.
type Act struct {
	ID       string            `json:"id,omitempty"`       // of an act that may be left out: the same in each plan of the playbook for the incident
	LeftOut  bool              `json:"left_out,omitempty"` // by who chose the targets: it is not done
	Playbook string            `json:"playbook,omitempty"` // that is called; "" is the plan's own
	Step     string            `json:"step"`
	Name     string            `json:"name"`
	Index    int               `json:"index"` // of the command in its step
	When     []string          `json:"when"`  // the conditions that it stands behind
	Kind     action.Kind       `json:"kind"`
	Class    action.Class      `json:"class"`
	Target   action.Target     `json:"target,omitzero"`
	Params   map[string]string `json:"params,omitempty"`
	TTL      time.Duration     `json:"ttl,omitempty"`
	Text     string            `json:"text,omitempty"`  // what a person is asked to do
	Open     string            `json:"open,omitempty"`  // why it is not known yet what it would do
	Gone     string            `json:"gone,omitempty"`  // why there is nothing left to do it to
	Digest   string            `json:"digest"`          // of the command with its values
	Effects  []string          `json:"effects"`         // what follows is for people, and not in the plan's hash
	Hits     []string          `json:"hits"`            // processes and files
	Undo     string            `json:"undo,omitempty"`  // how it is taken back
	Held     string            `json:"held,omitempty"`  // the agent that holds the same by itself already
	Error    string            `json:"error,omitempty"` // why its agent could not plan it
}

// Acts that no agent carries out.
const (
	Manual action.Kind = "manual" // a person does it
	HTTP   action.Kind = "http"   // a request to a server that the playbook names
	Undo   action.Kind = "undo"   // what the run did is taken back
)

// Question is a condition that a person decides.
type Question struct {
	Step string `json:"step"`
	Text string `json:"text"`
}

// maxActs bounds a plan.
const maxActs = 500

// planTimeout is how long an agent may take to plan an act.
const planTimeout = 5 * time.Second

// Plan plans a playbook for an incident, without the acts whose ids are given.
func (e *Engine) Plan(ctx context.Context, playbook, incident string, given map[string]string, leave []string) (*Plan, error) {
	p, _, err := e.plan(ctx, playbook, incident, given, leave)
	return p, err
}

func (e *Engine) plan(ctx context.Context, playbook, incident string, given map[string]string, leave []string) (*Plan, []json.RawMessage, error) {
	b, err := e.o.Library.Book(playbook)
	if err != nil {
		return nil, nil, err
	}
	inc, err := e.o.Incidents.Incident(ctx, incident)
	if err != nil {
		return nil, nil, fmt.Errorf("incident %s: %w", incident, err)
	}
	return e.planFor(ctx, b, &inc, given, leave)
}

func (e *Engine) planFor(ctx context.Context, b *Book, inc *event.Incident, given map[string]string, leave []string) (*Plan, []json.RawMessage, error) {
	if err := b.Runnable(e.o.Now()); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	all, err := e.o.Library.called(b.Playbook)
	if err != nil {
		return nil, nil, fmt.Errorf("playbook %s: %w", b.Word, err)
	}
	bodies, err := bodies(all)
	if err != nil {
		return nil, nil, err
	}
	plan := &Plan{Playbook: b.ID, Name: b.Name, Version: string(b.Modified), Incident: inc.ID, Given: known(b.Variables, inc), Class: action.Observe}
	maps.Copy(plan.Given, given)
	if plan.Body, err = bookHash(bodies); err != nil {
		return nil, nil, err
	}
	vars, err := b.Begin(plan.Given)
	if err != nil {
		return nil, nil, fmt.Errorf("playbook %s: %w: %w", b.Word, ErrInvalid, err)
	}
	w := &planner{e: e, plan: plan, inc: inc, lib: cacao.Library{}}
	for _, p := range all {
		w.lib[p.ID] = p
	}
	if err := w.walk(b.Playbook, "", vars, nil); err != nil {
		return nil, nil, fmt.Errorf("playbook %s: %w: %w", b.Word, ErrInvalid, err)
	}
	w.pinAll(ctx)
	if err := plan.leave(leave); err != nil {
		return nil, nil, fmt.Errorf("playbook %s: %w", b.Word, err)
	}
	if err := e.signed(all, plan.Class); err != nil {
		if e.o.Config.Signatures.Mode == SignaturesRequire {
			return nil, nil, fmt.Errorf("playbook %s: %w: signatures are required: %w", b.Word, ErrInvalid, err)
		}
		plan.Warnings = append(plan.Warnings, "signatures: "+err.Error())
	}
	plan.Warnings = append(plan.Warnings, plan.shortHolds()...)
	plan.Acts, plan.Questions, plan.Warnings = all0(plan.Acts), all0(plan.Questions), all0(plan.Warnings)
	plan.Costs, plan.Tags = all0(e.costs(ctx, inc, plan)), all0(TagsOf(e.o.Config.Assets, inc))
	plan.Hash, err = plan.hash()
	return plan, bodies, err
}

// all0 makes an empty list of none, which is what a reader of the JSON expects.
func all0[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// hash is the SHA-256 of the canonical plan without what is only for people.
func (p *Plan) hash() (string, error) {
	bare := *p
	bare.Hash, bare.Warnings, bare.Costs, bare.Tags = "", nil, nil, nil
	bare.Acts = slices.Clone(p.Acts)
	for i := range bare.Acts {
		a := &bare.Acts[i]
		a.Effects, a.Hits, a.Undo, a.Held, a.Error = nil, nil, "", "", ""
		if p := a.Target.Process; p != nil { // which program it runs is no part: by exec nobody voids an approval
			a.Target.Process = &action.ProcessPin{BootID: p.BootID, PID: p.PID, Start: p.Start}
		}
	}
	data, err := json.Marshal(bare)
	if err == nil {
		data, err = jcs.Transform(data)
	}
	if err != nil {
		return "", fmt.Errorf("hashing a plan: %w", err)
	}
	return sum(data), nil
}

func sum(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d\n", len(p)) //nolint:errcheck // a hash takes all
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// bookHash is the hash of a playbook with those that it calls.
func bookHash(bodies []json.RawMessage) (string, error) {
	parts := make([][]byte, len(bodies))
	for i, b := range bodies {
		canon, err := jcs.Transform(b)
		if err != nil {
			return "", fmt.Errorf("hashing a playbook: %w", err)
		}
		parts[i] = canon
	}
	return sum(parts...), nil
}

// known returns values for the variables of a playbook that are named after what an incident tells.
// They may be an attacker's words, and are cut.
func known(declared cacao.Variables, inc *event.Incident) map[string]string {
	out := map[string]string{}
	first := func(kind event.EntityKind) string {
		for _, e := range inc.Entities {
			if e.Kind == kind {
				return e.Name
			}
		}
		return ""
	}
	host := ""
	if len(inc.Hosts) > 0 {
		host = inc.Hosts[0]
	}
	for name, text := range map[string]string{
		"__incident_id__": inc.ID, "__incident_title__": inc.Title, "__incident_summary__": inc.Summary, "__incident_severity__": inc.Severity.String(),
		"__host__": host, "__workload__": first(event.EntityWorkload), "__model__": first(event.EntityModel), "__address__": first(event.EntityAddress),
	} {
		if v, has := declared[name]; has && !v.Constant && text != "" {
			if r := []rune(text); len(r) > 1000 {
				text = string(r[:1000])
			}
			if cacao.CheckType(v.Type, text) == nil {
				out[name] = text
			}
		}
	}
	return out
}

// notRun says why a command of a type is a person's task, and what is done without one.
func notRun(kind string) string {
	return fmt.Sprintf("Picket runs no %s commands, as its agents are root: a person is asked to; what is to be done without one is an act of Picket's own (openc2-http) or a request (http-api)", kind)
}

// maxWalked bounds the steps that are looked at for a plan: playbooks that each call another twice are
// few, and come to more than can be walked.
const maxWalked = 20_000

// planner walks a playbook and writes down what its steps would do.
type planner struct {
	e    *Engine
	plan *Plan
	inc  *event.Incident
	lib  cacao.Library

	walked int // steps
}

// walk plans the steps that are reached, in the order in which they are found from the start.
func (w *planner) walk(p *cacao.Playbook, called string, vars cacao.Variables, when []string) error {
	if len(when) > 64 {
		return fmt.Errorf("playbooks call one another more than 64 deep")
	}
	seen := map[string]bool{}
	var visit func(id string, when []string) error
	visit = func(id string, when []string) error {
		s := p.Workflow[id]
		if s == nil || seen[id] {
			return nil
		}
		seen[id] = true
		if w.walked++; w.walked > maxWalked {
			return fmt.Errorf("playbooks that are called come to more than %d steps", maxWalked)
		}
		if err := w.step(p, called, id, vars, when); err != nil {
			return fmt.Errorf("/workflow/%s%w", id, err)
		}
		for _, b := range branches(s) {
			if err := visit(b.to, append(slices.Clip(when), b.when...)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := visit(p.Start, when); err != nil {
		return err
	}
	return visit(p.Exception, append(slices.Clip(when), "a step fails"))
}

// way is where a step may lead, and behind what condition.
type way struct {
	to   string
	when []string
}

func branches(s *cacao.Step) []way {
	var out []way
	for _, to := range s.NextSteps {
		out = append(out, way{to, nil})
	}
	out = append(out, way{s.OnTrue, []string{s.Condition}}, way{s.OnFalse, []string{"not: " + s.Condition}})
	for _, name := range slices.Sorted(maps.Keys(s.Cases)) {
		out = append(out, way{s.Cases[name], []string{strings.TrimSuffix(s.Switch, ":value") + " is " + name}})
	}
	name := s.Name
	if name == "" {
		name = s.Type
	}
	return append(out, way{s.OnSuccess, nil}, way{s.OnCompletion, nil}, way{s.OnFailure, []string{"“" + name + "” fails"}})
}

// step plans one step.
func (w *planner) step(p *cacao.Playbook, called, id string, vars cacao.Variables, when []string) error {
	s := p.Workflow[id]
	own, err := s.Begin(vars)
	if err != nil {
		return fmt.Errorf(": %w", err)
	}
	seen := maps.Clone(vars)
	maps.Copy(seen, own)
	switch s.Type {
	case cacao.IfStep, cacao.WhileStep:
		if c, err := cacao.ParseCondition(s.Condition); err == nil && c.Dialect == cacao.Question {
			w.plan.Questions = append(w.plan.Questions, Question{id, s.Condition})
		}
	case cacao.PlaybookStep:
		return w.call(s, seen, when)
	case cacao.ActionStep:
		for n := range s.CommandCount() {
			acts, err := w.e.acts(&order{p: p, step: s, index: n, vars: seen}, w.inc)
			if err != nil {
				return fmt.Errorf("/commands/%d: %w", n%max(len(s.Commands), 1), err)
			}
			if cmd, _ := s.CommandAt(n); len(acts) > 0 && acts[0].Kind == Manual && cmd.Type != "manual" {
				w.plan.Warnings = append(w.plan.Warnings, fmt.Sprintf("/workflow/%s/commands/%d: %s", id, n%max(len(s.Commands), 1), notRun(cmd.Type)))
			}
			if len(w.plan.Acts)+len(acts) > maxActs {
				return fmt.Errorf(": more than %d acts", maxActs)
			}
			for _, a := range acts {
				a.Playbook, a.Step, a.Name, a.Index, a.When = called, id, s.Name, n, all0(when)
				w.plan.Acts = append(w.plan.Acts, a)
			}
		}
	}
	return nil
}

func (w *planner) call(s *cacao.Step, seen cacao.Variables, when []string) error {
	p := w.lib[s.PlaybookID]
	if s.PlaybookVersion != "" && s.PlaybookVersion != p.Modified {
		return fmt.Errorf("/playbook_version: %s is in the library as of %s", s.PlaybookID, p.Modified)
	}
	if err := p.Runnable(w.e.o.Now()); err != nil {
		return fmt.Errorf("/playbook_id: %w", err)
	}
	given := map[string]string{}
	for _, name := range s.InArgs {
		name = strings.TrimSuffix(name, ":value")
		if v := seen[name]; v.Value.Known {
			given[name] = v.Value.Text
		}
	}
	vars, err := p.Begin(given)
	if err != nil {
		return fmt.Errorf("/in_args: %w", err)
	}
	return w.walk(p, p.ID, vars, append(slices.Clip(when), "called as “"+p.Name+"”"))
}

// pinAll pins the acts of the plan, some at the same time. An agent that was silent for one is not asked
// for those that come after: a plan waits for it once.
func (w *planner) pinAll(ctx context.Context) {
	var mu sync.Mutex
	silent := map[string]bool{}
	is := func(host string) bool {
		mu.Lock()
		defer mu.Unlock()
		return silent[host]
	}
	atOnce(len(w.plan.Acts), func(n int) {
		a := &w.plan.Acts[n]
		host := a.Target.Host
		if onAgent(a.Kind) && a.Open == "" && a.Target != (action.Target{}) {
			a.ID = a.id() // before an agent pins the target
		}
		switch {
		case !onAgent(a.Kind) || a.Open != "":
		case host != "" && is(host):
			a.Error = fmt.Sprintf("the agent of %s said nothing within %s about another act of this plan", host, planTimeout)
		case w.pin(ctx, a):
			mu.Lock()
			silent[host] = true
			mu.Unlock()
		}
	})
	for i := range w.plan.Acts {
		a := &w.plan.Acts[i]
		a.Effects, a.Hits = all0(a.Effects), all0(a.Hits)
	}
}

// pin asks the executor what an act would hit, and takes its pins over. It reports whether nothing came
// back in time.
func (w *planner) pin(ctx context.Context, a *Act) (silent bool) {
	if w.e.o.Executor == nil {
		a.Error = "no agent takes acts: it is not known what this would hit"
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, planTimeout)
	defer cancel()
	wanted := a.Target
	if p := a.Target.Process; p != nil { // let the agent say what the process runs now
		a.Target.Process = &action.ProcessPin{BootID: p.BootID, PID: p.PID, Start: p.Start, Was: p.Exe}
	}
	p, err := w.e.o.Executor.Plan(ctx, &action.Request{Kind: a.Kind, Target: a.Target, Params: a.Params, TTL: a.TTL, Incident: w.inc.ID})
	if errors.Is(err, action.ErrGone) {
		a.Target, a.Gone = wanted, err.Error()
		return false
	}
	if err != nil {
		a.Target, a.Error = wanted, err.Error()
		return ctx.Err() != nil
	}
	if p.Target.Host != wanted.Host { // an agent speaks for its own host
		a.Target, a.Error = wanted, fmt.Sprintf("the agent of %s pinned something on %q", wanted.Host, p.Target.Host)
		return false
	}
	a.Target, a.Effects, a.Hits, a.Undo = p.Target, p.Effects, p.Hits, p.Undo
	if strings.HasPrefix(p.Held, ByAgent) {
		a.Held = p.Held
	}
	a.Class = worse(a.Class, p.Class)
	was, is := wanted.Process, p.Target.Process
	if was == nil || is == nil || was.Exe == "" || action.Program(is.Exe) == action.Program(was.Exe) {
		return false
	}
	if was.Start != 0 { // the same life, and another program: it is acted on, and people are told
		a.Effects = append(slices.Clip(a.Effects), fmt.Sprintf("process %d runs %s now; it ran %s when it was found, and is the same process", is.PID, is.Exe, was.Exe))
		return false
	}
	a.Target, a.Hits, a.Gone = wanted, nil, fmt.Sprintf(
		"process %d runs %s now, not %s, and the finding does not tell when it started: whether it is the same process is not known", was.PID, action.Program(is.Exe), was.Exe)
	return false
}

// onAgent reports whether an executor carries an act out.
func onAgent(k action.Kind) bool { return k != Manual && k != HTTP && k != Undo }

var classes = []action.Class{action.Observe, action.Reversible, action.Destructive}

// worse returns the class that does more harm; one that is unknown does the most.
func worse(a, b action.Class) action.Class {
	rank := func(c action.Class) int {
		if i := slices.Index(classes, c); i >= 0 {
			return i
		}
		return len(classes) - 1
	}
	return classes[max(rank(a), rank(b))]
}
