package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"picket/api/client"
	"picket/event"
)

type findingsCmd struct {
	List findingsListCmd `cmd:"" default:"withargs" help:"List findings, the latest first."`
	Show findingsShowCmd `cmd:"" help:"Show a finding with its evidence."`
}

type findingsListCmd struct {
	outputFlag
	serverFlags
	Rule     string `help:"Only of this rule, by id or name."`
	Severity string `enum:",informational,low,medium,high,critical" default:"" help:"Only this severe or worse."`
	Host     string `help:"Only of this host."`
	Incident string `help:"Only of this incident, by its whole id."`
	Limit    int    `default:"50" help:"At most so many."`
}

func (c *findingsListCmd) Run(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	list, err := cl.Findings(a.ctx, client.FindingFilter{Rule: c.Rule, Severity: c.Severity, Host: c.Host, Incident: c.Incident, Limit: c.Limit})
	if err != nil {
		return err
	}
	if c.json() {
		return a.printJSON(list.Items)
	}
	if len(list.Items) == 0 {
		a.printf("No findings. picket rule list shows what would make one.\n")
		return nil
	}
	rows := make([][]string, len(list.Items))
	for i, f := range list.Items {
		rows[i] = []string{f.ID[:8], ago(f.Time, time.Now()), f.Severity.String(), f.Rule.Name, f.Host, a.fit(f.Summary, 80)}
	}
	a.table([]string{"ID", "WHEN", "SEVERITY", "RULE", "HOST", "SUMMARY"}, rows)
	return nil
}

type findingsShowCmd struct {
	outputFlag
	serverFlags
	ID string `arg:"" help:"The finding's id, or how it begins."`
}

func (c *findingsShowCmd) Run(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	f, err := findFinding(a, cl, c.ID)
	if err != nil {
		return err
	}
	if c.json() {
		return a.printJSON(f)
	}
	a.printf("%s\n%s\n\n", a.colour("1", printable(f.Rule.Title, false)), printable(f.Summary, false))
	a.printf("id        %s\ntime      %s\nhost      %s\nseverity  %s\nrule      %s (%s)\n", f.ID, f.Time.Local().Format(time.RFC3339Nano), printable(f.Host, false), a.severity(f.Severity), f.Rule.Name, f.Rule.ID)
	for _, t := range f.Techniques {
		a.printf("          %s %s (%s)\n", t.ID, t.Name, t.Tactic)
	}
	a.printf("\nEvidence (%d events)\n", f.Count)
	for _, e := range f.Events {
		a.printf("  %s\n", printable(string(e), false))
	}
	return nil
}

func findFinding(a *app, cl *client.Client, id string) (event.Finding, error) {
	f, err := cl.Finding(a.ctx, id)
	if err == nil || !client.IsNotFound(err) {
		return f, err
	}
	list, err := cl.Findings(a.ctx, client.FindingFilter{Limit: 1000})
	if err != nil {
		return f, err
	}
	for _, f := range list.Items {
		if strings.HasPrefix(f.ID, id) {
			return f, nil
		}
	}
	return f, fmt.Errorf("no recent finding whose id begins with %q: picket findings lists them", id)
}

// readToken reads an API token from a file, or from the environment.
func readToken(file string) (string, error) {
	if file == "" {
		return os.Getenv("PICKET_TOKEN"), nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
