package stream

import (
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
)

// coarseClock replaces the NATS server's clock of cache accesses, which wakes the process ten
// times a second for as long as a stream is open: half of what an idle hub would cost. The server
// expires caches after ten seconds and messages after hours, so a clock that is two seconds behind
// serves as well.
//
// ats counts its users, one for each open stream, and ticks while there are any. The clock takes
// the streams' places away, so that the ticker stops, and gives them back before they close.
type coarseClock struct {
	mu      sync.Mutex
	streams int // places taken away; 0: ended
	done    chan struct{}
}

const coarseTick = 2 * time.Second

// slowDown starts the clock of this many open streams.
func slowDown(streams int) *coarseClock {
	c := &coarseClock{streams: streams, done: make(chan struct{})}
	for range streams {
		ats.Unregister()
	}
	go c.run()
	return c
}

func (c *coarseClock) run() {
	t := time.NewTicker(coarseTick)
	defer t.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-t.C:
		}
		c.mu.Lock()
		if c.streams > 0 {
			ats.Register() // the first user sets the time
			ats.Unregister()
		}
		c.mu.Unlock()
	}
}

// end gives the streams their places back: each gives up its own when it closes.
func (c *coarseClock) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; c.streams > 0; c.streams-- {
		ats.Register()
	}
	select {
	case <-c.done:
	default:
		close(c.done)
	}
}
