package sink

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	batchRecords = 100
	batchBytes   = 512 << 10
)

// reader is one output's place in the log.
type reader struct {
	log     *log
	name    string
	next    uint64 // number of the next record to read
	file    *os.File
	first   uint64 // of file
	off     int64
	lost    func(n uint64) // told of records that went before they were sent
	corrupt func(n uint64) // told of records that the disk spoiled
}

// openReader finds the place that was saved. An output that is new begins with what comes next.
func openReader(l *log, name string, lost, corrupt func(uint64)) (*reader, error) {
	r := &reader{log: l, name: name, lost: lost, corrupt: corrupt}
	_, next, _ := l.bounds()
	b, err := os.ReadFile(r.cursorFile())
	if errors.Is(err, os.ErrNotExist) {
		r.next = next
		return r, r.save(next)
	}
	if err != nil {
		return nil, err
	}
	r.next, err = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || r.next > next {
		// Spoiled, or the log was removed beneath it: send all there is, rather than leave some out.
		r.next, _, _ = l.bounds()
	}
	return r, nil
}

func (r *reader) cursorFile() string { return filepath.Join(r.log.dir, r.name+".cursor") }

// save remembers that all before next are delivered.
func (r *reader) save(next uint64) error {
	tmp := r.cursorFile() + ".tmp"
	if err := os.WriteFile(tmp, []byte(strconv.FormatUint(next, 10)+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, r.cursorFile())
}

// batch returns the next records, or none and a channel that is closed when some come.
func (r *reader) batch() (out []entry, more <-chan struct{}, err error) {
	size := 0
	for len(out) < batchRecords && size < batchBytes {
		e, wait, err := r.one()
		if err != nil {
			return nil, nil, err
		}
		if wait != nil {
			return out, wait, nil
		}
		out = append(out, e)
		size += len(e.data)
	}
	return out, nil, nil
}

// one returns the next record, or a channel to wait on.
func (r *reader) one() (entry, <-chan struct{}, error) {
	for {
		first, next, _ := r.log.bounds()
		if r.next < first {
			r.lost(first - r.next)
			r.next = first
			r.close()
		}
		s, active, ok, more := r.log.find(r.next)
		if !ok || active && r.next >= next {
			return entry{}, more, nil
		}
		if r.file == nil || r.first != s.first {
			r.close()
			f, err := os.Open(r.log.path(s.first))
			if errors.Is(err, os.ErrNotExist) {
				continue // dropped just now: look again
			}
			if err != nil {
				return entry{}, nil, err
			}
			r.file, r.first, r.off = f, s.first, int64(len(magic))
		}
		e, off, err := readFrame(r.file, r.off)
		switch {
		case err == nil && e.seq < r.next:
			r.off = off
			continue
		case err == nil && e.seq == r.next:
			r.off, r.next = off, e.seq+1
			return e, nil, nil
		case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errBroken):
			return entry{}, nil, fmt.Errorf("reading the outbox: %w", err)
		}
		// The rest of this segment cannot be read: go on behind it.
		behind, ok := r.log.after(s.first)
		if !ok {
			behind = next
		}
		if behind > r.next {
			r.corrupt(behind - r.next)
		}
		r.next = behind
		r.close()
	}
}

func (r *reader) close() {
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}
