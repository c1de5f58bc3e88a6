package kernel

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"

	"picket/event"
)

// require skips a test whose means are missing, unless PICKET_REQUIRE names the feature.
func require(t *testing.T, feature string, ok bool, why string) {
	t.Helper()
	if ok {
		return
	}
	if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), feature) {
		t.Fatal(why)
	}
	t.Skip(why)
}

// recording is a sensor under test and what it told so far.
type recording struct {
	*Sensor
	mu     sync.Mutex
	cond   *sync.Cond
	events []event.Event
}

// newRecording opens a sensor that sees this process too, and runs it until the test ends.
func newRecording(t *testing.T, d Demand) *recording {
	t.Helper()
	require(t, "root", os.Geteuid() == 0, "needs root to load eBPF programs")
	s, err := Open(Options{Host: "testhost", Demand: d, SelfPID: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	r := &recording{Sensor: s}
	r.cond = sync.NewCond(&r.mu)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, r.take) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

func (r *recording) take(e *event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, p := *e, *e.Process
	c.Process = &p
	r.events = append(r.events, c)
	r.cond.Broadcast()
}

// slow is how much longer than on a desk things may take, as on a kernel in an emulator.
func slow() time.Duration {
	n, _ := strconv.Atoi(os.Getenv("PICKET_TEST_SLOW"))
	return time.Duration(max(n, 1))
}

// wait returns the first event that fits, or fails after ten seconds.
func (r *recording) wait(t *testing.T, what string, fits func(*event.Event) bool) *event.Event {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	patience := 10 * time.Second * slow()
	timeout := time.AfterFunc(patience, r.cond.Broadcast)
	defer timeout.Stop()
	start := time.Now()
	for next := 0; ; r.cond.Wait() {
		for ; next < len(r.events); next++ {
			if fits(&r.events[next]) {
				return &r.events[next]
			}
		}
		if time.Since(start) >= patience {
			t.Fatalf("no event came: %s", what)
		}
	}
}

// find is wait for a kind and a condition.
func (r *recording) find(t *testing.T, k event.Kind, fits func(*event.Event) bool) *event.Event {
	t.Helper()
	return r.wait(t, k.String(), func(e *event.Event) bool { return e.Kind == k && fits(e) })
}

// hasTracepoint reports whether this kernel has a tracepoint, from 6.3 on for some.
func hasTracepoint(t *testing.T, name string) bool {
	t.Helper()
	types, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	var def *btf.Typedef
	return types.TypeByName("btf_trace_"+name, &def) == nil
}

// hasUnixHook reports whether control groups are asked about connections to sockets of the host.
func hasUnixHook(t *testing.T) bool {
	t.Helper()
	types, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	var hooks *btf.Enum
	if err := types.TypeByName("bpf_attach_type", &hooks); err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(hooks.Values, func(v btf.EnumValue) bool { return v.Name == "BPF_CGROUP_UNIX_CONNECT" })
}

func only(kinds ...event.Kind) Demand {
	d := Demand{Kinds: map[event.Kind]bool{}}
	for _, k := range kinds {
		d.Kinds[k] = true
	}
	return d
}
