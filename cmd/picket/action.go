package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"picket/api"
	"picket/node"
	"picket/respond/action"
)

type actionCmd struct {
	Freeze     actionFreezeCmd     `cmd:"" help:"Stop a workload where it stands for a while."`
	Kill       actionKillCmd       `cmd:"" help:"End a process, a lineage, or all of a cgroup or container."`
	Isolate    actionIsolateCmd    `cmd:"" help:"Cut a workload off the network for a while."`
	Cut        actionCutCmd        `cmd:"" help:"Reset a workload's open connections."`
	Capture    actionCaptureCmd    `cmd:"" help:"Put what is known of processes into a sealed archive, as evidence."`
	Quarantine actionQuarantineCmd `cmd:"" help:"Take a file, or a directory of a model, out of the way."`
	ExcludeGPU actionExcludeGPUCmd `cmd:"" name:"exclude-gpu" help:"Keep a workload from opening GPUs for a while."`
	ResetGPU   actionResetGPUCmd   `cmd:"" name:"reset-gpu" help:"Reset a GPU that nobody uses. It cannot be undone."`

	Cordon     actionCordonCmd     `cmd:"" help:"Let a node of Kubernetes take no further pods." group:"kubernetes"`
	Uncordon   actionUncordonCmd   `cmd:"" help:"Let a node of Kubernetes take pods again." group:"kubernetes"`
	Taint      actionTaintCmd      `cmd:"" help:"Let a node of Kubernetes take only pods that tolerate it." group:"kubernetes"`
	Drain      actionDrainCmd      `cmd:"" help:"Cordon a node of Kubernetes and evict its pods." group:"kubernetes"`
	Label      actionLabelCmd      `cmd:"" help:"Label an object of Kubernetes." group:"kubernetes"`
	Annotate   actionAnnotateCmd   `cmd:"" help:"Annotate an object of Kubernetes." group:"kubernetes"`
	Scale      actionScaleCmd      `cmd:"" help:"Say how many pods an object of Kubernetes has." group:"kubernetes"`
	Suspend    actionSuspendCmd    `cmd:"" help:"Let a job or cronjob of Kubernetes stand still." group:"kubernetes"`
	IsolatePod actionIsolatePodCmd `cmd:"" help:"Cut a pod off by a NetworkPolicy of its own for a while." group:"kubernetes"`
	Evict      actionEvictCmd      `cmd:"" help:"End a pod, where its disruption budget allows it." group:"kubernetes"`
	DeletePod  actionDeletePodCmd  `cmd:"" help:"End a pod, whatever its disruption budget says." group:"kubernetes"`

	HoldJob    actionHoldJobCmd    `cmd:"" help:"Keep a job of Slurm from starting." group:"slurm"`
	ReleaseJob actionReleaseJobCmd `cmd:"" help:"Let a job of Slurm that is held start." group:"slurm"`
	RequeueJob actionRequeueJobCmd `cmd:"" help:"End a job of Slurm, and let it wait again." group:"slurm"`
	CancelJob  actionCancelJobCmd  `cmd:"" help:"End a job of Slurm." group:"slurm"`
	DrainNode  actionDrainNodeCmd  `cmd:"" help:"Let a node of Slurm take no further jobs." group:"slurm"`
	ResumeNode actionResumeNodeCmd `cmd:"" help:"Let a node of Slurm take jobs again." group:"slurm"`

	Answer actionAnswerCmd `cmd:"" help:"Say whether an act holds that nobody could tell of."`
	Undo   actionUndoCmd   `cmd:"" help:"Take an act back before its time."`
	Extend actionExtendCmd `cmd:"" help:"Let an act that is held hold longer."`
	List   actionListCmd   `cmd:"" default:"withargs" help:"List acts, the latest first."`
	Show   actionShowCmd   `cmd:"" help:"Tell all of an act."`
	Stop   actionStopCmd   `cmd:"" help:"Refuse all acts on a host; what is held goes on."`
	Resume actionResumeCmd `cmd:"" help:"Let acts be carried out again, those too that were disarmed."`
}

// onHost says on which host, and by which way. This host's agent is asked itself, by root, so that it
// works while the server is away.
type onHost struct {
	outputFlag
	serverFlags
	Host string `placeholder:"NAME" help:"Host, by way of the server; @server for its own acts, as on Kubernetes. Default: this one, which root needs no server for."`
}

// ask sends a command to the host's agent.
func (h onHost) ask(ctx context.Context, a *app, c action.Command) (action.Answer, error) {
	cfg, err := a.config()
	if err != nil {
		return action.Answer{}, err
	}
	if c.Request != nil {
		if c.Request.Target.Host = cmp.Or(h.Host, cfg.Host); h.Host == api.ServerHost {
			c.Request.Target.Host = ""
		}
		c.Request.By = whoami()
	}
	c.By = whoami()
	var out action.Answer
	if h.Server == "" && (h.Host == "" || h.Host == cfg.Host) {
		out, err = node.AskAgent(ctx, cfg, c)
	} else {
		cl, noClient := a.client(h.serverFlags)
		if noClient != nil {
			return out, noClient
		}
		out, err = cl.Act(ctx, cmp.Or(h.Host, cfg.Host), c)
	}
	if err == nil {
		err = out.Err()
	}
	if errors.Is(err, action.ErrInvalid) || errors.Is(err, action.ErrNotFound) {
		err = &node.Error{Err: err, Hint: hintFor(c, err), Code: node.ExitUsage}
	}
	return out, err
}

func hintFor(c action.Command, err error) string {
	if errors.Is(err, action.ErrNotFound) {
		return "picket action list shows the ids"
	}
	if c.Request == nil || c.Request.Kind == "" {
		return ""
	}
	return "picket action " + string(c.Request.Kind) + " --help shows examples"
}

// whoami names who asks, as this host knows it. The server goes by the token instead.
func whoami() string {
	name := "root"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if by := os.Getenv("SUDO_USER"); by != "" && by != name {
		return by + " as " + name
	}
	return name
}

// onTarget says what is acted on, and why.
type onTarget struct {
	onHost
	PID       int    `name:"pid" placeholder:"N" help:"A process, by its number."`
	Lineage   bool   `help:"With --pid: it and all that it started."`
	Cgroup    string `placeholder:"PATH" help:"A cgroup, as process.cgroup of its events says, such as /system.slice/ollama.service."`
	Container string `placeholder:"ID" help:"A container, by its id."`
	Reason    string `help:"Why; kept with the act."`
	Incident  string `placeholder:"ID" help:"The incident that it belongs to, by its whole id: it is noted in its log."`
	DryRun    bool   `help:"Only say who would be hit, and how it is undone."`
}

func (t onTarget) request(k action.Kind) *action.Request {
	r := &action.Request{
		ID: strings.ToLower(rand.Text()[:12]), Kind: k, Reason: t.Reason, Incident: t.Incident,
		Target: action.Target{Cgroup: t.Cgroup, Container: t.Container, Lineage: t.Lineage},
	}
	if t.PID != 0 {
		r.Target.Process = &action.ProcessPin{PID: t.PID}
	}
	return r
}

// act plans a request, and carries it out where that was asked for.
func (t onTarget) act(a *app, r *action.Request) error {
	if t.PID == 0 && t.Cgroup == "" && t.Container == "" && r.Target.File == nil && r.Target.Object == nil {
		return &node.Error{
			Err:  fmt.Errorf("%s needs --pid, --cgroup or --container", r.Kind),
			Hint: "picket hunt class:process --output json shows process.pid, process.cgroup and container.id", Code: node.ExitUsage,
		}
	}
	return t.carryOut(a, r)
}

// carryOut is act, of what has a target for sure.
func (t onTarget) carryOut(a *app, r *action.Request) error {
	if t.DryRun {
		out, err := t.ask(a.ctx, a, action.Command{Op: action.OpPlan, Request: r})
		if err != nil {
			return planError(err)
		}
		return a.showPlan(t.outputFlag, out.Plan)
	}
	out, err := t.ask(a.ctx, a, action.Command{Op: action.OpDo, Request: r})
	if err != nil {
		return fmt.Errorf("act %s: %w", r.ID, err)
	}
	return a.showResult(t.onHost, out.Result)
}

// planError gives a plan that cannot be made the exit code of the act that would come of it.
func planError(err error) error {
	switch {
	case errors.Is(err, action.ErrProtected):
		return &node.Error{Err: err, Code: node.ExitRefused}
	case errors.Is(err, action.ErrGone):
		return &node.Error{Err: err, Code: node.ExitGone}
	}
	return err
}

func (a *app) showPlan(o outputFlag, p *action.Plan) error {
	if o.json() {
		return a.printJSON(p)
	}
	a.printf("on %s, nothing of this was done:\n", printable(cmp.Or(p.Target.Host, p.Target.String()), false))
	for _, e := range p.Effects {
		a.printf("  %s\n", printable(e, false))
	}
	a.printf("who would be hit:\n")
	for _, h := range p.Hits {
		a.printf("  %s\n", printable(h, false))
	}
	if len(p.Hits) == 0 {
		a.printf("  nobody\n")
	}
	a.printf("undone: %s\n", printable(cmp.Or(p.Undo, "it cannot be"), false))
	return nil
}

// showResult prints how an act came out; what did not come out well fails.
func (a *app) showResult(o onHost, r *action.Result) error {
	at := ""
	if o.Host != "" {
		at = " --host " + o.Host
	}
	if o.json() {
		if err := a.printJSON(r); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%s is %s: %s", r.ID, r.State, r.Detail)
	switch r.State {
	case action.Done, action.Undone:
	case action.Refused:
		return &node.Error{Err: errors.New(text), Code: node.ExitRefused}
	case action.Gone:
		return &node.Error{Err: errors.New(text), Code: node.ExitGone}
	case action.Unknown:
		return &node.Error{Err: errors.New(text), Hint: "it is looked at for a minute, and then asked about: picket action show " + r.ID + at, Code: node.ExitFailure}
	default:
		return errors.New(text)
	}
	if o.json() {
		return nil
	}
	a.printf("%s\n", printable(text, false))
	for _, e := range r.Evidence {
		a.printf("  %s  sha256 %s, %d bytes\n", printable(e.Path, false), e.SHA256, e.Size)
	}
	if r.State == action.Done && !r.Until.IsZero() {
		a.printf("until %s; sooner with: picket action undo %s%s\n", r.Until.Local().Format(time.DateTime), r.ID, printable(at, false))
	} else if r.State == action.Done && o.Host == api.ServerHost {
		a.printf("the server keeps it: picket action show %s%s\n", r.ID, at)
	}
	return nil
}

// held is for acts that end.
type held struct {
	For time.Duration `default:"10m" help:"How long, up to a week."`
}

func (h held) until(r *action.Request) (*action.Request, error) {
	if r.TTL = h.For; h.For <= 0 || h.For > 7*24*time.Hour {
		return nil, &node.Error{Err: fmt.Errorf("--for %s: want up to a week, such as 10m or 2h", h.For), Code: node.ExitUsage}
	}
	return r, nil
}

type actionFreezeCmd struct {
	onTarget
	held
}

func (c *actionFreezeCmd) Run(a *app) error {
	r, err := c.until(c.request(action.Freeze))
	if err != nil {
		return err
	}
	return c.act(a, r)
}

type actionIsolateCmd struct {
	onTarget
	held
}

func (c *actionIsolateCmd) Run(a *app) error {
	r, err := c.until(c.request(action.Isolate))
	if err != nil {
		return err
	}
	return c.act(a, r)
}

type actionExcludeGPUCmd struct {
	onTarget
	held
}

func (c *actionExcludeGPUCmd) Run(a *app) error {
	r, err := c.until(c.request(action.ExcludeGPU))
	if err != nil {
		return err
	}
	return c.act(a, r)
}

type actionKillCmd struct{ onTarget }

func (c *actionKillCmd) Run(a *app) error { return c.act(a, c.request(action.Kill)) }

type actionCutCmd struct {
	onTarget
	Address string `placeholder:"ADDRESS" help:"Only connections to this address or network, such as 192.0.2.0/24."`
	Port    uint16 `placeholder:"N" help:"Only connections to this port."`
}

func (c *actionCutCmd) Run(a *app) error {
	r := c.request(action.Cut)
	r.Target.Address = c.Address
	if c.Port != 0 {
		r.Params = map[string]string{"port": fmt.Sprint(c.Port)}
	}
	return c.act(a, r)
}

type actionCaptureCmd struct{ onTarget }

func (c *actionCaptureCmd) Run(a *app) error { return c.act(a, c.request(action.Capture)) }

type actionQuarantineCmd struct {
	onHost
	File     string        `arg:"" help:"The file or directory, by its whole path."`
	PID      int           `name:"pid" placeholder:"N" help:"The path is the one that this process sees, as of a container."`
	SHA256   string        `name:"sha256" placeholder:"DIGEST" help:"Only if this is its content."`
	For      time.Duration `help:"Put it back after so long. Default: when it is taken back."`
	Reason   string        `help:"Why; kept with the act."`
	Incident string        `placeholder:"ID" help:"The incident that it belongs to, by its whole id: it is noted in its log."`
	DryRun   bool          `help:"Only say what would be taken, and who has it open."`
}

func (c *actionQuarantineCmd) Run(a *app) error {
	t := onTarget{onHost: c.onHost, PID: c.PID, Reason: c.Reason, Incident: c.Incident, DryRun: c.DryRun}
	r := t.request(action.Quarantine)
	r.Target.File, r.TTL = &action.FilePin{Path: c.File, SHA256: c.SHA256}, c.For
	return t.act(a, r)
}

type actionResetGPUCmd struct {
	onHost
	GPU      string `arg:"" name:"uuid" help:"The GPU's UUID, as picket gpu -o json shows it."`
	Reason   string `help:"Why; kept with the act."`
	Incident string `placeholder:"ID" help:"The incident that it belongs to, by its whole id: it is noted in its log."`
	DryRun   bool   `help:"Only say what is lost by it, and who holds the GPU."`
}

func (c *actionResetGPUCmd) Run(a *app) error {
	t := onTarget{onHost: c.onHost, Reason: c.Reason, Incident: c.Incident, DryRun: c.DryRun}
	r := t.request(action.ResetGPU)
	r.Target.Object = &action.ObjectPin{Of: action.OfHost, Kind: "gpu", Name: c.GPU}
	return t.act(a, r)
}

type actionUndoCmd struct {
	onHost
	ID     string `arg:"" help:"The act's id."`
	Reason string `help:"Why; kept with the act."`
}

func (c *actionUndoCmd) Run(a *app) error {
	out, err := c.ask(a.ctx, a, action.Command{Op: action.OpUndo, Request: &action.Request{ID: c.ID, Reason: c.Reason}})
	if err != nil {
		return err
	}
	return a.showResult(c.onHost, out.Result)
}

type actionExtendCmd struct {
	onHost
	ID string `arg:"" help:"The act's id."`
	held
}

func (c *actionExtendCmd) Run(a *app) error {
	r, err := c.until(&action.Request{})
	if err != nil {
		return err
	}
	out, err := c.ask(a.ctx, a, action.Command{Op: action.OpExtend, ID: c.ID, TTL: r.TTL})
	if err != nil {
		return err
	}
	return a.showResult(c.onHost, out.Result)
}

type actionListCmd struct {
	onHost
	AllHosts bool `help:"Of all hosts that report to the server."`
	Limit    int  `default:"50" help:"At most so many."`
}

func (c *actionListCmd) Run(a *app) error {
	if c.Limit < 1 || c.Limit > 200 {
		return &node.Error{Err: fmt.Errorf("--limit %d: want 1 to 200", c.Limit), Code: node.ExitUsage}
	}
	if c.AllHosts {
		return c.everywhere(a)
	}
	out, err := c.ask(a.ctx, a, action.Command{Op: action.OpList, Limit: c.Limit})
	if err != nil {
		return err
	}
	if c.json() {
		if out.Records == nil {
			out.Records = []action.Record{}
		}
		return a.printJSON(out.Records)
	}
	if out.Stopped != "" {
		a.printf("not all acts are carried out: %s\n", printable(out.Stopped, false))
	}
	a.showRecords(out.Records)
	return nil
}

func (c *actionListCmd) everywhere(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	list, err := cl.Actions(a.ctx, c.Host, c.Limit)
	if err != nil {
		return err
	}
	if c.json() {
		return a.printJSON(list)
	}
	for _, h := range slices.Sorted(maps.Keys(list.Stopped)) {
		a.printf("not all acts are carried out on %s: %s\n", printable(h, false), printable(list.Stopped[h], false))
	}
	for _, h := range slices.Sorted(maps.Keys(list.Away)) {
		a.printf("%s did not say its acts: %s\n", printable(h, false), printable(list.Away[h], false))
	}
	records := make([]action.Record, len(list.Items))
	for i, r := range list.Items {
		records[i] = r.Record
		records[i].Request.Target.Host = r.Host // the server's own name none
	}
	a.showRecords(records)
	return nil
}

func (a *app) showRecords(list []action.Record) {
	if len(list) == 0 {
		a.printf("No acts.\n")
		return
	}
	rows := make([][]string, len(list))
	for i, r := range list {
		until := ""
		if r.Result.State == action.Done && !r.Result.Until.IsZero() {
			until = r.Result.Until.Local().Format(time.TimeOnly)
		}
		rows[i] = []string{
			r.Request.ID, state(&r), string(r.Request.Kind), ago(r.Begun, time.Now()), until,
			r.Request.Target.Host, r.Request.By, a.fit(r.Request.Target.String(), 70),
		}
	}
	a.table([]string{"ID", "STATE", "ACT", "BEGUN", "UNTIL", "HOST", "BY", "TARGET"}, rows)
}

// state says how an act stands, in a word or two.
func state(r *action.Record) string {
	if r.Asked && r.Result.State == action.Unknown {
		return "unknown, asks"
	}
	return string(cmp.Or(r.Result.State, "under way"))
}

type actionShowCmd struct {
	onHost
	ID string `arg:"" help:"The act's id."`
}

func (c *actionShowCmd) Run(a *app) error {
	out, err := c.ask(a.ctx, a, action.Command{Op: action.OpShow, ID: c.ID})
	if err != nil {
		return err
	}
	r := out.Records[0]
	if c.json() {
		return a.printJSON(r)
	}
	say := func(what, text string) {
		if text != "" {
			a.printf("%-9s %s\n", what, printable(text, false))
		}
	}
	say("act", string(r.Request.Kind)+" of "+r.Request.Target.String())
	say("on", r.Request.Target.Host)
	say("is", string(cmp.Or(r.Result.State, "under way"))+": "+r.Result.Detail)
	if r.Asked && r.Result.State == action.Unknown {
		say("asks", "does it hold? picket action answer "+r.Request.ID+" --yes or --no, where it is kept")
	}
	say("begun", r.Begun.Local().Format(time.DateTime)+" by "+r.Request.By)
	say("reason", r.Request.Reason)
	say("incident", r.Request.Incident)
	if !r.Result.Until.IsZero() && r.Result.State == action.Done {
		say("until", r.Result.Until.Local().Format(time.DateTime))
	}
	for _, h := range r.Hits {
		say("hit", h)
	}
	return nil
}

type actionStopCmd struct {
	onHost
	Reason string `help:"Why; whoever is refused is told."`
}

func (c *actionStopCmd) Run(a *app) error {
	if _, err := c.ask(a.ctx, a, action.Command{Op: action.OpStop, Reason: c.Reason}); err != nil {
		return err
	}
	a.printf("no acts are carried out any more; picket action resume ends that\n")
	return nil
}

type actionResumeCmd struct{ onHost }

func (c *actionResumeCmd) Run(a *app) error {
	if _, err := c.ask(a.ctx, a, action.Command{Op: action.OpResume}); err != nil {
		return err
	}
	a.printf("acts are carried out again\n")
	return nil
}
