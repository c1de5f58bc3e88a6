package workload

import (
	"testing"
	"time"

	"picket/event"
)

func grow(t *tree, pid uint32, up *node) *node {
	p := &event.Process{PID: pid, StartBoot: uint64(pid)}
	if up != nil {
		p.PPID, p.Parent = up.proc.PID, up.proc
	}
	return t.put(p, up)
}

func TestTheOldestExitedGoFirst(t *testing.T) {
	evicted := 0
	tr := newTree(3, func() { evicted++ })
	a, b := grow(tr, 1, nil), grow(tr, 2, nil)
	grow(tr, 3, nil)
	tr.exit(b, clock)
	tr.exit(a, clock.Add(time.Second))
	grow(tr, 4, nil)
	if evicted != 1 || tr.find(2, 2) != nil || tr.find(1, 1) == nil {
		t.Errorf("%d evicted, %v", evicted, tr.byKey)
	}
	for pid := range uint32(10) {
		grow(tr, 10+pid, nil) // all alive: the tree grows, as pids are bounded
	}
	if len(tr.byKey) != 12 {
		t.Errorf("%d processes", len(tr.byKey))
	}
}

func TestTheExitedStayForTheirDescendants(t *testing.T) {
	tr := newTree(100, func() {})
	a := grow(tr, 1, nil)
	b := grow(tr, 2, a)
	c := grow(tr, 3, nil)
	for _, n := range []*node{a, c} {
		tr.exit(n, clock)
	}
	tr.expire(clock.Add(keepExited - 1))
	if len(tr.byKey) != 3 {
		t.Fatal("forgotten too early")
	}
	tr.expire(clock.Add(keepExited))
	if tr.find(1, 1) == nil || tr.find(3, 3) != nil {
		t.Fatal("one with a child stays, one without goes")
	}
	tr.exit(b, clock)
	tr.expire(clock.Add(keepExited))
	tr.expire(clock.Add(keepExited))
	if len(tr.byKey) != 0 || tr.gone.Len() != 0 {
		t.Errorf("%d processes are left", len(tr.byKey))
	}
}

func TestAPidIsReused(t *testing.T) {
	tr := newTree(100, func() {})
	a := grow(tr, 1, nil)
	b := tr.put(&event.Process{PID: 1, StartBoot: 9, Start: clock}, nil)
	if a.exited.IsZero() || tr.find(1, 0) != b || tr.find(1, 1) != a {
		t.Error("the new owner of a pid ends the old one")
	}
}

func TestEndlessChainsAreCut(t *testing.T) {
	tr := newTree(1000, func() {})
	var n *node
	for pid := range uint32(5000) {
		up := n
		n = grow(tr, pid+1, up)
		if up != nil {
			tr.exit(up, clock)
		}
	}
	long := 0
	for p := n.proc.Parent; p != nil; p = p.Parent {
		long++
	}
	if long > maxDepth || len(tr.byKey) > 1000 {
		t.Errorf("chain of %d, %d processes", long, len(tr.byKey))
	}
}
