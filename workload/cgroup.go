package workload

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

const (
	maxCgroups   = 16 << 10
	keepCgroup   = 5 * time.Minute
	walkInterval = 10 * time.Second
)

// cgroups resolves cgroup ids to paths and containers, and remembers them: a container that has
// ended is known for five minutes more.
type cgroups struct {
	mount   string // of cgroup v2, "" where there is none
	byID    map[uint64]*cgroup
	walked  time.Time
	handles bool // whether ids can be opened as file handles
}

type cgroup struct {
	path      string
	container *event.Container
	hand      *event.Container // for processes in namespaces of their own
	used      time.Time
}

func newCgroups(mount string) *cgroups {
	return &cgroups{mount: mount, byID: map[uint64]*cgroup{}, handles: true}
}

// put remembers what a cgroup id stands for.
func (c *cgroups) put(id uint64, path string, cont *event.Container, now time.Time) *cgroup {
	if len(c.byID) >= maxCgroups {
		c.expire(now, walkInterval)
	}
	if len(c.byID) >= maxCgroups {
		clear(c.byID) // all in use: what is needed is looked up again
	}
	g := &cgroup{path: path, container: cont, used: now}
	c.byID[id] = g
	return g
}

// expire forgets cgroups that were not used for a while.
func (c *cgroups) expire(now time.Time, keep time.Duration) {
	for id, g := range c.byID {
		if now.Sub(g.used) >= keep {
			delete(c.byID, id)
		}
	}
}

// path asks the cgroup file system for the path of an id: by file handle, which costs one system
// call, else by walking the mount, where the inode number is the id, at most every ten seconds.
func (c *cgroups) path(id uint64, now time.Time) (string, bool) {
	if c.mount == "" || id == 0 {
		return "", false
	}
	if p, ok := c.open(id); ok {
		return p, true
	}
	if c.handles || now.Sub(c.walked) < walkInterval && !c.walked.IsZero() {
		return "", false
	}
	c.walked = now
	c.walk(now)
	g, ok := c.byID[id]
	if !ok {
		return "", false
	}
	return g.path, true
}

const kernfsHandle = 0xfe // FILEID_KERNFS

func (c *cgroups) open(id uint64) (string, bool) {
	if !c.handles {
		return "", false
	}
	dir, err := unix.Open(c.mount, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		c.handles = false
		return "", false
	}
	defer unix.Close(dir) //nolint:errcheck // opened for reading
	fd, err := unix.OpenByHandleAt(dir, unix.NewFileHandle(kernfsHandle, binary.NativeEndian.AppendUint64(nil, id)), unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		c.handles = errors.Is(err, unix.ESTALE) // any other error: this kernel or these capabilities cannot
		return "", false
	}
	defer unix.Close(fd) //nolint:errcheck // opened for reading
	p, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "", false
	}
	return c.relative(strings.TrimSuffix(p, " (deleted)")), true
}

func (c *cgroups) relative(p string) string {
	p = strings.TrimPrefix(p, strings.TrimSuffix(c.mount, "/"))
	if p == "" {
		return "/"
	}
	return p
}

// walk learns every cgroup below the mount, up to the bound.
func (c *cgroups) walk(now time.Time) {
	_ = filepath.WalkDir(c.mount, func(p string, d fs.DirEntry, err error) error { // what cannot be read is skipped
		if err != nil || !d.IsDir() {
			return nil
		}
		if len(c.byID) >= maxCgroups {
			return fs.SkipAll
		}
		st, err := d.Info()
		if err != nil {
			return nil
		}
		if id, ok := idOf(st); ok && c.byID[id.ino] == nil {
			rel := c.relative(p)
			c.put(id.ino, rel, containerOf(rel), now)
		}
		return nil
	})
}

// containerOf reads a path alone, without knowing the process.
func containerOf(path string) *event.Container {
	if c, ok := parseCgroup(path); ok {
		return &c
	}
	return nil
}

// cgroupMount finds the cgroup v2 mount in a mountinfo file; "" where there is none.
func cgroupMount(mountinfo string) string {
	f, err := os.Open(mountinfo)
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // opened for reading
	for lines := bufio.NewScanner(f); lines.Scan(); {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		if !ok || !strings.HasPrefix(after, "cgroup2 ") {
			continue
		}
		if fields := strings.Fields(before); len(fields) > 4 {
			return fields[4]
		}
	}
	return ""
}
