package mining

import (
	"net/netip"
	"strings"

	"picket/event"
)

// Ports are those of mining pools that few other services use.
var Ports = []uint16{3333, 3334, 4444, 5555, 7777, 9999, 10128, 10300, 14433, 14444, 20128, 45560, 45700}

// habit is what a process did beside its GPU.
type habit struct {
	reads bool           // it read a model or data set
	pool  netip.AddrPort // of a connection that looks like one to a pool
	peer  netip.Addr     // the first public address that it connected to
	peers int            // how many there were, at most 2
}

// See takes an event of any kind: a file that was read, a connection. Others cost a comparison.
func (w *Watch) See(e *event.Event) {
	if e.Process == nil || e.Process.PID == 0 {
		return
	}
	switch e.Kind {
	case event.FileRead, event.FileIO:
		if e.File.Model == nil {
			return
		}
	case event.NetConnect:
		if a := e.Net.Remote.Addr(); !a.IsValid() || !public(a.Unmap()) {
			return
		}
	default:
		return
	}
	key := e.Process.Key()
	if w.on[key] > 0 {
		for at, one := range w.users {
			if at.proc == key {
				one.habit.learn(e)
			}
		}
		return
	}
	h := w.habits[key]
	if h == nil {
		if len(w.habits) >= maxHabits { // half of them go: a flood does not choose which
			n := 0
			for k := range w.habits {
				if n++; n > maxHabits/2 {
					break
				}
				delete(w.habits, k)
			}
		}
		h = &habit{}
		w.habits[key] = h
	}
	h.learn(e)
}

func (h *habit) learn(e *event.Event) {
	if e.Kind != event.NetConnect {
		h.reads = true
		return
	}
	remote := netip.AddrPortFrom(e.Net.Remote.Addr().Unmap(), e.Net.Remote.Port())
	for _, p := range Ports {
		if remote.Port() == p {
			h.pool = remote
		}
	}
	if h.peers == 0 || h.peers == 1 && h.peer != remote.Addr() {
		h.peer, h.peers = remote.Addr(), h.peers+1
	}
}

var shared = netip.MustParsePrefix("100.64.0.0/10") // of providers, behind whose doors many live

// public reports whether an address lies on the open Internet.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}

// brought says in words why an executable was brought in rather than installed, "" where it was not.
func brought(p *event.Process) string {
	switch {
	case p.Memfd:
		return "it never had a file"
	case p.Layer == event.LayerUpper:
		return "written since the container started"
	}
	for _, dir := range []string{"/tmp/", "/var/tmp/", "/dev/shm/", "/run/shm/"} {
		if strings.HasPrefix(p.Exe, dir) {
			return "below " + dir
		}
	}
	return ""
}
