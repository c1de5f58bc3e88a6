package kernel

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"picket/event"
)

// A reader that fell asleep is woken by what happens next. How soon, and what sleep costs, is
// measured by bench/latency and bench/rest.
func TestWakesFromRest(t *testing.T) {
	r := newRecording(t, only(event.FileCreate))
	dir := realTempDir(t)
	for i := range 8 {
		name := filepath.Join(dir, string(rune('A'+i)))
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		r.find(t, event.FileCreate, func(e *event.Event) bool { return e.File.Path == name })
		time.Sleep(time.Duration(i) * restAfter / 2) // awake, and asleep
	}
}
