package kernel

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"picket/event"
)

// How a call's target is found, and which calls are told of: as call.h has them.
const (
	aimPID = iota + 1
	aimPIDFD
	aimSpace
)

const (
	onlyOneOf = iota + 1
	onlyBits
	onlyFirst
	onlySocket
)

const (
	callParent = 1 << iota
	callFailed
)

// namedCall is a system call that is told of by name. Arguments are counted from 1; 0 means none.
type namedCall struct {
	name          string
	kind          event.Kind
	amd64, i386   uint32 // its numbers, 0 where there is none
	arm64, arm32  uint32
	aim, aimArg   uint8 // the process that it is aimed at
	only, onlyArg uint8 // of which calls: those whose argument fits mask
	mask          uint64
	flags         uint8
	path, memory  uint8
	texts         [4]uint8
	say           func(*event.Call, *reported)
}

// reported is what a record says of a call.
type reported struct {
	arg    [8]uint64
	memory [64]uint8
	path   string
	text   [4]string
}

// spec is the row of a call in the kernel's table.
func (c *namedCall) spec() typedCallSpec {
	return typedCallSpec{
		Mask: c.mask, Kind: uint8(c.kind), Flags: c.flags, Aim: c.aim, AimArg: c.aimArg, Only: c.only, OnlyArg: c.onlyArg,
		Path: c.path, Memory: c.memory, Text: c.texts,
	}
}

// numbers returns the numbers of a call here, for programs of the machine's own width and of 32 bits.
func (c *namedCall) numbers() (own, compat uint32) {
	if runtime.GOARCH == "arm64" {
		return c.arm64, c.arm32
	}
	return c.amd64, c.i386
}

// callKinds are the kinds that named calls make.
func callKinds() (kinds []event.Kind) {
	for i := range namedCalls {
		if k := namedCalls[i].kind; !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// routeCalls sends the named calls that are wanted to their handler, and no others.
func (s *Sensor) routeCalls(d Demand) error {
	half := s.maps["routes"].MaxEntries() / 2
	for i := range namedCalls {
		c := &namedCalls[i]
		route := uint32(0)
		if d.wants(c.kind) {
			route = handleCall | uint32(i)<<8
		}
		spec := c.spec()
		if err := s.maps["call_specs"].Put(uint32(i), &spec); err != nil {
			return fmt.Errorf("describe system call %s: %w", c.name, err)
		}
		own, compat := c.numbers()
		for base, n := range map[uint32]uint32{0: own, half: compat} {
			if n == 0 {
				continue
			}
			if err := s.maps["routes"].Put(base+n, route); err != nil {
				return fmt.Errorf("route system call %s: %w", c.name, err)
			}
		}
	}
	return nil
}

var callSize = int(unsafe.Sizeof(typedCallRecord{}))

func (d *decoder) call(raw []byte) error {
	r, err := record[typedCallRecord](raw)
	if err != nil {
		return err
	}
	data, err := parts(raw[callSize:], int(r.ExeLen), int(r.PathLen), int(r.TextLen[0]), int(r.TextLen[1]), int(r.TextLen[2]), int(r.TextLen[3]))
	if err != nil {
		return err
	}
	said := reported{arg: r.Arg, memory: r.Memory, path: string(data[1])}
	for i := range said.text {
		said.text[i] = strings.ToValidUTF8(string(data[2+i]), "\ufffd")
	}
	call := &event.Call{}
	d.target(call, r, string(data[0]))
	if event.Kind(r.H.Kind) == event.ProcessSignal {
		d.exe = said.path // of the sender: only where the agent is the target
	}
	d.space(call, r)
	d.e.Call = call
	if r.Spec == noSpec {
		return d.unnamed(call, event.Kind(r.H.Kind), &said)
	}
	if int(r.Spec) >= len(namedCalls) || namedCalls[r.Spec].kind != event.Kind(r.H.Kind) {
		return errKind
	}
	c := &namedCalls[r.Spec]
	if call.Name = c.name; c.say != nil {
		c.say(call, &said)
	}
	if d.e.Kind == event.HostBPF {
		d.own.ofBPF(call, &said, r.H.Tgid, r.H.Result < 0)
	}
	return nil
}

// noSpec marks a record of no system call.
const noSpec = 0xffff

// unnamed reads what was seen elsewhere than at the end of a call of the table.
func (d *decoder) unnamed(c *event.Call, k event.Kind, r *reported) error {
	switch k {
	case event.ProcessSignal:
		c.Name, c.Number = "kill", int64(r.arg[0])
		switch int32(r.arg[1]) {
		case -1:
			c.Name = "sigqueue"
		case -6:
			c.Name = "tgkill"
		}
	case event.ProcessTrace:
		c.Name, c.Object, c.Flags = "open", r.path, openedFor(r.arg[0])
	case event.HostSysctl:
		c.Name, c.Sysctl, c.Value = "write", r.text[0], strings.TrimSuffix(r.text[1], "\n")
	case event.CgroupCreate:
		c.Name, c.Group = "mkdir", r.text[0]
	default:
		return errKind
	}
	return nil
}

// openedFor names what a file was opened for by the kernel's mode of it.
func openedFor(mode uint64) string {
	switch mode & 3 {
	case 1:
		return "O_RDONLY"
	case 2:
		return "O_WRONLY"
	case 3:
		return "O_RDWR"
	}
	return ""
}

// device reads the opening of a device: a file whose size stands for what it was opened for.
func (d *decoder) device(raw []byte) error {
	if err := d.file(raw); err != nil {
		return err
	}
	d.e.Call = &event.Call{Name: "open", Flags: openedFor(uint64(d.e.File.Size))}
	d.e.File.Size = 0
	return nil
}

// target adds the process that a call was aimed at.
func (d *decoder) target(c *event.Call, r *typedCallRecord, exe string) {
	if r.Target == 0 {
		return
	}
	c.Target = &event.Process{PID: r.Target, StartBoot: r.TargetStart, Start: d.clock.wall(r.TargetStart), Comm: text(r.TargetComm[:]), Exe: exe, LoginUID: ^uint32(0)}
	c.Target.Cred.UID, c.Target.User = r.TargetUid, d.users.name(r.TargetUid)
}

// space adds the namespace that was there before the call.
func (d *decoder) space(c *event.Call, r *typedCallRecord) {
	if r.Space == 0 {
		return
	}
	c.Space.Inode, c.Space.Host = r.Space, d.hostSpaces[r.Space]
	c.Space.Types = strings.TrimSuffix(text(r.SpaceName[:]), "_for_children")
}

// hostSpaces returns the namespaces of the host's first process; where that is not to be looked at,
// our own.
func hostSpaces() map[uint32]bool {
	all := map[uint32]bool{}
	for _, name := range []string{"mnt", "net", "uts", "ipc", "pid", "cgroup", "user", "time"} {
		var st unix.Stat_t
		err := unix.Stat("/proc/1/ns/"+name, &st)
		if err != nil {
			err = unix.Stat("/proc/self/ns/"+name, &st)
		}
		if err == nil {
			all[uint32(st.Ino)] = true
		}
	}
	return all
}

// flagNames writes the bits of flags by name, and what has none in hexadecimal.
func flagNames(flags uint64, names []flagName) string {
	var out []string
	for _, f := range names {
		if f.bit != 0 && flags&f.bit == f.bit {
			out = append(out, f.name)
			flags &^= f.bit
		}
	}
	if flags != 0 {
		out = append(out, fmt.Sprintf("%#x", flags))
	}
	return strings.Join(out, "|")
}

type flagName struct {
	bit  uint64
	name string
}

// oneOf names a number, or writes it.
func oneOf(names map[uint64]string, n uint64) string {
	if s, ok := names[n]; ok {
		return s
	}
	return fmt.Sprint(n)
}
