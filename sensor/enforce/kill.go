package enforce

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// vanished reports whether a cgroup was removed while it was acted on.
func vanished(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) }

// Kill ends each process of a cgroup, and of those below, and returns how many there were. Those
// that start meanwhile end too. An empty cgroup, or one that goes while it is emptied, is killed.
func (c *Cgroups) Kill(cgroup string) (int, error) {
	dir, err := c.target(cgroup)
	if err != nil {
		return 0, fmt.Errorf("kill: %w", err)
	}
	list, err := c.processes(cgroup)
	if err != nil {
		return 0, fmt.Errorf("kill: %w", err)
	}
	err = writeExisting(dir+"/cgroup.kill", "1")
	if _, there := c.ID(cgroup); errors.Is(err, fs.ErrNotExist) && there == nil { // before Linux 5.14
		err = c.sweep(cgroup)
	}
	if err != nil && !vanished(err) {
		return 0, fmt.Errorf("kill: %w", err)
	}
	for start := time.Now(); time.Since(start) < settle; time.Sleep(time.Millisecond) {
		if empty, err := c.happens(cgroup, "populated 0"); empty || vanished(err) {
			return len(list), nil
		}
	}
	return len(list), fmt.Errorf("kill: cgroup %s: a process that waits for a device has not ended yet; it will when that answers", cgroup)
}

// KillProcess ends one process, and returns when it has ended. One that is gone is killed.
func (c *Cgroups) KillProcess(pid int, start uint64) error {
	p, err := c.Process(pid, start)
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err == nil {
		err = signal(p)
	}
	if err != nil {
		return fmt.Errorf("kill: %w", err)
	}
	for begin := time.Now(); time.Since(begin) < settle; time.Sleep(time.Millisecond) {
		if now, err := processOf(pid); err != nil || now.Start != p.Start {
			return nil
		}
	}
	return fmt.Errorf("kill: process %d waits for a device and has not ended yet; it will when that answers", pid)
}

// sweep signals until none is left. The cgroup is frozen for it where that can be, so that none
// forks away; SIGKILL reaches the frozen.
func (c *Cgroups) sweep(cgroup string) error {
	freeze := c.root + cgroup + "/cgroup.freeze"
	if writeExisting(freeze, "1") == nil {
		defer writeExisting(freeze, "0") //nolint:errcheck // it is there, or the cgroup is gone
	}
	for start := time.Now(); time.Since(start) < settle; time.Sleep(time.Millisecond) {
		list, err := c.processes(cgroup)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, p := range list {
			if err := signal(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// signal kills one process and never another that got its number.
func signal(p Process) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.PID, err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	if now, err := processOf(p.PID); err != nil || now.Start != p.Start {
		return nil // it is gone
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	return nil
}

// writeExisting writes to a file of a cgroup, which is never made by that.
func writeExisting(file, s string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(s)
	return errors.Join(err, f.Close())
}
