package respond

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"picket/event"
	"picket/respond/action"
)

// Mode is what is done about an incident that a rule fits.
type Mode string

// The modes. Auto still asks where something in the plan is destructive, unless the rule says otherwise.
const (
	Suggest Mode = "suggest" // a plan is made, for who looks at the incident
	Approve Mode = "approve" // a person is asked
	Auto    Mode = "auto"    // the plan is run
)

// Config says which incidents are answered how.
type Config struct {
	Approval  time.Duration // how long a request for approval stands; 1 h
	Approvers int           // how many persons a destructive plan needs, none of whom asked for it; 1
	Rules     []Rule

	Signatures Signatures
	Budgets    []Budget
	Windows    []Window
	Assets     []Asset // which tags things bear
}

// Rule says which playbook answers which incidents. Empty conditions fit all.
type Rule struct {
	Name        string
	Playbook    string
	Mode        Mode           // "" is Suggest
	Level       event.Severity // at least
	Risk        int            // at least, of 100
	Threats     []string
	Rules       []string // names of detection rules, one of which must have fired
	Entities    []string // kind:name, where name may hold * and ?, such as workload:llama-*
	Tags        []string // one of which the incident bears, see Asset
	Hours       string   // 08:00-18:00, of the server's day, in which mode counts; outside it is Suggest
	Limit       int      // of runs in an hour, past which it is Suggest; 10
	Destructive bool     // auto does not ask, even where something cannot be taken back
}

func (c Config) withDefaults() Config {
	if c.Approval <= 0 {
		c.Approval = time.Hour
	}
	if c.Approvers <= 0 {
		c.Approvers = 1
	}
	c.Rules = slices.Clone(c.Rules)
	for i := range c.Rules {
		r := &c.Rules[i]
		if r.Mode == "" {
			r.Mode = Suggest
		}
		if r.Limit <= 0 {
			r.Limit = 10
		}
	}
	return c
}

// Check says what is wrong with the rules.
func (c Config) Check(l *Library) error {
	if err := c.Signatures.Check(); err != nil {
		return fmt.Errorf("respond.signatures: %w", err)
	}
	for i, b := range c.Budgets {
		if err := b.Check(); err != nil {
			return fmt.Errorf("respond.budgets.%d: %w", i, err)
		}
	}
	for i, w := range c.Windows {
		if err := w.Check(); err != nil {
			return fmt.Errorf("respond.maintenance.%d: %w", i, err)
		}
	}
	if i, err := CheckAssets(c.Assets); err != nil {
		return fmt.Errorf("assets.%d: %w", i, err)
	}
	seen := map[string]bool{}
	for i, r := range c.Rules {
		if err := r.Check(); err != nil {
			return fmt.Errorf("respond.rules.%d: %w", i, err)
		}
		if seen[r.Name] {
			return fmt.Errorf("respond.rules.%d: a second rule named %s", i, r.Name)
		}
		seen[r.Name] = true
		if _, err := l.Book(r.Playbook); err != nil {
			return fmt.Errorf("respond.rules.%d: %w", i, err)
		}
		if err := l.asks(r.Playbook); err != nil && r.Destructive {
			return fmt.Errorf("respond.rules.%d: destructive: %w", i, err)
		}
	}
	return nil
}

// Check says what is wrong with a rule, apart from whether there is such a playbook.
func (r *Rule) Check() error {
	switch {
	case r.Name == "":
		return errors.New("name is missing")
	case r.Playbook == "":
		return errors.New("playbook is missing")
	case !slices.Contains([]Mode{"", Suggest, Approve, Auto}, r.Mode):
		return fmt.Errorf("mode %q: want suggest, approve or auto", r.Mode)
	case r.Destructive && r.Mode != Auto:
		return errors.New("destructive goes with mode auto")
	}
	if r.Risk < 0 || r.Risk > 100 {
		return fmt.Errorf("risk %d: want 0 to 100", r.Risk)
	}
	if err := checkEntities(r.Entities); err != nil {
		return err
	}
	if err := checkTags(r.Tags); err != nil {
		return err
	}
	_, err := r.within(time.Time{})
	return err
}

// within reports whether a time lies in the rule's hours.
func (r *Rule) within(at time.Time) (bool, error) {
	if r.Hours == "" {
		return true, nil
	}
	first, last, _ := strings.Cut(r.Hours, "-")
	from, err1 := time.Parse("15:04", first)
	until, err2 := time.Parse("15:04", last)
	if err1 != nil || err2 != nil {
		return false, fmt.Errorf("hours %q: want such as 08:00-18:00", r.Hours)
	}
	minute := func(t time.Time) int { return t.Hour()*60 + t.Minute() }
	a, b, now := minute(from), minute(until), minute(at)
	if a <= b {
		return a <= now && now < b, nil
	}
	return now >= a || now < b, nil // over midnight
}

// fits reports whether a rule is about an incident.
func (r *Rule) fits(inc *event.Incident, threats map[string]bool) bool {
	return inc.Status != event.IncidentClosed && inc.Severity >= r.Level && inc.Risk >= r.Risk &&
		(len(r.Threats) == 0 || slices.ContainsFunc(r.Threats, func(t string) bool { return threats[t] })) &&
		(len(r.Rules) == 0 || slices.ContainsFunc(inc.Findings, func(f event.FindingRef) bool { return slices.Contains(r.Rules, f.Rule) })) &&
		about(inc, r.Entities)
}

// Respond opens the runs that the rules want for an incident, each rule once for each incident. Threats
// are those that its findings are of. An error is about one rule; the others are done all the same.
func (e *Engine) Respond(ctx context.Context, inc event.Incident, threats []string) error {
	is := map[string]bool{}
	for _, t := range threats {
		is[t] = true
	}
	var errs []error
	for i := range e.o.Config.Rules {
		r := &e.o.Config.Rules[i]
		if !r.fits(&inc, is) || !e.o.Config.bears(&inc, r.Tags) {
			continue
		}
		if err := e.follow(ctx, r, &inc); err != nil {
			errs = append(errs, fmt.Errorf("rule %s for incident %s: %w", r.Name, inc.ID, err))
		}
	}
	return errors.Join(errs...)
}

// Fits reports whether the rule of a name is about an incident. Threats are those that its findings are of.
func (e *Engine) Fits(rule string, inc *event.Incident, threats ...string) bool {
	is := map[string]bool{}
	for _, t := range threats {
		is[t] = true
	}
	i := slices.IndexFunc(e.o.Config.Rules, func(r Rule) bool { return r.Name == rule })
	return i >= 0 && e.o.Config.Rules[i].fits(inc, is) && e.o.Config.bears(inc, e.o.Config.Rules[i].Tags)
}

// Follow opens the run that the rule of a name wants for an incident, once, whether it fits or not.
func (e *Engine) Follow(ctx context.Context, rule string, inc event.Incident) error {
	i := slices.IndexFunc(e.o.Config.Rules, func(r Rule) bool { return r.Name == rule })
	if i < 0 {
		return fmt.Errorf("rule %s: %w", rule, ErrNotFound)
	}
	return e.follow(ctx, &e.o.Config.Rules[i], &inc)
}

// follow does what a rule says about an incident. A suggestion follows an incident that grows: a new
// plan takes its place as long as nobody has approved it.
func (e *Engine) follow(ctx context.Context, r *Rule, inc *event.Incident) error {
	id := event.HashID("rule", r.Name, inc.ID)
	had, err := e.o.Journal.Run(ctx, id)
	if err == nil && had.State != string(Suggested) {
		return nil
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	known := err == nil
	b, err := e.o.Library.Book(r.Playbook)
	if err != nil {
		return err
	}
	plan, bodies, err := e.planFor(ctx, b, inc, nil, nil)
	if err != nil {
		return err
	}
	if known {
		_, err = e.with(ctx, id, func(l *live) error {
			if l.run.State == Suggested && l.run.Plan.Hash != plan.Hash && len(l.run.Approvals) == 0 {
				l.run.Plan, l.run.bodies, l.fresh = plan, bodies, true
				l.note("open", "", l.run.By, "the incident grew: plan "+plan.Hash, nil)
			}
			return nil
		})
		return err
	}
	state, why := e.stateFor(r, inc, plan)
	by := "policy:" + r.Name
	if e.o.Agent != "" {
		by, why = ByAgent+e.o.Agent, strings.TrimSuffix("rule "+r.Name+": done by the agent while the server was away; "+why, "; ")
	}
	_, err = e.open(ctx, e.newRun(id, plan, bodies, by, why), state)
	return err
}

// stateFor says in which state a rule opens a run, and why it does less than its mode says.
func (e *Engine) stateFor(r *Rule, inc *event.Incident, plan *Plan) (s State, why string) {
	now := e.o.Now()
	if r.Mode == Suggest {
		return Suggested, ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if why := e.quiet(r, inc, now); why != "" {
		return Suggested, why
	}
	e.recent[r.Name] = slices.DeleteFunc(e.recent[r.Name], func(t time.Time) bool { return now.Sub(t) >= time.Hour })
	if len(e.recent[r.Name]) >= r.Limit {
		e.o.Log.Warn("a rule has reached its limit of runs in an hour, and only suggests", "rule", r.Name, "limit", r.Limit)
		return Suggested, fmt.Sprintf("the rule opened %d runs within an hour, its limit", r.Limit)
	}
	e.recent[r.Name] = append(e.recent[r.Name], now)
	if r.Mode != Auto || plan.Class == action.Destructive && (!r.Destructive || plan.asks()) {
		return Waiting, ""
	}
	if agent := heldByAgent(plan); agent != "" {
		return Suggested, agent + " did it already, while the server was away"
	}
	if why := e.overBudget(plan, now); why != "" {
		e.o.Log.Warn("a rule would go over budget, and only suggests", "rule", r.Name, "incident", inc.ID, "why", why)
		return Suggested, why
	}
	e.spend(plan, now)
	return Running, ""
}
