package uprobe

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Identity is a file as the kernel keeps probes by it: on an overlay, the one below.
type Identity struct {
	Dev uint32
	Ino uint64
}

// errForeign is of a file that is not opened: who serves it could make us wait for ever.
var errForeign = errors.New("it lies on a file system that a program serves (FUSE)")

// openMapped opens what a process has mapped: the file itself, whatever its path leads to by now.
func (s *Set) openMapped(pid uint32, m mapping) (*os.File, error) {
	dir := "/proc/" + strconv.FormatUint(uint64(pid), 10)
	fd, err := unix.Open(dir+"/map_files/"+m.place, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open what process %d has mapped: %w", pid, err)
	}
	defer unix.Close(fd) //nolint:errcheck // it was only looked at
	kind, err := mountedAs(fd, dir+"/mountinfo")
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(kind, "fuse") || kind == "overlay" && s.foreignBelow(pid, m) {
		return nil, errForeign
	}
	f, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(fd), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(err, f.Close(), errors.New("it is no file"))
	}
	return f, nil
}

// foreignBelow reports whether a program serves what lies below a mapped file of an overlay. Anybody may
// mount one in a user namespace of his own.
func (s *Set) foreignBelow(pid uint32, m mapping) bool {
	at, _, _ := strings.Cut(m.place, "-")
	start, err := strconv.ParseUint(at, 16, 64)
	if err != nil {
		return true
	}
	real, err := s.behind(pid, start)
	return err != nil || real.Magic == unix.FUSE_SUPER_MAGIC
}

// mountedAs returns the kind of file system on which an open file lies, as the process with that
// table of mounts has it. The file system itself is not asked.
func mountedAs(fd int, mounts string) (string, error) {
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return "", err
	}
	_, id, ok := strings.Cut(string(info), "mnt_id:")
	id, _, _ = strings.Cut(strings.TrimSpace(id), "\n")
	if !ok {
		return "", errors.New("the kernel does not say on which mount a file lies")
	}
	f, err := os.Open(mounts)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // it was only read
	lines := bufio.NewScanner(io.LimitReader(f, 8<<20))
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		if have, _, _ := strings.Cut(lines.Text(), " "); have != id {
			continue
		}
		_, tail, _ := strings.Cut(lines.Text(), " - ")
		kind, _, _ := strings.Cut(tail, " ")
		return kind, nil
	}
	return "", errors.Join(lines.Err(), errors.New("the mount on which it lies is not in the process's table"))
}

// identify says which file this is to the kernel: it maps it for a moment and asks.
func (s *Set) identify(f *os.File) (Identity, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return Identity{}, fmt.Errorf("map it: %w", err)
	}
	defer unix.Munmap(b) //nolint:errcheck // it is not used any more
	m, err := s.behind(uint32(os.Getpid()), uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))))
	return Identity{m.Dev, m.Ino}, err
}

// behind says what the kernel knows of what a process has mapped at an address.
func (s *Set) behind(pid uint32, start uint64) (realMapped, error) {
	s.asking.Lock() // about one process at a time
	defer s.asking.Unlock()
	if err := s.coll.Maps["asked"].Put(uint32(0), pid); err != nil {
		return realMapped{}, fmt.Errorf("ask the kernel for its inode: %w", err)
	}
	r, err := mappingsOf(s.iter, pid)
	if err != nil {
		return realMapped{}, fmt.Errorf("ask the kernel for its inode: %w", err)
	}
	defer r.Close() //nolint:errcheck // nothing was written
	for in := bufio.NewReader(r); ; {
		var m realMapped
		if err := binary.Read(in, binary.NativeEndian, &m); err != nil {
			return realMapped{}, fmt.Errorf("ask the kernel for its inode: %w", err)
		}
		if m.Start == start {
			return m, nil
		}
	}
}

// mappingsOf runs a program over the mappings of one process. Kernels before 6.1 run it over those of all,
// of which it picks.
func mappingsOf(prog *ebpf.Program, pid uint32) (io.ReadCloser, error) {
	one := [3]uint32{1: pid} // union bpf_iter_link_info: no thread, a process, and none by a descriptor
	l, err := bpf(unix.BPF_LINK_CREATE, unsafe.Pointer(&struct {
		prog, target, kind, flags uint32
		info                      unsafe.Pointer
		size                      uint32
		_                         uint32
	}{uint32(prog.FD()), 0, unix.BPF_TRACE_ITER, 0, unsafe.Pointer(&one), uint32(unsafe.Sizeof(one)), 0}), 32)
	if err != nil {
		return mappingsOfAll(prog)
	}
	defer unix.Close(l) //nolint:errcheck // nothing was written
	fd, err := bpf(unix.BPF_ITER_CREATE, unsafe.Pointer(&[2]uint32{uint32(l)}), 8)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "mappings"), nil
}

func mappingsOfAll(prog *ebpf.Program) (io.ReadCloser, error) {
	l, err := link.AttachIter(link.IterOptions{Program: prog})
	if err != nil {
		return nil, err
	}
	defer l.Close() //nolint:errcheck // nothing was written
	return l.Open()
}

// bpf makes a descriptor by a command of the system call that the library has no words for.
func bpf(command uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(attr), size)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// loadIterator loads the program that identify asks.
func loadIterator() (*ebpf.Collection, error) {
	spec, err := loadReal()
	if err != nil {
		return nil, fmt.Errorf("read the built-in eBPF object: %w", err)
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("load the program that says which inode a file is: %w", err)
	}
	return c, nil
}

// mapping is a file that a process runs code of.
type mapping struct {
	place string // 7f00-7f10, as in map_files
	where string // device and inode, as stat has them
	path  string
}

const maxThreads = 4096 // of a process that are looked at

// living returns a process, or, where its first thread has ended, another one of it: that has no memory any more.
func living(pid uint32) uint32 {
	has := func(id string) bool {
		f, err := os.Open("/proc/" + id + "/maps")
		if err != nil {
			return false
		}
		defer f.Close() //nolint:errcheck // it was only read
		n, _ := f.Read(make([]byte, 1))
		return n > 0
	}
	own := strconv.FormatUint(uint64(pid), 10)
	if has(own) {
		return pid
	}
	d, err := os.Open("/proc/" + own + "/task")
	if err != nil {
		return pid
	}
	defer d.Close() //nolint:errcheck // it was only read
	threads, _ := d.Readdirnames(maxThreads)
	for _, t := range threads {
		if id, err := strconv.ParseUint(t, 10, 32); err == nil && has(t) {
			return uint32(id)
		}
	}
	return pid
}

// mappings calls yield for the files that a process runs code of and that have a name that is asked for.
func mappings(pid uint32, match func(string) bool, yield func(mapping)) error {
	f, err := os.Open("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/maps")
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 0, 8<<10), 64<<10)
	for n := 0; lines.Scan() && n < maxMappings; n++ {
		at, rest, _ := strings.Cut(lines.Text(), " ")
		if len(rest) < 4 || rest[2] != 'x' {
			continue
		}
		fields := strings.SplitN(rest, " ", 5) // rights, offset, device, inode, path
		if len(fields) < 5 {
			continue
		}
		path := strings.TrimSuffix(strings.TrimLeft(fields[4], " "), " (deleted)")
		if match(filepath.Base(path)) {
			yield(mapping{place: at, where: fields[2] + " " + fields[3], path: path})
		}
	}
	return lines.Err()
}
