package api

import (
	"net/netip"
	"sync"
	"time"
)

const (
	maxTracked   = 4096
	freeAttempts = 5
	maxWait      = 5 * time.Minute
)

// backoff slows the guessing of passwords and links: after freeAttempts failures, each further one
// doubles the wait; after a quiet time the count begins anew. It remembers at most maxTracked sources; where there are more, the one that
// failed longest ago is forgotten.
type backoff struct {
	now  func() time.Time
	mu   sync.Mutex
	keys map[string]*failures
}

type failures struct {
	n    int
	last time.Time
}

func newBackoff(now func() time.Time) *backoff {
	return &backoff{now: now, keys: map[string]*failures{}}
}

// wait returns how long this source has still to wait.
func (b *backoff) wait(key string) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.keys[key]
	if f == nil || f.n < freeAttempts {
		return 0
	}
	pause := min(time.Second<<min(f.n-freeAttempts, 16), maxWait)
	return max(0, pause-b.now().Sub(f.last))
}

func (b *backoff) failed(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.keys[key]
	if f == nil {
		if len(b.keys) >= maxTracked {
			b.forget()
		}
		f = &failures{}
		b.keys[key] = f
	}
	if b.now().Sub(f.last) > 2*maxWait {
		f.n = 0
	}
	f.n++
	f.last = b.now()
}

func (b *backoff) succeeded(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.keys, key)
}

// forget drops all that is past its wait, or else the oldest.
func (b *backoff) forget() {
	now := b.now()
	oldest := ""
	for k, f := range b.keys {
		if now.Sub(f.last) > maxWait {
			delete(b.keys, k)
			continue
		}
		if oldest == "" || f.last.Before(b.keys[oldest].last) {
			oldest = k
		}
	}
	if len(b.keys) >= maxTracked {
		delete(b.keys, oldest)
	}
}

// source is the key of a remote address: the address, or for IPv6 the /64 that one customer has.
func source(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return "local"
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.String()
	}
	return a.String()
}
