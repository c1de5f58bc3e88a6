package action

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"picket/event"
)

// held is the manifest of what was put away: manifest.json in the request's directory.
type held struct {
	Request   string      `json:"request"`
	Path      string      `json:"path"`              // where it stood
	Process   *ProcessPin `json:"process,omitempty"` // by whose eyes; nil: the host's
	Container string      `json:"container,omitempty"`
	Content   string      `json:"content"`         // where it is
	Aside     string      `json:"aside,omitempty"` // its name beside Path while it is copied
	Dev       uint64      `json:"dev"`
	Inode     uint64      `json:"inode"`
	Links     uint64      `json:"links"`
	Locked    int         `json:"locked,omitempty"` // flags that were taken off to move it
	Dress     dress       `json:"dress"`
	SHA256    string      `json:"sha256,omitempty"`
	Files     []keptFile  `json:"files,omitempty"`
	Left      []string    `json:"left,omitempty"` // what could not be carried
	Note      string      `json:"note,omitempty"`
	At        time.Time   `json:"at"`
	By        string      `json:"by,omitempty"`
	Reason    string      `json:"reason,omitempty"`
	Incident  string      `json:"incident,omitempty"`
}

const (
	contentName  = "content"
	manifestName = "manifest.json"
)

var plainID = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$`)

// fileID is a request's id as the name of a file: an id that could be more than a name is hashed.
func fileID(id string) string {
	if plainID.MatchString(id) {
		return id
	}
	return event.HashID("request", id)
}

// read returns a request's manifest, whichever directory has it.
func (q *quarantine) read(id string) (*held, error) {
	for _, dir := range q.o.Dirs {
		file := filepath.Join(dir, fileID(id), manifestName)
		b, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		h := &held{}
		if err := json.Unmarshal(b, h); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		return h, nil
	}
	return nil, os.ErrNotExist
}

func (q *quarantine) write(h *held) error {
	return writeJSON(filepath.Join(filepath.Dir(h.Content), manifestName), h)
}

// writeJSON writes a file of root's alone, whole or not at all.
func writeJSON(file string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone when it has its name
	defer f.Close()           //nolint:errcheck // synced below
	if _, err := f.Write(append(b, '\n')); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(file))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // only a handle
	return d.Sync()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
