// Package workload says whose an event is: which process with which ancestors, in which container
// and pod, of which AI server or job, and whether its file belongs to a model.
//
// A Tracker is told of every event in order. Records that it hands out are shared and never changed
// again: an exec and an exit make new ones.
package workload

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
)

// Config names models and datasets that need not be learned: directories, or single files.
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
	// Watch is called, on the goroutine that stamps, for each directory or file of a model that was
	// learned, under the path by which the host reaches it.
	Watch     func(path string)
	Processes int    // most processes remembered; 0: 64 Ki
	Proc      string // where proc is mounted; "": /proc
}

// Tracker holds what runs on a host. Its methods may be called by several goroutines.
type Tracker struct {
	opt  Options
	log  *slog.Logger
	proc proc
	home event.Namespaces // the host's own

	mu      sync.Mutex
	tree    *tree
	cgroups *cgroups
	models  models
	jobs    map[string]*job // by workload id
	m       metrics
}

// job is a workload whose root runs, and when to look again at what it holds open.
type job struct {
	work *event.Workload
	root *event.Process
	look []time.Time
}

// How long after a workload was recognised its open files are looked at for models: weights are
// loaded within seconds, or after a download.
var looks = []time.Duration{2 * time.Second, 10 * time.Second, time.Minute}

// New returns a Tracker.
func New(o Options) *Tracker {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Processes <= 0 {
		o.Processes = defaultProcesses
	}
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	t := &Tracker{opt: o, log: o.Log, proc: proc{o.Proc}, jobs: map[string]*job{}}
	t.m = newMetrics(o.Registerer, t)
	t.tree = newTree(o.Processes, t.m.evicted.Inc)
	t.cgroups = newCgroups(cgroupMount(o.Proc + "/self/mountinfo"))
	t.home = event.Namespaces{PID: t.proc.namespace(1, "pid"), Mnt: t.proc.namespace(1, "mnt")}
	t.models = newModels(o.Watch, t.m.refused.Inc)
	for _, dir := range o.Config.Models {
		t.models.configure(dir, false)
	}
	for _, dir := range o.Config.Datasets {
		t.models.configure(dir, true)
	}
	return t
}

// Stamp says whose e is: it replaces e.Process by the shared record with parent, container and
// workload, and sets e.File.Model. It reports false where the process was never seen and is gone,
// so that all there is to know is in the event itself.
func (t *Tracker) Stamp(e *event.Event) bool {
	if e.Process == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	known := true
	switch e.Kind {
	case event.ProcessStart, event.ProcessSeen:
		t.started(e)
	case event.ProcessFork:
		t.forked(e)
	case event.ProcessExit:
		t.exited(e)
	default:
		n := t.process(e.Process, e.Time)
		e.Process, known = n.proc, !n.thin
	}
	if e.File.Path != "" {
		t.file(e)
	}
	return known
}

// started takes a process that executes a program, or ran before we did.
func (t *Tracker) started(e *event.Event) {
	p := e.Process
	up := t.parent(p, e.Time)
	t.finish(p, up, e.Time)
	if e.Kind == event.ProcessStart || p.Workload == nil {
		t.recognise(p, e.Time)
	}
	t.tree.put(p, up)
}

// parent returns the node of p's parent, read from /proc where it was never seen.
func (t *Tracker) parent(p *event.Process, now time.Time) *node {
	if p.PPID == 0 {
		return nil
	}
	if up := t.tree.find(p.PPID, p.PStart); up != nil {
		return up
	}
	q := t.proc.process(p.PPID)
	if q == nil || p.PStart != 0 && !sameTick(q.StartBoot, p.PStart) {
		return nil
	}
	if p.PStart != 0 {
		q.StartBoot = p.PStart
	}
	return t.adopt(q, now, 0)
}

// sameTick reports whether a start time of /proc, rounded down to a tick, is that of an event.
func sameTick(rounded, exact uint64) bool {
	return exact >= rounded && exact < rounded+2*uint64(time.Second)/ticks
}

// adopt puts a process that /proc told of into the tree, below its ancestors.
func (t *Tracker) adopt(p *event.Process, now time.Time, depth int) *node {
	var up *node
	if p.PPID != 0 && depth < cutDepth {
		if up = t.tree.find(p.PPID, 0); up == nil {
			if q := t.proc.process(p.PPID); q != nil {
				up = t.adopt(q, now, depth+1)
			}
		}
	}
	t.finish(p, up, now)
	t.recognise(p, now)
	return t.tree.put(p, up)
}

// finish completes a record: identity, parent, container, and the workload it inherits.
func (t *Tracker) finish(p *event.Process, up *node, now time.Time) {
	if up != nil {
		p.Parent, p.Workload = up.proc, up.proc.Workload
	}
	p.UID = event.HashID(t.opt.Host, t.opt.BootID, decimal(uint64(p.PID)), decimal(p.StartBoot), p.Exe)
	if p.Container = t.container(p, now); p.Workload != nil && !sameContainer(p.Container, p.Parent) {
		p.Workload = nil // what a server starts in another container is no part of it
	}
	p.Seal()
}

func sameContainer(c *event.Container, parent *event.Process) bool {
	if c == nil || parent == nil || parent.Container == nil {
		return c == nil && (parent == nil || parent.Container == nil)
	}
	return c.ID == parent.Container.ID
}

func (t *Tracker) forked(e *event.Event) {
	c := *e.Process
	up := t.parent(&c, e.Time)
	if up == nil {
		e.Process = t.process(e.Process, e.Time).proc
		return
	}
	p := *up.proc
	p.PID, p.TID, p.PPID, p.StartBoot, p.PStart, p.Start = c.PID, c.TID, c.PPID, c.StartBoot, c.PStart, c.Start
	p.NSPID = 0 // known at exec
	if c.CgroupID != 0 {
		p.CgroupID = c.CgroupID
	}
	if p.CgroupID != up.proc.CgroupID {
		p.CgroupPath = ""
	}
	t.finish(&p, up, e.Time)
	e.Process = t.tree.put(&p, up).proc
}

func (t *Tracker) exited(e *event.Event) {
	n := t.process(e.Process, e.Time)
	p := *n.proc
	p.ExitCode, p.ExitSignal = e.Process.ExitCode, e.Process.ExitSignal
	n.proc, e.Process = &p, &p
	t.tree.exit(n, e.Time)
	if w := p.Workload; w != nil && w.Root == p.Key() {
		delete(t.jobs, w.ID)
	}
}

// process returns the node that an event's few fields name. A process that was never seen is read
// from /proc; where it is gone, the fields are all there is.
func (t *Tracker) process(p *event.Process, now time.Time) *node {
	if n := t.tree.find(p.PID, p.StartBoot); n != nil {
		return n
	}
	if q := t.proc.process(p.PID); q != nil && sameTick(q.StartBoot, p.StartBoot) {
		q.StartBoot, q.CgroupID, q.Start = p.StartBoot, p.CgroupID, p.Start
		return t.adopt(q, now, 0)
	}
	c := *p
	c.LoginUID = ^uint32(0)
	up := t.parent(&c, now)
	t.finish(&c, up, now)
	n := t.tree.put(&c, up)
	n.thin = true
	return n
}

// container finds the container of a process by its cgroup.
func (t *Tracker) container(p *event.Process, now time.Time) *event.Container {
	if g := t.cgroups.byID[p.CgroupID]; g != nil && p.CgroupID != 0 {
		g.used = now
		p.CgroupPath = g.path
		if g.container != nil || !t.contained(p) {
			return g.container
		}
	}
	if p.CgroupPath == "" {
		p.CgroupPath, _ = t.cgroups.path(p.CgroupID, now)
	}
	path := p.CgroupPath
	if _, ok := parseCgroup(path); !ok && (t.contained(p) || path == "") { // hybrid hosts: a v1 controller may tell
		unified, best := bestCgroup(t.proc.read(p.PID, "cgroup", 64<<10))
		if p.CgroupPath == "" {
			p.CgroupPath = unified
		}
		if path = best; path == "" {
			path = unified
		}
	}
	var c *event.Container
	if found, ok := parseCgroup(path); ok {
		c = &found
	} else if found, ok := byHand(path); ok && t.contained(p) {
		c = &found
	}
	if p.CgroupID != 0 && p.CgroupPath != "" {
		t.cgroups.put(p.CgroupID, p.CgroupPath, c, now)
	}
	return c
}

// contained reports whether a process lives in namespaces of its own, as in a container.
func (t *Tracker) contained(p *event.Process) bool {
	return p.NS.PID != 0 && p.NS.Mnt != 0 && p.NS.PID != t.home.PID && p.NS.Mnt != t.home.Mnt
}

// recognise gives p a workload of its own where it is an AI server or job that stands alone.
func (t *Tracker) recognise(p *event.Process, now time.Time) {
	id, ok := recognise(p)
	if !ok || p.Workload != nil && (id.part || p.Workload.Engine == id.engine) {
		return
	}
	where := decimal(uint64(p.PID)) + "/" + decimal(p.StartBoot)
	if p.Container != nil {
		where = p.Container.ID
	}
	w := &event.Workload{
		ID: event.HashID(t.opt.Host, where, id.engine, id.name)[:16], Kind: id.kind, Engine: id.engine, Name: id.name, Model: id.model, Root: p.Key(),
	}
	p.Workload = w
	j := &job{work: w, root: p}
	for _, d := range looks {
		j.look = append(j.look, now.Add(d))
	}
	if len(t.jobs) < maxJobs {
		t.jobs[w.ID] = j
	}
	t.log.Info("an AI workload runs", "engine", w.Engine, "kind", w.Kind, "name", w.Name, "pid", p.PID)
	for _, m := range id.models {
		t.learnArgument(p, m, false)
	}
	for _, d := range id.data {
		t.learnArgument(p, d, true)
	}
	t.lookAt(j)
}

const maxJobs = 4096

// learnArgument learns a model that an argument names, where it is a path that exists.
func (t *Tracker) learnArgument(p *event.Process, arg string, dataset bool) {
	path := arg
	if !strings.HasPrefix(path, "/") {
		path = p.CWD + "/" + path
	}
	st, ok := t.proc.stat(p.PID, path)
	if !ok {
		return
	}
	t.models.learn(t.proc, p, path, st.IsDir(), dataset)
}

// lookAt learns the models among the files that a workload's root holds open or mapped.
func (t *Tracker) lookAt(j *job) {
	for _, path := range t.proc.opened(j.root.PID, 4096) {
		if f := formatOf(path); f != formatNone && t.isModel(j.root, path, f) {
			t.models.learn(t.proc, j.root, path, false, f.dataset())
		}
	}
}

// isModel tells a model's file from others of the same ending: .bin is a model's where it is large
// or lies beside a config.json.
func (t *Tracker) isModel(p *event.Process, path string, f format) bool {
	if f != rawBinary {
		return true
	}
	if st, ok := t.proc.stat(p.PID, path); ok && st.Size() >= 1<<20 {
		return true
	}
	_, ok := t.proc.stat(p.PID, path[:strings.LastIndexByte(path, '/')+1]+"config.json")
	return ok
}

// file sets the model of a file event, and learns from what workloads write.
func (t *Tracker) file(e *event.Event) {
	e.File.Model = t.models.find(e.Process, &e.File)
	if e.File.Model != nil || e.Errno != 0 || !e.Process.Member() {
		return
	}
	switch e.Kind {
	case event.FileCreate, event.FileWrite, event.FileRead, event.FileRename:
		if f := formatOf(e.File.Path); f != formatNone && t.isModel(e.Process, e.File.Path, f) {
			t.models.learn(t.proc, e.Process, e.File.Path, false, f.dataset())
			e.File.Model = t.models.find(e.Process, &e.File)
		}
	}
}

// Advance tells that the time is now: it forgets what is long gone and looks again at what young
// workloads hold open.
func (t *Tracker) Advance(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tree.expire(now)
	t.cgroups.expire(now, keepCgroup)
	for _, j := range t.jobs {
		for len(j.look) > 0 && !j.look[0].After(now) {
			j.look = j.look[1:]
			t.lookAt(j)
		}
	}
}

// Workloads returns the workloads that run, by id.
func (t *Tracker) Workloads() []event.Workload {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]event.Workload, 0, len(t.jobs))
	for _, j := range t.jobs {
		out = append(out, *j.work)
	}
	slices.SortFunc(out, func(a, b event.Workload) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Models returns the known models and datasets, by path.
func (t *Tracker) Models() []event.Model {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.models.list()
}
