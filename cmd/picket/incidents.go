package main

import (
	"fmt"
	"strings"
	"time"

	"picket/api"
	"picket/api/client"
	"picket/event"
	"picket/node"
)

// serverFlags say which server to ask. Without them root asks the one on this host, by its socket.
type serverFlags struct {
	Server string `placeholder:"URL" env:"PICKET_SERVER" help:"Server to ask. Default: the one on this host, which root needs no token for."`
	Token  string `placeholder:"FILE" type:"path" help:"File with an API token. The variable PICKET_TOKEN holds one as well."`
}

type incidentsCmd struct {
	List  incidentsListCmd  `cmd:"" default:"withargs" help:"List incidents, the latest first."`
	Show  incidentsShowCmd  `cmd:"" help:"Tell an incident's story."`
	Ack   incidentsAckCmd   `cmd:"" help:"Acknowledge an incident: you are looking at it."`
	Close incidentsCloseCmd `cmd:"" help:"Close an incident with a verdict."`
	Open  incidentsOpenCmd  `cmd:"" help:"Open a closed incident again."`
}

type incidentsListCmd struct {
	outputFlag
	serverFlags
	Status   string `enum:",open,acknowledged,closed" default:"" help:"Only these: open, acknowledged or closed."`
	Severity string `enum:",informational,low,medium,high,critical" default:"" help:"Only this severe or worse."`
	Text     string `help:"Only those that hold this text."`
	Limit    int    `default:"50" help:"At most so many."`
}

func (c *incidentsListCmd) Run(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	list, err := cl.Incidents(a.ctx, client.IncidentFilter{Status: c.Status, Severity: c.Severity, Text: c.Text, Limit: c.Limit})
	if err != nil {
		return err
	}
	if c.json() {
		return a.printJSON(list.Items)
	}
	if len(list.Items) == 0 {
		a.printf("No incidents. To see one: picket lab attack steal-weights\n")
		return nil
	}
	rows := make([][]string, len(list.Items))
	for i, inc := range list.Items {
		rows[i] = []string{
			inc.ID[:8], string(inc.Status), inc.Severity.String(), fmt.Sprint(inc.Risk), ago(inc.LastSeen, time.Now()),
			fmt.Sprint(inc.FindingN), strings.Join(inc.Hosts, ","), a.fit(inc.Title, 70),
		}
	}
	a.table([]string{"ID", "STATUS", "SEVERITY", "RISK", "LAST SEEN", "FINDINGS", "HOSTS", "TITLE"}, rows)
	if list.Next != "" {
		a.printf("There are more; --limit shows them.\n")
	}
	return nil
}

type incidentsShowCmd struct {
	outputFlag
	serverFlags
	ID string `arg:"" help:"The incident's id, or how it begins."`
}

func (c *incidentsShowCmd) Run(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	inc, err := findIncident(a, cl, c.ID)
	if err != nil {
		return err
	}
	if c.json() {
		return a.printJSON(inc)
	}
	a.showIncident(inc)
	return nil
}

// findIncident reads the incident whose id begins as given.
func findIncident(a *app, cl *client.Client, id string) (event.Incident, error) {
	inc, err := cl.Incident(a.ctx, id)
	if err == nil || !client.IsNotFound(err) {
		return inc, err
	}
	list, err := cl.Incidents(a.ctx, client.IncidentFilter{Text: id, Limit: 200})
	if err != nil {
		return inc, err
	}
	var found []event.Incident
	for _, i := range list.Items {
		if strings.HasPrefix(i.ID, id) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 0:
		return inc, fmt.Errorf("no incident whose id begins with %q: picket incidents lists them", id)
	case 1:
		return found[0], nil
	}
	return inc, fmt.Errorf("%d incidents begin with %q: give more of the id", len(found), id)
}

func (a *app) showIncident(inc event.Incident) {
	a.printf("%s\n%s\n\n", a.colour("1", printable(inc.Title, false)), printable(inc.Summary, false))
	state := string(inc.Status)
	if inc.Verdict != "" {
		state += ", " + strings.ReplaceAll(string(inc.Verdict), "_", " ")
	}
	a.printf("id %s   %s   severity %s   risk %d of 100\n\nStory\n", inc.ID, state, a.severity(inc.Severity), inc.Risk)
	for _, p := range inc.Story {
		a.printf("  %s  %-8s  %s\n", p.Time.Local().Format("15:04:05.000"), p.Severity, printable(p.Text, false))
	}
	a.printf("\nProcesses\n")
	a.processTree(inc)
	a.printf("\nInvolved\n")
	for _, e := range inc.Entities {
		a.printf("  %-10s %s\n", e.Kind, printable(e.Name, false))
	}
	a.printf("\nTechniques\n")
	for _, t := range inc.Techniques {
		a.printf("  %-14s %s (%s)\n", t.ID, t.Name, t.Tactic)
	}
	a.printf("\nLog\n")
	for _, l := range inc.Log {
		a.printf("  %s  %s %s", l.Time.Local().Format(time.DateTime), printable(l.Who, false), printable(l.What, false))
		if l.Note != "" {
			a.printf(": %s", printable(l.Note, false))
		}
		a.printf("\n")
	}
}

// processTree prints the incident's processes below their parents; those that acted are marked.
func (a *app) processTree(inc event.Incident) {
	children, known, acted := map[string][]event.ProcessNode{}, map[string]bool{}, map[string]bool{}
	for _, p := range inc.Processes {
		known[p.UID] = true
	}
	for _, f := range inc.Findings {
		acted[f.Process] = true
	}
	for _, p := range inc.Processes {
		parent := p.ParentUID
		if !known[parent] {
			parent = ""
		}
		children[parent] = append(children[parent], p)
	}
	var walk func(uid, indent string)
	walk = func(uid, indent string) {
		for _, p := range children[uid] {
			mark := " "
			if acted[p.UID] {
				mark = a.colour("31", "*")
			}
			a.printf("  %s%s %s[%d] %s\n", indent, mark, printable(p.Name, false), p.PID, printable(short(p.Cmdline, 100), false))
			if len(indent) < 60 {
				walk(p.UID, indent+"  ")
			}
		}
	}
	walk("", "")
}

type incidentsAckCmd struct {
	serverFlags
	ID   string `arg:"" help:"The incident's id, or how it begins."`
	Note string `help:"A note for its log."`
}

func (c *incidentsAckCmd) Run(a *app) error {
	return a.update(c.serverFlags, c.ID, api.IncidentPatch{Status: event.IncidentAcknowledged, Note: c.Note})
}

type incidentsCloseCmd struct {
	serverFlags
	ID      string `arg:"" help:"The incident's id, or how it begins."`
	Verdict string `required:"" enum:"true-positive,false-positive" help:"true-positive or false-positive."`
	Note    string `help:"Why; a note for its log."`
}

func (c *incidentsCloseCmd) Run(a *app) error {
	v := event.Verdict(strings.ReplaceAll(c.Verdict, "-", "_"))
	return a.update(c.serverFlags, c.ID, api.IncidentPatch{Status: event.IncidentClosed, Verdict: v, Note: c.Note})
}

type incidentsOpenCmd struct {
	serverFlags
	ID   string `arg:"" help:"The incident's id, or how it begins."`
	Note string `help:"A note for its log."`
}

func (c *incidentsOpenCmd) Run(a *app) error {
	return a.update(c.serverFlags, c.ID, api.IncidentPatch{Status: event.IncidentOpen, Note: c.Note})
}

func (a *app) update(s serverFlags, id string, change api.IncidentPatch) error {
	cl, err := a.client(s)
	if err != nil {
		return err
	}
	inc, err := findIncident(a, cl, id)
	if err != nil {
		return err
	}
	change.Version = inc.Version
	if inc, err = cl.UpdateIncident(a.ctx, inc.ID, change); err != nil {
		return err
	}
	a.printf("%s is %s\n", inc.ID[:8], inc.Status)
	return nil
}

// client returns a client for the server that the flags name.
func (a *app) client(s serverFlags) (*client.Client, error) {
	token, err := readToken(s.Token)
	if err != nil {
		return nil, err
	}
	if s.Server != "" {
		return client.New(s.Server, token)
	}
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	return client.New("unix://"+node.SocketPath(cfg), "")
}
