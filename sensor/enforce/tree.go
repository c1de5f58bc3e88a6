package enforce

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	maxTrees   = 512     // of one cgroup, those that its paths led to before included
	maxNames   = 4096    // files of one directory that have a second name
	maxEntries = 1 << 17 // of one directory that are looked at for it
)

// tree is a model directory as the kernel knows it. It stays open: no other gets its inode number.
type tree struct {
	key   bpfTree
	path  string
	fd    int
	files map[bpfTree]string // in it, that have a second name somewhere: their name in it
}

type bpfTree = lsmTreeKey

func (b *binding) forget() {
	for _, t := range b.trees {
		_ = unix.Close(t.fd)
	}
	b.trees = nil
}

// plant makes the kernel keep the directories that paths lead to. One that was kept is kept on when
// its path leads elsewhere: who may rename the directory above must not get at it by that.
func (e *Enforcer) plant(id uint64, b *binding, paths []string) error {
	b.trees = slices.DeleteFunc(b.trees, func(t tree) bool {
		var st unix.Stat_t
		gone := !slices.Contains(paths, t.path) || unix.Fstat(t.fd, &st) != nil || st.Nlink == 0
		if gone {
			e.uproot(&t)
		}
		return gone
	})
	if len(paths) == 0 {
		return nil
	}
	found := map[int]string{}
	for _, p := range paths {
		if fd, err := openBelow(b.dir, p, unix.O_PATH|unix.O_DIRECTORY); err == nil {
			found[fd] = p
		}
	}
	seen, err := e.descriptors()
	for fd, p := range found {
		key := bpfTree{Cgroup: id, Ino: seen[uint32(fd)].Ino, Dev: seen[uint32(fd)].Dev}
		has := slices.ContainsFunc(b.trees, func(t tree) bool { return t.key == key })
		if err != nil || key.Ino == 0 || has {
			_ = unix.Close(fd)
			continue
		}
		t := tree{key: key, path: p, fd: fd, files: map[bpfTree]string{}}
		if err = e.grow(&t, len(b.trees)); err != nil {
			e.uproot(&t)
			continue
		}
		b.trees = append(b.trees, t)
	}
	return err
}

// grow writes a directory into the kernel's table, then the files in it that have a second name.
func (e *Enforcer) grow(t *tree, others int) error {
	if others >= maxTrees {
		return fmt.Errorf("models.paths led to %d directories, and no more are kept", maxTrees)
	}
	if err := e.maps["trees"].Put(&t.key, uint32(1)); err != nil {
		return fmt.Errorf("keep %s as it is: %w", t.path, err)
	}
	if r := e.climbed["enforce-models"]; r != nil && r.name == sealedBy {
		return nil // it has no say about other names
	}
	files, err := manyNames(t.root())
	if err != nil {
		return fmt.Errorf("keep %s as it is: %w", t.path, err)
	}
	for len(files) > 0 {
		n := min(len(files), batch)
		if err := e.keepFiles(t, files[:n]); err != nil {
			return fmt.Errorf("keep %s as it is: %w", t.path, err)
		}
		files = files[n:]
	}
	return nil
}

func (e *Enforcer) keepFiles(t *tree, files []string) error {
	fds := map[int]string{}
	defer func() {
		for fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	for _, f := range files {
		if fd, err := unix.Open(f, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
			fds[fd] = strings.TrimPrefix(f, t.root())
		}
	}
	seen, err := e.descriptors()
	if err != nil {
		return err
	}
	for fd, name := range fds {
		o := seen[uint32(fd)]
		key := bpfTree{Cgroup: t.key.Cgroup, Ino: o.Ino, Dev: o.Dev}
		if err := e.maps["trees"].Put(&key, uint32(1)); err != nil {
			return err
		}
		t.files[key] = name
	}
	return nil
}

var errMany = errors.New("it holds too much to look for files with a second name")

// manyNames finds the files below a directory that have a second name, by which they could be written.
func manyNames(dir string) (out []string, err error) {
	n := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if n++; n > maxEntries || len(out) > maxNames {
			return errMany
		}
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // what vanished, or cannot be read, has no second name that we know
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
			out = append(out, path)
		}
		return nil
	})
	return out, err
}

func (e *Enforcer) uproot(t *tree) {
	_ = e.maps["trees"].Delete(&t.key) // it is there, or as good as gone
	for k := range t.files {
		_ = e.maps["trees"].Delete(&k)
	}
	_ = unix.Close(t.fd)
}

// root is a path to the directory that leads there whatever its name is.
func (t *tree) root() string { return fmt.Sprintf("/proc/self/fd/%d/", t.fd) }

// below writes the path of what was acted on: of what the kernel keeps, and the last names below it
// that a violation has.
func (e *Enforcer) below(v *bpfViolation) string {
	names := []string{text(v.Path[:leaf]), text(v.Path[leaf : leaf+above]), text(v.Path[leaf+above:])}
	shown := min(int(v.Major), len(names))
	dir := e.kept(v.Ino, v.Dev)
	if dir == "" {
		dir, shown = "…", max(shown, 1) // it was let go of since, or lies too deep
	} else if int(v.Major) > shown {
		dir += "/…"
	}
	names = names[:shown]
	slices.Reverse(names)
	return strings.Join(append([]string{dir}, names...), "/")
}

// kept is the path of a directory or file that the kernel keeps, "" of others.
func (e *Enforcer) kept(ino uint64, dev uint32) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range e.bound {
		for _, t := range b.trees {
			dir := strings.TrimSuffix(t.path, "/")
			if t.key.Ino == ino && t.key.Dev == dev {
				return dir
			}
			for k, name := range t.files {
				if k.Ino == ino && k.Dev == dev {
					return dir + "/" + name
				}
			}
		}
	}
	return ""
}

// The bytes of a violation's path that hold the last name, and those above, as in lsm.bpf.c.
const leaf, above = 112, 72
