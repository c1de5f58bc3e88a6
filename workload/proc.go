package workload

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

// proc reads a proc file system. Every method answers with nothing for a process that is gone.
type proc struct{ root string }

const ticks = 100 // USER_HZ: fixed by the kernel's interface

func (f proc) path(pid uint32, parts ...string) string {
	return filepath.Join(append([]string{f.root, strconv.FormatUint(uint64(pid), 10)}, parts...)...)
}

func (f proc) read(pid uint32, name string, limit int64) []byte {
	file, err := os.Open(f.path(pid, name))
	if err != nil {
		return nil
	}
	defer file.Close() //nolint:errcheck // opened for reading
	b, err := io.ReadAll(io.LimitReader(file, limit))
	if err != nil {
		return nil
	}
	return b
}

// start returns when the process started, in nanoseconds since boot rounded down to a tick.
func (f proc) start(pid uint32) (start uint64, ppid uint32, comm string, ok bool) {
	stat := f.read(pid, "stat", 4096)
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return 0, 0, "", false
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 20 {
		return 0, 0, "", false
	}
	parent, err1 := strconv.ParseUint(fields[1], 10, 32)
	began, err2 := strconv.ParseUint(fields[19], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, 0, "", false
	}
	return began * (uint64(time.Second) / ticks), uint32(parent), string(stat[open+1 : end]), true
}

// process reads what /proc tells of a process that no event announced; nil where it is gone.
func (f proc) process(pid uint32) *event.Process {
	start, ppid, comm, ok := f.start(pid)
	if !ok {
		return nil
	}
	p := &event.Process{PID: pid, TID: pid, PPID: ppid, StartBoot: start, Comm: comm, LoginUID: ^uint32(0)}
	p.Exe, _ = os.Readlink(f.path(pid, "exe"))
	p.Exe = strings.TrimSuffix(p.Exe, " (deleted)")
	if strings.HasPrefix(p.Exe, "/memfd:") {
		p.Memfd = true
	}
	p.CWD, _ = os.Readlink(f.path(pid, "cwd"))
	if line := bytes.TrimRight(f.read(pid, "cmdline", 32<<10), "\x00"); len(line) > 0 {
		p.Args = strings.Split(string(line), "\x00")
		p.Cmdline = strings.Join(p.Args, " ")
	}
	f.status(p)
	p.NS = event.Namespaces{
		PID: f.namespace(pid, "pid"), Mnt: f.namespace(pid, "mnt"), Net: f.namespace(pid, "net"), UTS: f.namespace(pid, "uts"),
		IPC: f.namespace(pid, "ipc"), Cgroup: f.namespace(pid, "cgroup"), User: f.namespace(pid, "user"),
	}
	return p
}

// status fills in what /proc/PID/status says of ids and capabilities.
func (f proc) status(p *event.Process) {
	for line := range strings.Lines(string(f.read(p.PID, "status", 16<<10))) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		v := strings.Fields(value)
		id := func(i int) uint32 {
			if i >= len(v) {
				return 0
			}
			n, _ := strconv.ParseUint(v[i], 10, 32)
			return uint32(n)
		}
		switch name {
		case "Uid":
			p.Cred.UID, p.Cred.EUID, p.Cred.SUID, p.Cred.FSUID = id(0), id(1), id(2), id(3)
		case "Gid":
			p.Cred.GID, p.Cred.EGID, p.Cred.SGID, p.Cred.FSGID = id(0), id(1), id(2), id(3)
		case "NSpid":
			p.NSPID = id(len(v) - 1)
		case "CapEff":
			if len(v) > 0 {
				p.Cred.CapEff, _ = strconv.ParseUint(v[0], 16, 64)
			}
		}
	}
}

func (f proc) namespace(pid uint32, kind string) uint32 {
	link, err := os.Readlink(f.path(pid, "ns", kind))
	if err != nil {
		return 0
	}
	return inode(link)
}

// inode reads the number out of a link such as pid:[4026531836].
func inode(link string) uint32 {
	n, _ := strconv.ParseUint(strings.TrimSuffix(link[strings.IndexByte(link, '[')+1:], "]"), 10, 32)
	return uint32(n)
}

// initialPID is the number that the kernel gives the first pid namespace, on every host.
const initialPID = 0xEFFFFFFC

// host returns the host's own namespaces. Those of process 1 may not be looked at where it holds a
// capability that we lack; then the host's are taken to be ours.
func (f proc) host() event.Namespaces {
	ns := event.Namespaces{PID: f.namespace(1, "pid"), Mnt: f.namespace(1, "mnt")}
	if ns.PID == 0 {
		ns.PID = initialPID
	}
	if ns.Mnt == 0 {
		link, err := os.Readlink(filepath.Join(f.root, "self", "ns", "mnt"))
		if err == nil {
			ns.Mnt = inode(link)
		}
	}
	return ns
}

// opened returns what the process holds open or mapped that may be a model: at most limit paths.
func (f proc) opened(pid uint32, limit int) []string {
	var out []string
	dir, err := os.Open(f.path(pid, "fd"))
	if err == nil {
		names, _ := dir.Readdirnames(4096)
		_ = dir.Close()
		for _, n := range names {
			if p, err := os.Readlink(f.path(pid, "fd", n)); err == nil && strings.HasPrefix(p, "/") && len(out) < limit {
				out = append(out, p)
			}
		}
	}
	for _, p := range f.mapped(pid) {
		if len(out) < limit {
			out = append(out, p)
		}
	}
	return out
}

// mapped returns the files mapped into the process, each once.
func (f proc) mapped(pid uint32) []string {
	var out []string
	last := ""
	for line := range strings.Lines(string(f.read(pid, "maps", 4<<20))) {
		i := strings.IndexByte(line, '/')
		if i < 0 {
			continue
		}
		if p := strings.TrimSuffix(line[i:], "\n"); p != last {
			out, last = append(out, p), p
		}
	}
	return out
}

// inside returns where the host finds a path of the process's mount namespace.
func (f proc) inside(pid uint32, path string) string {
	return f.path(pid, "root") + filepath.Join("/", path)
}

// fileID is a file's identity on its host.
type fileID struct{ dev, ino uint64 }

func idOf(st os.FileInfo) (fileID, bool) {
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}, false
	}
	return fileID{kernelDev(s.Dev), s.Ino}, true
}

// kernelDev turns a device number as stat tells it into the kernel's own encoding.
func kernelDev(dev uint64) uint64 {
	return uint64(unix.Major(dev))<<20 | uint64(unix.Minor(dev))
}

// environ returns some variables of the environment that the process was started with.
func (f proc) environ(pid uint32, names ...string) map[string]string {
	out := map[string]string{}
	for v := range strings.SplitSeq(string(f.read(pid, "environ", 128<<10)), "\x00") {
		if name, value, ok := strings.Cut(v, "="); ok && has(names, name) {
			out[name] = value
		}
	}
	return out
}
