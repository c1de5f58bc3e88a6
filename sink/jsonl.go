package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	fileSize = 64 << 20 // a file this large is put aside as <path>.1
	fileKeep = 4        // files that were put aside
)

// file appends records to a file as JSON lines, mode 0640. It follows a file that something else
// has moved or removed, as logrotate does.
type file struct {
	path string
	size int64 // at which it rotates
	f    *os.File
}

func openFile(c Config) (*file, error) {
	path, err := filepath.Abs(c.Path)
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", c.Path, err)
	}
	s := &file{path: path, size: fileSize}
	return s, s.open() // a path that cannot be written is best known at the start
}

// String returns where it writes to.
func (s *file) String() string { return "file " + s.path }

// Send appends the batch and brings it to disk.
func (s *file) Send(_ context.Context, batch []json.RawMessage) error {
	if err := s.follow(); err != nil {
		return err
	}
	st, err := s.f.Stat()
	if err != nil {
		return fmt.Errorf("writing %s: %w", s.path, err)
	}
	if st.Size() >= s.size {
		if err := s.rotate(); err != nil {
			return fmt.Errorf("rotating %s: %w", s.path, err)
		}
		st = nil
	}
	var before int64
	if st != nil {
		before = st.Size()
	}
	var buf []byte
	if before > 0 && !s.endsLine(before) {
		buf = append(buf, '\n') // a crash left half a line
	}
	for _, r := range batch {
		buf = append(append(buf, r...), '\n')
	}
	if _, err := s.f.Write(buf); err != nil {
		// Half a batch would come twice.
		return errors.Join(fmt.Errorf("writing %s: %w", s.path, err), s.f.Truncate(before))
	}
	if err := s.f.Sync(); err != nil {
		return fmt.Errorf("writing %s: %w", s.path, err)
	}
	return nil
}

func (s *file) endsLine(size int64) bool {
	var last [1]byte
	_, err := s.f.ReadAt(last[:], size-1)
	return err != nil || last[0] == '\n'
}

func (s *file) open() error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o750); err != nil {
		return fmt.Errorf("making the directory of %s: %w", s.path, err)
	}
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("opening %s: %w", s.path, err)
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		_ = f.Close()
		return fmt.Errorf("opening %s: not a regular file", s.path)
	}
	s.f = f
	return nil
}

// follow opens the file anew where its name has come to mean another one.
func (s *file) follow() error {
	if s.f != nil {
		here, err1 := s.f.Stat()
		there, err2 := os.Stat(s.path)
		if err1 == nil && err2 == nil && os.SameFile(here, there) {
			return nil
		}
		_ = s.f.Close() // each batch was synced
		s.f = nil
	}
	return s.open()
}

// rotate puts the file aside as .1, what was .1 as .2, and so on.
func (s *file) rotate() error {
	name := func(n int) string { return fmt.Sprintf("%s.%d", s.path, n) }
	for n := fileKeep - 1; n >= 1; n-- {
		if err := os.Rename(name(n), name(n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(s.path, name(1)); err != nil {
		return err
	}
	_ = s.f.Close() // each batch was synced
	s.f = nil
	return s.open()
}

// Close closes the file.
func (s *file) Close() error {
	if s.f == nil {
		return nil
	}
	return s.f.Close()
}
