package action

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Slurm is what target.object.of says of jobs and nodes of Slurm.
const Slurm = "slurm"

// The acts on Slurm.
const (
	HoldJob    Kind = "hold-job"    // a job that waits does not start
	ReleaseJob Kind = "release-job" // a job that is held may start
	RequeueJob Kind = "requeue-job" // a job that runs ends, and waits again
	CancelJob  Kind = "cancel-job"  // a job ends
	DrainNode  Kind = "drain-node"  // a node takes no further jobs
	ResumeNode Kind = "resume-node" // a node takes jobs again
)

// ErrNoSlurm says that this host has no programs of Slurm.
var ErrNoSlurm = errors.New("there are no programs of Slurm (scontrol, scancel, squeue, sinfo) on this host")

// SlurmOptions say where what was is kept.
type SlurmOptions struct {
	// Dir keeps what jobs and nodes were before they were changed; a directory of root's alone.
	Dir  string
	Conf string // slurm.conf, where it is not at its usual place
}

// slurm runs Slurm's own programs, by their arguments and never by a shell. What it reads is written in
// columns that no user of the cluster has a say in: names of jobs are not among them.
type slurm struct {
	conf     string
	was      wasDir
	programs map[string]string
}

// NewSlurm returns the acts on the cluster that this host is of. ErrNoSlurm says that it is of none.
func NewSlurm(o SlurmOptions) ([]Action, error) {
	s := &slurm{was: wasDir(o.Dir), conf: o.Conf, programs: map[string]string{}}
	for _, name := range []string{"scontrol", "scancel", "squeue", "sinfo"} {
		path, err := exec.LookPath(name)
		if err != nil {
			return nil, ErrNoSlurm
		}
		s.programs[name] = path
	}
	if err := ownDir(o.Dir); err != nil {
		return nil, fmt.Errorf("acts on Slurm: %w", err)
	}
	return []Action{
		&slurmJob{s, HoldJob, Reversible}, &slurmJob{s, ReleaseJob, Reversible}, &slurmJob{s, RequeueJob, Destructive}, &slurmJob{s, CancelJob, Destructive},
		&slurmNode{s, DrainNode}, &slurmNode{s, ResumeNode},
	}, nil
}

const (
	slurmTime   = 20 * time.Second
	slurmOutput = 64 << 10
)

var (
	slurmJobID = regexp.MustCompile(`^[1-9][0-9]{0,9}$`)
	slurmHost  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$`)
)

// run runs a program of Slurm and returns what it said.
func (s *slurm) run(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, slurmTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.programs[program], args...)
	cmd.WaitDelay = time.Second
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "SLURM_TIME_FORMAT=standard"}
	if s.conf != "" {
		cmd.Env = append(cmd.Env, "SLURM_CONF="+s.conf)
	}
	var out, said capped
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, oneLine(said.String(), 300))
	}
	return strings.TrimSpace(out.String()), nil
}

// capped keeps the first of what is written to it.
type capped struct{ bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	c.Buffer.Write(p[:min(len(p), max(0, slurmOutput-c.Len()))])
	return len(p), nil
}

// jobNow is a job as squeue has it.
type jobNow struct {
	State  string `json:"state"`
	UID    string `json:"uid"`
	Submit string `json:"submit"`
	Prio   string `json:"priority"`
	Starts int    `json:"restarts"`
	Reason string `json:"reason"`
}

func (j *jobNow) held() bool { return j.State == "PENDING" && j.Prio == "0" }

// life tells one job of a number from another: numbers are given out anew when they run out.
func (j *jobNow) life() string {
	return fmt.Sprintf("%s of user %s restarted %d", j.Submit, j.UID, j.Starts)
}

// is reports whether a job is the one of a pin, as it was submitted then or, where again, requeued since:
// Slurm then submits it anew, under its number, and counts that.
func (j *jobNow) is(pin string, again bool) bool {
	var submit, uid string
	starts := -1
	_, _ = fmt.Sscanf(pin, "%s of user %s restarted %d", &submit, &uid, &starts) // what is missing fits nothing, or is of an act of before
	return uid == j.UID && (submit == j.Submit || again && starts >= 0 && j.Starts > starts)
}

func (s *slurm) job(ctx context.Context, id string) (*jobNow, error) {
	out, err := s.run(ctx, "squeue", "--noheader", "--states=all", "--jobs="+id, "--Format=State:30,UserID:20,SubmitTime:30,PriorityLong:30,RestartCnt:20,Reason:200")
	if err != nil && strings.Contains(err.Error(), "Invalid job id") || err == nil && out == "" {
		return nil, fmt.Errorf("there is no job %s: %w", id, ErrGone)
	}
	if err != nil {
		return nil, err
	}
	line, more, _ := strings.Cut(out, "\n")
	if more != "" {
		return nil, fmt.Errorf("%w: job %s is an array: name one of its jobs by its own number", ErrInvalid, id)
	}
	w := strings.Fields(line)
	if len(w) < 6 {
		return nil, fmt.Errorf("squeue of job %s: %q is not understood", id, oneLine(line, 100))
	}
	starts, err := strconv.Atoi(w[4])
	if err != nil {
		return nil, fmt.Errorf("squeue of job %s: it was restarted %q times", id, oneLine(w[4], 100))
	}
	return &jobNow{w[0], w[1], w[2], w[3], starts, strings.Join(w[5:], " ")}, nil
}

// slurmJob acts on a job.
type slurmJob struct {
	s     *slurm
	kind  Kind
	class Class
}

func (*slurmJob) undoesOwn()     {}
func (a *slurmJob) Kind() Kind   { return a.kind }
func (a *slurmJob) Class() Class { return a.class }

// object checks what a request names.
func (s *slurm) object(r *Request, kind string, name *regexp.Regexp) (*ObjectPin, error) {
	t := r.Target
	if t.Object == nil || t.Object.Of != Slurm || t.Object.Kind != kind || t.Process != nil || t.File != nil || t.Cgroup != "" || t.Container != "" {
		return nil, fmt.Errorf("%w: %s wants a %s of Slurm", ErrInvalid, r.Kind, kind)
	}
	pin := *t.Object
	if !name.MatchString(pin.Name) || strings.EqualFold(pin.Name, "all") || pin.Namespace != "" || pin.Container != "" {
		return nil, fmt.Errorf("%w: %q names no single %s of Slurm", ErrInvalid, oneLine(pin.Name, 100), kind)
	}
	return &pin, params(r)
}

// find returns a request's job as it is now, pinned to it. An act that ends a job is for one that was
// requeued since too: else its user could keep it from what was planned.
func (a *slurmJob) find(ctx context.Context, r *Request) (*ObjectPin, *jobNow, error) {
	pin, err := a.s.object(r, "job", slurmJobID)
	if err != nil {
		return nil, nil, err
	}
	j, err := a.s.job(ctx, pin.Name)
	if err != nil {
		return nil, nil, err
	}
	if pin.UID == "" {
		pin.UID = j.life()
	}
	if !j.is(pin.UID, a.class == Destructive) {
		return nil, nil, fmt.Errorf("job %s is another one now: %w", pin.Name, ErrGone)
	}
	return pin, j, nil
}

// over reports whether a job has ended.
func (j *jobNow) over() bool {
	switch j.State {
	case "PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "RESIZING", "STOPPED", "SIGNALING", "COMPLETING":
		return false // what is completing may wait anew, where it is requeued
	}
	return true
}

// fits says why an act cannot be done to a job as it is.
func (a *slurmJob) fits(pin *ObjectPin, j *jobNow) error {
	switch {
	case j.over():
		return fmt.Errorf("job %s is %s: %w", pin.Name, j.State, ErrGone)
	case a.kind == HoldJob && j.State != "PENDING":
		return fmt.Errorf("%w: job %s is %s: only one that waits can be held; requeue or cancel it, or freeze it on its nodes", ErrInvalid, pin.Name, j.State)
	case a.kind == ReleaseJob && !j.held():
		return fmt.Errorf("%w: job %s is %s and not held", ErrInvalid, pin.Name, j.State)
	case a.kind == RequeueJob && j.State == "PENDING":
		return fmt.Errorf("%w: job %s waits already", ErrInvalid, pin.Name)
	}
	return nil
}

var slurmEffects = map[Kind][2]string{ // what follows, and how it is taken back
	HoldJob:    {"it waits and does not start, also where it could", "it is released, unless it was held before"},
	ReleaseJob: {"it may start", "it is held again, if it has not started"},
	RequeueJob: {"it ends, and waits to start anew from its beginning, or from what it kept itself: what it holds in memory is lost", ""},
	CancelJob:  {"all its steps end on all its nodes: what it holds in memory is lost", ""},
}

// Plan says what becomes of the job.
func (a *slurmJob) Plan(ctx context.Context, r *Request) (*Plan, error) {
	pin, j, err := a.find(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := a.fits(pin, j); err != nil {
		return nil, err
	}
	t := r.Target
	t.Object = pin
	return &Plan{
		Target: t, Class: a.class, Hits: []string{fmt.Sprintf("job %s of user %s, %s, submitted %s", pin.Name, j.UID, j.State, j.Submit)},
		Effects: []string{pin.String() + ": " + slurmEffects[a.kind][0]}, Undo: slurmEffects[a.kind][1],
	}, nil
}

// Do has Slurm do it, to the job that was pinned.
func (a *slurmJob) Do(ctx context.Context, r *Request) (*Result, error) {
	pin, j, err := a.find(ctx, r)
	if err == nil {
		err = a.fits(pin, j)
	}
	if err == nil && a.class == Reversible {
		err = a.s.was.keep(&was{Request: r.ID, Object: pin, Was: j.held(), Want: a.kind == HoldJob, By: r.By})
	}
	if err != nil {
		return nil, err
	}
	switch a.kind {
	case HoldJob:
		_, err = a.s.run(ctx, "scontrol", "hold", pin.Name)
	case ReleaseJob:
		_, err = a.s.run(ctx, "scontrol", "release", pin.Name)
	case RequeueJob:
		_, err = a.s.run(ctx, "scontrol", "requeue", pin.Name)
	case CancelJob:
		_, err = a.s.run(ctx, "scancel", pin.Name)
	}
	if err != nil {
		return &Result{State: Unknown, Detail: err.Error()}, nil
	}
	return &Result{State: Done, Detail: fmt.Sprintf("%s: %s", pin, slurmEffects[a.kind][0])}, nil
}

// Verify looks at the job.
func (a *slurmJob) Verify(ctx context.Context, r *Request) (bool, string, error) {
	pin, j, err := a.find(ctx, r)
	if errors.Is(err, ErrGone) {
		return a.kind == CancelJob, err.Error(), nil
	}
	if err != nil {
		return false, "", err
	}
	said := fmt.Sprintf("%s is %s (%s)", pin, j.State, oneLine(j.Reason, 100))
	switch a.kind {
	case HoldJob:
		return j.held(), said, nil
	case ReleaseJob:
		return !j.held(), said, nil
	case RequeueJob:
		return !j.is(pin.UID, false) || j.State == "PENDING" || j.State == "COMPLETING" || j.State == "REQUEUED", said, nil
	}
	return j.over() || j.State == "COMPLETING", said, nil
}

// Undo releases what was held, and holds what was released.
func (a *slurmJob) Undo(ctx context.Context, r *Request) (*Result, error) {
	if a.class != Reversible {
		return nil, fmt.Errorf("%w: a job that ended cannot be brought back to where it was", ErrInvalid)
	}
	return a.s.was.undo(r.ID, func(w *was) (said string, err error) {
		pin, j, err := a.find(ctx, r)
		if err != nil {
			return "", err
		}
		switch {
		case j.held() == w.Was:
			said = pin.String() + " is as it was"
		case w.Was == true && j.State != "PENDING":
			said = pin.String() + " has started, and goes on"
		case w.Was == true:
			_, err = a.s.run(ctx, "scontrol", "hold", pin.Name)
			said = pin.String() + " is held again"
		default:
			_, err = a.s.run(ctx, "scontrol", "release", pin.Name)
			said = pin.String() + " may start again"
		}
		return said, err
	})
}

// nodeNow is a node as sinfo has it.
type nodeNow struct {
	State  string `json:"state"`
	Reason string `json:"reason"`
}

func (n *nodeNow) drains() bool { return strings.HasPrefix(n.State, "drain") }

// slurmNode acts on a node.
type slurmNode struct {
	s    *slurm
	kind Kind
}

func (*slurmNode) undoesOwn()   {}
func (a *slurmNode) Kind() Kind { return a.kind }
func (*slurmNode) Class() Class { return Reversible }

func (a *slurmNode) find(ctx context.Context, r *Request) (*ObjectPin, *nodeNow, error) {
	pin, err := a.s.object(r, "node", slurmHost)
	if err != nil {
		return nil, nil, err
	}
	out, err := a.s.run(ctx, "sinfo", "--noheader", "--Node", "--nodes="+pin.Name, "--format=%T %E")
	if err != nil && strings.Contains(err.Error(), "Invalid node") || err == nil && out == "" {
		return nil, nil, fmt.Errorf("there is no node %s: %w", pin.Name, ErrGone)
	}
	if err != nil {
		return nil, nil, err
	}
	line, _, _ := strings.Cut(out, "\n") // one for each of its partitions
	state, reason, _ := strings.Cut(line, " ")
	pin.UID = pin.Name // which is all that a node is known by
	return pin, &nodeNow{state, strings.TrimSpace(reason)}, nil
}

// reason is what is written at a node that an act drains.
func reasonOf(r *Request) string { return "picket act " + fileID(r.ID) }

// Plan says what becomes of the node.
func (a *slurmNode) Plan(ctx context.Context, r *Request) (*Plan, error) {
	pin, n, err := a.find(ctx, r)
	if err != nil {
		return nil, err
	}
	p := &Plan{Target: r.Target, Class: Reversible, Hits: []string{fmt.Sprintf("node %s, %s (%s)", pin.Name, n.State, oneLine(n.Reason, 100))}}
	p.Target.Object = pin
	switch {
	case (a.kind == DrainNode) == n.drains():
		p.Effects, p.Undo = []string{pin.String() + " is " + n.State + " already: nothing changes"}, "there is nothing to set back"
	case a.kind == DrainNode:
		p.Effects, p.Undo = []string{pin.String() + " takes no further jobs; those that run go on"}, "it takes jobs again"
	default:
		p.Effects, p.Undo = []string{pin.String() + " takes jobs again"}, "it is drained again, for the reason that stood there"
	}
	return p, nil
}

func (a *slurmNode) drain(ctx context.Context, node, reason string) error {
	_, err := a.s.run(ctx, "scontrol", "update", "NodeName="+node, "State=DRAIN", "Reason="+oneLine(reason, 200))
	return err
}

func (a *slurmNode) undrain(ctx context.Context, node string) error {
	_, err := a.s.run(ctx, "scontrol", "update", "NodeName="+node, "State=UNDRAIN")
	return err
}

// Do drains or resumes.
func (a *slurmNode) Do(ctx context.Context, r *Request) (*Result, error) {
	pin, n, err := a.find(ctx, r)
	if err != nil {
		return nil, err
	}
	w := was{Request: r.ID, Object: pin, Was: n.drains(), Want: a.kind == DrainNode, Reason: n.Reason, By: r.By}
	if a.kind == DrainNode {
		w.Mark = reasonOf(r)
	}
	if err := a.s.was.keep(&w); err != nil {
		return nil, err
	}
	if w.Want == w.Was {
		return &Result{State: Done, Detail: fmt.Sprintf("%s was %s already", pin, n.State)}, nil
	}
	if a.kind == DrainNode {
		err = a.drain(ctx, pin.Name, reasonOf(r))
	} else {
		err = a.undrain(ctx, pin.Name)
	}
	if err != nil {
		return &Result{State: Unknown, Detail: err.Error()}, nil
	}
	return &Result{State: Done, Detail: fmt.Sprintf("%s was %s", pin, n.State)}, nil
}

// Verify looks at the node.
func (a *slurmNode) Verify(ctx context.Context, r *Request) (bool, string, error) {
	pin, n, err := a.find(ctx, r)
	if errors.Is(err, ErrGone) {
		return false, err.Error(), nil
	}
	if err != nil {
		return false, "", err
	}
	return (a.kind == DrainNode) == n.drains(), fmt.Sprintf("%s is %s", pin, n.State), nil
}

// Undo sets the node back, unless somebody else has changed it since.
func (a *slurmNode) Undo(ctx context.Context, r *Request) (*Result, error) {
	return a.s.was.undo(r.ID, func(w *was) (said string, err error) {
		pin, n, err := a.find(ctx, r)
		if err != nil {
			return "", err
		}
		switch {
		case n.drains() == w.Was:
			said = fmt.Sprintf("%s is %s, as before", pin, n.State)
		case a.kind == DrainNode && n.Reason != w.Mark:
			said = fmt.Sprintf("%s is drained by somebody else since (%s): it stays", pin, oneLine(n.Reason, 100))
		case a.kind == DrainNode:
			err = a.undrain(ctx, pin.Name)
			said = pin.String() + " takes jobs again"
		default:
			err = a.drain(ctx, pin.Name, w.Reason)
			said = pin.String() + " is drained again"
		}
		return said, err
	})
}
