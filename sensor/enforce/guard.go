package enforce

import (
	"fmt"
	"os"
)

// Guard keeps signals of others from this process, its supervisor and what they started, or lets
// them pass again. What init and they themselves send always passes.
func (e *Enforcer) Guard(on bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.self.Guard = 0
	if on {
		e.self.Guard = family()
	}
	if err := e.maps["current"].Put(uint32(0), e.self); err != nil {
		return fmt.Errorf("write the enforcer's settings: %w", err)
	}
	if e.guarding == on {
		return nil
	}
	e.guarding = on
	err := e.follow()
	if err != nil {
		e.guarding = false
	}
	return err
}

// family is the process that all of this Picket descend from: the supervisor, where one started us.
func family() uint32 {
	ours, err := os.Stat("/proc/self/exe")
	if err != nil {
		return uint32(os.Getpid())
	}
	if theirs, err := os.Stat(fmt.Sprintf("/proc/%d/exe", os.Getppid())); err == nil && os.SameFile(ours, theirs) {
		return uint32(os.Getppid())
	}
	return uint32(os.Getpid())
}
