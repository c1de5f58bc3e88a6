package action

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// StopFile is the name, in the directory of the journal, of the file that stops all acts while it is
// there.
const StopFile = "actions.stopped"

// Stopped says why all acts are stopped, where they are. A file that cannot be looked at stops them.
func (l *Local) Stopped() (why string, stopped bool) {
	b, err := os.ReadFile(filepath.Join(l.o.Dir, StopFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", false
	case err != nil:
		return err.Error(), true
	}
	why = strings.ToValidUTF8(strings.TrimSpace(string(b[:min(len(b), 500)])), "")
	if why == "" {
		why = StopFile + " is there"
	}
	return why, true
}

// Stop refuses all acts from now on. What is held goes on, and can be taken back.
func (l *Local) Stop(by, reason string) error {
	text := time.Now().Format(time.DateTime) + " by " + by
	if reason != "" {
		text += ": " + reason
	}
	name := filepath.Join(l.o.Dir, StopFile)
	if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
		return fmt.Errorf("stop all acts: %w", err)
	}
	l.o.Log.Warn("all acts are stopped", "by", by, "reason", reason)
	return syncDir(l.o.Dir)
}

// Resume lets acts be carried out again, those too that were disarmed.
func (l *Local) Resume(by string) error {
	if err := os.Remove(filepath.Join(l.o.Dir, StopFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("resume acts: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.o.Log.Warn("acts are carried out again", "by", by, "armed", l.journal.disarmed())
	return l.journal.append(entry{Reset: true})
}
