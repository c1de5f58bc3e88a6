package stream

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
)

// The server's own clock stands still beside the coarse one, which goes on, and is back to close
// the streams. A count that a newer server no longer fits would panic in one of these.
func TestCoarseClock(t *testing.T) {
	h := newSite(t).hub(HubOptions{})
	moves := func(long time.Duration) bool {
		before := ats.AccessTime()
		for until := time.Now().Add(long); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
			if ats.AccessTime() != before {
				return true
			}
		}
		return false
	}
	moved := 0
	for range 3 {
		if moves(coarseTick / 4) {
			moved++
		}
	}
	if moved == 3 {
		t.Error("the server's clock still ticks")
	}
	if !moves(10 * time.Second) {
		t.Error("the coarse clock stands still")
	}
	h.clock.end()
	if !moves(5 * time.Second) {
		t.Error("the server's clock did not come back")
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
