package respond

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"picket/event"
	"picket/respond/action"
)

// Budget bounds what rules have done without a person: past it they only suggest. What persons ask for
// or approve counts against none.
type Budget struct {
	Act    action.Kind   // of this kind; "" is any
	Class  action.Class  // of this class; "" is any
	Per    string        // workload: of each; "" is of all together
	Most   int           // acts
	Within time.Duration // 0 is an hour
}

// Check says what is wrong with a budget.
func (b Budget) Check() error {
	switch {
	case b.Act != "" && !slices.ContainsFunc(plannedKinds(), func(k action.Kind) bool { return k == b.Act }):
		return fmt.Errorf("act %q: want one of %v", b.Act, plannedKinds())
	case b.Class != "" && !slices.Contains(classes, b.Class):
		return fmt.Errorf("class %q: want observe, reversible or destructive", b.Class)
	case b.Per != "" && b.Per != "workload":
		return fmt.Errorf("per %q: want workload, or nothing", b.Per)
	case b.Most < 0 || b.Within < 0 || b.Within > 30*24*time.Hour:
		return errors.New("want a number of acts, and a time up to 30 days")
	}
	return nil
}

func plannedKinds() []action.Kind {
	out := []action.Kind{HTTP}
	for _, kinds := range openC2Acts {
		for _, k := range kinds {
			if k != Undo {
				out = append(out, k)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Window is a time in which rules only suggest: somebody works on what they would act on.
type Window struct {
	From, Until time.Time
	Entities    []string // kind:name as a rule has them; empty is everything
	Reason      string
}

// Check says what is wrong with a window.
func (w Window) Check() error {
	if w.From.IsZero() || !w.Until.After(w.From) {
		return errors.New("want from, and an until after it")
	}
	return checkEntities(w.Entities)
}

// entityKinds are the kinds of what incidents are about.
var entityKinds = []event.EntityKind{
	event.EntityWorkload, event.EntityModel, event.EntityContainer, event.EntityProcess, event.EntityHost, event.EntityUser, event.EntityAddress,
}

func checkEntities(patterns []string) error {
	for _, pattern := range patterns {
		kind, name, has := strings.Cut(pattern, ":")
		if _, err := path.Match(name, ""); err != nil || !has || kind == "" {
			return fmt.Errorf("entities: %q: want kind:name, such as workload:llama-*", pattern)
		}
		if !slices.Contains(entityKinds, event.EntityKind(kind)) {
			return fmt.Errorf("entities: %q: there is no entity of kind %q: want one of %v; labels and namespaces of Kubernetes are not known to agents: name the workload, the model or the host", pattern, kind, entityKinds)
		}
	}
	return nil
}

// about reports whether an incident has an entity that one of the patterns names; none name all.
func about(inc *event.Incident, patterns []string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(pattern string) bool {
		kind, name, _ := strings.Cut(pattern, ":")
		return slices.ContainsFunc(inc.Entities, func(e event.Entity) bool {
			ok, err := path.Match(name, e.Name)
			return string(e.Kind) == kind && ok && err == nil
		})
	})
}

// spent is an act that a rule had done without a person.
type spent struct {
	at    time.Time
	kind  action.Kind
	class action.Class
	on    string // its workload, or what stands for one
}

// Breaker: a rule whose answers were for false positives so often in a day only suggests for a day.
const (
	breakerTrips = 3
	breakerTime  = 24 * time.Hour
)

// quiet says why a rule only suggests for an incident now, "" where it does not. The caller holds e.mu.
func (e *Engine) quiet(r *Rule, inc *event.Incident, now time.Time) string {
	if in, err := r.within(now); err != nil || !in {
		return "outside the rule's hours"
	}
	for _, w := range e.o.Config.Windows {
		if !now.Before(w.From) && now.Before(w.Until) && about(inc, w.Entities) {
			return fmt.Sprintf("maintenance until %s: %s", w.Until.Format(time.RFC3339), w.Reason)
		}
	}
	e.wrong[r.Name] = slices.DeleteFunc(e.wrong[r.Name], func(t time.Time) bool { return now.Sub(t) >= breakerTime })
	if n := len(e.wrong[r.Name]); n >= breakerTrips {
		return fmt.Sprintf("the rule answered %d false positives within a day, and only suggests for a day", n)
	}
	return ""
}

// overBudget says which budget a plan would go past, "" where it does not. The caller holds e.mu.
func (e *Engine) overBudget(plan *Plan, now time.Time) string {
	next := spentBy(plan, now)
	for _, b := range e.o.Config.Budgets {
		within := b.Within
		if within == 0 {
			within = time.Hour
		}
		used := map[string]int{}
		for _, s := range slices.Concat(e.spent, next) {
			if now.Sub(s.at) >= within || b.Act != "" && b.Act != s.kind || b.Class != "" && b.Class != s.class {
				continue
			}
			on := ""
			if b.Per != "" {
				on = s.on
			}
			used[on]++
		}
		for _, s := range next {
			on := ""
			if b.Per != "" {
				on = s.on
			}
			if used[on] > b.Most {
				what := strings.Join(slices.DeleteFunc([]string{string(b.Class), string(b.Act), "acts"}, func(s string) bool { return s == "" }), " ")
				if on != "" {
					what += " on " + on
				}
				return fmt.Sprintf("over budget: %d %s within %s, at most %d", used[on], what, within, b.Most)
			}
		}
	}
	return ""
}

// spentBy is what a plan would do without a person.
func spentBy(plan *Plan, at time.Time) []spent {
	var out []spent
	for i := range plan.Acts {
		a := &plan.Acts[i]
		if a.Kind != Manual && a.Kind != Undo {
			t := a.Target
			t.Address = ""
			out = append(out, spent{at, a.Kind, a.Class, Describe(t, nil)})
		}
	}
	return out
}

// maxSpent bounds what is remembered of acts; budgets are for far fewer.
const maxSpent = 100_000

// spend notes what a plan does. The caller holds e.mu.
func (e *Engine) spend(plan *Plan, at time.Time) {
	if len(e.o.Config.Budgets) == 0 {
		return
	}
	longest := time.Hour
	for _, b := range e.o.Config.Budgets {
		longest = max(longest, b.Within)
	}
	e.spent = slices.DeleteFunc(e.spent, func(s spent) bool { return at.Sub(s.at) >= longest })
	e.spent = append(e.spent, spentBy(plan, at)...)
	e.spent = e.spent[max(0, len(e.spent)-maxSpent):]
}

// remember notes what rules did before this engine.
func (e *Engine) remember(ctx context.Context) error {
	if len(e.o.Config.Budgets) == 0 {
		return nil
	}
	list, err := e.o.Journal.Runs(ctx, Query{Limit: 1000})
	if err != nil {
		return err
	}
	for _, k := range slices.Backward(list) { // the latest comes first
		r, err := e.read(k)
		if err != nil || !strings.HasPrefix(r.By, "policy:") || len(r.Approvals) > 0 || r.State == Suggested || r.State == Waiting || r.State == Rejected || r.State == Expired {
			continue
		}
		e.spend(r.Plan, r.Opened)
	}
	return nil
}

// falsePositive notes that rules answered an incident that was none.
func (e *Engine) falsePositive(runs []Run) {
	now := e.o.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range runs {
		if name, is := strings.CutPrefix(r.By, "policy:"); is && r.State != Suggested && !e.told[r.ID] {
			e.told[r.ID] = true
			e.wrong[name] = append(e.wrong[name], now)
			if len(e.wrong[name]) == breakerTrips {
				e.o.Log.Error("a rule answered too many false positives, and only suggests for a day", "rule", name)
			}
		}
	}
}
