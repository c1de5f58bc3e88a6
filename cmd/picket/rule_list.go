package main

import (
	"cmp"
	"errors"
	"slices"
	"strconv"

	"picket/api"
	"picket/detect"
)

type ruleListCmd struct {
	outputFlag
	serverFlags
	threatArgs
	Active bool `help:"Leave out rules that no event here can fire."`
	Stats  bool `help:"Show how often each rule fired and was suppressed, as the server knows it of its agents."`
}

func (c *ruleListCmd) Run(a *app) error {
	if c.Stats {
		return c.stats(a)
	}
	loaded, loadErr := c.load(a)
	e, err := detect.New(detect.Options{Threats: loaded})
	if err != nil {
		return err
	}
	rules := e.Rules()
	if !c.Active {
		for _, r := range e.Inactive() {
			rules = append(rules, r.Info())
		}
	}
	if c.json() {
		return errors.Join(a.printJSON(rules), loadErr)
	}
	rows := make([][]string, len(rules))
	for i, r := range rules {
		rows[i] = []string{r.Threat, r.Name, r.Level.String(), kindOfRule(r), stateOfRule(r), r.Title}
	}
	a.table([]string{"THREAT", "RULE", "LEVEL", "KIND", "STATE", "TITLE"}, rows)
	a.printOverview(detect.OverviewOf(loaded, loadErr))
	for _, t := range loaded {
		for _, w := range t.Warnings {
			a.printf("  warning   %s\n", printable(w, false))
		}
	}
	return loadErr
}

// stats prints what the agents count of each rule, the busiest first.
func (c *ruleListCmd) stats(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	rules, err := cl.Rules(a.ctx)
	if err != nil {
		return err
	}
	rules = slices.DeleteFunc(rules, func(r api.LoadedRule) bool {
		return c.Active && r.Inactive != "" || len(c.Threats) > 0 && !slices.Contains(c.Threats, r.Threat)
	})
	slices.SortStableFunc(rules, func(x, y api.LoadedRule) int {
		return cmp.Or(cmp.Compare(y.Hits+y.Suppressed, x.Hits+x.Suppressed), cmp.Compare(x.Name, y.Name))
	})
	if c.json() {
		return a.printJSON(rules)
	}
	rows := make([][]string, len(rules))
	for i, r := range rules {
		state := "active"
		if r.Inactive != "" {
			state = "inactive: " + r.Inactive
		}
		rows[i] = []string{r.Threat, r.Name, r.Level.String(), strconv.FormatUint(r.Hits, 10), strconv.FormatUint(r.Suppressed, 10), strconv.Itoa(r.Cost), state}
	}
	a.table([]string{"THREAT", "RULE", "LEVEL", "HITS", "SUPPRESSED", "COST", "STATE"}, rows)
	return nil
}

// printOverview says what became of the rules, where not all of them simply load.
func (a *app) printOverview(o detect.Overview) {
	if o.Resting()+o.Wrong+o.Warnings == 0 {
		return
	}
	a.printf("\n%s\n", o)
	for _, line := range o.Lines(40) {
		a.printf("  inactive  %s\n", printable(line, false))
	}
}

func kindOfRule(r detect.RuleInfo) string {
	switch {
	case r.Sequence:
		return "sequence"
	case r.Inactive == "" && !r.Alerts:
		return "building block"
	}
	return "rule"
}

func stateOfRule(r detect.RuleInfo) string {
	if r.Inactive != "" {
		return "inactive: " + r.Inactive
	}
	return "active"
}
