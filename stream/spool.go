package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// spool is a queue of records in the files of one directory. Records are written at the end of the
// newest file, read in order, and forgotten when they are acknowledged; a file whose records are
// all acknowledged is removed. The end of the process loses nothing; the end of the machine may
// lose the last seconds. Where the disk takes no more, records wait in memory, up to a bound.
type spool struct {
	dir     string
	max     int64 // bytes on disk
	maxMem  int
	onDrop  func(events uint32) // told of each record that had to go
	onError func(error)         // told when the disk begins to fail, and nil when it works again

	mu      sync.Mutex
	segs    []*segment // oldest first; the last is written to
	size    int64
	buf     []byte
	read    position // of the next record to hand out
	ack     position // of the oldest record not acknowledged
	mark    *os.File // holds ack
	mem     []record // after all that is on disk
	memBase int64    // how many were in mem and are gone
	memAt   int      // next of mem to hand out
	memSize int
	failing bool
	wake    chan struct{}
}

type segment struct {
	num    uint64
	f      *os.File
	size   int64
	events uint32 // written by this run or found; for counting what is dropped
}

// position is a place in the spool. A record in memory has the number 0 and counts in off.
type position struct {
	num uint64
	off int64
}

func openSpool(dir string, maxBytes int64, onDrop func(uint32), onError func(error)) (*spool, error) {
	s := &spool{dir: dir, max: max(maxBytes, 64<<10), maxMem: 8 << 20, onDrop: onDrop, onError: onError, wake: make(chan struct{}, 1)}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: making its directory: %w", err)
	}
	if err := s.load(); err != nil {
		s.close()
		return nil, fmt.Errorf("spool: %w", err)
	}
	return s, nil
}

func (s *spool) name(num uint64) string { return filepath.Join(s.dir, fmt.Sprintf("%016x.spool", num)) }

// load finds what an earlier run left.
func (s *spool) load() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		num, err := strconv.ParseUint(strings.TrimSuffix(e.Name(), ".spool"), 16, 64)
		if err != nil || num == 0 || !strings.HasSuffix(e.Name(), ".spool") {
			continue
		}
		f, err := os.OpenFile(s.name(num), os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		s.segs = append(s.segs, &segment{num: num, f: f})
	}
	slices.SortFunc(s.segs, func(a, b *segment) int { return int(int64(a.num - b.num)) })
	if s.mark, err = os.OpenFile(filepath.Join(s.dir, "acknowledged"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	s.ack = s.readMark()
	for len(s.segs) > 0 && s.segs[0].num < s.ack.num {
		s.remove()
	}
	for _, g := range s.segs {
		if err := s.scan(g); err != nil {
			return err
		}
		s.size += g.size
	}
	// Without files the mark stands: numbers are never used again, or new files would look old.
	if len(s.segs) > 0 {
		if s.segs[0].num != s.ack.num {
			s.ack = position{num: s.segs[0].num}
		}
		s.ack.off = min(s.ack.off, s.segs[0].size)
	}
	s.read = s.ack
	s.trim()
	return nil
}

// scan finds where a file's whole records end, and cuts off what comes after: what was being
// written when the process ended.
func (s *spool) scan(g *segment) error {
	for {
		rec, next, err := readRecord(g.f, g.size)
		if err == nil {
			g.size, g.events = next, g.events+rec.count
			continue
		}
		if errors.Is(err, errTorn) {
			return g.f.Truncate(g.size)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
}

// append adds a record. It does not fail: what the disk does not take waits in memory, and what
// there is no room for is counted as dropped, the oldest first.
func (s *spool) append(r record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.buf, err = appendRecord(s.buf[:0], &r); err != nil {
		return err
	}
	if cap(s.buf) > 1<<20 {
		defer func() { s.buf = nil }()
	}
	if len(s.mem) > 0 {
		s.keep(r) // after the others that wait in memory, or the order would be lost
	} else if err := s.write(s.buf, r.count); err != nil {
		s.fail(err)
		s.keep(r)
	} else {
		s.fail(nil)
	}
	signal(s.wake)
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is there already
	}
}

func (s *spool) fail(err error) {
	if s.failing != (err != nil) {
		s.failing = err != nil
		s.onError(err)
	}
}

func (s *spool) keep(r record) {
	s.mem = append(s.mem, r)
	s.memSize += r.size()
	for s.memSize > s.maxMem && len(s.mem) > 1 {
		s.onDrop(s.mem[0].count)
		s.memSize -= s.mem[0].size()
		s.mem = s.mem[1:]
		s.memBase++
		s.memAt = max(s.memAt-1, 0)
	}
}

func (s *spool) write(b []byte, count uint32) error {
	for len(s.segs) > 1 && s.size+int64(len(b)) > s.max {
		s.dropOldest()
	}
	segMax := max(s.max/16, 64<<10)
	if len(s.segs) == 0 || s.segs[len(s.segs)-1].size+int64(len(b)) > segMax && s.segs[len(s.segs)-1].size > 0 {
		if err := s.grow(); err != nil {
			return err
		}
	}
	g := s.segs[len(s.segs)-1]
	n, err := g.f.WriteAt(b, g.size)
	if err != nil {
		if n > 0 {
			_ = g.f.Truncate(g.size) // half a record at the end is cut off when the file is read, too
		}
		return err
	}
	g.size += int64(n)
	g.events += count
	s.size += int64(n)
	return nil
}

func (s *spool) grow() error {
	num := s.ack.num + 1
	if n := len(s.segs); n > 0 {
		num = s.segs[n-1].num + 1
	}
	f, err := os.OpenFile(s.name(num), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	s.segs = append(s.segs, &segment{num: num, f: f})
	if len(s.segs) == 1 {
		s.ack, s.read = position{num: num}, position{num: num}
	}
	return nil
}

// dropOldest forgets the oldest file, whose records nobody took in time.
func (s *spool) dropOldest() {
	g := s.segs[0]
	lost := uint32(0)
	for off := int64(0); ; {
		rec, next, err := readRecord(g.f, off)
		if err != nil {
			break
		}
		if g.num != s.ack.num || off >= s.ack.off {
			lost += rec.count
		}
		off = next
	}
	s.onDrop(lost)
	s.remove()
	s.ack = position{num: s.segs[0].num} // the newest file is never dropped
	if s.read.num < s.ack.num {
		s.read = s.ack
	}
}

func (s *spool) remove() {
	g := s.segs[0]
	s.segs = s.segs[1:]
	s.size -= g.size
	_ = g.f.Close()              // nothing in it is wanted any more
	_ = os.Remove(s.name(g.num)) // if it stays, the next start finds it acknowledged
}

// next hands out the next record and the place behind it.
func (s *spool) next() (rec record, after position, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 0; i < len(s.segs); i++ {
		g := s.segs[i]
		if g.num < s.read.num {
			continue
		}
		if g.num > s.read.num {
			s.read = position{num: g.num}
		}
		if s.read.off >= g.size {
			continue
		}
		rec, next, err := readRecord(g.f, s.read.off)
		if err != nil { // damaged behind our back: the rest of the file cannot be told apart
			s.onError(fmt.Errorf("%s at byte %d: %w", s.name(g.num), s.read.off, err))
			s.read.off = g.size
			continue
		}
		s.read.off = next
		return rec, s.read, true
	}
	if s.memAt < len(s.mem) {
		s.memAt++
		return s.mem[s.memAt-1], position{off: s.memBase + int64(s.memAt)}, true
	}
	return rec, after, false
}

// done forgets all records up to the one that next handed out with this place. Records are to be
// acknowledged in the order in which they were handed out.
func (s *spool) done(p position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.num == 0 {
		for s.memBase < p.off && len(s.mem) > 0 {
			s.memSize -= s.mem[0].size()
			s.mem = s.mem[1:]
			s.memBase++
			s.memAt = max(s.memAt-1, 0)
		}
		return
	}
	if p.num < s.ack.num || p.num == s.ack.num && p.off < s.ack.off {
		return // dropped meanwhile
	}
	s.ack = p
	s.trim()
	s.writeMark()
}

// trim removes files whose records are all acknowledged. The last one is emptied when nothing
// waits: a spool that is keeping up then costs the disk nothing, as the pages never get there.
func (s *spool) trim() {
	for len(s.segs) > 0 {
		g := s.segs[0]
		if g.num > s.ack.num || g.num == s.ack.num && s.ack.off < g.size {
			return
		}
		s.remove()
	}
}

// rewind hands out again all that is not acknowledged.
func (s *spool) rewind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read, s.memAt = s.ack, 0
}

// pending returns the bytes that wait.
func (s *spool) pending() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.size + int64(s.memSize)
	if len(s.segs) > 0 && s.segs[0].num == s.ack.num {
		n -= s.ack.off
	}
	return n
}

func (s *spool) readMark() position {
	var b [20]byte
	if n, err := s.mark.ReadAt(b[:], 0); n < len(b) && err != nil {
		return position{}
	}
	if crc32.Checksum(b[:16], castagnoli) != binary.LittleEndian.Uint32(b[16:]) {
		return position{} // all is sent again; who gets it drops repeats
	}
	return position{binary.LittleEndian.Uint64(b[:]), int64(binary.LittleEndian.Uint64(b[8:]) & (1<<62 - 1))}
}

func (s *spool) writeMark() {
	var b [20]byte
	binary.LittleEndian.PutUint64(b[:], s.ack.num)
	binary.LittleEndian.PutUint64(b[8:], uint64(s.ack.off))
	binary.LittleEndian.PutUint32(b[16:], crc32.Checksum(b[:16], castagnoli))
	_, _ = s.mark.WriteAt(b[:], 0) // stale, it makes a restart send again what the hub has
}

func (s *spool) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segs {
		_ = g.f.Close() // written through already
	}
	if s.mark != nil {
		_ = s.mark.Close()
	}
}
