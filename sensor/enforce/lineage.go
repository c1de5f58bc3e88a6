package enforce

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Lineage is a process with its descendants, in cgroups of their own.
type Lineage struct {
	Cgroups []string `json:"cgroups"` // made, each below the one where its processes were
	// Lost counts members that ended just as they were to be moved: what they had started may have
	// got away.
	Lost int `json:"lost,omitempty"`
}

// maxPasses bounds how often descendants are looked for; with each pass those that are left were
// started by fewer.
const maxPasses = 100

// Descendants returns a process and all that it started, directly or not. It refuses one that holds
// what the host does not run without. A start of 0 stands for whatever process has the number.
func (c *Cgroups) Descendants(pid int, start uint64) ([]Process, error) {
	var out []Process
	err := descend(pid, start, func(p Process) error {
		out = append(out, p)
		return nil
	})
	return out, err
}

// Gather moves a process and its descendants into cgroups of their own, so that they can be acted
// on apart from what else runs beside them. Each such cgroup is made below the one where its
// processes are: limits and policies go on to hold, and Scatter needs to know nothing else. What
// they start belongs to it. None is moved if one of them is protected.
func (c *Cgroups) Gather(pid int, start uint64) (Lineage, error) {
	var l Lineage
	if _, err := c.Descendants(pid, start); err != nil {
		return l, fmt.Errorf("gather: %w", err)
	}
	root, err := processOf(pid)
	if err != nil {
		return l, fmt.Errorf("gather process %d: %w", pid, err)
	}
	name := lineageName(pid, root.Start)
	for range maxPasses {
		moved := 0
		err := descend(pid, root.Start, func(p Process) error {
			to := p.Cgroup
			if path.Base(to) != name {
				to = path.Join(p.Cgroup, name)
				ok, err := c.move(p, to)
				if err != nil {
					return err
				}
				if moved++; !ok {
					l.Lost++
				}
			}
			if !slices.Contains(l.Cgroups, to) {
				l.Cgroups = append(l.Cgroups, to)
			}
			return nil
		})
		if errors.Is(err, ErrGone) && len(l.Cgroups) > 0 { // its first process ended: the others are held
			return l, nil
		}
		if err != nil {
			return l, fmt.Errorf("gather process %d: %w", pid, errors.Join(err, c.Scatter(l.Cgroups)))
		}
		if moved == 0 {
			return l, nil
		}
	}
	return l, fmt.Errorf("gather process %d: it starts others faster than they are caught: %w", pid, c.Scatter(l.Cgroups))
}

// lineageName is that of the cgroups that Gather makes.
func lineageName(pid int, start uint64) string { return fmt.Sprintf("picket-%d-%d", pid, start) }

// Gathered returns the cgroups that Gather made for a process, also in an earlier run of the program.
func (c *Cgroups) Gathered(pid int, start uint64) ([]string, error) {
	var out []string
	err := c.walk("", func(dir string) error {
		if path.Base(dir) == lineageName(pid, start) {
			out = append(out, dir)
		}
		return nil
	})
	return out, err
}

// move puts a process into a cgroup. It reports false for one that has ended.
func (c *Cgroups) move(p Process, to string) (bool, error) {
	if err := os.Mkdir(c.root+to, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return false, err
	}
	err := writeExisting(c.root+to+"/cgroup.procs", strconv.Itoa(p.PID))
	if errors.Is(err, unix.ESRCH) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("move it: %w", err)
	}
	if now, err := processOf(p.PID); err == nil && now.Start != p.Start { // another got its number
		return false, writeExisting(c.root+path.Dir(to)+"/cgroup.procs", strconv.Itoa(p.PID))
	}
	return true, nil
}

// Scatter puts the processes of cgroups that Gather made back where they were, and removes those.
func (c *Cgroups) Scatter(cgroups []string) error {
	var all []error
	for _, g := range cgroups {
		if !strings.HasPrefix(path.Base(g), "picket-") {
			all = append(all, fmt.Errorf("put back: cgroup %s was not made by Picket", g))
			continue
		}
		if _, err := c.Thaw(g); err != nil {
			all = append(all, err)
		}
		all = append(all, c.dissolve(g, path.Dir(g)))
	}
	return errors.Join(all...)
}

// dissolve moves what is in a cgroup, and in those that were made below it, to another, and removes it.
func (c *Cgroups) dissolve(g, to string) error {
	var err error
	for start := time.Now(); time.Since(start) < settle; time.Sleep(time.Millisecond) { // those that end hold it a while longer
		var dirs []string
		if err = c.walk(g, func(dir string) error { dirs = append(dirs, dir); return nil }); err != nil {
			break
		}
		for _, dir := range slices.Backward(dirs) { // the deepest first
			pids, _ := procs(c.root + dir)
			for _, pid := range pids {
				_ = writeExisting(path.Join(c.root, to, "cgroup.procs"), strconv.Itoa(pid)) // it may have ended
			}
			err = unix.Rmdir(c.root + dir)
		}
		if err == nil || vanished(err) {
			return nil
		}
	}
	return fmt.Errorf("put the processes of cgroup %s back: %w", g, err)
}

// descend calls f for a process, and then for each that it has started, so that what is done to one
// is done before its children are looked at.
func descend(pid int, start uint64, f func(Process) error) error {
	host, _ := os.Readlink("/proc/self/ns/mnt") // "" fits no process
	first, err := processOf(pid)
	if err == nil && start != 0 && first.Start != start {
		err = ErrGone
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	todo := []Process{first}
	for ; len(todo) > 0; todo = todo[1:] {
		p := todo[0]
		if why := guards(p.PID, host); why != "" {
			return fmt.Errorf("process %d is %s: %w", p.PID, why, ErrProtected)
		}
		if err := f(p); err != nil {
			return err
		}
		for _, child := range children(p.PID) {
			if q, err := processOf(child); err == nil {
				todo = append(todo, q)
			}
		}
	}
	return nil
}

// children reads whom the threads of a process started.
func children(pid int) (out []int) {
	dir := fmt.Sprintf("/proc/%d/task/", pid)
	threads, _ := os.ReadDir(dir) // one that ended has none
	for _, t := range threads {
		b, _ := os.ReadFile(dir + t.Name() + "/children")
		for s := range strings.FieldsSeq(string(b)) {
			if n, err := strconv.Atoi(s); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}
