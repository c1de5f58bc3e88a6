package enforce

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

// gatedBy is the rung of private directories. It works with LSM and without.
const gatedBy = "fanotify"

const (
	maxGates = 64   // fanotify groups: the kernel gives a user 128 by default
	maxDirs  = 8192 // below one private directory
)

// place is a directory by the file system it is on, as stat has it.
type place struct{ dev, ino uint64 }

// local are the file systems on which the kernel opens a file without asking anybody: on the others
// it would be us who wait.
var local = []int64{
	unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC,
	unix.RAMFS_MAGIC, unix.EROFS_SUPER_MAGIC_V1, unix.SQUASHFS_MAGIC, 0x2fc12fc1, // the last is ZFS
}

// shutTo are directories without which a host does not run: they are private to nobody.
var shutTo = []string{"/", "/etc", "/usr", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/dev", "/proc", "/sys", "/run", "/tmp", "/var", "/var/lib", "/var/log", "/home", "/root", "/opt", "/srv"}

// reserve keeps the private directories of bound policies for the workloads that are under them, and
// opens those of others. A directory that several policies name is for the workloads of all.
func (e *Enforcer) reserve() error {
	type wanted struct {
		path    string
		fd      int
		cgroups []string
		until   time.Time // zero for never
	}
	want := map[place]*wanted{}
	defer func() {
		for _, w := range want {
			_ = unix.Close(w.fd)
		}
	}()
	var all []error
	for _, b := range e.bound {
		r := e.policies[b.name].rules
		if !r.Enforce {
			continue
		}
		for _, p := range r.Private {
			fd, at, err := askedDir(b.dir, p)
			if err != nil || fd < 0 {
				all = append(all, err)
				continue
			}
			w := want[at]
			if w == nil {
				w = &wanted{path: p, fd: fd, until: r.Until}
				want[at] = w
			} else {
				_ = unix.Close(fd)
			}
			w.cgroups = append(w.cgroups, b.target.Cgroup)
			if r.Until.IsZero() || !w.until.IsZero() && w.until.Before(r.Until) {
				w.until = r.Until
			}
		}
	}
	for at, g := range e.gates {
		if want[at] == nil {
			all = append(all, g.close())
			delete(e.gates, at)
		}
	}
	for at, w := range want {
		g := e.gates[at]
		if g == nil {
			if len(e.gates) >= maxGates {
				all = append(all, fmt.Errorf("models: %s: more than %d directories are private", w.path, maxGates))
				continue
			}
			var err error
			if g, err = e.newGate(0); err != nil {
				all = append(all, err)
				continue
			}
			e.gates[at] = g
		}
		slices.Sort(w.cgroups)
		rules := &gateRules{cgroups: w.cgroups, until: w.until, rule: event.RulePrivate, policy: e.policyOf(w.cgroups[0])}
		rules.judge = func(pid, _ int) ruling { return ruling{allowed: rules.mayOpen(pid)} }
		g.rules.Store(rules)
		if err := g.markTree(w.fd); err != nil {
			all = append(all, fmt.Errorf("models: keep %s private: %w", w.path, err))
		}
	}
	return errors.Join(all...)
}

// policyOf is the policy that a cgroup is under.
func (e *Enforcer) policyOf(cgroup string) string {
	for _, b := range e.bound {
		if b.target.Cgroup == cgroup {
			return b.name
		}
	}
	return ""
}

// askedDir opens a directory of which the kernel may ask who opens files in it. It returns -1 where
// nothing is yet. No link may lead there: who can write one could make any directory such a one.
func askedDir(root int, p string) (int, place, error) {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(root, p, &how)
	if errors.Is(err, unix.ENOENT) {
		return -1, place{}, nil
	}
	if errors.Is(err, unix.ELOOP) {
		return -1, place{}, fmt.Errorf("models: a link leads to %s: name the directory itself", p)
	}
	if err != nil {
		return -1, place{}, fmt.Errorf("models: open %s: %w", p, err)
	}
	var fs unix.Statfs_t
	var st unix.Stat_t
	err = errors.Join(unix.Fstatfs(fd, &fs), unix.Fstat(fd, &st))
	if err == nil && !slices.Contains(local, fs.Type) {
		err = errors.New("its file system asks others when a file is opened (FUSE, NFS and the like): nobody may wait for that")
	}
	for _, dir := range shutTo {
		var of unix.Stat_t
		if err == nil && unix.Stat(dir, &of) == nil && of.Dev == st.Dev && of.Ino == st.Ino {
			err = fmt.Errorf("it is the host's %s", dir)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, place{}, fmt.Errorf("models: the kernel cannot ask who opens files in %s: %w", p, err)
	}
	return fd, place{st.Dev, st.Ino}, nil
}

// markTree makes the kernel ask for each file that is opened in a directory, and in those below on
// the same mount.
func (g *gate) markTree(root int) error {
	dirs := []string{"."}
	for i := 0; i < len(dirs); i++ {
		if len(dirs) > maxDirs {
			return fmt.Errorf("more than %d directories lie in it", maxDirs)
		}
		how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV}
		fd, err := unix.Openat2(root, dirs[i], &how)
		if err != nil {
			continue // it is gone, or another mount
		}
		f := os.NewFile(uintptr(fd), dirs[i])
		err = g.mark(0, unix.FAN_OPEN_PERM|unix.FAN_EVENT_ON_CHILD, fd, "")
		entries, _ := f.ReadDir(-1) // what could be read
		_ = f.Close()
		if err != nil {
			return err
		}
		for _, d := range entries {
			if d.IsDir() {
				dirs = append(dirs, path.Join(dirs[i], d.Name()))
			}
		}
	}
	return nil
}

// mayOpen reports whether a process may open what is private to others. Where it cannot be told, it
// may: the process is gone, or out of our sight.
func (r *gateRules) mayOpen(pid int) bool {
	at, ok := cgroupOf(pid)
	return !ok || r.over() || r.has(at)
}

// holds reports whether the rules are for a process.
func (r *gateRules) holds(pid int) bool {
	at, ok := cgroupOf(pid)
	return ok && !r.over() && r.has(at)
}

func (r *gateRules) over() bool { return !r.until.IsZero() && !time.Now().Before(r.until) }

func (r *gateRules) has(at string) bool {
	return slices.ContainsFunc(r.cgroups, func(c string) bool { return at == c || strings.HasPrefix(at, c+"/") })
}

// cgroupOf returns the cgroup of v2 that a process is in.
func cgroupOf(pid int) (string, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	_, v2, ok := strings.Cut("\n"+string(b), "\n0::")
	v2, _, _ = strings.Cut(v2, "\n")
	return v2, ok && err == nil
}
