package enforce

import (
	"fmt"
	"os"
)

// Guard keeps signals of others from this process, its supervisor and what they started, until
// Unguard or Close. What init and they themselves send passes.
func (e *Enforcer) Guard() error { return e.guard(family()) }

// Unguard lets signals pass again.
func (e *Enforcer) Unguard() error { return e.guard(0) }

func (e *Enforcer) guard(root int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.self.Guard = uint32(root); e.guarding != (root != 0) {
		e.guarding = root != 0
		if err := e.follow(); err != nil {
			e.guarding = false
			return err
		}
	}
	if err := e.maps["current"].Put(uint32(0), e.self); err != nil {
		return fmt.Errorf("write the enforcer's settings: %w", err)
	}
	return nil
}

// family is the process that all of this Picket descend from: the supervisor, where one started us.
func family() int {
	ours, err := os.Stat("/proc/self/exe")
	if err != nil {
		return os.Getpid()
	}
	if theirs, err := os.Stat(fmt.Sprintf("/proc/%d/exe", os.Getppid())); err == nil && os.SameFile(ours, theirs) {
		return os.Getppid()
	}
	return os.Getpid()
}
