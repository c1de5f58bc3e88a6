package sink

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// log is the outbox's record of what is to be sent: segments in a directory, bounded in bytes.
// Where the bound is reached the oldest segment goes, sent or not.
type log struct {
	dir    string
	max    int64 // bytes of all segments
	each   int64 // bytes of one
	logger *slog.Logger

	mu       sync.Mutex
	segments []segment // oldest first; the last is written to
	active   *os.File
	next     uint64        // sequence number of the next record
	grown    chan struct{} // closed and replaced when records come

	sync struct {
		sync.Mutex
		done uint64 // all before this are on disk
	}
}

type segment struct {
	first uint64
	size  int64
}

func openLog(dir string, limit int64, logger *slog.Logger) (*log, error) {
	l := &log{dir: dir, max: limit, each: max(limit/16, 64<<10), next: 1, logger: logger, grown: make(chan struct{})}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("outbox %s: %w", dir, err)
	}
	if err := l.load(); err != nil {
		return nil, fmt.Errorf("outbox %s: %w", dir, err)
	}
	l.sync.done = l.next
	return l, nil
}

// load finds the segments and cuts off what a crash left half written.
func (l *log) load() error {
	list, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, d := range list {
		hex, ok := strings.CutSuffix(d.Name(), ".log")
		first, err := strconv.ParseUint(hex, 16, 64)
		if !ok || err != nil || len(hex) != 16 {
			continue
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		l.segments = append(l.segments, segment{first, info.Size()})
	}
	slices.SortFunc(l.segments, func(a, b segment) int { return int(min(max(int64(a.first-b.first), -1), 1)) })
	for len(l.segments) > 0 {
		last := &l.segments[len(l.segments)-1]
		f, err := os.OpenFile(l.path(last.first), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		end, next, err := scan(f, last.first)
		if err != nil && !errors.Is(err, errBroken) {
			_ = f.Close()
			return err
		}
		if end == 0 { // not even a header: as good as never made
			_ = f.Close()
			if err := os.Remove(l.path(last.first)); err != nil {
				return err
			}
			l.next = max(l.next, last.first)
			l.segments = l.segments[:len(l.segments)-1]
			continue
		}
		if end < last.size {
			l.logger.Warn("the outbox ends in a half-written record, which is cut off", "bytes", last.size-end)
			if err := f.Truncate(end); err != nil {
				_ = f.Close()
				return err
			}
			last.size = end
		}
		l.active, l.next = f, max(l.next, next)
		break
	}
	if l.active != nil && l.segments[len(l.segments)-1].size == int64(len(magic)) && l.next != l.segments[len(l.segments)-1].first {
		return l.rotate() // its name says another number than the next record's
	}
	return nil
}

func (l *log) path(first uint64) string { return filepath.Join(l.dir, segmentName(first)) }

// append writes records and returns when they are safely on disk.
func (l *log) append(now time.Time, records [][]byte) error {
	for _, r := range records {
		if len(r) > maxFrame {
			return fmt.Errorf("a record of %d bytes is larger than the outbox takes (%d)", len(r), maxFrame)
		}
	}
	l.mu.Lock()
	f, upTo, err := l.write(now, records)
	l.mu.Unlock()
	if err != nil {
		return fmt.Errorf("writing the outbox in %s: %w", l.dir, err)
	}
	if err := l.flush(f, upTo); err != nil {
		return fmt.Errorf("writing the outbox in %s: %w", l.dir, err)
	}
	l.mu.Lock()
	close(l.grown)
	l.grown = make(chan struct{})
	l.mu.Unlock()
	return nil
}

func (l *log) write(now time.Time, records [][]byte) (*os.File, uint64, error) {
	if l.active == nil || l.segments[len(l.segments)-1].size >= l.each {
		if err := l.rotate(); err != nil {
			return nil, 0, err
		}
	}
	var buf []byte
	next := l.next
	for _, r := range records {
		buf = appendFrame(buf, entry{next, now, r})
		next++
	}
	last := &l.segments[len(l.segments)-1]
	if _, err := l.active.WriteAt(buf, last.size); err != nil {
		// What was written in part must not be in the way of the next record.
		return nil, 0, errors.Join(err, l.active.Truncate(last.size))
	}
	last.size += int64(len(buf))
	l.next = next
	l.shrink()
	return l.active, next, nil
}

// flush brings all records before upTo to disk. Those who wait together share one fsync.
func (l *log) flush(f *os.File, upTo uint64) error {
	l.sync.Lock()
	defer l.sync.Unlock()
	if l.sync.done >= upTo {
		return nil
	}
	l.mu.Lock()
	written, current := l.next, l.active
	l.mu.Unlock()
	if current != f {
		written = upTo // f was synced when it was closed
	} else if err := f.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	l.sync.done = max(l.sync.done, written)
	return nil
}

// rotate begins a new segment.
func (l *log) rotate() error {
	f, err := createSegment(l.path(l.next))
	if errors.Is(err, fs.ErrExist) {
		err = os.Remove(l.path(l.next)) // empty: no record has this number yet
		if err == nil {
			f, err = createSegment(l.path(l.next))
		}
	}
	if err != nil {
		return err
	}
	if l.active != nil {
		if err := errors.Join(l.active.Sync(), l.active.Close()); err != nil {
			l.logger.Error("closing a segment of the outbox", "err", err)
		}
	}
	syncDir(l.dir)
	l.active = f
	l.segments = append(l.segments, segment{l.next, int64(len(magic))})
	return nil
}

// shrink drops the oldest segments while there are too many bytes.
func (l *log) shrink() {
	var total int64
	for _, s := range l.segments {
		total += s.size
	}
	for total > l.max && len(l.segments) > 1 {
		total -= l.segments[0].size
		l.drop()
	}
}

func (l *log) drop() {
	if err := os.Remove(l.path(l.segments[0].first)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.logger.Error("removing a segment of the outbox", "err", err)
	}
	l.segments = l.segments[1:]
}

// release drops the segments that every reader has passed.
func (l *log) release(slowest uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.segments) > 1 && l.segments[1].first <= slowest {
		l.drop()
	}
}

// bounds returns the number of the oldest record there is, and of the next one to come.
func (l *log) bounds() (first, next uint64, size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		size += s.size
	}
	if len(l.segments) == 0 {
		return l.next, l.next, size
	}
	return l.segments[0].first, l.next, size
}

// find returns the segment that seq is in, or the first after it, and how far it is written. more
// is closed when records come.
func (l *log) find(seq uint64) (s segment, active, ok bool, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range slices.Backward(l.segments) {
		if s.first <= seq || i == 0 {
			return s, i == len(l.segments)-1, true, l.grown
		}
	}
	return segment{}, false, false, l.grown
}

// after returns the first record number of the segment behind the one that begins with first.
func (l *log) after(first uint64) (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		if s.first > first {
			return s.first, true
		}
	}
	return 0, false
}

func (l *log) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.active == nil {
		return nil
	}
	err := errors.Join(l.active.Sync(), l.active.Close())
	l.active = nil
	return err
}

func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync() // some file systems cannot; the segment is then safe a little later
		_ = d.Close()
	}
}
