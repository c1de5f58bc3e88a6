package enforce

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

// Isolate drops each packet of a cgroup, and of those below, until a time: open connections stall,
// and go on where they stood once it is over. A cgroup that is isolated keeps the later end.
func (e *Enforcer) Isolate(cgroup string, until time.Time) error {
	id, err := e.ID(cgroup)
	if err != nil {
		return fmt.Errorf("isolate: %w", err)
	}
	if err := e.protects(cgroup); err != nil {
		return fmt.Errorf("isolate: %w", err)
	}
	left := time.Until(until)
	if left <= 0 {
		return fmt.Errorf("isolate %s: its end is over", cgroup)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if was := e.isolated[id]; was.After(until) {
		return nil
	}
	if err := e.maps["isolated"].Put(id, uint64(bootNow()+left)); err != nil {
		return fmt.Errorf("isolate %s: %w", cgroup, err)
	}
	e.isolated[id] = until
	if err := e.follow(); err != nil {
		e.restore(id)
		return fmt.Errorf("isolate %s: %w", cgroup, err)
	}
	return nil
}

// Restore lets the packets of a cgroup pass again. It reports whether the cgroup was isolated.
func (e *Enforcer) Restore(id uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.isolated[id]; !ok {
		return false
	}
	e.restore(id)
	if err := e.follow(); err != nil {
		e.log.Warn("a program could not be detached", "error", err)
	}
	return true
}

// Isolated reports whether the packets of a cgroup are dropped.
func (e *Enforcer) Isolated(id uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	until, ok := e.isolated[id]
	return ok && time.Now().Before(until)
}

func (e *Enforcer) restore(id uint64) {
	delete(e.isolated, id)
	if err := e.maps["isolated"].Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		e.log.Error("a cgroup's isolation could not be ended", "cgroup", id, "error", err)
	}
}
