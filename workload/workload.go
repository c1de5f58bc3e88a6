// Package workload says whose every event is: which process with which ancestors, in which
// container and pod, of which AI server or job, on which model.
//
// It keeps one tree of processes, which outlives their exits, recognises AI engines as they start,
// and learns from their arguments and open files where their models and data sets lie.
package workload

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
)

// Config names models and data sets that need not be learned: directories, or single files.
type Config struct {
	Models   []string
	Datasets []string
}

// Options sets up a Tracker. The zero value tracks with default bounds and reads /proc.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Host       string // part of the identities that processes and workloads get
	BootID     string
	Config     Config
	// Watch is called, within Stamp, Advance or New, for each directory or file of a model that is
	// newly known, under the path by which the host reaches it. It must not call the Tracker.
	Watch func(path string)
	// Unwatch is called likewise, with the same path, when a model is forgotten.
	Unwatch func(path string)
	// Processes is how many are remembered at most; 0: 16 Ki.
	Processes int
	// Proc is where proc is mounted; "": /proc.
	Proc string
	// Lookup describes a process that no event announced, nil if it is gone; nil: read Proc.
	Lookup func(pid uint32) *event.Process
	// Redact masks secrets among the arguments of such a process; nil: they are kept as they are.
	Redact func(args []string) []string
}

// Tracker attributes events. Its methods may be called at the same time; Stamp is called by one
// goroutine, in order of the events' times.
type Tracker struct {
	opts    Options
	log     *slog.Logger
	metrics metrics
	proc    proc
	hostNS  event.Namespaces

	mu        sync.Mutex
	tree      *tree
	cgroups   *cgroups
	users     users
	workloads map[string]*owner
	models    *models
	jobs      []job
	swept     time.Time
}

// owner is a workload that is known: it may own models.
type owner struct {
	w         *event.Workload
	container string
	trusted   bool // not started from within another workload, nor from a file written there
	seen      time.Time
}

const maxWorkloads = 4096

// New returns a tracker that has seen nothing yet: the sensor's ProcessSeen events fill it.
func New(opts Options) *Tracker {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Proc == "" {
		opts.Proc = "/proc"
	}
	if opts.Processes <= 0 {
		opts.Processes = defaultProcesses
	}
	t := &Tracker{
		opts: opts, log: opts.Log, proc: proc{opts.Proc},
		workloads: map[string]*owner{}, users: users{file: "/etc/passwd"},
	}
	if t.opts.Lookup == nil {
		t.opts.Lookup = t.describe
	}
	t.hostNS = t.proc.host()
	t.metrics = newMetrics(opts.Registerer, t)
	t.tree = newTree(opts.Processes, t.metrics.evicted.Inc)
	t.cgroups = newCgroups(cgroupMount(opts.Proc + "/self/mountinfo"))
	t.models = newModels()
	for _, dir := range opts.Config.Models {
		t.configure(dir, false)
	}
	for _, dir := range opts.Config.Datasets {
		t.configure(dir, true)
	}
	return t
}

// describe reads what /proc tells of a process, and masks what must not leave the host.
func (t *Tracker) describe(pid uint32) *event.Process {
	p := t.proc.process(pid)
	if p != nil && len(p.Args) > 0 && t.opts.Redact != nil {
		p.Args = t.opts.Redact(p.Args)
		p.Cmdline = strings.Join(p.Args, " ")
	}
	return p
}

// nobody stands in for a process of which an event says nothing.
var nobody = &event.Process{LoginUID: ^uint32(0)}

// Stamp replaces e.Process by the tree's shared record of that process, with its parent, container
// and workload, names the model that e.File belongs to, and keeps the tree up to date. It takes
// over e.Process of ProcessStart and ProcessSeen.
//
// A record that was handed out is not changed: an exec, an exit or a later recognition makes a
// new one. Stamp reports false where nothing but the pid could be learned about the process; the
// event is still good to deliver. For a known process it allocates nothing.
func (t *Tracker) Stamp(e *event.Event) bool {
	if e.Process == nil {
		if e.Kind == event.SensorHealth {
			return true
		}
		e.Process = nobody
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var n *node
	switch e.Kind {
	case event.ProcessStart, event.ProcessSeen:
		n = t.start(e.Process, e.Time)
	case event.ProcessFork:
		n = t.fork(e.Process, e.Time)
	case event.ProcessExit:
		n = t.end(e.Process, e.Time)
	default:
		n = t.known(e.Process, e.Time)
	}
	e.Process = n.proc
	if e.Kind.Class() == "file" {
		t.stampFile(e, n)
	}
	if e.Call != nil && e.Call.Target != nil {
		t.stampTarget(e.Call, e.Time)
	}
	if n.thin {
		t.metrics.unknown.Inc()
		return n.proc.Container != nil
	}
	return true
}

// stampTarget does for the process that a call was aimed at what Stamp does for the caller.
func (t *Tracker) stampTarget(c *event.Call, now time.Time) {
	n := t.known(c.Target, now)
	if n.thin { // the sensor knows more
		c.Target.Container, c.Target.Workload = n.proc.Container, n.proc.Workload
		return
	}
	c.Target = n.proc
}

// Workloads returns the AI workloads that run now, by id.
func (t *Tracker) Workloads() []event.Workload {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := []event.Workload{}
	for _, o := range t.workloads {
		if t.alive(o) {
			out = append(out, *o.w)
		}
	}
	slices.SortFunc(out, func(a, b event.Workload) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Models returns the model and data set directories that are known, by path.
func (t *Tracker) Models() []event.Model {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := []event.Model{}
	for _, m := range t.models.all {
		out = append(out, *m.as("", m.format))
	}
	slices.SortFunc(out, func(a, b event.Model) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Workload, b.Workload))
	})
	return out
}
