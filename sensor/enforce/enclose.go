package enforce

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// enclosure marks a cgroup that Enclose made, so that the next run knows it for one of ours. Who is
// not root on the host can neither read nor set it.
const enclosure = "trusted.picket"

// Enclose gives a container that only cgroup v1 tells apart a cgroup of its own in v2, under the
// path that it has there, and moves its processes to it. Limits stay those of v1. A process that is
// in v2 elsewhere than in the root is left alone. Called again it takes in what came since: what a
// runtime starts in the container comes to the root first. What the processes start themselves is in it.
func (c *Cgroups) Enclose(cgroup string) error {
	if !path.IsAbs(cgroup) || path.Clean(cgroup) != cgroup || cgroup == "/" || strings.Count(cgroup, "/") > maxLevels {
		return fmt.Errorf("enclose: %q is no path of a container's cgroup", cgroup)
	}
	if err := c.makeMarked(cgroup); err != nil {
		return fmt.Errorf("enclose: %w", err)
	}
	tried := map[Process]bool{}
	for range maxPasses {
		moved := 0
		for _, p := range c.outside(cgroup) {
			if tried[p] {
				continue // it is ending
			}
			tried[p] = true
			if _, err := c.move(p, cgroup); err != nil {
				return fmt.Errorf("enclose process %d: %w", p.PID, errors.Join(err, c.discloseEmpty(cgroup)))
			}
			moved++
		}
		if moved == 0 { // a child is born where its parent is: none was born outside since
			return c.discloseEmpty(cgroup)
		}
	}
	return fmt.Errorf("enclose %s: its processes start others faster than they are caught", cgroup)
}

// maxLevels is how deep below the root a policy may stand, as LEVELS in enforce.h.
const maxLevels = 16

// makeMarked makes a cgroup and those above that are missing, and marks what it made.
func (c *Cgroups) makeMarked(cgroup string) error {
	for end := 1; end <= len(cgroup); end++ {
		if end < len(cgroup) && cgroup[end] != '/' {
			continue
		}
		at := cgroup[:end]
		err := os.Mkdir(c.root+at, 0o755)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err == nil {
			err = unix.Setxattr(c.root+at, enclosure, []byte("1"), 0)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("make cgroup %s: %w", at, err), c.removeMarked(at))
		}
	}
	return nil
}

// outside returns the processes of a container that are in the root of v2.
func (c *Cgroups) outside(cgroup string) (out []Process) {
	host, _ := os.Readlink("/proc/self/ns/mnt") // "" fits no process
	entries, _ := os.ReadDir("/proc")
	for _, d := range entries {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || !inV1(pid, cgroup) || guards(pid, host) != "" {
			continue
		}
		if p, err := processOf(pid); err == nil && p.Cgroup == "/" {
			out = append(out, p)
		}
	}
	return out
}

// inV1 reports whether a hierarchy of cgroup v1 has a process in a cgroup or below it.
func inV1(pid int, cgroup string) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid)) // one that is gone is nowhere
	for line := range strings.Lines(string(b)) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, at, _ := strings.Cut(rest, ":")
		if controllers != "" && (at == cgroup || strings.HasPrefix(at, cgroup+"/")) {
			return true
		}
	}
	return false
}

// Enclosed reports whether Enclose made a cgroup, in this run or an earlier one.
func (c *Cgroups) Enclosed(cgroup string) bool {
	n, err := unix.Getxattr(c.root+cgroup, enclosure, make([]byte, 8))
	return err == nil && n > 0
}

// Disclose puts the processes of a cgroup that Enclose made back into the root, and removes it. It
// does nothing to others.
func (c *Cgroups) Disclose(cgroup string) error {
	if !c.Enclosed(cgroup) {
		return nil
	}
	if _, err := c.Thaw(cgroup); err != nil {
		return err
	}
	if err := c.dissolve(cgroup, "/"); err != nil {
		return err
	}
	return c.removeMarked(path.Dir(cgroup))
}

// discloseEmpty removes a cgroup that Enclose made and in which nothing runs.
func (c *Cgroups) discloseEmpty(cgroup string) error {
	if list, err := c.processes(cgroup); err != nil || len(list) > 0 {
		return err
	}
	return errors.Join(fmt.Errorf("enclose %s: no process of it is in the root of cgroup v2", cgroup), c.Disclose(cgroup))
}

// removeMarked removes a cgroup that was made for others below, and those above it, as far as they
// are empty.
func (c *Cgroups) removeMarked(cgroup string) error {
	for ; cgroup != "/" && c.Enclosed(cgroup); cgroup = path.Dir(cgroup) {
		if err := unix.Rmdir(c.root + cgroup); err != nil {
			if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOTEMPTY) || vanished(err) {
				return nil // another container's lies below
			}
			return fmt.Errorf("remove cgroup %s: %w", cgroup, err)
		}
	}
	return nil
}
