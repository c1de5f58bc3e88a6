package workload

import (
	"container/list"
	"time"

	"picket/event"
)

// node is one process of the tree: its current image and whether it still runs.
type node struct {
	proc   *event.Process
	up     *node // parent, nil where it was never seen or is forgotten
	kids   int   // children in the tree
	depth  int
	exited time.Time
	place  *list.Element // in the queue of the exited
	over   bool          // its exit was told of
	thin   bool          // made of an event's few fields: nothing else was to be had
}

// tree holds the processes of a host by identity. Whoever has exited stays while a descendant is
// in the tree, and for keepExited; when there are more than max, the oldest exited go first.
type tree struct {
	max     int
	byKey   map[event.Key]*node
	byPID   map[uint32]*node
	gone    *list.List // of *node, oldest exit first
	evicted func()
}

const (
	defaultProcesses = 16 << 10
	keepExited       = time.Minute
	maxDepth         = 256 // longest chain of parents
	cutDepth         = 64  // what is left of a chain that grew longer
)

func newTree(size int, evicted func()) *tree {
	return &tree{max: size, byKey: map[event.Key]*node{}, byPID: map[uint32]*node{}, gone: list.New(), evicted: evicted}
}

// find returns a process by identity, or by pid where the start is not known.
func (t *tree) find(pid uint32, start uint64) *node {
	if start != 0 {
		return t.byKey[event.Key{PID: pid, Start: start}]
	}
	return t.byPID[pid]
}

// put makes p the current image of its process.
func (t *tree) put(p *event.Process, up *node) *node {
	n := t.byKey[p.Key()]
	switch {
	case n == nil:
		t.room()
		n = &node{proc: p, up: up}
		if up != nil {
			up.kids++
			n.depth = up.depth + 1
		}
		t.byKey[p.Key()] = n
		t.hold(n)
	case n.over: // its exec is told of after its exit
		p.ExitCode, p.ExitSignal, p.CoreDumped = n.proc.ExitCode, n.proc.ExitSignal, n.proc.CoreDumped
	case n.place != nil: // taken for gone too early
		t.gone.Remove(n.place)
		n.place, n.exited = nil, time.Time{}
		t.hold(n)
	}
	n.proc, n.thin = p, false
	if n.depth > maxDepth {
		n.cut()
	}
	return n
}

// hold makes n the process that has its pid now, unless a younger one has: then n is told of late.
func (t *tree) hold(n *node) {
	old := t.byPID[n.proc.PID]
	if old != nil && old.proc.StartBoot > n.proc.StartBoot {
		t.exit(n, n.proc.Start)
		return
	}
	if old != nil && old != n {
		t.exit(old, n.proc.Start) // its end was missed: the pid has been given away
	}
	t.byPID[n.proc.PID] = n
}

// cut shortens a chain of parents that grew without end, as a program does that forks and exits
// over and over: the nearest ancestors are copied and the rest let go.
func (n *node) cut() {
	at := n.proc
	for range cutDepth {
		if at.Parent == nil {
			break
		}
		c := *at.Parent
		at.Parent = &c
		at = &c
	}
	at.Parent = nil
	n.depth = cutDepth
	if n.up != nil {
		n.up.kids--
		n.up = nil
	}
}

func (t *tree) exit(n *node, at time.Time) {
	if n.place != nil {
		return
	}
	n.exited = at
	n.place = t.gone.PushBack(n)
	if t.byPID[n.proc.PID] == n {
		delete(t.byPID, n.proc.PID)
	}
}

// room evicts the oldest exited process while the tree is full. Where all are alive the tree
// grows: the kernel's pid_max bounds them, and sweep finds those whose end was missed.
func (t *tree) room() {
	for len(t.byKey) >= t.max && t.gone.Len() > 0 {
		t.drop(t.gone.Front().Value.(*node))
		t.evicted()
	}
}

// expire lets go of processes that exited long ago and have no descendants left.
func (t *tree) expire(now time.Time) {
	for el := t.gone.Front(); el != nil; {
		n := el.Value.(*node)
		if now.Sub(n.exited) < keepExited {
			return
		}
		next := el.Next()
		if n.kids == 0 {
			t.drop(n)
		}
		el = next
	}
}

// drop forgets a process. Its children keep its record through Process.Parent.
func (t *tree) drop(n *node) {
	delete(t.byKey, n.proc.Key())
	if t.byPID[n.proc.PID] == n {
		delete(t.byPID, n.proc.PID)
	}
	if n.place != nil {
		t.gone.Remove(n.place)
		n.place = nil
	}
	if n.up != nil {
		n.up.kids--
		n.up = nil
	}
}
