package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"picket/detect"
	"picket/node"
	"picket/sensor/kernel"
	"picket/threats"
)

type ruleExplainCmd struct {
	outputFlag
	rulesFlag
	Exceptions []string `placeholder:"PATH" sep:"none" help:"A file or directory of exceptions, beside those that are in use. May be given several times."`
	Rule       string   `arg:"" help:"Name, id or title of a rule."`
}

// explained is a rule with the sensor's part in it.
type explained struct {
	detect.Explanation
	Hooks []kernel.Hook `json:"hooks"`
}

func (c *ruleExplainCmd) Run(a *app) error {
	cfg, err := c.config(a)
	if err != nil {
		return err
	}
	loaded, _ := node.LoadThreats(cfg, node.ThreatRoots(cfg, threats.FS)...) // rule lint says what is wrong
	for _, name := range c.Exceptions {
		if _, err := os.Stat(name); err != nil {
			return &node.Error{Err: err, Hint: "name a file of exceptions, or a directory of them", Code: node.ExitUsage}
		}
	}
	except, err := detect.LoadExceptions(append(slices.Clone(cfg.Detect.Exceptions), c.Exceptions...)...)
	for _, e := range node.Unjoin(err) {
		a.mistake(e)
	}
	e, err := detect.New(detect.Options{Threats: loaded, Exceptions: except})
	if err != nil {
		return err
	}
	found := []explained{}
	for _, x := range e.Explain(c.Rule) {
		found = append(found, explained{x, append([]kernel.Hook{}, kernel.Hooks(x.Kinds...)...)})
	}
	if len(found) == 0 {
		return &node.Error{Err: fmt.Errorf("no rule is called %q", c.Rule), Hint: "picket rule list shows the rules; one that does not load is shown by picket rule lint", Code: node.ExitUsage}
	}
	if c.json() {
		return a.printJSON(found)
	}
	for i, x := range found {
		if i > 0 {
			a.printf("\n")
		}
		a.printExplained(x)
		a.printExcepted(x.Excepted, time.Now())
	}
	return nil
}

func (a *app) printExplained(x explained) {
	line := func(what, text string) {
		if text != "" {
			a.printf("%-10s %s\n", what, printable(text, false))
		}
	}
	a.printf("%s\n", printable(x.Title, false))
	line("name", x.Name)
	line("id", x.ID)
	line("level", x.Level.String())
	line("from", x.File)
	line("state", stateOfRule(x.RuleInfo))
	line("kind", kindOfRule(x.RuleInfo))
	line("about", x.Logsource)
	if x.Inactive != "" {
		return
	}
	line("events", strings.Join(x.Events, ", "))
	for _, h := range x.Hooks {
		line("hook", fmt.Sprintf("%s: %s (%s)", h.Feature, h.Program, h.Uses))
	}
	line("missing", strings.Join(x.Missing, ", "))
	if len(x.Steps) > 0 {
		line("steps", strings.Join(x.Steps, ", then "))
		line("within", x.Window+" in one "+strings.Join(x.Groups, ", "))
	}
	if x.Plan == nil {
		return
	}
	line("fields", strings.Join(x.Plan.Fields, ", "))
	switch {
	case len(x.Paths) > 0:
		line("paths", "below "+strings.Join(x.Paths, ", "))
	case strings.Contains(strings.Join(x.Events, " "), "file."):
		line("paths", "any")
	}
	a.printWitnesses(x)
	line("cost", fmt.Sprintf("%d (to compare rules by; picket rule bench measures)", x.Plan.Cost))
	a.printf("condition\n  %s\n", printable(strings.ReplaceAll(x.Plan.Condition.String(), "\n", "\n  "), true))
}

// printExcepted says on which events the rule is quiet.
func (a *app) printExcepted(list []detect.Excepted, now time.Time) {
	for _, x := range list {
		until := "expires " + x.Expires
		switch {
		case x.Over(now):
			until = "expired on " + x.Expires + ", so it hides nothing"
		case x.Expires == "never":
			until = "never expires"
		}
		a.printf("exception  %s (%s:%d)\n", printable(x.Title, false), printable(x.File, false), x.Line)
		a.printf("  because  %s\n  owner    %s; %s\n", printable(x.Reason, false), printable(x.Owner, false), until)
		a.printf("  hides    %s\n", printable(strings.ReplaceAll(x.Selects.String(), "\n", "\n           "), true))
	}
}

// maxWitnesses is how many are printed; --output json has all.
const maxWitnesses = 12

func (a *app) printWitnesses(x explained) {
	if len(x.Plan.Witnesses) == 0 {
		a.printf("looked at  for each of these events: no text is certain to be in one that fires it\n")
		return
	}
	a.printf("looked at  where an event has any of\n")
	for i, w := range x.Plan.Witnesses {
		if i == maxWitnesses {
			a.printf("             and %d more\n", len(x.Plan.Witnesses)-i)
			break
		}
		how := " contains "
		if w.Whole {
			how = " is "
		}
		field := w.Field
		if field == "" {
			field = "any text"
		}
		if w.Any {
			a.printf("             %s, whatever it holds\n", printable(field, false))
			continue
		}
		a.printf("             %s%s%q\n", printable(field, false), how, w.Text)
	}
}
