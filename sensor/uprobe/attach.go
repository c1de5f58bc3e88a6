package uprobe

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
)

// Point is where in a file a program is run.
type Point struct {
	Offset    uint64
	Cookie    uint64 // what the program gets
	Semaphore uint64 // offset of a counter that is raised while the program is there; 0: none
	Return    bool   // at the function's end instead
}

// Together reports whether the kernel takes all points of a program at once (Linux 6.6). Else each
// takes a file descriptor.
func Together() bool { return features.HaveBPFLinkUprobeMulti() == nil }

// Prepare makes programs of the section uprobe.multi fit for how they will be attached.
func Prepare(spec *ebpf.CollectionSpec, together bool) {
	for _, p := range spec.Programs {
		if p.AttachType == ebpf.AttachTraceUprobeMulti && !together {
			p.AttachType = ebpf.AttachNone
		}
	}
}

// Links are attachments that end together.
type Links []io.Closer

// Close ends them.
func (l Links) Close() error {
	var all []error
	for _, c := range l {
		all = append(all, c.Close())
	}
	return errors.Join(all...)
}

// Attach runs a program at points of a file, whoever has it mapped now or later.
func Attach(file *os.File, prog *ebpf.Program, points []Point, together bool) (Links, error) {
	ex, err := link.OpenExecutable("/proc/self/fd/" + strconv.Itoa(int(file.Fd())))
	if err != nil {
		return nil, err
	}
	var out Links
	for _, end := range []bool{false, true} {
		var some []Point
		for _, p := range points {
			if p.Offset == 0 { // the library would look for a symbol instead, and read the file as it is told to
				return nil, errors.Join(errors.New("a function lies in its header"), out.Close())
			}
			if p.Return == end {
				some = append(some, p)
			}
		}
		links, err := attach(ex, prog, some, together)
		if out = append(out, links...); err != nil {
			return nil, errors.Join(err, out.Close())
		}
	}
	return out, nil
}

func attach(ex *link.Executable, prog *ebpf.Program, points []Point, together bool) (Links, error) {
	if len(points) == 0 {
		return nil, nil
	}
	if !together {
		return attachEach(ex, prog, points)
	}
	var o link.UprobeMultiOptions
	counted := false
	for _, p := range points {
		o.Addresses, o.Cookies, o.RefCtrOffsets = append(o.Addresses, p.Offset), append(o.Cookies, p.Cookie), append(o.RefCtrOffsets, p.Semaphore)
		counted = counted || p.Semaphore != 0
	}
	if !counted {
		o.RefCtrOffsets = nil
	}
	on := ex.UprobeMulti
	if points[0].Return {
		on = ex.UretprobeMulti
	}
	l, err := on(nil, prog, &o)
	if err != nil {
		return nil, fmt.Errorf("attach %d probes: %w", len(points), err)
	}
	return Links{l}, nil
}

func attachEach(ex *link.Executable, prog *ebpf.Program, points []Point) (out Links, err error) {
	for _, p := range points {
		on := ex.Uprobe
		if p.Return {
			on = ex.Uretprobe
		}
		l, err := on("", prog, &link.UprobeOptions{Address: p.Offset, Cookie: p.Cookie, RefCtrOffset: p.Semaphore})
		if err != nil {
			return out, fmt.Errorf("attach a probe at %#x: %w", p.Offset, err)
		}
		out = append(out, l)
	}
	return out, nil
}
