package node_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"picket/event"
	"picket/sensor/kernel"
	"picket/workload"
)

// seenStarts runs the sensor and the tracker as the agent does, and keeps the programs whose path ends
// in a name.
type seenStarts struct {
	sensor *kernel.Sensor
	mu     sync.Mutex
	starts []*event.Process
}

func watchStarts(t *testing.T, name string) *seenStarts {
	t.Helper()
	needRoot(t)
	sensor, err := kernel.Open(kernel.Options{Demand: kernel.Demand{Kinds: map[event.Kind]bool{
		event.ProcessSeen: true, event.ProcessStart: true, event.ProcessFork: true, event.ProcessExit: true,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	s := &seenStarts{sensor: sensor}
	tracker := workload.New(workload.Options{Host: "testhost", BootID: "boot", Processes: 8 << 10, Redact: kernel.Redact})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- sensor.Run(ctx, func(e *event.Event) {
			tracker.Stamp(e)
			if e.Kind == event.ProcessStart && strings.HasSuffix(e.Process.Exe, name) {
				s.mu.Lock()
				s.starts = append(s.starts, e.Process)
				s.mu.Unlock()
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := sensor.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// wait returns the starts once there are n that fit.
func (s *seenStarts) wait(t *testing.T, n int, fits func(*event.Process) bool) (out []*event.Process) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out = out[:0]
		s.mu.Lock()
		for _, p := range s.starts {
			if fits(p) {
				out = append(out, p)
			}
		}
		s.mu.Unlock()
		if len(out) >= n {
			return out
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d programs were told of; dropped: %v", len(out), n, s.sensor.Stats().Dropped)
		}
	}
}

// linked gives a program a name of the test's own.
func linked(t *testing.T, name string) string {
	t.Helper()
	path := t.TempDir() + "/" + name
	b, err := os.ReadFile("/bin/true")
	if err == nil {
		err = os.WriteFile(path, b, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNoLineageOfTheShortLivedIsLost starts programs that end at once, each below a process that ends
// at once, and wants to know of each whose they are.
func TestNoLineageOfTheShortLivedIsLost(t *testing.T) {
	const shells, each = 4, 1250 // each of them two processes: 10,000
	s := watchStarts(t, "/short-lived")
	program := linked(t, "short-lived")
	roots := map[uint32]bool{}
	var cmds []*exec.Cmd
	for range shells {
		cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("i=0; while [ $i -lt %d ]; do ( %s $i; : ); i=$((i+1)); done", each, program))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		roots[uint32(cmd.Process.Pid)] = true
		cmds = append(cmds, cmd)
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	starts := s.wait(t, shells*each, func(*event.Process) bool { return true })
	told := map[string]bool{}
	for _, p := range starts {
		between := p.Parent
		if between == nil || between.Parent == nil || between.PID == p.PID || !roots[between.Parent.PID] ||
			between.Parent.Parent == nil || between.Parent.Parent.PID != uint32(os.Getpid()) {
			t.Fatalf("the lineage of %s is lost: %+v", p.Cmdline, p.Parent)
		}
		told[fmt.Sprint(between.Parent.PID, p.Args[1:])] = true
	}
	if len(starts) != shells*each || len(told) != shells*each {
		t.Errorf("%d told of, %d different ones", len(starts), len(told))
	}
}

// TestAPidThatIsUsedAgain gives the number of a process that ended to another program.
func TestAPidThatIsUsedAgain(t *testing.T) {
	s := watchStarts(t, "/reuse")
	program := linked(t, "reuse")
	run := func(what string) int {
		cmd := exec.Command(program, what)
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		return cmd.ProcessState.Pid()
	}
	first := run("first")
	second := 0
	for try := 0; second != first; try++ { // another program of the host may come between
		if try == 1000 {
			t.Fatal("the number could not be had again")
		}
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", fmt.Append(nil, first-1), 0); err != nil {
			t.Skip("this kernel does not let the next number be chosen: ", err)
		}
		second = run("second")
	}
	both := s.wait(t, 2, func(p *event.Process) bool { return p.PID == uint32(first) })
	a, b := both[0], both[len(both)-1]
	if len(both) != 2 || a.Args[1] != "first" || b.Args[1] != "second" || a.UID == b.UID || !a.Start.Before(b.Start) {
		t.Fatalf("%d lives: %+v and %+v", len(both), a, b)
	}
	if a.Parent == nil || b.Parent == nil || b.Parent.PID != uint32(os.Getpid()) || a.Parent.UID != b.Parent.UID {
		t.Errorf("parents: %+v and %+v", a.Parent, b.Parent)
	}
}
