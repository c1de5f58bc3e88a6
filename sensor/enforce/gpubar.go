package enforce

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// gpuDrivers begin the names of drivers of GPUs and of what goes with them, as /proc/devices has them.
var gpuDrivers = []string{"nvidia", "drm", "kfd", "accel", "habanalabs"}

// bars are the cgroups whose processes open no GPU. The zero value is ready.
type bars struct {
	mu    sync.Mutex
	links map[string]barred // by path
}

type barred struct {
	id   uint64 // the cgroup's: one made anew under the path is another
	link link.Link
}

// BarGPUs keeps each process of a cgroup, and of those below, from opening GPUs and from making device
// files of them. What is open stays open. It ends with this program; again is no mistake.
func (c *Cgroups) BarGPUs(cgroup string) error {
	dir, err := c.target(cgroup)
	if err != nil {
		return fmt.Errorf("bar from GPUs: %w", err)
	}
	id, err := c.ID(cgroup)
	if err != nil {
		return fmt.Errorf("bar from GPUs: %w", err)
	}
	c.bars.mu.Lock()
	defer c.bars.mu.Unlock()
	if was, ok := c.bars.links[cgroup]; ok {
		if was.id == id {
			return nil
		}
		_ = was.link.Close() // of a cgroup that is gone
		delete(c.bars.links, cgroup)
	}
	prog, err := ebpf.NewProgram(barSpec(gpuMajors()))
	if err != nil {
		return fmt.Errorf("bar from GPUs: %w", err)
	}
	defer prog.Close() //nolint:errcheck // the link holds it
	l, err := link.AttachCgroup(link.CgroupOptions{Path: dir, Attach: ebpf.AttachCGroupDevice, Program: prog})
	if err != nil {
		return fmt.Errorf("bar %s from GPUs: %w", cgroup, err)
	}
	if c.bars.links == nil {
		c.bars.links = map[string]barred{}
	}
	c.bars.links[cgroup] = barred{id, l}
	return nil
}

// AdmitGPUs lets a cgroup open GPUs again, as far as others let it. What an earlier program barred ended
// with it.
func (c *Cgroups) AdmitGPUs(cgroup string) error {
	c.bars.mu.Lock()
	defer c.bars.mu.Unlock()
	b, ok := c.bars.links[cgroup]
	if !ok {
		return nil
	}
	delete(c.bars.links, cgroup)
	if err := b.link.Close(); err != nil {
		return fmt.Errorf("let %s open GPUs: %w", cgroup, err)
	}
	return nil
}

// GPUsBarred reports whether a cgroup is barred from GPUs.
func (c *Cgroups) GPUsBarred(cgroup string) (bool, error) {
	id, err := c.ID(cgroup)
	if err != nil {
		return false, err
	}
	c.bars.mu.Lock()
	defer c.bars.mu.Unlock()
	b, ok := c.bars.links[cgroup]
	return ok && b.id == id, nil
}

func (b *bars) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range b.links {
		_ = one.link.Close() // the end of the program does it too
	}
	b.links = nil
}

// barSpec is a program that refuses character devices of some majors, and has no word on others.
func barSpec(majors []uint32) *ebpf.ProgramSpec {
	const (
		typeAt  = 0 // of struct bpf_cgroup_dev_ctx: kind of access above, type of device below
		majorAt = 4
		char    = 2 // BPF_DEVCG_DEV_CHAR
	)
	code := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, typeAt, asm.Word),
		asm.And.Imm(asm.R2, 0xffff),
		asm.JNE.Imm(asm.R2, char, "allow"),
		asm.LoadMem(asm.R3, asm.R1, majorAt, asm.Word),
	}
	for _, m := range majors {
		code = append(code, asm.JEq.Imm(asm.R3, int32(m), "deny"))
	}
	code = append(code,
		asm.Mov.Imm(asm.R0, 1).WithSymbol("allow"), asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("deny"), asm.Return(),
	)
	return &ebpf.ProgramSpec{Name: "bar_gpus", Type: ebpf.CGroupDevice, AttachType: ebpf.AttachCGroupDevice, Instructions: code, License: "GPL"}
}

// gpuMajors are the numbers of GPUs' drivers: those that the kernel fixes, and those that it gave out.
func gpuMajors() []uint32 {
	out := []uint32{majorNVIDIA, majorDRM}
	b, err := os.ReadFile("/proc/devices")
	if err != nil {
		return out
	}
	chars, _, _ := strings.Cut(string(b), "Block devices:")
	for line := range strings.Lines(chars) {
		f := strings.Fields(line)
		if len(f) != 2 || !slices.ContainsFunc(gpuDrivers, func(d string) bool { return strings.HasPrefix(f[1], d) }) {
			continue
		}
		if n, ok := majorOf(f[1]); ok && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// OpenGPUs lists the files of GPUs that a process has open.
func OpenGPUs(pid int) (files []string) {
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // the pattern is sound
	majors := gpuMajors()
	for _, name := range names {
		var st unix.Stat_t
		if unix.Stat(name, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || !slices.Contains(majors, unix.Major(st.Rdev)) {
			continue
		}
		if to, err := os.Readlink(name); err == nil && !slices.Contains(files, to) {
			files = append(files, to)
		}
	}
	slices.Sort(files)
	return files
}
