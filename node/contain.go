package node

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"picket/policy"
	"picket/respond/action"
	"picket/sensor/enforce"
)

// containment is what acts know and do of this host's processes, by way of sensor/enforce.
type containment struct {
	boot     string
	groups   *enforce.Cgroups
	enforcer func() (*enforce.Enforcer, error) // made when it is first needed
}

// It is all that the acts ask for.
var _ interface {
	action.Freezer
	action.Killer
	action.Isolator
	action.Cutter
	action.Excluder
} = (*containment)(nil)

// unlike is an error with a text of its own that counts as another one.
type unlike struct {
	error
	is error
}

func (u unlike) Unwrap() error { return u.is }

// known turns errors of sensor/enforce into those of acts.
func (c *containment) known(cgroup string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, enforce.ErrProtected):
		return unlike{err, action.ErrProtected}
	case errors.Is(err, enforce.ErrGone):
		return unlike{err, action.ErrGone}
	case cgroup != "" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV)):
		if _, there := c.groups.ID(cgroup); there != nil { // not a file of it that this kernel lacks
			return unlike{fmt.Errorf("there is no cgroup %s", cgroup), action.ErrGone}
		}
	}
	return err
}

// BootID is the kernel's id of this boot.
func (c *containment) BootID() string { return c.boot }

// Process returns what a process is.
func (c *containment) Process(pid int, start uint64) (action.Process, error) {
	p, err := c.groups.Process(pid, start)
	return processOf(p), c.known("", err)
}

// Spares refuses a process by a program that it ran.
func (c *containment) Spares(pid int, exe string) error {
	return c.known("", c.groups.Spares(pid, exe))
}

// Lineage returns a process and all that it started.
func (c *containment) Lineage(pid int, start uint64) ([]action.Process, error) {
	all, err := c.groups.Descendants(pid, start)
	return processesOf(all), c.known("", err)
}

// Members returns what runs in a cgroup and below it.
func (c *containment) Members(cgroup string) (uint64, []action.Process, error) {
	if policy.Guarded(cgroup) {
		return 0, nil, unlike{fmt.Errorf("cgroup %s holds the host together: nothing is done to it", cgroup), action.ErrProtected}
	}
	all, err := c.groups.Processes(cgroup)
	if err != nil {
		return 0, nil, c.known(cgroup, err)
	}
	id, err := c.groups.ID(cgroup)
	return id, processesOf(all), c.known(cgroup, err)
}

func processesOf(all []enforce.Process) []action.Process {
	out := make([]action.Process, len(all))
	for i, p := range all {
		out[i] = processOf(p)
	}
	return out
}

func processOf(p enforce.Process) action.Process {
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.PID)) // of a kernel thread, or of one that ended, there is none
	return action.Process{PID: p.PID, Start: p.Start, Name: p.Name, Exe: exe, Cgroup: p.Cgroup}
}

// Container finds a container's cgroup. Of several that bear its name the outermost counts: a
// container may name those within its own as it likes.
func (c *containment) Container(id string) (string, error) {
	var found []string
	err := c.groups.Walk(func(cgroup string) {
		if !action.IsContainers(path.Base(cgroup), id) {
			return
		}
		switch {
		case len(found) > 0 && strings.Count(cgroup, "/") < strings.Count(found[0], "/"):
			found = []string{cgroup}
		case len(found) == 0 || strings.Count(cgroup, "/") == strings.Count(found[0], "/"):
			found = append(found, cgroup)
		}
	})
	switch {
	case err != nil:
		return "", err
	case len(found) == 0:
		return "", unlike{errors.New("no cgroup of v2 on this host is that of the container"), action.ErrGone}
	case len(found) > 1:
		return "", unlike{fmt.Errorf("%d cgroups bear that name: %s: name the one that is meant", len(found), strings.Join(found[:2], ", ")), action.ErrInvalid}
	}
	return found[0], nil
}

// inside pins a process of a container, by whose eyes paths in it are read.
func (c *containment) inside(id string) (*action.ProcessPin, error) {
	cgroup, err := c.Container(id)
	if err != nil {
		return nil, err
	}
	_, all, err := c.Members(cgroup)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, action.ErrGone
	}
	return &action.ProcessPin{BootID: c.boot, PID: all[0].PID, Start: all[0].Start}, nil
}

// Gather puts a lineage into cgroups of its own.
func (c *containment) Gather(pid int, start uint64) ([]string, error) {
	l, err := c.groups.Gather(pid, start)
	return l.Cgroups, c.known("", err)
}

// Gathered finds the cgroups that Gather made.
func (c *containment) Gathered(pid int, start uint64) ([]string, error) {
	return c.groups.Gathered(pid, start)
}

// Scatter puts a lineage back, but for what is frozen, cut off or kept from GPUs.
func (c *containment) Scatter(cgroups []string) error {
	var all []error
	for _, g := range cgroups {
		frozen, err := c.groups.Frozen(g)
		if err != nil {
			continue // it is gone
		}
		barred, _ := c.groups.GPUsBarred(g)
		if isolated, err := c.Isolated(g); frozen || isolated || barred || err != nil {
			all = append(all, err)
			continue
		}
		all = append(all, c.groups.Scatter([]string{g}))
	}
	return errors.Join(all...)
}

// Freeze stops a cgroup where it stands.
func (c *containment) Freeze(cgroup string) error { return c.known(cgroup, c.groups.Freeze(cgroup)) }

// Thaw lets a cgroup go on, whichever run froze it.
func (c *containment) Thaw(cgroup string) error {
	ours, err := c.groups.Thaw(cgroup)
	if err == nil && !ours {
		err = c.groups.ThawLeft(cgroup)
	}
	return err
}

// Frozen reports whether all of a cgroup stands still.
func (c *containment) Frozen(cgroup string) (bool, error) { return c.groups.Frozen(cgroup) }

// Kill ends all of a cgroup.
func (c *containment) Kill(cgroup string) (int, error) {
	n, err := c.groups.Kill(cgroup)
	return n, c.known(cgroup, err)
}

// KillProcess ends one process.
func (c *containment) KillProcess(pid int, start uint64) error {
	return c.known("", c.groups.KillProcess(pid, start))
}

// Isolate cuts a cgroup off the network.
func (c *containment) Isolate(cgroup string, until time.Time) error {
	e, err := c.enforcer()
	if err == nil {
		err = e.Isolate(cgroup, until)
	}
	return c.known(cgroup, err)
}

// Restore lets packets of a cgroup pass. That of an earlier run ended with it.
func (c *containment) Restore(cgroup string) error {
	id, err := c.groups.ID(cgroup)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	e, err := c.enforcer()
	if err == nil {
		e.Restore(id)
	}
	return err
}

// Isolated reports whether a cgroup is cut off.
func (c *containment) Isolated(cgroup string) (bool, error) {
	id, err := c.groups.ID(cgroup)
	if err != nil {
		return false, c.known(cgroup, err)
	}
	e, err := c.enforcer()
	return err == nil && e.Isolated(id), err
}

// BarGPUs keeps a cgroup from opening GPUs.
func (c *containment) BarGPUs(cgroup string) error { return c.known(cgroup, c.groups.BarGPUs(cgroup)) }

// AdmitGPUs lets a cgroup open GPUs again.
func (c *containment) AdmitGPUs(cgroup string) error { return c.groups.AdmitGPUs(cgroup) }

// GPUsBarred reports whether a cgroup is kept from GPUs.
func (c *containment) GPUsBarred(cgroup string) (bool, error) {
	is, err := c.groups.GPUsBarred(cgroup)
	return is, c.known(cgroup, err)
}

// OpenGPUs names the GPUs that a process has open.
func (c *containment) OpenGPUs(pid int) []string { return enforce.OpenGPUs(pid) }

// Connections lists what a cgroup has open, in words.
func (c *containment) Connections(cgroup string, peer netip.Prefix, port uint16) ([]string, error) {
	all, err := c.groups.Connections(cgroup, enforce.Filter{Peer: peer, Port: port})
	out := make([]string, len(all))
	for i, x := range all {
		out[i] = fmt.Sprintf("%s %s to %s", x.Protocol, x.Local, x.Remote)
	}
	return out, c.known(cgroup, err)
}

// Cut resets connections of a cgroup.
func (c *containment) Cut(cgroup string, peer netip.Prefix, port uint16) (int, error) {
	all, err := c.groups.Cut(cgroup, enforce.Filter{Peer: peer, Port: port})
	return len(all), c.known(cgroup, err)
}
