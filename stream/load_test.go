package stream

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
)

func cpu(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestIdle checks that a hub and an agent with nothing to say cost nothing worth mention.
func TestIdle(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 6 s")
	}
	s := newSite(t)
	h := s.hub(HubOptions{})
	defer h.Close()
	sink := newSink()
	defer sink.drink(t, h)()
	a := s.agent("gpu-1", AgentOptions{})
	defer a.Close()
	a.PublishEvents(line(1), 1)
	eventually(t, "one event", func() bool { e, _, _ := sink.counts(); return e == 1 })
	time.Sleep(time.Second)
	before := cpu(t)
	time.Sleep(5 * time.Second)
	used := cpu(t) - before
	t.Logf("%v of processor time in 5 s", used)
	if used > 50*time.Millisecond {
		t.Errorf("idle hub and agent used %v of processor time in 5 s", used)
	}
}

// TestFindingLatency measures the way of a finding from the agent to whoever consumes.
func TestFindingLatency(t *testing.T) {
	s := newSite(t)
	h := s.hub(HubOptions{})
	defer h.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	got := make(chan time.Duration, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- h.Findings(ctx, func(_ string, f event.Finding) error { got <- time.Since(f.Time); return nil })
	}()
	a := s.agent("gpu-1", AgentOptions{})
	defer a.Close()
	eventually(t, "connected", a.Connected)
	var worst, sum time.Duration
	for n := range 50 {
		f := finding(n)
		f.Time = time.Now()
		if err := a.PublishFinding(f); err != nil {
			t.Fatal(err)
		}
		d := <-got
		sum += d
		worst = max(worst, d)
	}
	t.Logf("mean %v, worst %v", sum/50, worst)
	if sum/50 > 20*time.Millisecond {
		t.Errorf("a finding takes %v", sum/50)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestFloodIsAccounted publishes more than the disk can take: what does not arrive is counted.
func TestFloodIsAccounted(t *testing.T) {
	s := newSite(t)
	h := s.hub(HubOptions{})
	defer h.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var got atomic.Int64
	go h.Events(ctx, func(b Batch) { got.Add(int64(b.N)); b.Ack() })
	reg := prometheus.NewRegistry()
	a := s.agent("gpu-1", AgentOptions{Registerer: reg, SpoolBytes: 4 << 20})
	defer a.Close()
	const n = 200_000
	pad := strings.Repeat("x", 400)
	for i := range n { // ids of messages derive from content: the same events again would be a repeat
		a.PublishEvents(fmt.Appendf(nil, `{"event.id":"%d","pad":"%s"}`, i, pad), 1)
	}
	dropped := func() int64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "picket_stream_dropped_events_total" {
				return int64(f.Metric[0].Counter.GetValue())
			}
		}
		return -1
	}
	eventually(t, "spool empty", func() bool { e, _ := a.Pending(); return e == 0 })
	time.Sleep(200 * time.Millisecond)
	t.Logf("%d arrived, %d dropped", got.Load(), dropped())
	if got.Load()+dropped() < n { // what was dropped on its way may have arrived all the same
		t.Errorf("%d events unaccounted for", n-got.Load()-dropped())
	}
}

// BenchmarkEvents sends events from an agent's PublishEvents to the hub's consumer.
func BenchmarkEvents(b *testing.B) {
	s := newSite(b)
	h := s.hub(HubOptions{})
	defer h.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var got atomic.Int64
	ended := make(chan error, 1)
	go func() {
		ended <- h.Events(ctx, func(batch Batch) { got.Add(int64(batch.N)); batch.Ack() })
	}()
	a := s.agent("gpu-1", AgentOptions{})
	defer a.Close()
	eventually(b, "connected", a.Connected)
	rest := strings.Repeat(`,"process.args":"some argument of a process"`, 12)
	before := cpu(b)
	b.ResetTimer()
	for n := range b.N {
		a.PublishEvents(fmt.Appendf(nil, `{"event.id":"e%d"%s}`+"\n", n, rest), 1)
		if n%500 == 499 { // no faster than the disk, or events are dropped
			for e, _ := a.Pending(); e > 4<<20; e, _ = a.Pending() {
				time.Sleep(time.Millisecond)
			}
		}
	}
	for start := time.Now(); got.Load() < int64(b.N) && time.Since(start) < 10*time.Second; {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(got.Load())/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N)/1000, "cpu-µs/event")
	if got.Load() < int64(b.N) {
		b.Errorf("%d of %d arrived", got.Load(), b.N)
	}
	cancel()
	<-ended
}
