package main

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"picket/api"
	"picket/node"
	"picket/respond/action"
)

// why is what is said of an act, whatever it is done to.
type why struct {
	Reason   string `help:"Why; kept with the act."`
	Incident string `placeholder:"ID" help:"The incident that it belongs to, by its whole id: it is noted in its log."`
	DryRun   bool   `help:"Only say what would be done, and how it is undone."`
}

// timed is for acts that hold until they are taken back, or for a time.
type timed struct {
	For time.Duration `help:"Take it back after so long, up to a week. Default: when it is taken back."`
}

// onCluster is for acts on objects of Kubernetes, which the server does.
type onCluster struct {
	outputFlag
	serverFlags
	why
}

// act plans a request at the server, and carries it out where that was asked for.
func (o onCluster) act(a *app, k action.Kind, kind, name string, ttl time.Duration, params []string) error {
	pin, err := inNamespace(kind, name)
	if err != nil {
		return err
	}
	r, err := objectRequest(k, pin, ttl, o.why, params)
	if err != nil {
		return err
	}
	on := onHost{outputFlag: o.outputFlag, serverFlags: o.serverFlags, Host: api.ServerHost}
	return onTarget{onHost: on, DryRun: o.DryRun}.carryOut(a, r)
}

// objectRequest asks for an act on an object; params are names, each with its value, of which empty ones
// are left out.
func objectRequest(k action.Kind, pin action.ObjectPin, ttl time.Duration, w why, params []string) (*action.Request, error) {
	if ttl < 0 || ttl > 7*24*time.Hour {
		return nil, &node.Error{Err: fmt.Errorf("--for %s: want up to a week, such as 10m or 2h", ttl), Code: node.ExitUsage}
	}
	r := &action.Request{
		ID: strings.ToLower(rand.Text()[:12]), Kind: k, Target: action.Target{Object: &pin}, TTL: ttl, Reason: w.Reason, Incident: w.Incident,
	}
	for n := 0; n < len(params); n += 2 {
		if params[n+1] != "" {
			if r.Params == nil {
				r.Params = map[string]string{}
			}
			r.Params[params[n]] = params[n+1]
		}
	}
	return r, nil
}

// inNamespace reads NAMESPACE/NAME; a node has no namespace.
func inNamespace(kind, name string) (action.ObjectPin, error) {
	namespace, rest, has := strings.Cut(name, "/")
	switch {
	case kind == "node" && !has:
		return action.ObjectPin{Of: action.Kubernetes, Kind: kind, Name: name}, nil
	case kind == "node":
		return action.ObjectPin{}, &node.Error{Err: fmt.Errorf("node %q: a node is in no namespace: write its name alone", name), Code: node.ExitUsage}
	case namespace == "" || rest == "" || strings.Contains(rest, "/"):
		return action.ObjectPin{}, &node.Error{Err: fmt.Errorf("%s %q: want NAMESPACE/NAME, such as ml/serve-0", kind, name), Code: node.ExitUsage}
	}
	return action.ObjectPin{Of: action.Kubernetes, Kind: kind, Namespace: namespace, Name: rest}, nil
}

type onNode struct {
	onCluster
	Node string `arg:"" help:"The node, by its name."`
}

func (c onNode) act(a *app, k action.Kind, ttl time.Duration, params ...string) error {
	return c.onCluster.act(a, k, "node", c.Node, ttl, params)
}

type actionCordonCmd struct {
	onNode
	timed
}

func (c *actionCordonCmd) Run(a *app) error { return c.act(a, action.Cordon, c.For) }

type actionUncordonCmd struct {
	onNode
	timed
}

func (c *actionUncordonCmd) Run(a *app) error { return c.act(a, action.Uncordon, c.For) }

type actionTaintCmd struct {
	onNode
	timed
	Key    string `required:"" help:"The taint's key."`
	Value  string `help:"Its value."`
	Effect string `default:"NoSchedule" help:"NoSchedule or PreferNoSchedule."`
}

func (c *actionTaintCmd) Run(a *app) error {
	return c.act(a, action.Taint, c.For, "key", c.Key, "value", c.Value, "effect", c.Effect)
}

type actionDrainCmd struct{ onNode }

func (c *actionDrainCmd) Run(a *app) error { return c.act(a, action.Drain, 0) }

type onObject struct {
	onCluster
	Kind string `arg:"" help:"pod, node, deployment, statefulset, replicaset, job or cronjob."`
	Name string `arg:"" help:"NAMESPACE/NAME; of a node its name."`
}

func (c onObject) act(a *app, k action.Kind, ttl time.Duration, params ...string) error {
	return c.onCluster.act(a, k, strings.ToLower(c.Kind), c.Name, ttl, params)
}

type actionLabelCmd struct {
	onObject
	timed
	Key   string `required:"" help:"The label's key."`
	Value string `help:"Its value."`
}

func (c *actionLabelCmd) Run(a *app) error {
	return c.act(a, action.Label, c.For, "key", c.Key, "value", c.Value)
}

type actionAnnotateCmd struct {
	onObject
	timed
	Key   string `required:"" help:"The annotation's key."`
	Value string `help:"Its value."`
}

func (c *actionAnnotateCmd) Run(a *app) error {
	return c.act(a, action.Annotate, c.For, "key", c.Key, "value", c.Value)
}

type actionScaleCmd struct {
	onObject
	timed
	Replicas string `required:"" placeholder:"N" help:"How many pods it shall have."`
}

func (c *actionScaleCmd) Run(a *app) error {
	return c.act(a, action.Scale, c.For, "replicas", c.Replicas)
}

type actionSuspendCmd struct {
	onObject
	timed
}

func (c *actionSuspendCmd) Run(a *app) error { return c.act(a, action.Suspend, c.For) }

type onPod struct {
	onCluster
	Pod string `arg:"" help:"NAMESPACE/NAME of the pod."`
}

func (c onPod) act(a *app, k action.Kind, ttl time.Duration, params ...string) error {
	return c.onCluster.act(a, k, "pod", c.Pod, ttl, params)
}

type actionIsolatePodCmd struct {
	onPod
	held
}

func (c *actionIsolatePodCmd) Run(a *app) error { return c.act(a, action.IsolatePod, c.For) }

type actionEvictCmd struct {
	onPod
	Grace string `placeholder:"SECONDS" help:"How long it may take to end. Default: its own."`
}

func (c *actionEvictCmd) Run(a *app) error { return c.act(a, action.Evict, 0, "grace", c.Grace) }

type actionDeletePodCmd struct {
	onPod
	Grace string `placeholder:"SECONDS" help:"How long it may take to end. Default: its own."`
}

func (c *actionDeletePodCmd) Run(a *app) error {
	return c.act(a, action.DeletePod, 0, "grace", c.Grace)
}

// onSlurm is for jobs and nodes of Slurm, which the agent of a host with Slurm's programs acts on.
type onSlurm struct {
	onHost
	why
}

func (o onSlurm) act(a *app, k action.Kind, kind, name string, ttl time.Duration) error {
	r, err := objectRequest(k, action.ObjectPin{Of: action.Slurm, Kind: kind, Name: name}, ttl, o.why, nil)
	if err != nil {
		return err
	}
	return onTarget{onHost: o.onHost, DryRun: o.DryRun}.carryOut(a, r)
}

type onJob struct {
	onSlurm
	Job string `arg:"" help:"The job's number."`
}

type actionHoldJobCmd struct {
	onJob
	timed
}

func (c *actionHoldJobCmd) Run(a *app) error { return c.act(a, action.HoldJob, "job", c.Job, c.For) }

type actionReleaseJobCmd struct {
	onJob
	timed
}

func (c *actionReleaseJobCmd) Run(a *app) error {
	return c.act(a, action.ReleaseJob, "job", c.Job, c.For)
}

type actionRequeueJobCmd struct{ onJob }

func (c *actionRequeueJobCmd) Run(a *app) error {
	return c.act(a, action.RequeueJob, "job", c.Job, 0)
}

type actionCancelJobCmd struct{ onJob }

func (c *actionCancelJobCmd) Run(a *app) error { return c.act(a, action.CancelJob, "job", c.Job, 0) }

type onSlurmNode struct {
	onSlurm
	timed
	Node string `arg:"" help:"The node, by Slurm's name of it."`
}

type actionDrainNodeCmd struct{ onSlurmNode }

func (c *actionDrainNodeCmd) Run(a *app) error {
	return c.act(a, action.DrainNode, "node", c.Node, c.For)
}

type actionResumeNodeCmd struct{ onSlurmNode }

func (c *actionResumeNodeCmd) Run(a *app) error {
	return c.act(a, action.ResumeNode, "node", c.Node, c.For)
}

type actionAnswerCmd struct {
	onHost
	ID  string `arg:"" help:"The act's id."`
	Yes bool   `xor:"holds" required:"" help:"It was done, and holds."`
	No  bool   `xor:"holds" required:"" help:"Nothing of it holds."`
}

func (c *actionAnswerCmd) Run(a *app) error {
	out, err := c.ask(a.ctx, a, action.Command{Op: action.OpAnswer, ID: c.ID, Holds: c.Yes})
	if err != nil {
		return err
	}
	return a.showResult(c.onHost, out.Result)
}
