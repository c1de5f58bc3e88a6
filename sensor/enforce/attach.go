package enforce

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"picket/event"
)

// A feature is a part of a policy, with the programs that enforce it.
type feature struct {
	name     string
	programs []string
	uses     string
	lost     string
	wanted   func(*Rules) bool
}

var features = []feature{
	{
		"enforce-egress",
		[]string{"on_connect4", "on_connect6", "on_sendmsg4", "on_sendmsg6", "on_socket"},
		"cgroup/connect, cgroup/sendmsg, cgroup/sock_create: a call gets EPERM", "connections that a policy forbids cannot be stopped",
		func(r *Rules) bool { return r.Egress != nil },
	},
	{
		"enforce-exec",
		[]string{"on_exec", "on_opened"},
		"sched_process_exec: a program is killed before its first instruction", "programs that a policy forbids cannot be stopped",
		func(r *Rules) bool { return r.Exec != nil },
	},
	{
		"enforce-device",
		[]string{"on_device"},
		"cgroup/dev: opening gets EPERM; what is open stays open", "devices that a policy forbids cannot be kept shut",
		func(r *Rules) bool { return r.Devices != nil },
	},
	{
		"enforce-sysctl",
		[]string{"on_sysctl"},
		"cgroup/sysctl: writing gets EPERM", "settings of the kernel cannot be protected",
		func(r *Rules) bool { return r.Sysctl },
	},
	{
		"enforce-isolation",
		[]string{"on_packet_out", "on_packet_in"},
		"cgroup_skb: no packet of a cgroup passes", "a workload cannot be cut off from the network",
		func(*Rules) bool { return false }, // it is no part of a policy
	},
}

// load loads one program alone, so that one which fails does not fail the rest.
func (e *Enforcer) load(name string) (*ebpf.Program, error) {
	only := e.spec.Copy()
	only.Programs = map[string]*ebpf.ProgramSpec{name: only.Programs[name]}
	coll, err := ebpf.NewCollectionWithOptions(only, ebpf.CollectionOptions{MapReplacements: e.maps})
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	return coll.DetachProgram(name), nil
}

// attach puts one program to work.
func (e *Enforcer) attach(name string) error {
	if _, ok := e.attached[name]; ok || name == "on_opened" {
		return nil
	}
	prog, err := e.load(name)
	if err != nil {
		return err
	}
	a := attached{prog: prog}
	switch typ := prog.Type(); typ {
	case ebpf.Tracing:
		a.link, err = link.AttachTracing(link.TracingOptions{Program: prog})
	default:
		a.link, err = link.AttachCgroup(link.CgroupOptions{Path: e.root, Attach: e.spec.Programs[name].AttachType, Program: prog})
	}
	if err != nil {
		_ = prog.Close()
		return err
	}
	e.attached[name] = a
	return nil
}

func (e *Enforcer) detach(name string) error {
	a := e.attached[name]
	delete(e.attached, name)
	return errors.Join(a.link.Close(), a.prog.Close())
}

// follow attaches what the bound policies need and detaches what none needs any more.
func (e *Enforcer) follow() error {
	var all []error
	for _, f := range features {
		needed := f.name == "enforce-isolation" && len(e.isolated) > 0
		for _, b := range e.bound {
			needed = needed || f.wanted(&e.policies[b.name].rules)
		}
		for _, name := range f.programs {
			_, on := e.attached[name]
			switch {
			case needed:
				if err := e.attach(name); err != nil {
					all = append(all, fmt.Errorf("%s: %w", f.lost, cause(err)))
				}
			case on:
				all = append(all, e.detach(name))
			}
		}
	}
	return errors.Join(all...)
}

// cause is the reason for which the kernel refused a program, without its long tale.
func cause(err error) error {
	if errors.Is(err, ebpf.ErrNotSupported) {
		return errors.New("this kernel does not have it")
	}
	if v, ok := errors.AsType[*ebpf.VerifierError](err); ok && v.Cause != nil {
		return v.Cause
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(line)
}

// Probe says what of a policy this kernel can enforce, one row a part. It attaches nothing.
func Probe() []event.Capability {
	rows := make([]event.Capability, len(features))
	e, err := Open(Options{})
	if err == nil {
		defer e.Close() //nolint:errcheck // nothing was kept
	}
	for i, f := range features {
		rows[i] = event.Capability{Name: f.name, OK: err == nil, Detail: f.uses}
		if err != nil {
			rows[i].Detail = f.lost + ": " + err.Error()
			continue
		}
		for _, name := range f.programs {
			prog, err := e.load(name)
			if err != nil {
				rows[i].OK, rows[i].Detail = false, f.lost+": "+cause(err).Error()
				break
			}
			_ = prog.Close()
		}
	}
	return append(rows, event.Capability{
		Name: "enforce-models", Detail: "writing in a model directory is seen and not stopped: that takes LSM programs, which are not used yet",
	})
}

// Lacks says what of a policy's rules this kernel cannot enforce, "" where it can all.
func Lacks(rows []event.Capability, r Rules) string {
	var out []string
	for _, f := range features {
		i := slices.IndexFunc(rows, func(c event.Capability) bool { return c.Name == f.name })
		if f.wanted(&r) && (i < 0 || !rows[i].OK) {
			why := f.lost
			if i >= 0 {
				why = rows[i].Detail
			}
			out = append(out, why)
		}
	}
	return strings.Join(out, "; ")
}

// numberOf returns a device's kernel number from what stat says.
func numberOf(rdev uint64) (major, minor uint32) { return unix.Major(rdev), unix.Minor(rdev) }

// DevicesOf returns the devices that paths lead to; a star stands in the last part. gpu stands for
// those of NVIDIA, AMD and Intel GPUs.
func DevicesOf(paths []string) []Device {
	out := slices.Clone(ordinary)
	for _, p := range paths {
		names := []string{p}
		if p == "gpu" {
			out = append(out, Device{Major: 195, Minor: AnyMinor}, Device{Major: 226, Minor: AnyMinor})
			names = []string{"/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/kfd"}
		}
		for _, name := range names {
			for _, file := range glob(name) {
				var st unix.Stat_t
				if unix.Stat(file, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR && st.Mode&unix.S_IFMT != unix.S_IFBLK {
					continue
				}
				major, minor := numberOf(st.Rdev)
				out = append(out, Device{Block: st.Mode&unix.S_IFMT == unix.S_IFBLK, Major: major, Minor: minor})
			}
		}
	}
	return out
}

// ordinary are the devices that every program may need: null, zero, full, random, urandom, tty,
// ptmx, and pseudo terminals.
var ordinary = []Device{
	{Major: 1, Minor: 3},
	{Major: 1, Minor: 5},
	{Major: 1, Minor: 7},
	{Major: 1, Minor: 8},
	{Major: 1, Minor: 9},
	{Major: 5, Minor: 0},
	{Major: 5, Minor: 2},
	{Major: 136, Minor: AnyMinor},
}
