package child_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"picket/store/events"
)

// cpu returns the processor time that a process has used.
func cpu(t testing.TB, pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// TestIdle checks that a store that nobody asks costs nothing worth mention.
func TestIdle(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 8 s")
	}
	s, c := newStore(t)
	if _, err := c.Append(context.Background(), "gpu-1", []byte(line(1, time.Now())), 1); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	before := cpu(t, s.cmd.Process.Pid)
	time.Sleep(5 * time.Second)
	used := cpu(t, s.cmd.Process.Pid) - before
	t.Logf("%v of processor time in 5 s", used)
	if used > 100*time.Millisecond {
		t.Errorf("an idle store used %v of processor time in 5 s", used)
	}
}

// BenchmarkWriter writes batches of 100 events all the way into the store.
func BenchmarkWriter(b *testing.B) {
	s, c := newStore(b)
	w := events.NewWriter(c, events.WriterOptions{Delay: time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	time.Sleep(2100 * time.Millisecond)
	var acked atomic.Int64
	batch := func(n int) []byte {
		var l strings.Builder
		for i := range 100 {
			l.WriteString(strings.Replace(line(n*100+i, time.Now()), "}\n", `,"process.args":"`+strings.Repeat("some argument ", 20)+fmt.Sprint(n)+`"}`+"\n", 1))
		}
		return []byte(l.String())
	}
	var lines [][]byte
	for n := range b.N {
		lines = append(lines, batch(n))
	}
	b.ResetTimer()
	for _, l := range lines {
		if err := w.Add(ctx, events.Batch{Host: "gpu-1", Lines: l, N: 100, Ack: func() { acked.Add(1) }}); err != nil {
			b.Fatal(err)
		}
	}
	for acked.Load() < int64(b.N) {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(100*b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(cpu(b, s.cmd.Process.Pid).Microseconds())/float64(100*b.N), "store-µs/event")
	cancel()
	<-done
}
