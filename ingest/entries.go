package ingest

import (
	"hash/maphash"
	"sync"
	"time"

	"picket/event"
)

// EntryCounts is what became of entries of an audit log.
type EntryCounts struct {
	Entries  uint64 `json:"entries"`  // that came
	Told     uint64 `json:"told"`     // of them those that are told of, alone or with others
	Wrong    uint64 `json:"wrong"`    // that are no entries
	Repeated uint64 `json:"repeated"` // that came before, as a sender had no answer
	Dropped  uint64 `json:"dropped"`  // past what is told in a second
}

// Entries takes entries of the audit log of Kubernetes that come one by one, from several at once. The same
// bounds hold as for a file.
type Entries struct {
	told func(*event.Event)

	mu     sync.Mutex
	s      source
	counts EntryCounts
	seed   maphash.Seed
	seen   [2]map[uint64]bool // digests of entries: the newest, and those before
}

const maxSeen = 8 << 10 // entries of each

// NewEntries returns Entries that gives events to told, one at a time.
func NewEntries(told func(*event.Event)) *Entries {
	return &Entries{told: told, seed: maphash.MakeSeed(), seen: [2]map[uint64]bool{{}, {}}}
}

// Take takes an entry, as it stands in a list: without a kind of its own. The error says that it is none.
func (t *Entries) Take(now time.Time, entry []byte) error {
	e, err := parseAudit(entry, now, true)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Entries++
	if err != nil {
		t.counts.Wrong++
		return err
	}
	if e == nil {
		return nil
	}
	// Whoever asks may choose the request's audit id: all of the entry tells whether it came before.
	if t.before(maphash.Bytes(t.seed, entry)) {
		t.counts.Repeated++
		return nil
	}
	dropped := t.s.Dropped
	t.s.tellOf(now, e, t.told)
	if t.s.Dropped == dropped {
		t.counts.Told++
	}
	return nil
}

// before reports whether an entry came before, and remembers it.
func (t *Entries) before(digest uint64) bool {
	if t.seen[0][digest] || t.seen[1][digest] {
		return true
	}
	if len(t.seen[0]) >= maxSeen {
		t.seen[1], t.seen[0] = t.seen[0], map[uint64]bool{}
	}
	t.seen[0][digest] = true
	return false
}

// Flush tells of what was counted.
func (t *Entries) Flush(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.s.entries.flush(now, t.s.tellEntry(t.told))
}

// Counts returns what became of entries so far.
func (t *Entries) Counts() EntryCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts
	c.Dropped = t.s.Dropped
	return c
}
