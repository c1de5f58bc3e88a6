package enforce

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sealedBy is the rung of models where there is no LSM: fanotify does not tell reading from writing,
// a mount that is read-only does. It takes a workload with mounts of its own.
const sealedBy = "mount_setattr"

// The attributes of a seal. Nobody else has use for both: by them the next agent knows the seals of
// one that was killed.
const (
	sealAttrs = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODIRATIME
	sealFlags = unix.ST_RDONLY | unix.ST_NODIRATIME
)

// trySeal reports whether a read-only mount can be made. What it makes is attached nowhere.
func trySeal() error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: sealAttrs}); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	return nil
}

// seal puts a read-only mount over each path, and takes it off those that are no longer named, in
// every mount namespace that a process of the cgroup has.
func (e *Enforcer) seal(b *binding, paths []string) error {
	if len(paths) == 0 && len(b.sealed) == 0 {
		return nil
	}
	spaces, err := e.spaces(b.target.Cgroup)
	if err != nil && len(paths) > 0 {
		return err
	}
	var all []error
	mounts := map[uint64]bool{}
	for _, pid := range spaces {
		for _, p := range b.sealed {
			if !slices.Contains(paths, p) {
				all = append(all, unseal(pid, p))
			}
		}
		for _, p := range paths {
			id, err := sealOne(pid, p)
			mounts[id] = err == nil
			all = append(all, err)
		}
	}
	delete(mounts, 0)
	b.sealed, b.mounts = slices.Clone(paths), mounts
	return errors.Join(all...)
}

// spaces returns a process of each mount namespace that processes of a cgroup have. It fails where
// one is the host's.
func (e *Enforcer) spaces(cgroup string) (pids []string, err error) {
	host, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return nil, fmt.Errorf("look for mount namespaces: %w", err)
	}
	seen := map[string]bool{}
	walked := e.walk(cgroup, func(dir string) error {
		members, _ := procs(e.root + dir) // none, where it is gone
		for _, pid := range members {
			space, gone := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
			if gone != nil || seen[space] {
				continue
			}
			if seen[space] = true; space == host {
				err = fmt.Errorf("models: process %d of cgroup %s shares the host's mounts: without LSM they are kept read-only in containers only; mode: observe tells what changes", pid, cgroup)
				continue
			}
			pids = append(pids, strconv.Itoa(pid))
		}
		return nil
	})
	return pids, errors.Join(err, walked)
}

// onTop opens what a path leads to for a process, and returns the seal that lies there, 0 for none. It
// returns -1 where nothing is.
func onTop(pid, p string) (fd int, seal uint64, err error) {
	root, err := unix.Open("/proc/"+pid+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, 0, nil //nolint:nilerr // the process is gone
	}
	defer unix.Close(root) //nolint:errcheck // nothing was written
	if fd, err = openBelow(root, p, unix.O_PATH|unix.O_DIRECTORY); err != nil {
		return -1, 0, nil //nolint:nilerr // nothing is there yet
	}
	var st unix.Statfs_t
	var sx unix.Statx_t
	if err := errors.Join(unix.Fstatfs(fd, &st), unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &sx)); err != nil {
		_ = unix.Close(fd)
		return -1, 0, fmt.Errorf("models: look at %s: %w", p, err)
	}
	if st.Flags&sealFlags != sealFlags || sx.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return fd, 0, nil
	}
	return fd, sx.Mnt_id, nil
}

// sealOne puts a seal over a path, unless one lies there, and returns it.
func sealOne(pid, p string) (seal uint64, err error) {
	fd, seal, err := onTop(pid, p)
	if fd < 0 {
		return 0, err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	if seal != 0 {
		return seal, nil
	}
	if shared(pid, fd) {
		return 0, fmt.Errorf("models: %s lies on a mount that is shared with others: a read-only mount over it would reach them; mount it private, or slave", p)
	}
	err = inside(pid, p, func() error {
		tree, err := unix.OpenTree(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return fmt.Errorf("open_tree: %w", err)
		}
		defer unix.Close(tree) //nolint:errcheck // nothing was written
		attr := unix.MountAttr{Attr_set: sealAttrs, Propagation: unix.MS_PRIVATE}
		if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
			return fmt.Errorf("mount_setattr: %w", err)
		}
		if err := unix.MoveMount(tree, "", fd, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
			return fmt.Errorf("move_mount: %w", err)
		}
		var sx unix.Statx_t
		if unix.Statx(tree, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &sx) == nil {
			seal = sx.Mnt_id
		}
		return nil
	})
	return seal, err
}

func unseal(pid, p string) error {
	fd, seal, err := onTop(pid, p)
	if fd < 0 {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	if seal == 0 {
		return nil
	}
	return inside(pid, p, func() error {
		if err := unix.Fchdir(fd); err != nil {
			return fmt.Errorf("go there: %w", err)
		}
		if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
			return fmt.Errorf("umount: %w", err)
		}
		return nil
	})
}

// shared reports whether what is mounted over a directory would be mounted elsewhere too.
func shared(pid string, fd int) bool {
	var sx unix.Statx_t
	b, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil || unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &sx) != nil {
		return true // it cannot be told
	}
	id := fmt.Sprint(sx.Mnt_id)
	for line := range strings.Lines(string(b)) {
		mine, rest, _ := strings.Cut(line, " ")
		options, _, _ := strings.Cut(rest, " - ")
		if mine == id {
			return strings.Contains(options, " shared:")
		}
	}
	return true
}

// inside runs f on a thread in a process's mount namespace. The thread ends with it: it is of no
// other use. The main thread, which ends with the process only, is kept out.
func inside(pid, p string, f func() error) error {
	done := make(chan error)
	var run func()
	run = func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			inner := make(chan bool)
			go func() { defer close(inner); run() }()
			<-inner
			runtime.UnlockOSThread()
			return
		}
		done <- enter(pid, f)
	}
	go run()
	if err := <-done; err != nil {
		return fmt.Errorf("models: %s of process %s: %w", p, pid, err)
	}
	return nil
}

// errOther keeps the host's mounts from being changed.
var errOther = errors.New("its number went to a process with the host's mounts")

func enter(pid string, f func() error) error {
	space, err := unix.Open("/proc/"+pid+"/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	defer unix.Close(space) //nolint:errcheck // nothing was written
	var there, host unix.Stat_t
	if err := errors.Join(unix.Fstat(space, &there), unix.Stat("/proc/self/ns/mnt", &host)); err != nil || there.Ino == host.Ino {
		return errors.Join(errOther, err)
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(space, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	return f()
}
