package enforce

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"picket/sensor/kernel"
)

// Cgroups acts on cgroups of v2 as a whole: it freezes, kills, cuts connections. Its methods may be
// called at the same time. Each act may be repeated, and its effect can be looked at.
type Cgroups struct {
	root string // where cgroup v2 is mounted

	freezing sync.Mutex
	keepers  map[string]*keeper // of the cgroups that we froze
	ready    bool               // a keeper is to be at hand
	spare    chan *keeper       // for the next; nil: none is kept at hand

	bars bars
}

// OpenCgroups finds where cgroup v2 is mounted.
func OpenCgroups() (*Cgroups, error) {
	root := kernel.CgroupRoot()
	if root == "" {
		return nil, ErrNoCgroup
	}
	return &Cgroups{root: root, keepers: map[string]*keeper{}}, nil
}

// ID returns the id of a cgroup, the inode of its directory.
func (c *Cgroups) ID(cgroup string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(c.root+cgroup, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: c.root + cgroup, Err: err}
	}
	return st.Ino, nil
}

// target returns the directory of a cgroup that something may be done to.
func (c *Cgroups) target(cgroup string) (string, error) {
	if !path.IsAbs(cgroup) || path.Clean(cgroup) != cgroup {
		return "", fmt.Errorf("%q is no path of a cgroup: want one such as /system.slice/ollama.service", cgroup)
	}
	if _, err := c.ID(cgroup); err != nil {
		return "", err
	}
	return c.root + cgroup, c.protects(cgroup)
}

// Process is one that an act would hit. PID and Start together are no other's until the next boot.
type Process struct {
	PID    int    `json:"pid"`
	Start  uint64 `json:"start"` // ticks since boot
	Name   string `json:"name"`
	Cgroup string `json:"cgroup"`
}

// Processes returns what runs in a cgroup and in those below it. It refuses those that hold what
// the host does not run without: nothing is ever done to them.
func (c *Cgroups) Processes(cgroup string) ([]Process, error) {
	if _, err := c.target(cgroup); err != nil {
		return nil, err
	}
	return c.processes(cgroup)
}

func (c *Cgroups) processes(cgroup string) ([]Process, error) {
	out := []Process{}
	err := c.walk(cgroup, func(dir string) error {
		pids, err := procs(c.root + dir)
		for _, pid := range pids {
			if p, err := processOf(pid); err == nil {
				out = append(out, p)
			}
		}
		return err
	})
	return out, err
}

// Walk calls f for each cgroup there is.
func (c *Cgroups) Walk(f func(cgroup string)) error {
	return c.walk("", func(cgroup string) error {
		f(cgroup)
		return nil
	})
}

// walk calls f for a cgroup and those below it. What vanishes meanwhile is left out.
func (c *Cgroups) walk(cgroup string, f func(cgroup string) error) error {
	return filepath.WalkDir(c.root+cgroup, func(dir string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = f(strings.TrimPrefix(dir, c.root))
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return nil
		}
		return err
	})
}

// procs reads who is in a cgroup.
func procs(dir string) ([]int, error) {
	b, err := os.ReadFile(dir + "/cgroup.procs")
	if err != nil {
		return nil, err
	}
	var out []int
	for s := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(s); err == nil && pid > 0 { // 0 is one of another pid namespace
			out = append(out, pid)
		}
	}
	return out, nil
}

// Why nothing is done to a process or a cgroup.
var (
	ErrGone      = errors.New("the process is gone")
	ErrProtected = errors.New("nothing is done to it")
)

// Process returns what a process is. It refuses one that the host does not run without. A start of 0
// stands for whatever process has the number.
func (c *Cgroups) Process(pid int, start uint64) (Process, error) {
	p, err := processOf(pid)
	if err == nil && start != 0 && p.Start != start {
		err = ErrGone
	}
	if err != nil {
		return p, fmt.Errorf("process %d: %w", pid, err)
	}
	host, _ := os.Readlink("/proc/self/ns/mnt") // "" fits no process
	if why := guards(pid, host); why != "" {
		return p, fmt.Errorf("process %d is %s: %w", pid, why, ErrProtected)
	}
	return p, nil
}

// Close lets go of what was frozen.
func (c *Cgroups) Close() error {
	c.bars.close()
	return c.thawAll()
}

// processOf reads what a process is. One that has ended and was not waited for is gone.
func processOf(pid int) (Process, error) {
	p := Process{PID: pid}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, ErrGone
	}
	open, end := strings.IndexByte(string(b), '('), strings.LastIndexByte(string(b), ')')
	if open < 0 || end < open {
		return p, fmt.Errorf("/proc/%d/stat is not understood", pid)
	}
	rest := strings.Fields(string(b[end+1:]))
	if len(rest) < 20 || rest[0] == "Z" || rest[0] == "X" {
		return p, ErrGone
	}
	p.Name = string(b[open+1 : end])
	if p.Start, err = strconv.ParseUint(rest[19], 10, 64); err != nil {
		return p, fmt.Errorf("/proc/%d/stat: start: %w", pid, err)
	}
	if b, err = os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid)); err != nil {
		return p, ErrGone
	}
	for line := range strings.Lines(string(b)) {
		if of, ok := strings.CutPrefix(line, "0::"); ok {
			p.Cgroup = strings.TrimSuffix(of, "\n")
		}
	}
	return p, nil
}
