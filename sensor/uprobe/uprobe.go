// Package uprobe runs BPF programs at functions of user programs and libraries: it finds the files
// that processes run code of, reads where in them a function lies, and keeps one attachment for each
// file, so that a process that starts later is seen from its first call on.
//
// The files are anybody's. They are opened by what a process has mapped, not by their path; all that
// is read of them is bounded, and what cannot be read is counted and told.
package uprobe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
)

const (
	maxFiles    = 64       // that probes are kept on
	maxMet      = 4 << 10  // mappings that are known to need nothing
	maxMappings = 64 << 10 // of one process, that are looked at
	waiting     = 256      // processes that have something to be looked at
	maxStuck    = 4        // looks that a file system keeps waiting
	patience    = 10 * time.Second
	pruneEvery  = time.Minute
	lookAgain   = time.Minute // at a file that had nothing: another may have got its number
)

// ErrNothing is what Options.Attach returns for a file that has none of what is looked for, as is to be
// expected of some.
var ErrNothing = errors.New("it has none of what is looked for")

var errSlow = errors.New("its file system keeps us waiting")

// File is a file to attach to.
type File struct {
	*os.File
	Image *Image
	Path  string // as the process has it
	PID   uint32 // of the process; 0 where the file was looked for by its path on the host
	Host  bool   // one of Options.Known
	Identity
}

// Options says which files are looked for.
type Options struct {
	Log   *slog.Logger
	Match func(base string) bool // by the last part of the path
	// Known are patterns of the host's own files, that are attached to before anybody uses them.
	Known []string
	// Attach attaches to a file, and says in a few words to what. It is called once a file; two calls
	// may be under way at a time.
	Attach func(*File) (io.Closer, string, error)
}

// Set is the files that probes are kept on.
type Set struct {
	opt  Options
	coll *ebpf.Collection
	iter *ebpf.Program
	met  chan uint32
	busy chan struct{} // a place for each look that is under way

	asking sync.Mutex // of iter
	mu     sync.Mutex // of the tables: nothing that may take a while is done under it
	files  map[Identity]*held
	known  map[string]look // at mappings, by device and inode
	wrong  map[string]error
	pruned time.Time
	closed bool

	full, late, failed atomic.Uint64
}

type held struct {
	Held
	links io.Closer // nil while it is attached to
}

// look is one at a mapping: when it was, and of which file. One that has probes keeps its number.
type look struct {
	at time.Time
	of Identity
}

// Held is a file with probes.
type Held struct {
	Path   string
	Host   bool
	Detail string
	Identity
}

// New returns a set without files.
func New(o Options) (*Set, error) {
	coll, err := loadIterator()
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Set{
		opt: o, coll: coll, iter: coll.Programs["on_mapping"], met: make(chan uint32, waiting), busy: make(chan struct{}, maxStuck),
		files: map[Identity]*held{}, known: map[string]look{}, wrong: map[string]error{},
	}, nil
}

// Scan attaches to the host's known files and to those that processes run code of now.
func (s *Set) Scan(ctx context.Context) {
	s.within("the host's own", s.scanHost)
	for pid := range processes {
		if ctx.Err() != nil {
			return
		}
		s.within(fmt.Sprintf("what process %d runs", pid), func() { s.look(pid) })
	}
}

// within does what a file system or a process can keep waiting, and lets it be where it takes too long.
func (s *Set) within(what string, do func()) {
	select {
	case s.busy <- struct{}{}:
	default: // all of them wait
		s.late.Add(1)
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { <-s.busy }()
		do()
	}()
	slow := time.NewTimer(patience)
	defer slow.Stop()
	select {
	case <-done:
	case <-slow.C:
		s.say(what, errSlow)
	}
}

// Meet tells of a file that a process started or mapped to run it, with its device as the kernel
// encodes it and its inode, where they are known. It does not wait.
func (s *Set) Meet(pid uint32, path string, dev, ino uint64) {
	if !s.opt.Match(filepath.Base(path)) {
		return
	}
	if ino != 0 && s.seen(fmt.Sprintf("%02x:%02x %d", dev>>20, dev&(1<<20-1), ino)) {
		return
	}
	select {
	case s.met <- pid:
	default:
		s.late.Add(1)
	}
}

// Run scans, and then looks at the processes that are met, until ctx ends.
func (s *Set) Run(ctx context.Context) {
	s.Scan(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case pid := <-s.met:
			s.within(fmt.Sprintf("what process %d runs", pid), func() { s.look(pid) })
		}
	}
}

// Close takes all probes away. A Run that is under way must have ended.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []error
	s.closed = true
	for _, h := range s.files {
		if h.links != nil {
			all = append(all, h.links.Close())
		}
	}
	clear(s.files)
	s.coll.Close()
	return errors.Join(all...)
}

// Held returns the files with probes.
func (s *Set) Held() (out []Held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.files {
		if h.links != nil {
			out = append(out, h.Held)
		}
	}
	slices.SortFunc(out, func(a, b Held) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Ino, b.Ino)) })
	return out
}

// Wrong returns why files could not be attached to, by path.
func (s *Set) Wrong() map[string]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.wrong)
}

// Missed is how many files or processes were not attached to: as there were too many, or as they
// could not be read.
func (s *Set) Missed() uint64 { return s.full.Load() + s.late.Load() + s.failed.Load() }

// scanHost attaches to the host's known files.
func (s *Set) scanHost() {
	for _, pattern := range s.opt.Known {
		paths, _ := filepath.Glob(pattern) // the patterns are ours
		for _, path := range paths {
			if !s.opt.Match(filepath.Base(path)) {
				continue
			}
			f, err := os.Open(path)
			if err != nil {
				continue // a link that leads nowhere
			}
			s.take(&File{File: f, Path: path, Host: true})
			_ = f.Close() // it was only read
		}
	}
}

// look attaches to what a process runs code of.
func (s *Set) look(pid uint32) {
	pid = living(pid)
	_ = mappings(pid, s.opt.Match, func(m mapping) { // a process that has ended has none
		if s.seen(m.where) {
			return
		}
		s.remember(m.where, Identity{}) // whatever comes of it
		f, err := s.openMapped(pid, m)
		if errors.Is(err, os.ErrNotExist) {
			s.again(m.where)
			return
		}
		if err != nil {
			s.say(m.path, err)
			return
		}
		defer f.Close() //nolint:errcheck // it was only read
		s.scanHost()    // it may be one that came since
		s.remember(m.where, s.take(&File{File: f, Path: m.path, PID: pid}))
	})
}

// seen reports whether a mapping needs no look: its file has probes, or was looked at a moment ago.
func (s *Set) seen(where string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.known[where]
	return ok && (s.files[l.of] != nil || time.Since(l.at) < lookAgain)
}

func (s *Set) remember(where string, id Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.known[where]; !ok && len(s.known) >= maxMet {
		clear(s.known)
	}
	s.known[where] = look{time.Now(), id}
}

func (s *Set) again(where string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, where)
}

// take attaches to a file that has no probes yet, and returns which it is.
func (s *Set) take(f *File) Identity {
	var err error
	if f.Identity, err = s.identify(f.File); err != nil {
		s.say(f.Path, err)
		return Identity{}
	}
	h := s.place(f)
	if h == nil {
		return f.Identity
	}
	links, detail, err := s.attach(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil && s.closed:
		_ = links.Close() // nobody is there to be told
	case err == nil:
		h.Detail, h.links = detail, links
		s.opt.Log.Debug("probes are on a file", "path", f.Path, "on", detail)
	default:
		delete(s.files, f.Identity)
		if !errors.Is(err, ErrNothing) {
			s.note(f.Path, err)
		}
	}
	return f.Identity
}

// place makes room for a file; nil where it has probes, or gets them, or where there is no room.
func (s *Set) place(f *File) *held {
	if s.crowded(f.Identity) {
		s.prune()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.files[f.Identity] != nil || s.closed:
		return nil
	case len(s.files) >= maxFiles:
		if s.full.Add(1) == 1 {
			s.opt.Log.Warn("no probes are put on further files: too many have some", "files", maxFiles, "path", f.Path)
		}
		return nil
	}
	h := &held{Held: Held{Path: f.Path, Host: f.Host, Identity: f.Identity}}
	s.files[f.Identity] = h
	return h
}

// crowded reports whether there is no room for a file, and it is time to look for some.
func (s *Set) crowded(id Identity) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files[id] != nil || len(s.files) < maxFiles || time.Since(s.pruned) < pruneEvery {
		return false
	}
	s.pruned = time.Now()
	return true
}

func (s *Set) attach(f *File) (io.Closer, string, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, "", err
	}
	f.Image, err = ReadImage(f.File, st.Size())
	if errors.Is(err, errFormat) {
		return nil, "", ErrNothing // a script of that name
	}
	if err != nil {
		return nil, "", err
	}
	return s.opt.Attach(f)
}

// prune takes the probes from files that nobody runs code of any more.
func (s *Set) prune() {
	used := map[Identity]bool{}
	for pid := range processes {
		_ = mappings(pid, s.opt.Match, func(m mapping) { // a process that has ended has none
			s.mu.Lock()
			l, ok := s.known[m.where]
			s.mu.Unlock()
			if ok && l.of != (Identity{}) {
				used[l.of] = true
				return
			}
			f, err := s.openMapped(pid, m)
			if err != nil {
				return
			}
			if id, err := s.identify(f); err == nil {
				used[id] = true
				s.remember(m.where, id)
			}
			_ = f.Close() // it was only read
		})
	}
	for _, h := range s.idle(used) {
		if err := h.links.Close(); err != nil {
			s.say(h.Path, err)
		}
	}
}

// idle takes those out of the table that are not used.
func (s *Set) idle(used map[Identity]bool) (out []*held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, h := range s.files {
		if !used[id] && !h.Host && h.links != nil {
			out = append(out, h)
			delete(s.files, id)
		}
	}
	return out
}

func (s *Set) say(path string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(path, err)
}

// note keeps why a file could not be attached to. The caller holds mu.
func (s *Set) note(path string, err error) {
	s.failed.Add(1)
	if _, said := s.wrong[path]; said || len(s.wrong) >= maxFiles {
		return // anybody can make such files, and fill the log
	}
	s.wrong[path] = err
	s.opt.Log.Warn("no probes on a file", "path", path, "error", err)
}

// processes yields the numbers of those that run.
func processes(yield func(uint32) bool) {
	dir, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer dir.Close() //nolint:errcheck // it was only read
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.ParseUint(name, 10, 32); err == nil && !yield(uint32(pid)) {
			return
		}
	}
}
