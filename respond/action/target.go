package action

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"strings"
)

// Process is one that an act would reach.
type Process struct {
	PID    int
	Start  uint64 // ticks since boot
	Name   string
	Exe    string
	Cgroup string
}

// Host finds what targets stand for. What is not there fails with ErrGone, what holds init, a
// container runtime, the kubelet, sshd or Picket with ErrProtected. A start of 0 stands for whatever
// process has the number now.
type Host interface {
	BootID() string
	Process(pid int, start uint64) (Process, error)
	Lineage(pid int, start uint64) ([]Process, error) // a process and all that it started
	Members(cgroup string) (id uint64, all []Process, err error)
	Container(id string) (cgroup string, err error)
	// Spares fails with ErrProtected where a process that runs what the host does not run without is
	// not to be touched, by the program that it ran.
	Spares(pid int, exe string) error
}

// Lineages puts a process and what it started into cgroups of their own, so that they can be acted on
// apart from what runs beside them. Gathered finds those that Gather made, also in an earlier run;
// Scatter puts back what is in them, but for those in which another act holds something.
type Lineages interface {
	Gather(pid int, start uint64) (cgroups []string, err error)
	Gathered(pid int, start uint64) (cgroups []string, err error)
	Scatter(cgroups []string) error
}

const (
	maxHits = 200 // of a plan, in words
	maxPath = 4096
)

var containerID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)

// String names the target for people.
func (t Target) String() string {
	var s string
	switch {
	case t.Container != "":
		s = "container " + t.Container
	case t.Cgroup != "":
		s = "cgroup " + t.Cgroup
	case t.Process != nil:
		s = fmt.Sprintf("process %d", t.Process.PID) + t.Process.runs()
		if t.Lineage {
			s += " and what it started"
		}
	case t.File != nil:
		s = "file " + t.File.Path
	case t.Object != nil:
		s = t.Object.String()
	default:
		s = "host " + t.Host
	}
	if t.Address != "" {
		s += " to " + t.Address
	}
	return s
}

// key tells targets apart.
func (t Target) key() string {
	switch {
	case t.Cgroup != "":
		return fmt.Sprintf("cgroup %s %d", t.Cgroup, t.CgroupID)
	case t.Process != nil:
		return fmt.Sprintf("process %d %d", t.Process.PID, t.Process.Start)
	case t.File != nil:
		return fmt.Sprintf("file %s %d %d", t.File.Path, t.File.Dev, t.File.Inode)
	case t.Object != nil:
		return t.Object.Of + " " + t.Object.String() + " " + t.Object.UID
	}
	return t.String()
}

// check says what is wrong with a target of processes, before the host is asked.
func (t Target) check() error {
	switch {
	case t.File != nil:
		return fmt.Errorf("%w: it acts on processes, not on files", ErrInvalid)
	case t.Object != nil:
		return fmt.Errorf("%w: it acts on processes, not on a %s", ErrInvalid, t.Object.Kind)
	case t.Process != nil && (t.Cgroup != "" || t.Container != ""), t.Process == nil && t.Cgroup == "" && t.Container == "":
		return fmt.Errorf("%w: want a process, a cgroup or a container, one of them", ErrInvalid)
	case t.Process != nil && t.Process.PID <= 0:
		return fmt.Errorf("%w: process %d: want a number from 1", ErrInvalid, t.Process.PID)
	case t.Lineage && t.Process == nil:
		return fmt.Errorf("%w: a lineage is that of a process", ErrInvalid)
	case t.Container != "" && !containerID.MatchString(t.Container):
		return fmt.Errorf("%w: container %q: want its id", ErrInvalid, t.Container)
	case t.Cgroup != "" && (!path.IsAbs(t.Cgroup) || path.Clean(t.Cgroup) != t.Cgroup || len(t.Cgroup) > maxPath || strings.ContainsRune(t.Cgroup, 0)):
		return fmt.Errorf("%w: cgroup %q: want a path below the mount of cgroup v2, such as /system.slice/ollama.service", ErrInvalid, t.Cgroup)
	}
	if t.Address != "" {
		if _, err := network(t.Address); err != nil {
			return err
		}
	}
	return nil
}

// network reads an address or a network; "" is none.
func network(s string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%w: address %q: want one such as 192.0.2.7, or a network such as 192.0.2.0/24", ErrInvalid, s)
	}
	return p.Masked(), nil
}

// pin finds what a target stands for now. What was pinned before must be the same still.
func pin(h Host, t Target) (Target, []Process, error) {
	if err := t.check(); err != nil {
		return t, nil, err
	}
	if t.Process != nil {
		return pinProcess(h, t)
	}
	cgroup := t.Cgroup
	if t.Container != "" && (t.CgroupID == 0 || !IsContainers(path.Base(cgroup), t.Container)) { // else it was found before
		c, err := h.Container(t.Container)
		if err != nil {
			return t, nil, fmt.Errorf("container %s: %w", t.Container, err)
		}
		if cgroup != "" && cgroup != c {
			return t, nil, fmt.Errorf("container %s is in cgroup %s now, not in %s: %w", t.Container, c, cgroup, ErrGone)
		}
		cgroup = c
	}
	id, all, err := h.Members(cgroup)
	if err != nil {
		return t, nil, err
	}
	if t.CgroupID != 0 && t.CgroupID != id {
		return t, nil, fmt.Errorf("cgroup %s was made anew: %w", cgroup, ErrGone)
	}
	t.Cgroup, t.CgroupID = cgroup, id
	return t, all, nil
}

func pinProcess(h Host, t Target) (Target, []Process, error) {
	p := *t.Process
	if p.BootID != "" && p.BootID != h.BootID() {
		return t, nil, fmt.Errorf("process %d was of another boot of the host: %w", p.PID, ErrGone)
	}
	var all []Process
	var err error
	if t.Lineage {
		all, err = h.Lineage(p.PID, p.Start)
	} else {
		all = make([]Process, 1)
		all[0], err = h.Process(p.PID, p.Start)
	}
	if err != nil {
		return t, nil, err
	}
	for _, ran := range []string{p.Was, p.Exe} { // what it runs now was looked at with its lineage
		if ran == "" {
			continue
		}
		if err := h.Spares(p.PID, Program(ran)); err != nil {
			return t, nil, err
		}
	}
	p.BootID, p.Start = h.BootID(), all[0].Start
	p.run(all[0].Exe)
	t.Process = &p
	return t, all, nil
}

// run notes the program that the process runs now, "" where that cannot be told. An exec makes it no
// other process: it keeps its descriptors, connections and children, and who would get away by it is the
// one who is meant.
func (p *ProcessPin) run(now string) {
	if now == "" {
		return
	}
	if p.Was == "" && Program(p.Exe) != Program(now) {
		p.Was = p.Exe
	}
	p.Exe = now
	if Program(p.Was) == Program(now) {
		p.Was = ""
	}
}

// groups is what acts that hold by cgroup need of a host.
type groups interface {
	Host
	Lineages
}

// needsGroup refuses a process alone, for acts that hold by cgroup.
func needsGroup(k Kind, t Target) error {
	if t.Process != nil && !t.Lineage {
		return fmt.Errorf("%w: %s holds for cgroups: ask for the process with all that it started (--lineage), or for its cgroup", ErrInvalid, k)
	}
	return nil
}

// gather returns the cgroups of a target, which is checked once more. A lineage is put into its own.
func gather(h groups, t Target) ([]string, error) {
	t, _, err := pin(h, t)
	if err != nil {
		return nil, err
	}
	if t.Process != nil {
		return h.Gather(t.Process.PID, t.Process.Start)
	}
	return []string{t.Cgroup}, nil
}

// gathered returns the cgroups of a target that an act holds, as far as they are there.
func gathered(h groups, t Target) ([]string, error) {
	if t.Process != nil {
		if t.Process.BootID != h.BootID() {
			return nil, nil
		}
		return h.Gathered(t.Process.PID, t.Process.Start)
	}
	id, _, err := h.Members(t.Cgroup)
	if errors.Is(err, ErrGone) || err == nil && id != t.CgroupID {
		return nil, nil
	}
	return []string{t.Cgroup}, err
}

// scatter puts a lineage back where it was.
func scatter(h groups, t Target, cgroups []string) error {
	if t.Process == nil || len(cgroups) == 0 {
		return nil
	}
	return h.Scatter(cgroups)
}

// each calls f for each cgroup, all of them whatever fails.
func each(cgroups []string, f func(string) error) error {
	var all []error
	for _, c := range cgroups {
		all = append(all, f(c))
	}
	return errors.Join(all...)
}

// hits names processes for people.
func hits(all []Process) []string {
	out := make([]string, 0, min(len(all), maxHits+1))
	for i, p := range all {
		if i == maxHits {
			return append(out, fmt.Sprintf("and %d more", len(all)-maxHits))
		}
		name := fmt.Sprintf("%d %s", p.PID, p.Name)
		if p.Exe != "" {
			name += " " + p.Exe
		}
		out = append(out, name)
	}
	return out
}

// count writes how many there are of something.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func processes(n int) string { return count(n, "process", "processes") }

// shortID is a container's id as tools show it.
var shortID = regexp.MustCompile(`^[0-9a-f]{12,63}$`)

// IsContainers reports whether a cgroup's name is that of a container: the id alone, or as runtimes
// write it: docker-ID.scope, cri-containerd:ID, lxc.payload.ID.
func IsContainers(name, id string) bool {
	name = strings.TrimSuffix(name, ".scope")
	if strings.Contains(name, "conmon") {
		return false
	}
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		name = name[i+1:]
	}
	if name == id || strings.TrimPrefix(name, "lxc.payload.") == id || strings.HasSuffix(name, "-"+id) {
		return true
	}
	last := name[strings.LastIndexByte(name, '-')+1:]
	return shortID.MatchString(id) && len(last) == 64 && strings.HasPrefix(last, id)
}
