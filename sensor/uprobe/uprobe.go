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

	"github.com/cilium/ebpf"
)

const (
	maxFiles    = 64       // that probes are kept on
	maxMet      = 4 << 10  // mappings that are known to need nothing
	maxMappings = 64 << 10 // of one process, that are looked at
	waiting     = 256      // processes that have something to be looked at
)

// ErrNothing is what Options.Attach returns for a file that has none of what is looked for, as is to be
// expected of some.
var ErrNothing = errors.New("it has none of what is looked for")

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
	// Attach attaches to a file, and says in a few words to what. It is called once a file.
	Attach func(*File) (io.Closer, string, error)
}

// Set is the files that probes are kept on.
type Set struct {
	opt  Options
	coll *ebpf.Collection
	iter *ebpf.Program
	met  chan uint32

	mu    sync.Mutex
	files map[Identity]*held
	known map[string]bool // mappings that were looked at
	wrong map[string]error

	full, late, failed atomic.Uint64
}

type held struct {
	Held
	links io.Closer
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
		opt: o, coll: coll, iter: coll.Programs["on_mapping"], met: make(chan uint32, waiting),
		files: map[Identity]*held{}, known: map[string]bool{}, wrong: map[string]error{},
	}, nil
}

// Scan attaches to the host's known files and to those that processes run code of now.
func (s *Set) Scan(ctx context.Context) {
	s.scanHost()
	for pid := range processes {
		if ctx.Err() != nil {
			return
		}
		s.look(pid)
	}
}

// Meet tells of a file that a process started or mapped to run it, with its device as the kernel
// encodes it and its inode, where they are known. It does not wait.
func (s *Set) Meet(pid uint32, path string, dev, ino uint64) {
	if !s.opt.Match(filepath.Base(path)) {
		return
	}
	s.mu.Lock()
	known := ino != 0 && s.known[fmt.Sprintf("%02x:%02x %d", dev>>20, dev&(1<<20-1), ino)]
	s.mu.Unlock()
	if known {
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
			s.look(pid)
		}
	}
}

// Close takes all probes away. A Run that is under way must have ended.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []error
	for _, h := range s.files {
		all = append(all, h.links.Close())
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
		out = append(out, h.Held)
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
	_ = mappings(pid, s.opt.Match, func(m mapping) { // a process that has ended has none
		if !s.first(m.where) {
			return
		}
		f, err := openMapped(pid, m)
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
		s.take(&File{File: f, Path: m.path, PID: pid})
	})
}

// first reports whether a mapping was not looked at yet.
func (s *Set) first(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[key] {
		return false
	}
	if len(s.known) >= maxMet {
		clear(s.known)
	}
	s.known[key] = true
	return true
}

func (s *Set) again(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, key)
}

// take attaches to a file that has no probes yet.
func (s *Set) take(f *File) {
	var err error
	if f.Identity, err = s.identify(f.File); err != nil {
		s.say(f.Path, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files[f.Identity] != nil {
		return
	}
	if len(s.files) >= maxFiles {
		s.prune()
	}
	if len(s.files) >= maxFiles {
		if s.full.Add(1) == 1 {
			s.opt.Log.Warn("no probes are put on further files: too many have some", "files", maxFiles, "path", f.Path)
		}
		return
	}
	links, detail, err := s.attach(f)
	if errors.Is(err, ErrNothing) {
		return
	}
	if err != nil {
		s.note(f.Path, err)
		return
	}
	s.files[f.Identity] = &held{Held{f.Path, f.Host, detail, f.Identity}, links}
	s.opt.Log.Debug("probes are on a file", "path", f.Path, "on", detail)
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

// prune takes the probes from files that nobody runs code of any more. The caller holds mu.
func (s *Set) prune() {
	used := map[Identity]bool{}
	for pid := range processes {
		_ = mappings(pid, s.opt.Match, func(m mapping) { // a process that has ended has none
			f, err := openMapped(pid, m)
			if err != nil {
				return
			}
			if id, err := s.identify(f); err == nil {
				used[id] = true
			}
			_ = f.Close() // it was only read
		})
	}
	for id, h := range s.files {
		if !used[id] && !h.Host {
			if err := h.links.Close(); err != nil {
				s.note(h.Path, err)
			}
			delete(s.files, id)
		}
	}
	clear(s.known)
}

func (s *Set) say(path string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(path, err)
}

// note keeps why a file could not be attached to. The caller holds mu.
func (s *Set) note(path string, err error) {
	s.failed.Add(1)
	if len(s.wrong) < maxFiles {
		s.wrong[path] = err
	}
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
