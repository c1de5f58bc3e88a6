package kernel

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

func cpuTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestLatencyAndRest bounds, loosely, how late an event comes and what waiting for none costs.
func TestLatencyAndRest(t *testing.T) {
	r := newRecording(t, only(event.FileCreate))
	dir := realTempDir(t)
	var late []time.Duration
	for i := range 60 {
		name := filepath.Join(dir, string(rune('A'+i)))
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		e := r.find(t, event.FileCreate, func(e *event.Event) bool { return e.File.Path == name })
		late = append(late, time.Since(e.Time))
		time.Sleep(time.Duration(i%7) * 13 * time.Millisecond) // awake, and asleep
	}
	slices.Sort(late)
	before := cpuTime()
	time.Sleep(2 * time.Second)
	rest := float64(cpuTime()-before) / float64(2*time.Second)
	t.Logf("late p50 %v p99 %v; at rest %.3f %% of a core", late[30], late[59], 100*rest)
	if late[30] > 50*time.Millisecond*slow() || rest > 0.05*float64(slow()) {
		t.Errorf("late p50 %v, %.2f %% of a core at rest", late[30], 100*rest)
	}
}
