package enforce

import (
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Of a violation's access, as in refused.h.
const (
	inTree = 1 << iota
	hasPath
	isCut
)

// resolveCached is RESOLVE_CACHED, which x/sys lacks: nothing is asked of a file system.
const resolveCached = 0x20

// noArg stands for an argument that a call does not have.
const noArg = 7

// changingEverywhere are the system calls that change what a path or a descriptor leads to, on all
// processors: which argument is the directory or descriptor, which the path. Of two paths it is the
// second: both lie on one mount, or the call fails otherwise.
var changingEverywhere = map[uint32]bpfChangingCall{
	unix.SYS_OPENAT: {Dir: 0, Path: 1}, unix.SYS_OPENAT2: {Dir: 0, Path: 1}, unix.SYS_MKDIRAT: {Dir: 0, Path: 1},
	unix.SYS_MKNODAT: {Dir: 0, Path: 1}, unix.SYS_UNLINKAT: {Dir: 0, Path: 1}, unix.SYS_SYMLINKAT: {Dir: 1, Path: 2},
	unix.SYS_RENAMEAT: {Dir: 2, Path: 3}, unix.SYS_RENAMEAT2: {Dir: 2, Path: 3}, unix.SYS_LINKAT: {Dir: 2, Path: 3},
	unix.SYS_FCHMODAT: {Dir: 0, Path: 1}, unix.SYS_FCHMODAT2: {Dir: 0, Path: 1}, unix.SYS_FCHOWNAT: {Dir: 0, Path: 1},
	unix.SYS_UTIMENSAT: {Dir: 0, Path: 1}, unix.SYS_TRUNCATE: {Dir: noArg, Path: 0},
	unix.SYS_SETXATTR: {Dir: noArg, Path: 0}, unix.SYS_LSETXATTR: {Dir: noArg, Path: 0},
	unix.SYS_REMOVEXATTR: {Dir: noArg, Path: 0}, unix.SYS_LREMOVEXATTR: {Dir: noArg, Path: 0},
	unix.SYS_FCHMOD: {Dir: 0, Path: noArg}, unix.SYS_FCHOWN: {Dir: 0, Path: noArg},
	unix.SYS_FSETXATTR: {Dir: 0, Path: noArg}, unix.SYS_FREMOVEXATTR: {Dir: 0, Path: noArg},
}

// listChanging tells the kernel which calls are looked at when they end with EROFS.
func (e *Enforcer) listChanging() error {
	for _, calls := range []map[uint32]bpfChangingCall{changingEverywhere, changingHere} {
		for nr, args := range calls {
			if err := e.maps["changing"].Put(nr, &args); err != nil {
				return fmt.Errorf("list the calls that change files: %w", err)
			}
		}
	}
	return nil
}

// refused returns what a read-only mount of ours kept from being changed, and false where another
// mount did: a container may have read-only ones of its own.
func (e *Enforcer) refused(v *bpfViolation) (string, bool) {
	said := text(v.Path[:])
	if v.Access&isCut != 0 {
		said += "…"
	}
	e.mu.Lock()
	b := e.bound[binary.NativeEndian.Uint64(v.Addr[:])]
	if b == nil {
		e.mu.Unlock()
		return "", false
	}
	sealed, mounts := slices.Clone(b.sealed), b.mounts
	dir, err := unix.FcntlInt(uintptr(b.dir), unix.F_DUPFD_CLOEXEC, 0)
	e.mu.Unlock()
	if err != nil {
		return "", false
	}
	defer unix.Close(dir) //nolint:errcheck // nothing was written
	within := func(at string) bool {
		return slices.ContainsFunc(sealed, func(s string) bool {
			return at == s || strings.HasPrefix(at, strings.TrimSuffix(s, "/")+"/")
		})
	}
	switch {
	case path.IsAbs(said):
		said = path.Clean(said)
	case v.Access&inTree != 0: // the kernel saw where it starts
		at := e.kept(v.Ino, v.Dev)
		if v.Major > 0 {
			at = path.Join(at, "…")
		}
		if said = path.Join(at, said); within(said) {
			return said, true
		}
	default: // of one that has ended the root is as good a guess as any
		from := fmt.Sprintf("/proc/%d/fd/%d", v.Tgid, int32(v.Minor))
		if int32(v.Minor) == unix.AT_FDCWD {
			from = fmt.Sprintf("/proc/%d/cwd", v.Tgid)
		}
		start, _ := os.Readlink(from)
		said = path.Join("/", start, said)
	}
	if within(said) {
		return said, true
	}
	return said, slices.ContainsFunc([]string{said, path.Dir(said)}, func(p string) bool { return mounts[mountOf(dir, p)] })
}

// mountOf returns the mount that a path leads to, 0 where that cannot be told without asking a file
// system: one may be in the hands of who wrote the path.
func mountOf(dir int, p string) uint64 {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | resolveCached}
	fd, err := unix.Openat2(dir, p, &how)
	if err != nil {
		return 0
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	var sx unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &sx) != nil {
		return 0
	}
	return sx.Mnt_id
}
