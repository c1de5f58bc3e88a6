package workload

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	maxEntries = 8192 // of a directory tree that are looked at
	batch      = 256  // entries read at once
)

// open opens a path as the process sees it. What lies below its root is its own to choose: links
// lead to where they lead it, never to our own files or through /proc, and opening with O_PATH
// neither waits for a pipe nor wakes a device.
func (f proc) open(pid uint32, name string, flags uint64) (*os.File, error) {
	root, err := unix.Open(f.path(pid, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root) //nolint:errcheck // nothing was written
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(root, filepath.Join("/", name), &how)
	for tries := 0; errors.Is(err, unix.EAGAIN) && tries < 8; tries++ { // something was renamed on the way
		fd, err = unix.Openat2(root, filepath.Join("/", name), &how)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd)), nil
}

// stat looks at a path as the process sees it.
func (f proc) stat(pid uint32, name string) (os.FileInfo, bool) {
	file, err := f.open(pid, name, unix.O_PATH)
	if err != nil {
		return nil, false
	}
	defer file.Close() //nolint:errcheck // nothing was written
	st, err := file.Stat()
	return st, err == nil
}

// readlink reads a link as the process sees it.
func (f proc) readlink(pid uint32, name string) (string, error) {
	file, err := f.open(pid, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", err
	}
	defer file.Close() //nolint:errcheck // nothing was written
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(file.Fd()), "", buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// head reads the first bytes of a regular file; nil where it has fewer or is none.
func (f proc) head(pid uint32, name string, n int) []byte {
	file, err := f.open(pid, name, unix.O_PATH)
	if err != nil {
		return nil
	}
	defer file.Close() //nolint:errcheck // nothing was written
	if st, err := file.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil
	}
	r, err := os.OpenFile(file.Name(), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer r.Close() //nolint:errcheck // nothing was written
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil
	}
	return b
}

// files lists the regular files at or below a path, by identity: at most limit of them, among the
// first maxEntries that there are.
func (f proc) files(pid uint32, name string, limit int) []fileID {
	st, ok := f.stat(pid, name)
	if !ok {
		return nil
	}
	var out []fileID
	if id, ok := idOf(st); ok && st.Mode().IsRegular() {
		return append(out, id)
	}
	left := maxEntries
	for dirs := []string{name}; len(dirs) > 0 && left > 0 && len(out) < limit; {
		dir := dirs[0]
		dirs = dirs[1:]
		f.each(pid, dir, &left, func(e os.DirEntry) {
			if e.IsDir() {
				dirs = append(dirs, path.Join(dir, e.Name()))
			}
			if !e.Type().IsRegular() || len(out) >= limit {
				return
			}
			if st, err := e.Info(); err == nil {
				if id, ok := idOf(st); ok {
					out = append(out, id)
				}
			}
		})
	}
	return out
}

// each calls fn for the entries of a directory, while there are entries left to look at.
func (f proc) each(pid uint32, dir string, left *int, fn func(os.DirEntry)) {
	file, err := f.open(pid, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return
	}
	defer file.Close() //nolint:errcheck // nothing was written
	for *left > 0 {
		entries, err := file.ReadDir(min(batch, *left))
		*left -= len(entries)
		for _, e := range entries {
			fn(e)
		}
		if err != nil || len(entries) == 0 {
			return
		}
	}
}
