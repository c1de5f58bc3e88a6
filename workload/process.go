package workload

import (
	"strconv"
	"time"

	"picket/event"
)

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

const tick = uint64(time.Second) / ticks

// lookup finds a process, also one that /proc described before an event gave its exact start.
func (t *Tracker) lookup(pid uint32, start uint64) *node {
	n := t.tree.find(pid, start)
	if n != nil || start == 0 {
		return n
	}
	rough := t.tree.byPID[pid]
	if rough == nil || rough.proc.StartBoot%tick != 0 || start-start%tick != rough.proc.StartBoot {
		return nil
	}
	p := *rough.proc
	delete(t.tree.byKey, p.Key())
	p.StartBoot = start
	rough.proc = &p
	t.tree.byKey[p.Key()] = rough
	return rough
}

// known returns the process of an event, looking it up in /proc where no event announced it.
func (t *Tracker) known(p *event.Process, now time.Time) *node {
	if n := t.lookup(p.PID, p.StartBoot); n != nil {
		if p.CgroupID != 0 && p.CgroupID != n.proc.CgroupID {
			t.moved(n, p.CgroupID, now)
		}
		return n
	}
	return t.adopt(p, now, 0)
}

// moved follows a process into another cgroup.
func (t *Tracker) moved(n *node, id uint64, now time.Time) {
	p := *n.proc
	p.CgroupID, p.CgroupPath, p.Container = id, "", nil
	t.contain(&p, nil, now)
	if p.CgroupPath == "" { // a cgroup that is gone: what was known is better
		p.CgroupPath, p.Container = n.proc.CgroupPath, n.proc.Container
	}
	n.proc = &p
}

const maxAdoption = 64

// adopt takes a process into the tree that no event announced, and its unknown ancestors.
func (t *Tracker) adopt(from *event.Process, now time.Time, depth int) *node {
	t.metrics.fallback.Inc()
	p := t.opts.Lookup(from.PID)
	if p == nil || from.StartBoot != 0 && p.StartBoot-p.StartBoot%tick != from.StartBoot-from.StartBoot%tick {
		return t.thin(from, now)
	}
	if from.StartBoot != 0 {
		p.StartBoot = from.StartBoot
	}
	if p.CgroupID == 0 {
		p.CgroupID = from.CgroupID
	}
	return t.place(p, now, depth)
}

// thin makes the best of an event's few fields.
func (t *Tracker) thin(from *event.Process, now time.Time) *node {
	p := &event.Process{
		PID: from.PID, TID: from.TID, PPID: from.PPID, StartBoot: from.StartBoot, PStart: from.PStart, Start: from.Start,
		Exe: from.Exe, Comm: from.Comm, CgroupID: from.CgroupID, LoginUID: ^uint32(0),
	}
	var up *node
	if p.PPID != 0 {
		up = t.lookup(p.PPID, p.PStart)
	}
	t.contain(p, up, now)
	t.inherit(p, up)
	t.seal(p, up)
	n := t.tree.put(p, up)
	n.thin = true
	t.tree.exit(n, now) // it is gone, or its end would have to be guessed
	return n
}

// start takes in a new image: of a new process, or of one that called exec.
func (t *Tracker) start(p *event.Process, now time.Time) *node { return t.place(p, now, 0) }

func (t *Tracker) place(p *event.Process, now time.Time, depth int) *node {
	up := t.parent(p, now, depth)
	before := t.lookup(p.PID, p.StartBoot)
	var last *event.Process
	if before != nil && !before.thin {
		last = before.proc
	}
	if p.Start.IsZero() {
		p.Start = now
		if last != nil {
			p.Start = last.Start
		}
	}
	t.contain(p, up, now)
	if p.User == "" {
		p.User = t.users.name(p.Cred.UID, p.Container != nil, now)
	}
	t.engage(p, up, last, now)
	t.seal(p, up)
	if last != nil {
		p.Parent = predecessor(p, last)
	}
	return t.tree.put(p, up)
}

// predecessor returns the parent of a new image. A server or job that made itself another program,
// as an attacker's exec does, is that program's parent: so the lineage still shows it, and the
// program counts as its child.
func predecessor(p, last *event.Process) *event.Process {
	switch {
	case last.Parent != nil && last.Parent.Key() == p.Key() && p.Workload != nil && p.Workload.Root == (event.Key{}):
		return last.Parent
	case last.Workload != nil && last.Workload.Root == p.Key() && p.Workload != nil && p.Workload.Root == (event.Key{}):
		return last
	}
	return p.Parent
}

// fork takes in a child that still runs its parent's image.
func (t *Tracker) fork(from *event.Process, now time.Time) *node {
	if n := t.tree.find(from.PID, from.StartBoot); n != nil {
		return n
	}
	up := t.parent(from, now, 0)
	if up == nil || up.thin {
		return t.adopt(from, now, 0)
	}
	p := *up.proc
	p.PID, p.TID, p.PPID = from.PID, from.TID, up.proc.PID
	p.StartBoot, p.PStart = from.StartBoot, up.proc.StartBoot
	p.NSPID = from.NSPID
	p.ExitCode, p.ExitSignal, p.CoreDumped = 0, 0, false
	if p.Start = from.Start; p.Start.IsZero() {
		p.Start = now
	}
	if from.CgroupID != 0 && from.CgroupID != p.CgroupID { // clone3 into a cgroup
		p.CgroupID, p.CgroupPath, p.Container = from.CgroupID, "", nil
		t.contain(&p, nil, now)
	}
	t.seal(&p, up)
	return t.tree.put(&p, up)
}

// end notes an exit. The record that was handed out before stays as it was; the event carries a
// copy with the exit status.
func (t *Tracker) end(from *event.Process, now time.Time) *node {
	n := t.known(from, now)
	p := *n.proc
	p.ExitCode, p.ExitSignal, p.CoreDumped = from.ExitCode, from.ExitSignal, from.CoreDumped
	n.proc, n.over = &p, true
	t.tree.exit(n, now)
	return n
}

// parent finds the parent of a process, in /proc where no event announced it.
func (t *Tracker) parent(p *event.Process, now time.Time, depth int) *node {
	if p.PPID == 0 || p.PPID == p.PID {
		return nil
	}
	if n := t.lookup(p.PPID, p.PStart); n != nil && n.proc.StartBoot <= p.StartBoot {
		return n
	}
	if depth >= maxAdoption {
		return nil
	}
	n := t.adopt(&event.Process{PID: p.PPID, TID: p.PPID, StartBoot: p.PStart}, now, depth+1)
	if n.thin || n.proc.StartBoot > p.StartBoot {
		return nil
	}
	return n
}

// seal finishes a record: from here on it is shared.
func (t *Tracker) seal(p *event.Process, up *node) {
	p.Parent = nil
	if up != nil {
		p.Parent = up.proc
	}
	p.Boot = t.opts.BootID
	p.UID = event.HashID(t.opts.Host, t.opts.BootID, decimal(uint64(p.PID)), decimal(p.StartBoot), p.Exe)
	p.Seal()
}

// contain finds the container of a process: its parent's where it is in the same cgroup and
// namespaces, else that of its cgroup.
func (t *Tracker) contain(p *event.Process, up *node, now time.Time) {
	if up != nil && p.CgroupID != 0 && p.CgroupID == up.proc.CgroupID && p.NS.Mnt == up.proc.NS.Mnt && p.NS.PID == up.proc.NS.PID && up.proc.CgroupPath != "" {
		p.Container, p.CgroupPath = up.proc.Container, up.proc.CgroupPath
		return
	}
	g := t.cgroup(p, now)
	if g == nil {
		if p.CgroupPath != "" {
			p.Container = containerOf(p.CgroupPath)
		}
		return
	}
	g.used = now
	if p.CgroupPath == "" {
		p.CgroupPath = g.path
	}
	if p.Container = g.container; p.Container != nil || !t.boxed(p) {
		return
	}
	if g.hand == nil {
		if up != nil && up.proc.Container != nil && below(cleanCgroup(g.path), up.proc.Container.Cgroup) {
			g.hand = up.proc.Container // a cgroup that the container made for itself
		} else if c, ok := byHand(g.path); ok {
			g.hand = &c
		}
	}
	p.Container = g.hand
}

// apart reports whether a process is in a pid or mount namespace other than the host's.
func (t *Tracker) apart(p *event.Process) bool {
	return t.hostNS.PID != 0 && p.NS.PID != 0 && p.NS.PID != t.hostNS.PID ||
		t.hostNS.Mnt != 0 && p.NS.Mnt != 0 && p.NS.Mnt != t.hostNS.Mnt
}

// boxed reports whether a process is in a pid and a mount namespace of its own, as in a container. A
// service with a private /tmp, or a part of a sandboxed browser, has one of the two.
func (t *Tracker) boxed(p *event.Process) bool {
	return t.hostNS.PID != 0 && p.NS.PID != 0 && p.NS.PID != t.hostNS.PID &&
		t.hostNS.Mnt != 0 && p.NS.Mnt != 0 && p.NS.Mnt != t.hostNS.Mnt
}

// cgroup returns what is known of a process's cgroup. The root of the unified hierarchy says
// nothing on a host that still uses v1: there, each process's own file is read.
func (t *Tracker) cgroup(p *event.Process, now time.Time) *cgroup {
	if g := t.cgroups.byID[p.CgroupID]; g != nil && p.CgroupID != 0 && (g.path != "/" || !t.apart(p)) {
		return g
	}
	if p.CgroupPath != "" && (p.CgroupPath != "/" || !t.apart(p)) { // the sensor told
		return t.cgroups.put(p.CgroupID, p.CgroupPath, containerOf(p.CgroupPath), now)
	}
	unified, container := bestCgroup(t.proc.read(p.PID, "cgroup", 64<<10))
	if unified == "" && container == "" {
		var ok bool
		if unified, ok = t.cgroups.path(p.CgroupID, now); !ok {
			return nil
		}
	}
	if container != "" && container != unified { // v1: the path belongs to this process, not to the id
		return &cgroup{path: container, container: containerOf(container), used: now}
	}
	if p.CgroupID == 0 {
		return &cgroup{path: unified, container: containerOf(unified), used: now}
	}
	return t.cgroups.put(p.CgroupID, unified, containerOf(unified), now)
}
