package action

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// place is a name in a directory that is held open: whatever a workload does to the path
// meanwhile, what is done to the place is done in that directory.
type place struct {
	dir  *os.File
	name string
	path string      // as the one who opened it would write it
	pin  *ProcessPin // by whose eyes; nil: the host's
}

func (p *place) close() { _ = p.dir.Close() }

func (p *place) String() string {
	if p.pin != nil {
		return fmt.Sprintf("%s of process %d", p.path, p.pin.PID)
	}
	return p.path
}

// stat looks at what stands there; a symbolic link is itself.
func (p *place) stat() (*unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(p.dir.Fd()), p.name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
	return &st, err
}

// openPlace opens the directory of a path below root. No symbolic link on the way is followed: the
// one who can set one must not choose what is acted on.
func openPlace(root *os.File, path string, pin *ProcessPin) (*place, error) {
	clean := filepath.Clean(path)
	if !filepath.IsAbs(path) || clean == "/" || strings.ContainsRune(path, 0) {
		return nil, fmt.Errorf("%w: %q is no path of a file: write it whole, from /", ErrInvalid, path)
	}
	parent, name := filepath.Split(clean)
	rel := strings.Trim(parent, "/")
	if rel == "" {
		rel = "."
	}
	how := &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	var fd int
	var err error
	for range 16 { // a rename elsewhere on the way makes it EAGAIN
		if fd, err = unix.Openat2(int(root.Fd()), rel, how); !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, fmt.Errorf("%s leads over a symbolic link: name the file by the path that it really has", path)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return nil, fmt.Errorf("%w: there is no directory %s", ErrGone, parent)
	case err != nil:
		return nil, fmt.Errorf("opening directory %s: %w", parent, err)
	}
	return &place{dir: os.NewFile(uintptr(fd), parent), name: name, path: clean, pin: pin}, nil
}

// hostPlace opens a path of the host's file system.
func hostPlace(path string) (*place, error) {
	root, err := os.OpenFile("/", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // only a handle
	return openPlace(root, path, nil)
}

// placeOf opens a path as a process sees it, in its container. Where the host has the same file by a
// path of its own, that is the place: it stays when the container ends.
func placeOf(pin *ProcessPin, path string) (*place, error) {
	root, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", pin.PID), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: process %d has ended", ErrGone, pin.PID)
	}
	defer root.Close()      //nolint:errcheck // only a handle
	if !sameLife("", pin) { // asked after the root was opened: so it is that process's
		return nil, fmt.Errorf("%w: process %d is another one now", ErrGone, pin.PID)
	}
	p, err := openPlace(root, path, pin)
	if err != nil {
		return nil, err
	}
	if h := p.onHost(); h != nil {
		p.close()
		return h, nil
	}
	return p, nil
}

// onHost finds the place in the host's file system, by the mount that it lies on; nil where it is
// mounted for the process alone.
func (p *place) onHost() *place {
	st, err := p.stat()
	if err != nil {
		return nil
	}
	var sx unix.Statx_t
	if unix.Statx(int(p.dir.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &sx) != nil || sx.Mask&unix.STATX_MNT_ID == 0 {
		return nil
	}
	var inside string // the path within the mount's own file system
	var device string
	for _, m := range mounts(fmt.Sprintf("/proc/%d/mountinfo", p.pin.PID)) {
		if rest, ok := below(m.point, p.path); ok && m.id == sx.Mnt_id {
			inside, device = filepath.Join(m.root, rest), m.device
		}
	}
	if device == "" {
		return nil
	}
	for _, m := range mounts("/proc/self/mountinfo") {
		rest, ok := below(m.root, inside)
		if !ok || m.device != device {
			continue
		}
		h, err := hostPlace(filepath.Join(m.point, rest))
		if err != nil {
			continue
		}
		if hst, err := h.stat(); err == nil && hst.Dev == st.Dev && hst.Ino == st.Ino {
			return h
		}
		h.close()
	}
	return nil
}

// below returns what follows dir in path.
func below(dir, path string) (rest string, ok bool) {
	if dir == "/" || dir == path {
		return strings.TrimPrefix(path, dir), true
	}
	return strings.CutPrefix(path, dir+"/")
}

type mount struct {
	id                  uint64
	device, root, point string
}

// mounts reads a mountinfo: at most 16 MiB of it, the rest is as if not mounted.
func mounts(file string) []mount {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // only read from
	var all []mount
	for s := bufio.NewScanner(io.LimitReader(f, 16<<20)); s.Scan(); {
		w := strings.Fields(s.Text())
		if len(w) < 5 {
			continue
		}
		id, _ := strconv.ParseUint(w[0], 10, 64)
		all = append(all, mount{id: id, device: w[2], root: unescaped(w[3]), point: unescaped(w[4])})
	}
	return all
}

// unescaped undoes what the kernel writes as \ooo.
func unescaped(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// sameLife reports whether a pin's process is still the one that was meant. stat is what its
// /proc/PID/stat says, "" to have it read.
func sameLife(stat string, pin *ProcessPin) bool {
	if pin.BootID != "" {
		boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if strings.TrimSpace(string(boot)) != pin.BootID {
			return false
		}
	}
	if stat == "" {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pin.PID))
		if err != nil {
			return false
		}
		stat = string(b)
	}
	_, start, state := statFields(stat)
	return state != "Z" && state != "X" && (pin.Start == 0 || start == pin.Start)
}

// statFields returns the parent, the start and the state out of a /proc/PID/stat. The name in it is
// the program's own choice and may hold brackets: the fields are counted from the last one.
func statFields(stat string) (ppid int, start uint64, state string) {
	w := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(w) < 20 {
		return 0, 0, ""
	}
	ppid, _ = strconv.Atoi(w[1])
	start, _ = strconv.ParseUint(w[19], 10, 64)
	return ppid, start, w[0]
}
