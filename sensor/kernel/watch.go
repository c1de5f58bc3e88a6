package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// watcher keeps the kernel's table of watched inodes equal to the directories asked for.
type watcher struct {
	s      *Sensor
	mu     sync.Mutex
	roots  map[string]bool
	inodes map[string][]typedInodeKey // by directory: its own and those of its files
	dirs   map[int32]string           // by inotify watch
	notify *os.File
	fd     int             // of notify
	alone  bool            // fanotify is not to be had
	kept   map[string]bool // directories of WitnessDir
}

func newWatcher(s *Sensor) *watcher {
	return &watcher{s: s, roots: map[string]bool{}, inodes: map[string][]typedInodeKey{}, dirs: map[int32]string{}, kept: map[string]bool{}}
}

// WatchDir reports reads of all files inside a directory, now and later, under any name that they
// are reached by. A single file may be named too.
func (s *Sensor) WatchDir(path string) error {
	w := s.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	path = filepath.Clean(path)
	if w.roots[path] {
		return nil
	}
	if err := w.listen(); err != nil {
		s.log.Warn("new directories inside watched ones will not be noticed", "error", err)
	}
	if err := w.testify(); err != nil {
		s.log.Warn("changes in watched directories have no second witness", "error", err)
	}
	if err := w.addTree(path); err != nil {
		return fmt.Errorf("watch reads in %s: %w", path, err)
	}
	w.roots[path] = true
	return s.configure(func(c *typedSettings) { c.Watching = 1 })
}

// UnwatchDir ends WatchDir.
func (s *Sensor) UnwatchDir(path string) error {
	w := s.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	path = filepath.Clean(path)
	if !w.roots[path] {
		return fmt.Errorf("end the watch of %s: it is not watched", path)
	}
	delete(w.roots, path)
	for dir := range w.inodes {
		if w.covered(dir) {
			continue
		}
		for _, key := range w.inodes[dir] {
			_ = s.maps["watched"].Delete(&key)
		}
		delete(w.inodes, dir)
	}
	for wd, dir := range w.dirs {
		if !w.covered(dir) {
			delete(w.dirs, wd)
			_, _ = unix.InotifyRmWatch(w.fd, uint32(wd))
		}
	}
	if other := s.witness.Load(); other != nil {
		other.remove(w.covered)
	}
	if len(w.roots) == 0 {
		return s.configure(func(c *typedSettings) { c.Watching = 0 })
	}
	return nil
}

// WitnessDir has fanotify listen to changes in a directory, not in those below, beside the programs.
// Reads there are not reported. A directory that is not there is left out.
func (s *Sensor) WitnessDir(path string) error {
	w := s.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	path = filepath.Clean(path)
	f, err := openIn(path, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer f.Close() //nolint:errcheck // nothing was written
		err = w.testify()
	}
	if other := s.witness.Load(); err == nil && other != nil {
		err = other.add(path, f)
	}
	if err != nil {
		return fmt.Errorf("listen to changes in %s: %w", path, err)
	}
	w.kept[path] = true
	return nil
}

// covered reports whether a directory lies in one that is watched, or is one of WitnessDir.
func (w *watcher) covered(dir string) bool {
	if w.kept[dir] {
		return true
	}
	for root := range w.roots {
		if dir == root || strings.HasPrefix(dir, strings.TrimSuffix(root, "/")+"/") {
			return true
		}
	}
	return false
}

// maxTree is how many entries of a directory tree are looked at: as many as the kernel's table holds.
const maxTree = 65536

func (w *watcher) addTree(root string) error {
	st, err := statIn(root)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return w.add(filepath.Dir(root), &st)
	}
	left := maxTree
	for dirs := []string{root}; len(dirs) > 0; {
		dir := dirs[0]
		dirs = dirs[1:]
		inside, err := w.addDir(dir, dir == root, &left)
		if err != nil {
			return err
		}
		if dirs = append(dirs, inside...); left <= 0 {
			return fmt.Errorf("more than %d files and directories lie in it: reads of the others are not seen", maxTree)
		}
	}
	return nil
}

// addDir adds a directory and its files, and returns the directories in it.
func (w *watcher) addDir(dir string, root bool, left *int) (inside []string, err error) {
	flags := uint64(unix.O_RDONLY | unix.O_DIRECTORY)
	if !root {
		flags |= unix.O_NOFOLLOW
	}
	f, err := openIn(dir, flags)
	if err != nil {
		if root {
			return nil, err
		}
		return nil, nil // gone, or not ours to read: the rest counts
	}
	defer f.Close() //nolint:errcheck // nothing was written
	w.follow(dir, f)
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	if err := w.add(dir, &st); err != nil {
		return nil, err
	}
	for *left > 0 {
		entries, err := f.ReadDir(min(256, *left)) // in parts: a directory may be larger than our memory
		*left -= len(entries)
		for _, e := range entries {
			if e.IsDir() {
				inside = append(inside, filepath.Join(dir, e.Name()))
			} else if err := w.addFile(dir, f, e); err != nil {
				return nil, err
			}
		}
		if err != nil || len(entries) == 0 {
			break
		}
	}
	return inside, nil
}

// addFile adds a file of a directory, or what a link there leads to, as in a cache of models.
func (w *watcher) addFile(dir string, f *os.File, e fs.DirEntry) error {
	var st unix.Stat_t
	var err error
	switch {
	case e.Type().IsRegular():
		err = unix.Fstatat(int(f.Fd()), e.Name(), &st, unix.AT_SYMLINK_NOFOLLOW)
	case e.Type()&fs.ModeSymlink != 0:
		st, err = statIn(filepath.Join(dir, e.Name()))
	}
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil //nolint:nilerr // gone, or not ours to read: the rest counts
	}
	return w.add(dir, &st)
}

// add puts an inode into the kernel's table, in the care of dir.
func (w *watcher) add(dir string, st *unix.Stat_t) error {
	key := typedInodeKey{Ino: st.Ino, Dev: kernelDev(st.Dev)}
	if err := w.s.maps["watched"].Put(&key, uint32(1)); err != nil {
		return fmt.Errorf("more than 65536 files and directories are watched: %w", err)
	}
	w.inodes[dir] = append(w.inodes[dir], key)
	return nil
}

// kernelDev turns a device number of stat into the kernel's own.
func kernelDev(dev uint64) uint64 { return uint64(unix.Major(dev))<<20 | uint64(unix.Minor(dev)) }

// listen starts to follow changes inside watched directories.
func (w *watcher) listen() error {
	if w.notify != nil {
		return nil
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return err
	}
	w.notify, w.fd = os.NewFile(uintptr(fd), "inotify"), fd
	go w.loop(w.notify)
	return nil
}

// testify starts to hear of changes from fanotify too.
func (w *watcher) testify() error {
	if w.s.witness.Load() != nil || w.alone {
		return nil
	}
	other, err := newWitness(w.s)
	if err == nil {
		w.s.witness.Store(other)
	}
	w.alone = err != nil
	return err
}

func (w *watcher) follow(dir string, f *os.File) {
	if other := w.s.witness.Load(); other != nil {
		if err := other.add(dir, f); err != nil {
			w.s.log.Warn("changes here have no second witness", "dir", dir, "error", err)
		}
	}
	if w.notify == nil {
		return
	}
	wd, err := unix.InotifyAddWatch(w.fd, f.Name(), unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR)
	if err != nil {
		w.s.log.Warn("new directories here will not be noticed", "dir", dir, "error", err)
		return
	}
	w.dirs[int32(wd)] = dir
}

// loop adds what appears inside watched directories. It ends when notify is closed.
func (w *watcher) loop(notify *os.File) {
	buf := make([]byte, 64<<10)
	for {
		n, err := notify.Read(buf)
		if err != nil {
			return
		}
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			wd := int32(binary.NativeEndian.Uint32(b))
			size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			if size > len(b) {
				break
			}
			w.appeared(wd, strings.TrimRight(string(b[unix.SizeofInotifyEvent:size]), "\x00"))
			b = b[size:]
		}
	}
}

func (w *watcher) appeared(wd int32, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	dir, ok := w.dirs[wd]
	if !ok || name == "" {
		return
	}
	if err := w.addTree(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.s.log.Warn("cannot watch reads", "path", filepath.Join(dir, name), "error", err)
	}
}

func (w *watcher) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.notify == nil {
		return nil
	}
	return w.notify.Close()
}
