package node

import (
	"path/filepath"
	"time"
)

// saveEvery is how often, at most, half-seen sequences are kept. All of them are written each time:
// on a host where something always counts, each second would cost more than what a kill may lose.
const saveEvery = 10 * time.Second

// saveSequences keeps half-seen sequences on disk, so that an agent that is killed between the steps
// of an attack still sees its end. The first change after a quiet time is kept at once.
func (a *agent) saveSequences(now time.Time) {
	if since := now.Sub(a.saved); since >= 0 && since < saveEvery {
		return
	}
	if a.keepSequences() {
		a.saved = now
	}
}

// keepSequences writes half-seen sequences down where they changed.
func (a *agent) keepSequences() bool {
	b, changed := a.engine.Snapshot()
	if !changed {
		return false
	}
	if err := replaceFile(a.sequencesFile(), b, 0o600); err != nil {
		a.log.Warn("half-seen sequences could not be kept", "error", err)
	}
	return true
}

func (a *agent) sequencesFile() string { return filepath.Join(a.cfg.dir("agent"), "sequences.json") }
