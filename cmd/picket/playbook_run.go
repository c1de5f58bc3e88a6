package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"picket/api"
	"picket/api/client"
	"picket/node"
	"picket/respond"
	"picket/respond/action"
)

// respondFlags are those of commands that ask the server about playbooks.
type respondFlags struct {
	outputFlag
	serverFlags
}

type playbookListCmd struct{ respondFlags }

func (c *playbookListCmd) Run(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	list, err := cl.Playbooks(a.ctx)
	if err != nil {
		return err
	}
	if c.json() {
		return a.printJSON(list)
	}
	rows := make([][]string, len(list))
	for i, p := range list {
		rows[i] = []string{p.Name, strings.Join(p.Activities, ","), p.Hash[:12], a.fit(p.Title, 70)}
	}
	a.table([]string{"NAME", "ACTIVITIES", "HASH", "TITLE"}, rows)
	return nil
}

// playbookArgs name a playbook and an incident.
type playbookArgs struct {
	Playbook string            `arg:"" help:"The playbook's name: picket playbook list."`
	Incident string            `arg:"" help:"The incident's id, or how it begins."`
	Set      map[string]string `placeholder:"NAME=VALUE" help:"Values for the playbook's variables. May be given several times."`
}

// leaveFlag chooses targets.
type leaveFlag struct {
	LeaveOut []string `placeholder:"ACT,..." help:"Acts that are not to be done, by their ids in the plan, or how those begin."`
}

// of returns the ids of the acts that are left out of a plan.
func (f leaveFlag) of(p *respond.Plan) ([]string, error) {
	out := []string{}
	for _, begin := range f.LeaveOut {
		var found []string
		for _, act := range p.Acts {
			if act.ID != "" && strings.HasPrefix(act.ID, begin) && !slices.Contains(found, act.ID) {
				found = append(found, act.ID)
			}
		}
		switch len(found) {
		case 0:
			return nil, &node.Error{Err: fmt.Errorf("the plan has no act whose id begins with %q", begin), Hint: "each act that may be left out has its id beside it: picket playbook plan, or show-run", Code: node.ExitUsage}
		case 1:
			out = append(out, found[0])
		default:
			return nil, &node.Error{Err: fmt.Errorf("%d acts begin with %q", len(found), begin), Hint: "give more of the id", Code: node.ExitUsage}
		}
	}
	return out, nil
}

type playbookPlanCmd struct {
	respondFlags
	playbookArgs
	leaveFlag
}

func (c *playbookPlanCmd) Run(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	inc, err := findIncident(a, cl, c.Incident)
	if err != nil {
		return err
	}
	plan, err := cl.Plan(a.ctx, c.Playbook, api.PlanQuery{Incident: inc.ID, Values: c.Set})
	if err != nil {
		return err
	}
	if len(c.LeaveOut) > 0 {
		leave, err := c.of(&plan)
		if err != nil {
			return err
		}
		if plan, err = cl.Plan(a.ctx, c.Playbook, api.PlanQuery{Incident: inc.ID, Values: c.Set, LeaveOut: leave}); err != nil {
			return err
		}
	}
	if c.json() {
		return a.printJSON(plan)
	}
	a.printf("%s\n%s, for incident %s\nplan %s\n\n", a.colour("1", printable(plan.Name, false)), plan.Class, plan.Incident, plan.Hash)
	a.showRunPlan(&plan)
	return nil
}

// showRunPlan prints what would be done to what.
func (a *app) showRunPlan(p *respond.Plan) {
	when := ""
	for _, act := range p.Acts {
		if now := strings.Join(act.When, ", and "); now != when {
			when = now
			a.printf("If %s:\n", printable(now, false))
		}
		word := string(act.Class)
		if act.LeftOut {
			word = "left out"
		}
		a.printf("  %-11s %-10s %s\n", word, act.Kind, printable(act.Name+": "+what(&act), false))
		if act.ID != "" {
			a.printf("              act %s\n", act.ID)
		}
		if act.LeftOut {
			continue
		}
		for _, line := range act.Effects {
			a.printf("              %s\n", printable(line, false))
		}
		for i, line := range act.Hits {
			if i == 10 {
				a.printf("              … %d more\n", len(act.Hits)-i)
				break
			}
			a.printf("              hits %s\n", printable(short(line, 100), false))
		}
		for _, line := range []struct{ head, text string }{{"taken back: ", act.Undo}, {"not known yet: ", act.Open}, {"gone: ", act.Gone}, {"not planned: ", act.Error}} {
			if line.text != "" {
				a.printf("              %s%s\n", line.head, printable(line.text, false))
			}
		}
	}
	a.showCosts(p)
	for _, w := range p.Warnings {
		a.printf("\nwarning: %s\n", printable(w, false))
	}
	for _, q := range p.Questions {
		a.printf("\nIt asks: %s\n", printable(q.Text, false))
	}
}

// showCosts prints what a plan would cost, and what is known of whom it would hit.
func (a *app) showCosts(p *respond.Plan) {
	if len(p.Tags) > 0 {
		a.printf("\ntags: %s\n", printable(strings.Join(p.Tags, ", "), false))
	}
	for i, c := range p.Costs {
		if i == 0 {
			a.printf("\nWhat it would cost:\n")
		}
		of := c.Of
		if of != "" {
			of = " (" + of + ")"
		}
		a.printf("  %-11s %s\n              %s\n", c.What, printable(c.Value+of, false), printable(c.Evidence, false))
	}
}

// what tells an act's target in one line.
func what(act *respond.Act) string {
	text := act.Text
	if text == "" {
		text = respond.Describe(act.Target, act.Params)
	}
	if act.TTL > 0 {
		text += ", for " + lasting(act.TTL)
	}
	return text
}

// lasting writes how long something holds, without what is nought.
func lasting(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

type playbookRunCmd struct {
	respondFlags
	playbookArgs
	leaveFlag
	Reason string        `help:"Why; it stands in the run and in the audit log."`
	Hash   string        `help:"Of the plan that you saw. If it is another now, nothing is done."`
	Wait   time.Duration `help:"Wait so long for its end, or until it waits for a person."`
}

func (c *playbookRunCmd) Run(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	inc, err := findIncident(a, cl, c.Incident)
	if err != nil {
		return err
	}
	q := api.RunRequest{Playbook: c.Playbook, Incident: inc.ID, Values: c.Set, Reason: c.Reason, Hash: c.Hash}
	if len(c.LeaveOut) > 0 {
		plan, err := cl.Plan(a.ctx, c.Playbook, api.PlanQuery{Incident: inc.ID, Values: c.Set})
		if err != nil {
			return err
		}
		if q.LeaveOut, err = c.of(&plan); err != nil {
			return err
		}
	}
	run, err := cl.RequestRun(a.ctx, q)
	if err != nil {
		return err
	}
	for end := time.Now().Add(c.Wait); run.State == respond.Running && len(run.Asks) == 0 && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
		if run, err = cl.Run(a.ctx, run.ID); err != nil {
			return err
		}
	}
	if err := a.showRun(c.outputFlag, run, nil); err != nil || run.State != respond.Failed {
		return err
	}
	return &node.Error{Err: fmt.Errorf("run %s failed: %s", run.ID[:8], run.Failure), Code: node.ExitFailure}
}

// showRun prints a run.
func (a *app) showRun(o outputFlag, r respond.Run, records []respond.Record) error {
	if o.json() {
		type whole struct {
			respond.Run
			Records []respond.Record `json:"records,omitempty"`
		}
		return a.printJSON(whole{r, records})
	}
	a.printf("run %s: %s\n%s for incident %s, asked for by %s\nplan %s\n", r.ID[:8], r.State, printable(r.Plan.Name, false), r.Incident[:min(8, len(r.Incident))], printable(r.By, false), r.Plan.Hash)
	if r.Failure != "" {
		a.printf("it ended so: %s\n", printable(r.Failure, false))
	}
	for _, p := range r.Approvals {
		a.printf("approved by %s at %s\n", printable(p.By, false), p.At.Local().Format(time.DateTime))
	}
	if r.EditedBy != "" {
		a.printf("its targets were chosen by %s\n", printable(r.EditedBy, false))
	}
	if r.State == respond.Waiting || r.State == respond.Suggested {
		a.waits(&r, len(records) > 0)
	}
	for _, q := range r.Asks {
		a.printf("\nIt asks: %s\n  picket playbook answer %s --yes, or --no\n", printable(q.Text, true), r.ID[:8])
		if len(r.Asks) > 1 {
			a.printf("  with --task %s\n", q.Task)
		}
	}
	for _, h := range r.Holds {
		a.printf("holds until %s: %s %s\n", h.Until.Local().Format(time.DateTime), h.Request.Kind, printable(respond.Describe(h.Request.Target, nil), false))
	}
	if len(records) > 0 {
		a.printf("\n")
	}
	for _, l := range records {
		a.printf("%s  %-8s %s%s\n", l.Time.Local().Format("15:04:05.000"), l.What, printable(who(l.Who), false), printable(l.Text, false))
	}
	return nil
}

// waits says who may approve a run that waits, and whole shows the plan: what is approved is to be read before.
func (a *app) waits(r *respond.Run, whole bool) {
	if whole {
		a.printf("\n")
		a.showRunPlan(r.Plan)
		a.printf("\n")
	}
	word := "It waits for approval"
	if r.State == respond.Suggested {
		word = "A rule suggests it; nobody was asked"
	}
	if r.Plan.Class == action.Destructive {
		by := r.By
		if r.EditedBy != "" {
			by = r.EditedBy
		}
		word += ". Something in it cannot be taken back, so that another person than " + printable(by, false) + " approves it"
	}
	if !r.NotAfter.IsZero() {
		word += ", until " + r.NotAfter.Local().Format(time.DateTime)
	}
	a.printf("%s.\n", word)
	if !whole {
		a.printf("  picket playbook show-run %s     # what would be done to what\n", r.ID[:8])
	}
	a.printf("  picket playbook approve %s --hash %s\n  picket playbook edit %s --hash %s --leave-out ACT\n  picket playbook reject %s\n", r.ID[:8], r.Plan.Hash, r.ID[:8], r.Plan.Hash, r.ID[:8])
}

func who(name string) string {
	if name == "" {
		return ""
	}
	return name + ": "
}

type playbookHistoryCmd struct {
	respondFlags
	Incident string `help:"Only runs for this incident."`
	Limit    int    `default:"50" help:"At most so many."`
}

func (c *playbookHistoryCmd) Run(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	id := ""
	if c.Incident != "" {
		inc, err := findIncident(a, cl, c.Incident)
		if err != nil {
			return err
		}
		id = inc.ID
	}
	list, err := cl.Runs(a.ctx, id, c.Limit)
	if err != nil {
		return err
	}
	if c.json() {
		return a.printJSON(list)
	}
	rows := make([][]string, len(list))
	for i, r := range list {
		state := string(r.State)
		if len(r.Asks) > 0 {
			state += ", asks"
		}
		if len(r.Holds) > 0 {
			state += ", holds"
		}
		rows[i] = []string{r.ID[:8], state, ago(r.Changed, time.Now()), r.By, r.Incident[:min(8, len(r.Incident))], a.fit(r.Plan.Name, 70)}
	}
	a.table([]string{"ID", "STATE", "CHANGED", "BY", "INCIDENT", "PLAYBOOK"}, rows)
	return nil
}

// runArg names a run.
type runArg struct {
	respondFlags
	ID string `arg:"" name:"run" help:"The run's id, or how it begins."`
}

// find reads the run that the argument names.
func (c *runArg) find(a *app) (*client.Client, respond.Run, error) {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return nil, respond.Run{}, err
	}
	r, err := cl.Run(a.ctx, c.ID)
	if err == nil || !client.IsNotFound(err) {
		return cl, r, err
	}
	list, err := cl.Runs(a.ctx, "", 500)
	if err != nil {
		return cl, r, err
	}
	var found []respond.Run
	for _, r := range list {
		if strings.HasPrefix(r.ID, c.ID) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return cl, r, fmt.Errorf("no run whose id begins with %q: picket playbook history lists them", c.ID)
	case 1:
		return cl, found[0], nil
	}
	return cl, r, fmt.Errorf("%d runs begin with %q: give more of the id", len(found), c.ID)
}

// change finds the run, changes it and prints what became of it.
func (c *runArg) change(a *app, f func(*client.Client, respond.Run) (respond.Run, error)) error {
	cl, r, err := c.find(a)
	if err != nil {
		return err
	}
	if r, err = f(cl, r); err != nil {
		return err
	}
	return a.showRun(c.outputFlag, r, nil)
}

type playbookShowRunCmd struct{ runArg }

func (c *playbookShowRunCmd) Run(a *app) error {
	cl, r, err := c.find(a)
	if err != nil {
		return err
	}
	records, err := cl.Records(a.ctx, r.ID)
	if err != nil {
		return err
	}
	return a.showRun(c.outputFlag, r, records)
}

type playbookApproveCmd struct {
	runArg
	Hash   string `required:"" help:"Of the plan that you read; that plan is approved and no other. picket playbook show-run prints it."`
	Reason string `help:"Why; it stands in the run."`
}

func (c *playbookApproveCmd) Run(a *app) error {
	return c.change(a, func(cl *client.Client, r respond.Run) (respond.Run, error) {
		return cl.ApproveRun(a.ctx, r.ID, c.Hash, c.Reason)
	})
}

type playbookEditCmd struct {
	runArg
	leaveFlag
	Hash   string `required:"" help:"Of the plan that you read: picket playbook show-run prints it."`
	Reason string `help:"Why; it stands in the run."`
}

func (c *playbookEditCmd) Run(a *app) error {
	return c.change(a, func(cl *client.Client, r respond.Run) (respond.Run, error) {
		leave, err := c.of(r.Plan)
		if err != nil {
			return r, err
		}
		return cl.EditRun(a.ctx, r.ID, api.RunEdit{Hash: c.Hash, LeaveOut: leave, Reason: c.Reason})
	})
}

type playbookRejectCmd struct {
	runArg
	Reason string `help:"Why."`
}

func (c *playbookRejectCmd) Run(a *app) error {
	return c.change(a, func(cl *client.Client, r respond.Run) (respond.Run, error) {
		return cl.RejectRun(a.ctx, r.ID, c.Reason)
	})
}

type playbookUndoCmd struct{ runArg }

func (c *playbookUndoCmd) Run(a *app) error {
	var held []respond.Hold
	err := c.change(a, func(cl *client.Client, r respond.Run) (now respond.Run, err error) {
		held = r.Holds
		if now, err = cl.UndoRun(a.ctx, r.ID); err != nil {
			return now, err
		}
		held = slices.DeleteFunc(slices.Clone(held), func(h respond.Hold) bool {
			return slices.ContainsFunc(now.Holds, func(n respond.Hold) bool { return n.Request.ID == h.Request.ID })
		})
		return now, nil
	})
	if err != nil || c.json() {
		return err
	}
	for _, h := range held {
		a.printf("taken back: %s %s\n", h.Request.Kind, printable(respond.Describe(h.Request.Target, nil), false))
	}
	if len(held) == 0 {
		a.printf("Nothing was taken back: what holds, and until when, stands above.\n")
	}
	return nil
}

type playbookAnswerCmd struct {
	runArg
	Yes  bool              `xor:"answer" required:"" help:"It is so; it was done."`
	No   bool              `xor:"answer" required:"" help:"It is not so; it was not done."`
	Task string            `help:"Of the question, where the run asks several."`
	Text string            `help:"Why."`
	Set  map[string]string `placeholder:"NAME=VALUE" help:"Values for the variables that the question names."`
}

func (c *playbookAnswerCmd) Run(a *app) error {
	return c.change(a, func(cl *client.Client, r respond.Run) (respond.Run, error) {
		return cl.AnswerRun(a.ctx, r.ID, api.RunAnswer{Task: c.Task, Yes: c.Yes, Text: c.Text, Values: c.Set})
	})
}

type playbookStopCmd struct {
	serverFlags
	Release bool `help:"Let acts go on."`
}

func (c *playbookStopCmd) Run(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	st, err := cl.StopRuns(a.ctx, !c.Release)
	if err != nil {
		return err
	}
	if st.Stopped == "" {
		a.printf("Acts go on.\n")
	} else {
		a.printf("No run begins an act any more; %s stopped them. What holds is taken back as before. picket playbook stop --release lets them go on.\n", printable(st.Stopped, false))
	}
	return nil
}

// simulate asks for a page of incidents at a time, the latest first, and adds up what comes.
func (c *playbookSimulateCmd) simulate(a *app, cl *client.Client) (respond.Simulation, error) {
	sum := respond.Simulation{Playbook: c.Playbook, Plans: []respond.Simulated{}, Acts: map[action.Kind]int{}, Benign: map[action.Kind]int{}}
	from, err := since(c.Since, time.Now())
	if err != nil {
		return sum, err
	}
	for before := ""; len(sum.Plans) < c.Limit; {
		list, err := cl.Incidents(a.ctx, client.IncidentFilter{Severity: c.Severity, Limit: min(c.Limit-len(sum.Plans), 500), Before: before})
		if err != nil {
			return sum, err
		}
		q := api.SimulateQuery{Incidents: []string{}}
		for _, inc := range list.Items {
			if !inc.LastSeen.Before(from) {
				q.Incidents = append(q.Incidents, inc.ID)
			}
		}
		one, err := cl.Simulate(a.ctx, c.Playbook, q)
		if err != nil {
			return sum, err
		}
		sum.Add(&one)
		if before = list.Next; before == "" || len(q.Incidents) < len(list.Items) {
			break
		}
	}
	return sum, nil
}

type playbookSimulateCmd struct {
	respondFlags
	Playbook string `arg:"" help:"The playbook's name."`
	Since    string `default:"30d" help:"Over the incidents since then: 30m, 6h, 30d or a time."`
	Limit    int    `default:"5000" help:"Over so many incidents at most, the latest first."`
	Severity string `enum:",informational,low,medium,high,critical" default:"" help:"Only incidents so severe or worse."`
}

func (c *playbookSimulateCmd) Run(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	sim, err := c.simulate(a, cl)
	if err != nil {
		return err
	}
	if c.json() {
		return a.printJSON(sim)
	}
	if len(sim.Plans) == 0 {
		a.printf("There is no such incident since %s: nothing to simulate on.\n", printable(c.Since, false))
		return nil
	}
	a.printf("%s over %d incidents since %s, all branches counted:\n", printable(sim.Playbook, false), len(sim.Plans), printable(c.Since, false))
	for _, kind := range slices.Sorted(maps.Keys(sim.Acts)) {
		n := sim.Acts[kind]
		a.printf("  %-10s %4d, %d of them for false positives\n", kind, n, sim.Benign[kind])
	}
	a.printf("  %d plans would have asked for approval\n  %d were for false positives, %d for incidents without a verdict\n", sim.Asked, sim.Wrong, sim.Undecided)
	for _, p := range sim.Plans {
		if p.Error != "" {
			a.printf("  %s could not be planned: %s\n", p.Incident[:8], printable(p.Error, false))
		}
	}
	return nil
}
