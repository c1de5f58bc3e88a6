package sink

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

const maxDead = 16 << 20

// deadLetters keeps the records that a receiver refused, each with the reason: JSON lines of which
// one older file is kept.
type deadLetters struct{ path string }

func (d *deadLetters) add(now time.Time, record []byte, reason string) error {
	if st, err := os.Stat(d.path); err == nil && st.Size() > maxDead {
		if err := os.Rename(d.path, d.path+".1"); err != nil {
			return err
		}
	}
	line := map[string]any{"time": now.UTC(), "reason": reason}
	if json.Valid(record) {
		line["record"] = json.RawMessage(record)
	} else {
		line["text"] = fmt.Sprintf("%q", record)
	}
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(d.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // synced where it counts
	if _, err := f.Write(append(b, '\n')); err != nil {
		return err
	}
	return f.Sync()
}
