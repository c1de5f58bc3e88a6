package workload

import (
	"slices"
	"time"

	"picket/event"
)

// looks are how long after a process was recognised its open files are looked at for models.
var looks = []time.Duration{0, 2 * time.Second, 10 * time.Second, time.Minute}

// inherit passes a parent's workload on.
func (t *Tracker) inherit(p *event.Process, up *node) {
	if up != nil && containerID(p) == containerID(up.proc) { // what a server starts in another container is no part of it
		p.Workload = up.proc.Workload
	}
}

func containerID(p *event.Process) string {
	if p.Container == nil {
		return ""
	}
	return p.Container.ID
}

// engage says which workload a new image belongs to. Where the image is an AI engine's it is the
// root of a workload, or one of the parts of its parent's; else it belongs to its parent's.
// last is the image that it replaces, nil for the first one.
func (t *Tracker) engage(p *event.Process, up *node, last *event.Process, now time.Time) {
	t.inherit(p, up)
	if last != nil {
		p.Workload = last.Workload
	}
	id, ok := recognise(p)
	switch {
	case ok:
		t.recognised(p, up, last, id, now)
	case last != nil && last.Workload != nil && last.Workload.Root == p.Key() && last.Exe != p.Exe:
		// The root turned into another program: it stays in the workload, no longer as its root.
		w := *last.Workload
		w.Root = event.Key{}
		p.Workload = &w
	case p.Workload == nil && isPython(base(p.Exe)) && len(p.Args) > 1:
		t.plan(p.Key(), now, 2*time.Second, 10*time.Second) // its libraries will tell
	}
}

// recognised gives an engine's process its workload.
func (t *Tracker) recognised(p *event.Process, up *node, last *event.Process, id identity, now time.Time) {
	outer := p.Workload
	trusted := genuine(p)
	again := last != nil && outer != nil && outer.Root == p.Key() && outer.Engine == id.engine
	if outer != nil && trusted && (again || up != nil && up.proc.Member() && (id.part || outer.Kind == id.kind)) {
		w := *outer // an engine's own part is as good as its root, whatever its executable
		if again || up.proc.Exe != p.Exe {
			w.Root = p.Key()
		}
		p.Workload = &w
		if again {
			t.keep(&w, p, trusted, now)
		}
		t.named(p, id, now)
		t.plan(p.Key(), now, looks...)
		return
	}
	w := &event.Workload{Kind: id.kind, Engine: id.engine, Name: id.name, Model: id.model, Root: p.Key()}
	w.ID = t.workloadID(p, w, trusted && outer == nil)
	p.Workload = w
	t.keep(w, p, trusted && outer == nil, now)
	t.metrics.recognised.Inc()
	t.log.Info("recognised an AI workload", "engine", w.Engine, "kind", w.Kind, "name", w.Name, "pid", p.PID)
	t.named(p, id, now)
	t.plan(p.Key(), now, looks...)
}

// workloadID names a workload so that it keeps its id over restarts: by its container and engine,
// or by executable and model outside one. A second one of the same kind beside a living one, or
// one that is not trusted, is named by its process.
func (t *Tracker) workloadID(p *event.Process, w *event.Workload, trusted bool) string {
	where := p.Exe
	if p.Container != nil {
		where = p.Container.ID
	}
	id := event.HashID(t.opts.Host, where, w.Engine, w.Name, w.Model)[:idLength]
	if o := t.workloads[id]; !trusted || o != nil && o.w.Root != w.Root && t.alive(o) {
		return event.HashID(t.opts.Host, t.opts.BootID, decimal(uint64(p.PID)), decimal(p.StartBoot), p.Exe, w.Engine)[:idLength]
	}
	return id
}

const idLength = 16

// genuine reports whether an engine's executable is where programs are installed: not written
// since the container started, without a name, or in a place where anyone may write.
func genuine(p *event.Process) bool {
	if p.Layer == event.LayerUpper || p.Memfd {
		return false
	}
	return !below(p.Exe, "/tmp") && !below(p.Exe, "/var/tmp") && !below(p.Exe, "/dev/shm")
}

func (t *Tracker) keep(w *event.Workload, p *event.Process, trusted bool, now time.Time) {
	if len(t.workloads) >= maxWorkloads {
		var oldest *owner
		for _, o := range t.workloads {
			if !t.alive(o) && (oldest == nil || o.seen.Before(oldest.seen)) {
				oldest = o
			}
		}
		if oldest == nil {
			return
		}
		delete(t.workloads, oldest.w.ID)
	}
	o := &owner{w: w, trusted: trusted, seen: now}
	o.container = containerID(p)
	t.workloads[w.ID] = o
}

// alive reports whether a workload's root still runs.
func (t *Tracker) alive(o *owner) bool {
	n := t.tree.byKey[o.w.Root]
	return n != nil && n.exited.IsZero() && n.proc.Workload != nil && n.proc.Workload.ID == o.w.ID
}

// convert makes a running process, and all below it that has no workload yet, part of a workload.
func (t *Tracker) convert(n *node, w *event.Workload) {
	var below []*node
	for _, c := range t.tree.byKey {
		for a := c; a != nil; a = a.up {
			if a == n {
				below = append(below, c)
				break
			}
		}
	}
	slices.SortFunc(below, func(a, b *node) int { return a.depth - b.depth })
	for _, c := range below {
		p := *c.proc
		if p.Workload == nil {
			p.Workload = w
		}
		if c.up != nil {
			p.Parent = c.up.proc
		}
		c.proc = &p
	}
}
