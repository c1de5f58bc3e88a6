package workload

import (
	"testing"

	"picket/event"
)

// TestTargetOfACall has processes call at one inside a container, at one that nobody saw start, and
// at one of their own container.
func TestTargetOfACall(t *testing.T) {
	w := newWorld(t, Options{})
	const box = "docker/1111111111111111111111111111111111111111111111111111111111111111"
	victim := w.exec(100, 1, box, "/usr/bin/python3", "python3 serve.py")
	w.exec(101, 1, box, "/bin/sh", "sh")
	w.exec(102, 1, "", "/usr/bin/gdb", "gdb -p 100")
	for _, c := range []struct {
		name    string
		from    uint32
		to      *event.Process
		exe     string
		foreign bool
	}{
		{"of the same container", 101, few(100), victim.Exe, false},
		{"from the host into a container", 102, few(100), victim.Exe, true},
		{"never seen", 102, &event.Process{PID: 900, StartBoot: startOf(900), Comm: "x", Exe: "/opt/x"}, "/opt/x", false},
	} {
		e := &event.Event{Kind: event.ProcessTrace, Process: few(c.from), Call: &event.Call{Name: "ptrace", Target: c.to}}
		w.stamp(e)
		if got := e.Call.Target; got.PID != c.to.PID || got.Exe != c.exe || e.Foreign() != c.foreign {
			t.Errorf("%s: target %+v, foreign %v", c.name, got, e.Foreign())
		}
	}
}
