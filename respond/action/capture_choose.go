package action

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// life is one process, by its directory in /proc.
type life struct {
	PID    int    `json:"pid"`
	Parent int    `json:"parent"`
	Start  uint64 `json:"start"`
	State  string `json:"state"`
	Name   string `json:"name"`
	Cgroup string `json:"cgroup"` // in v2
	dir    *os.File
}

// choose finds the processes of a target that was pinned, and pins one that was not.
func choose(t Target) (Target, []*life, error) {
	if t.Process == nil && t.Cgroup == "" && t.Container == "" {
		return t, nil, fmt.Errorf("%w: capture wants a process, a cgroup or a container", ErrInvalid)
	}
	if t.Container != "" && len(t.Container) < 12 {
		return t, nil, fmt.Errorf("%w: container %q: want its id, whole", ErrInvalid, t.Container)
	}
	all := everyLife()
	byPID := map[int]*life{}
	for _, l := range all {
		byPID[l.PID] = l
	}
	t, meant, err := meantBy(t, byPID)
	if err != nil {
		return t, nil, err
	}
	var chosen []*life
	for _, l := range all {
		if !meant(l) {
			continue
		}
		if held, err := openLife(l.PID); err == nil && held.Start == l.Start {
			chosen = append(chosen, held)
		}
	}
	if len(chosen) == 0 {
		return t, nil, fmt.Errorf("%w: no process of it runs", ErrGone)
	}
	return t, chosen, nil
}

// meantBy returns whether a process belongs to a target.
func meantBy(t Target, byPID map[int]*life) (Target, func(*life) bool, error) {
	if t.Process != nil {
		pin := *t.Process
		l := byPID[pin.PID]
		if l == nil || pin.BootID != "" && pin.BootID != bootID() || pin.Start != 0 && pin.Start != l.Start {
			return t, nil, fmt.Errorf("%w: process %d", ErrGone, pin.PID)
		}
		pin.BootID, pin.Start = bootID(), l.Start
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pin.PID)) // a kernel thread has none
		pin.run(exe)
		t.Process = &pin
		return t, func(other *life) bool { return other == l || t.Lineage && descendsFrom(other, l, byPID) }, nil
	}
	if t.CgroupID != 0 {
		if id := cgroupID(t.Cgroup); id != t.CgroupID {
			return t, nil, fmt.Errorf("%w: cgroup %s", ErrGone, t.Cgroup)
		}
	} else if t.Cgroup != "" {
		t.CgroupID = cgroupID(t.Cgroup)
	}
	return t, func(l *life) bool {
		if t.Cgroup != "" {
			_, in := below(filepath.Clean(t.Cgroup), l.Cgroup)
			return in
		}
		return inContainer(l.Cgroup, t.Container)
	}, nil
}

// descendsFrom follows the parents; a parent that was started later is another one with its number.
func descendsFrom(l, from *life, byPID map[int]*life) bool {
	for range 1000 {
		parent := byPID[l.Parent]
		if parent == nil || parent.Start > l.Start {
			return false
		}
		if parent == from {
			return true
		}
		l = parent
	}
	return false
}

// inContainer reports whether a cgroup is a container's, or lies in one.
func inContainer(cgroup, id string) bool {
	for part := range strings.SplitSeq(cgroup, "/") {
		if part != "" && IsContainers(part, id) {
			return true
		}
	}
	return false
}

// cgroupID is the inode of a cgroup's directory, 0 where there is none.
func cgroupID(path string) uint64 {
	for _, mount := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		var fs unix.Statfs_t
		if unix.Statfs(mount, &fs) != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(filepath.Join(mount, path), &st) == nil {
			return st.Ino
		}
	}
	return 0
}

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// everyLife looks at every process there is, and holds none open: there may be more than one may have
// files open.
func everyLife() []*life {
	entries, _ := os.ReadDir("/proc")
	var all []*life
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if l, err := openLife(pid); err == nil {
			_ = l.dir.Close()
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b *life) int { return a.PID - b.PID })
	return all
}

func openLife(pid int) (*life, error) {
	dir, err := os.OpenFile(fmt.Sprintf("/proc/%d", pid), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	l := &life{PID: pid, dir: dir}
	stat, err := l.read("stat", 4<<10)
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	l.Parent, l.Start, l.State = statFields(string(stat))
	if open := bytes.IndexByte(stat, '('); open >= 0 {
		l.Name = oneLine(string(stat[open+1:max(open+1, bytes.LastIndexByte(stat, ')'))]), 64)
	}
	groups, _ := l.read("cgroup", 64<<10)
	for line := range strings.SplitSeq(string(groups), "\n") {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			l.Cgroup = path
		}
	}
	return l, nil
}

// open opens a file of the process's directory. After the process has ended it fails, also where
// another one has its number.
func (l *life) open(name string) (*os.File, error) {
	fd, err := unix.Openat(int(l.dir.Fd()), name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// read returns a file of the process's directory, at most so much of it.
func (l *life) read(name string, most int64) ([]byte, error) {
	f, err := l.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	return io.ReadAll(io.LimitReader(f, most))
}

func (l *life) link(name string) (string, error) {
	text := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(l.dir.Fd()), name, text)
	if err != nil {
		return "", err
	}
	return string(text[:n]), nil
}

func (l *life) list(name string) ([]string, error) {
	f, err := l.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	return f.Readdirnames(maxFiles)
}

func closeAll(lives []*life) {
	for _, l := range lives {
		_ = l.dir.Close()
	}
}
