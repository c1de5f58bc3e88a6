package cuda

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"picket/event"
	"picket/sensor/uprobe"
)

// What a program does at a function, as in cuda.bpf.c.
const (
	toHost = iota + 1
	copies
	alloc
	module
	moduleFile
	export
	open
	plain
)

// calls are the functions that are looked at, in the order of their numbers in the cookie: what is done
// there, and which argument tells the size or the address.
var calls = []struct {
	name           string
	what, argument uint64
}{
	{"cuMemcpyDtoH", toHost, 3},
	{"cuMemcpyDtoHAsync", toHost, 3},
	{"cuMemcpyAtoH", toHost, 4},
	{"cuMemcpyAtoHAsync", toHost, 4},
	{"cuMemcpy", copies, 3},
	{"cuMemcpyAsync", copies, 3},
	{"cuMemAlloc", alloc, 2},
	{"cuMemAllocAsync", alloc, 2},
	{"cuMemAllocFromPoolAsync", alloc, 2},
	{"cuMemAllocManaged", alloc, 2},
	{"cuMemCreate", alloc, 2},
	{"cuModuleLoadData", module, 2},
	{"cuModuleLoadDataEx", module, 2},
	{"cuModuleLoadFatBinary", module, 2},
	{"cuLibraryLoadData", module, 2},
	{"cuModuleLoad", moduleFile, 2},
	{"cuLibraryLoadFromFile", moduleFile, 2},
	{"cuIpcGetMemHandle", export, 1},
	{"cuIpcOpenMemHandle", open, 2},
	{"cuMemExportToShareableHandle", plain, 1},
	{"cuMemImportFromShareableHandle", plain, 1},
}

var numbers = func() map[string]int {
	out := map[string]int{}
	for i, c := range calls {
		out[c.name] = i
	}
	return out
}()

// version is what the library puts behind a name: cuMemcpyDtoHAsync_v2_ptsz.
var version = regexp.MustCompile(`(_v[0-9]+)?(_pt[sd][sz])?$`)

// numberOf returns the number of the function that a symbol stands for.
func numberOf(symbol string) (int, bool) {
	n, ok := numbers[version.ReplaceAllString(symbol, "")]
	return n, ok
}

// libraryName reports whether a file is libcuda by its name.
func libraryName(base string) bool { return strings.HasPrefix(base, "libcuda.so") }

// driver is where NVIDIA's driver puts its library on the host, or a container of its own does.
var driver = []string{
	"/usr/lib/x86_64-linux-gnu/libcuda.so.1", "/usr/lib/aarch64-linux-gnu/libcuda.so.1", "/usr/lib64/libcuda.so.1", "/usr/lib/libcuda.so.1",
	"/usr/lib/*-linux-gnu/nvidia/current/libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1",
	"/run/nvidia/driver/usr/lib/*-linux-gnu/libcuda.so.1", "/run/nvidia/driver/usr/lib64/libcuda.so.1",
}

// attach puts the programs on the functions of a library.
func (s *Sensor) attach(f *uprobe.File) (io.Closer, string, error) {
	symbols, err := f.Image.Symbols(func(name []byte) bool {
		_, ok := numberOf(string(name))
		return ok
	})
	if err != nil {
		return nil, "", err
	}
	if f.Host {
		s.hosts.Add(1)
	}
	number := s.keep(library{path: f.Path, private: !f.Host && s.hosts.Load() > 0})
	links := uprobe.Links{number}
	points, steps := pointsOf(f.Image, symbols, uint64(number.n))
	if len(points) == 0 {
		_ = links.Close() // there is nothing on it
		return nil, "", fmt.Errorf("it has none of the %d functions that are looked at", len(calls))
	}
	total := 0
	for name, some := range points {
		l, err := uprobe.Attach(f.File, s.coll.Programs[name], some, s.together)
		if err != nil {
			_ = links.Close() // what failed is said
			return nil, "", err
		}
		links = append(links, l)
		total += len(some)
	}
	if f.PID != 0 {
		s.tell(s.met(f.PID, number.n))
	}
	detail := fmt.Sprintf("%d probes", total)
	if steps > 0 {
		detail += fmt.Sprintf(", of which %d are single-stepped", steps)
	}
	return links, detail, nil
}

// pointsOf returns where which program is put, and how many of these places are single-stepped. Two
// names of one place are one.
func pointsOf(im *uprobe.Image, symbols map[string]uprobe.Symbol, file uint64) (points map[string][]uprobe.Point, steps int) {
	points, seen := map[string][]uprobe.Point{}, map[uint64]bool{}
	for name, at := range symbols {
		n, _ := numberOf(name)
		c := calls[n]
		entry, class := im.Entry(at)
		if seen[at.Offset] {
			continue
		}
		seen[at.Offset] = true
		if class == uprobe.Step {
			steps++
		}
		p := uprobe.Point{Offset: entry, Cookie: c.what | c.argument<<8 | uint64(n)<<16 | file<<32}
		switch c.what {
		case toHost, copies, alloc:
			points["on_count"] = append(points["on_count"], p)
		case export:
			points["on_call"] = append(points["on_call"], p)
			p.Offset, p.Return = at.Offset, true
			points["on_exported"] = append(points["on_exported"], p)
		default:
			points["on_call"] = append(points["on_call"], p)
		}
	}
	return points, steps
}

// library is a copy of libcuda.
type library struct {
	path    string
	private bool // not the driver's, where that is known
}

// numbered is the number of a library in the cookie, which ends with its probes.
type numbered struct {
	s *Sensor
	n uint32
}

func (n numbered) Close() error {
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	delete(n.s.libraries, n.n)
	return nil
}

func (s *Sensor) keep(l library) numbered {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.libraries[s.last] = l
	return numbered{s, s.last}
}

func (s *Sensor) libraryOf(number uint32) library {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.libraries[number]
}

func nameOf(number uint32) string {
	if int(number) < len(calls) {
		return calls[number].name
	}
	return ""
}

// met is the event of a copy of the library that a process was first seen to have.
func (s *Sensor) met(pid, number uint32) *event.Event {
	l := s.libraryOf(number)
	return &event.Event{
		Kind: event.CUDACall, Time: time.Now(), Host: s.opt.Host, Process: &event.Process{PID: pid, TID: pid, LoginUID: ^uint32(0)},
		CUDA: &event.CUDA{Call: event.CUDALibrary, Library: l.path, Private: l.private},
	}
}
