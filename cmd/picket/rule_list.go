package main

import (
	"errors"

	"picket/detect"
)

type ruleListCmd struct {
	outputFlag
	threatArgs
	Active bool `help:"Leave out rules that no event here can fire."`
}

func (c *ruleListCmd) Run(a *app) error {
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
