package enforce

import "golang.org/x/sys/unix"

// changingHere are those of changingEverywhere that newer processors never had.
var changingHere = map[uint32]bpfChangingCall{
	unix.SYS_OPEN: {Dir: noArg, Path: 0}, unix.SYS_CREAT: {Dir: noArg, Path: 0}, unix.SYS_MKDIR: {Dir: noArg, Path: 0},
	unix.SYS_MKNOD: {Dir: noArg, Path: 0}, unix.SYS_RMDIR: {Dir: noArg, Path: 0}, unix.SYS_UNLINK: {Dir: noArg, Path: 0},
	unix.SYS_SYMLINK: {Dir: noArg, Path: 1}, unix.SYS_LINK: {Dir: noArg, Path: 1}, unix.SYS_RENAME: {Dir: noArg, Path: 1},
	unix.SYS_CHMOD: {Dir: noArg, Path: 0}, unix.SYS_CHOWN: {Dir: noArg, Path: 0}, unix.SYS_LCHOWN: {Dir: noArg, Path: 0},
	unix.SYS_UTIME: {Dir: noArg, Path: 0}, unix.SYS_UTIMES: {Dir: noArg, Path: 0}, unix.SYS_FUTIMESAT: {Dir: 0, Path: 1},
}
