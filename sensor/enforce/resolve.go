package enforce

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

const (
	maxPrograms = 4096 // of one cgroup, patterns written out
	batch       = 128  // files that are open at a time
)

// How a program may be used, as in exec.h.
const (
	anyUse     = 1
	forScripts = 2
)

// resolve finds the files that paths lead to below a root, as the kernel knows them. Paths that
// lead nowhere allow nothing.
func (e *Enforcer) resolve(id uint64, dir int, paths []string) (map[bpfProgramKey]uint32, map[bpfScriptKey]bool, error) {
	programs, scripts := map[bpfProgramKey]uint32{}, map[bpfScriptKey]bool{}
	var all []string
	for _, p := range paths {
		all = append(all, expand(dir, p)...)
	}
	if len(all) > maxPrograms {
		return nil, nil, fmt.Errorf("exec.allow stands for %d files, and at most %d are kept: name fewer", len(all), maxPrograms)
	}
	for len(all) > 0 {
		n := min(len(all), batch)
		files, err := e.identify(dir, all[:n])
		if err != nil {
			return nil, nil, err
		}
		for _, f := range files {
			key := bpfProgramKey{Cgroup: id, Ino: f.ino, Dev: f.dev}
			if f.script == "" {
				programs[key] |= anyUse
				continue
			}
			programs[key] |= forScripts
			s := bpfScriptKey{Cgroup: id, Ino: f.ino, Dev: f.dev}
			if len(f.script) < len(s.Name) {
				for i := range len(f.script) {
					s.Name[i] = int8(f.script[i])
				}
				scripts[s] = true
			}
		}
		all = all[n:]
	}
	return programs, scripts, nil
}

// openRoot opens the root below which a cgroup's programs are looked for. It stays open while the
// cgroup is bound: the process that it was named by may end, or go elsewhere.
func openRoot(root, cgroup string) (int, error) {
	if root == "" {
		root = "/"
		if b, err := os.ReadFile(cgroup + "/cgroup.procs"); err == nil {
			if pids := strings.Fields(string(b)); len(pids) > 0 {
				root = "/proc/" + pids[0] + "/root"
			}
		}
	}
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: root, Err: err}
	}
	return fd, nil
}

// found is a program: of a script the interpreter, with the script's path.
type found struct {
	ino    uint64
	dev    uint32
	script string
}

// identify opens files and asks the kernel which inodes they are.
func (e *Enforcer) identify(dir int, paths []string) ([]found, error) {
	byFD := map[uint32]string{} // to the script's path, or ""
	defer func() {
		for fd := range byFD {
			_ = unix.Close(int(fd))
		}
	}()
	for _, p := range paths {
		fd, ok := openIn(dir, p)
		if !ok {
			continue
		}
		interp := interpreter(fd)
		if interp == "" {
			byFD[uint32(fd)] = ""
			continue
		}
		_ = unix.Close(fd)
		if fd, ok = openIn(dir, interp); ok {
			byFD[uint32(fd)] = p
		}
	}
	seen, err := e.descriptors()
	if err != nil {
		return nil, err
	}
	var out []found
	for fd, script := range byFD {
		if o, ok := seen[fd]; ok {
			out = append(out, found{o.Ino, o.Dev, script})
		}
	}
	return out, nil
}

// openBelow opens what a path leads to for who has dir as its root: no link and no .. leads out of it.
func openBelow(dir int, p string, flags uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	return unix.Openat2(dir, p, &how)
}

// openIn opens a file below a root for reading. Links lead to where they lead a process there.
func openIn(dir int, p string) (int, bool) {
	const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY
	fd, err := openBelow(dir, p, flags)
	for tries := 0; errors.Is(err, unix.EAGAIN) && tries < 8; tries++ { // something was renamed on the way
		fd, err = openBelow(dir, p, flags)
	}
	if err != nil {
		return -1, false
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = unix.Close(fd)
		return -1, false
	}
	return fd, true
}

// interpreter returns the path behind #! in a script's first line.
func interpreter(fd int) string {
	buf := make([]byte, 256)
	n, err := unix.Pread(fd, buf, 0)
	if err != nil || n < 3 || buf[0] != '#' || buf[1] != '!' {
		return ""
	}
	line, _, _ := strings.Cut(string(buf[2:n]), "\n")
	if fields := strings.Fields(line); len(fields) > 0 {
		return fields[0]
	}
	return ""
}

// expand writes out a star in the last part of a path.
func expand(dir int, p string) []string {
	parent, last := path.Split(p)
	if !strings.Contains(last, "*") {
		return []string{p}
	}
	fd, err := openBelow(dir, parent, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), parent)
	defer f.Close()                             //nolint:errcheck // nothing was written
	names, _ := f.Readdirnames(maxPrograms + 1) // what could be read
	var out []string
	for _, name := range names {
		if ok, err := path.Match(last, name); ok && err == nil {
			out = append(out, parent+name)
		}
	}
	return out
}

// descriptors returns what our own open files are to the kernel, by descriptor.
func (e *Enforcer) descriptors() (map[uint32]bpfOpened, error) {
	if e.resolver == nil {
		prog, err := e.load("on_opened")
		if err != nil {
			return nil, fmt.Errorf("ask the kernel for inodes: %w", cause(err))
		}
		e.resolver = prog
	}
	l, err := link.AttachIter(link.IterOptions{Program: e.resolver})
	if err != nil {
		return nil, fmt.Errorf("ask the kernel for inodes: %w", err)
	}
	defer l.Close() //nolint:errcheck // nothing was written
	r, err := l.Open()
	if err != nil {
		return nil, fmt.Errorf("ask the kernel for inodes: %w", err)
	}
	defer r.Close() //nolint:errcheck // nothing was written
	out := map[uint32]bpfOpened{}
	raw := make([]byte, unsafe.Sizeof(bpfOpened{}))
	for in := bufio.NewReader(r); ; {
		if _, err := io.ReadFull(in, raw); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("ask the kernel for inodes: %w", err)
		}
		var o bpfOpened
		if err := binary.Read(bytes.NewReader(raw), binary.NativeEndian, &o); err != nil {
			return nil, fmt.Errorf("ask the kernel for inodes: %w", err)
		}
		out[o.Fd] = o
	}
}

// glob is filepath.Glob for patterns that are known to be good.
func glob(pattern string) []string {
	out, _ := filepath.Glob(pattern)
	return out
}
