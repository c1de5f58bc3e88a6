package kernel

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// inRoot splits a path below another process's root, /proc/PID/root/…, at that root.
func inRoot(path string) (root, rest string, ok bool) {
	after, ok := strings.CutPrefix(path, "/proc/")
	if !ok {
		return "", "", false
	}
	pid, rest, ok := strings.Cut(after, "/root")
	if !ok || pid == "" || strings.Trim(pid, "0123456789") != "" || rest != "" && rest[0] != '/' {
		return "", "", false
	}
	return "/proc/" + pid + "/root", "/" + strings.TrimLeft(rest, "/"), true
}

// openIn opens a path. Below another process's root, links lead to where they lead that process,
// never to files of ours.
func openIn(path string, flags uint64) (*os.File, error) {
	dir, how := unix.AT_FDCWD, unix.OpenHow{Flags: flags | unix.O_CLOEXEC}
	name := path
	if root, rest, ok := inRoot(path); ok {
		fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: root, Err: err}
		}
		defer unix.Close(fd) //nolint:errcheck // nothing was written
		dir, name, how.Resolve = fd, rest, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS
	}
	fd, err := unix.Openat2(dir, name, &how)
	for tries := 0; errors.Is(err, unix.EAGAIN) && tries < 8; tries++ { // something was renamed on the way
		fd, err = unix.Openat2(dir, name, &how)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd)), nil
}

// statIn looks at what a path leads to, by the same rules and without opening it.
func statIn(path string) (st unix.Stat_t, err error) {
	f, err := openIn(path, unix.O_PATH)
	if err != nil {
		return st, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return st, unix.Fstat(int(f.Fd()), &st)
}
