package kernel

import (
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"picket/event"
)

// byName reports whether an open is told of by its name alone: a quiet request to io_uring, which
// is known when it is made and not when it is done.
func byName(e *event.Event) bool {
	return e.File.Ino == 0 && e.Kind >= event.FileRead && e.Kind <= event.FileWrite
}

// find looks up the file that such an event names, and reports whether it is one to tell of: reads
// are told of watched files only. A name may have changed since, so what is not found counts by
// where it would lie.
func (s *Sensor) find(e *event.Event) bool {
	name := "/proc/" + strconv.Itoa(int(e.Process.PID)) + "/root" + e.File.Path
	st, err := statIn(name)
	if err != nil { // the process is gone
		name = e.File.Path
		if st, err = statIn(name); err != nil {
			return e.Kind != event.FileRead || s.watcher.covers(filepath.Dir(name))
		}
	}
	f := &e.File
	f.Ino, f.Dev, f.Size, f.Mode = st.Ino, kernelDev(st.Dev), st.Size, st.Mode
	if e.Kind != event.FileRead {
		return true
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || s.watcher.holds(&st) {
		return st.Mode&unix.S_IFMT == unix.S_IFREG
	}
	dir, err := statIn(filepath.Dir(name)) // a new file, which the watcher does not know yet
	return err == nil && s.watcher.holds(&dir)
}

// covers reports whether a directory lies in one that is watched.
func (w *watcher) covers(dir string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.covered(dir)
}

// holds reports whether a file is in the kernel's table of watched ones.
func (w *watcher) holds(st *unix.Stat_t) bool {
	var on uint32
	key := typedInodeKey{Ino: st.Ino, Dev: kernelDev(st.Dev)}
	return w.s.maps["watched"].Lookup(&key, &on) == nil
}
