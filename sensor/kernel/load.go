package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"picket/event"
)

// usable says why no program could be loaded at all.
func usable() error {
	if os.Geteuid() != 0 {
		return ErrNotRoot
	}
	// Memory is charged to the control group from 5.11 on: a limit that cannot be raised is no error.
	_ = rlimit.RemoveMemlock()
	if _, err := btf.LoadKernelSpec(); err != nil {
		return fmt.Errorf("%w (%w)", ErrNoBTF, err)
	}
	return nil
}

// programs returns the object that this kernel can load, and its name.
func programs() (*ebpf.CollectionSpec, string, error) {
	name, load := "portable", loadPortable
	if types, err := btf.LoadKernelSpec(); err == nil {
		var cast *btf.Func
		if types.TypeByName("bpf_rdonly_cast", &cast) == nil {
			name, load = "typed", loadTyped
		}
	}
	if v := os.Getenv("PICKET_SENSOR_VARIANT"); v == "portable" { //nolint:forbidigo // for tests of the object that older kernels get
		name, load = v, loadPortable
	}
	spec, err := load()
	if err != nil {
		return nil, "", fmt.Errorf("read the built-in eBPF object: %w", err)
	}
	n, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, "", fmt.Errorf("count the processors: %w", err)
	}
	spec.Maps["exec_scratch"].MaxEntries = uint32(n)
	spec.Maps["hands"] = &ebpf.MapSpec{Name: "hands", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: slots, Flags: unix.BPF_F_MMAPABLE}
	renameHooks(spec)
	return spec, name, nil
}

// renameHooks follows the kernel in what it calls a tracepoint: io_uring_submit_req was
// io_uring_submit_sqe before 6.3.
func renameHooks(spec *ebpf.CollectionSpec) {
	types, err := btf.LoadKernelSpec()
	if err != nil {
		return
	}
	var def *btf.Typedef
	if errors.Is(types.TypeByName("btf_trace_io_uring_submit_req", &def), btf.ErrNotFound) {
		spec.Programs["on_uring_submit"].AttachTo = "io_uring_submit_sqe"
	}
}

// createMaps makes the maps, which all programs share, beside those that are there.
func createMaps(spec *ebpf.CollectionSpec, there map[string]*ebpf.Map) (map[string]*ebpf.Map, error) {
	only := spec.Copy()
	only.Programs = nil
	coll, err := ebpf.NewCollectionWithOptions(only, ebpf.CollectionOptions{MapReplacements: there})
	for _, m := range there {
		_ = m.Close() // the collection has its own
	}
	if err != nil {
		return nil, refused("create the eBPF maps", err)
	}
	maps := coll.Maps
	coll.Maps = nil
	coll.Close()
	return maps, nil
}

func refused(what string, err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%s: %w (%w)", what, ErrLocked, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// loadProgram loads one program alone, so that one which fails does not fail the rest.
func loadProgram(spec *ebpf.CollectionSpec, maps map[string]*ebpf.Map, name string) (*ebpf.Program, error) {
	if spec.Programs[name] == nil { // the portable object is for kernels without its hook
		return nil, ebpf.ErrNotSupported
	}
	only := spec.Copy()
	only.Programs = map[string]*ebpf.ProgramSpec{name: only.Programs[name]}
	coll, err := ebpf.NewCollectionWithOptions(only, ebpf.CollectionOptions{MapReplacements: maps})
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	return coll.DetachProgram(name), nil
}

// A feature is what one row of Probe speaks of.
type feature struct {
	name  string
	parts []part
	uses  string
	lost  string // what is not seen without it
}

// A part is one program of a feature.
type part struct {
	program string
	handler uint32 // slot behind the exit of system calls, 0 for a program of its own
	kinds   []event.Kind
}

// uringKinds are those that a request to io_uring can stand for.
var uringKinds = []event.Kind{
	event.FileRead, event.FileCreate, event.FileWrite, event.FileRename, event.FileDelete, event.FileLink, event.FileMkdir, event.FileTruncate,
}

var features = []feature{
	{
		"exec",
		[]part{{"on_exec", 0, []event.Kind{event.ProcessStart}}},
		"sched_process_exec", "programs that start are not seen",
	},
	{
		"fork-exit",
		[]part{{"on_fork", 0, []event.Kind{event.ProcessFork}}, {"on_exit", 0, []event.Kind{event.ProcessExit}}},
		"sched_process_fork, sched_process_exit", "processes that fork or end are not seen",
	},
	{
		"file-open",
		[]part{{"on_open", handleOpen, []event.Kind{event.FileRead, event.FileCreate, event.FileWrite}}},
		"sys_exit of open, creat, openat, openat2", "files that are read, created or written are not seen",
	},
	{
		"file-change",
		[]part{
			{"on_rename", handleRename, []event.Kind{event.FileRename}},
			{"on_unlink", handleUnlink, []event.Kind{event.FileDelete}},
			{"on_chmod", handleChmod, []event.Kind{event.FileChmod}},
		},
		"sys_exit of rename, unlink, rmdir, chmod and kin", "files that are renamed, deleted or get another mode are not seen",
	},
	{
		"file-link",
		[]part{{"on_link", handleLink, []event.Kind{event.FileLink}}, {"on_mkdir", handleMkdir, []event.Kind{event.FileMkdir}}},
		"sys_exit of link, symlink, mkdir and kin", "links and directories that are made are not seen",
	},
	{
		"file-attributes",
		[]part{
			{"on_truncate", handleTruncate, []event.Kind{event.FileTruncate}},
			{"on_chown", handleChown, []event.Kind{event.FileChown}},
			{"on_attribute", handleAttribute, []event.Kind{event.FileAttr}},
		},
		"sys_exit of truncate, fallocate, chown, setxattr and kin", "files that are cut or get another owner or attribute are not seen",
	},
	{
		"file-map",
		[]part{{"on_map", handleMap, []event.Kind{event.FileMap}}, {"on_protect", handleProtect, []event.Kind{event.FileMap}}},
		"sys_exit of mmap, mprotect", "files that are mapped to be run are not seen",
	},
	{
		"file-bytes",
		[]part{{"on_io", handleIO, []event.Kind{event.FileIO}}, {"on_uring_io", 0, []event.Kind{event.FileIO}}},
		"sys_exit of read, write, sendfile, splice, copy_file_range and kin, io_uring_complete", "how much a process reads and writes of a file is not counted",
	},
	{
		"file-bytes-mapped",
		[]part{{"on_map", handleMap, []event.Kind{event.FileIO}}, {"on_pages", 0, []event.Kind{event.FileIO}}},
		"sys_exit of mmap, mm_filemap_map_pages", "what a process reads of a file that it maps is not counted (Linux 6.12 counts it)",
	},
	{
		"file-uring",
		[]part{
			{"on_uring_done", 0, uringKinds},
			{"on_uring_submit", 0, uringKinds},
		},
		"io_uring_complete, io_uring_submit_req", "files that are opened or changed through io_uring are not seen",
	},
	{
		"connect",
		[]part{{"on_connect", handleConnect, []event.Kind{event.NetConnect}}},
		"sys_exit of connect", "outgoing connections are not seen",
	},
	{
		"connect-otherwise",
		[]part{
			{"on_connect4", 0, []event.Kind{event.NetConnect}},
			{"on_connect6", 0, []event.Kind{event.NetConnect}},
			{"on_sendmsg4", 0, []event.Kind{event.NetConnect, event.NetDNS}},
			{"on_sendmsg6", 0, []event.Kind{event.NetConnect, event.NetDNS}},
		},
		"cgroup/connect4, connect6, sendmsg4, sendmsg6", "datagrams to an address, TCP fast open and connections of io_uring are not seen",
	},
	{
		"connect-unix",
		[]part{
			{"on_connect", handleConnect, []event.Kind{event.NetUnix}},
			{"on_unix", handleUnix, []event.Kind{event.NetUnix}},
		},
		"sys_exit of connect", "connections to sockets of the host are not seen",
	},
	{
		"connect-unix-otherwise",
		[]part{{"on_connect_unix", 0, []event.Kind{event.NetUnix}}},
		"cgroup/connect_unix", "connections of io_uring to sockets of the host are not seen (Linux 6.7 or newer shows them)",
	},
	{
		"bind",
		[]part{
			{"on_listen", handleListen, []event.Kind{event.NetListen, event.NetBind}},
			{"on_socketcall", handleSocketcall, []event.Kind{event.NetListen, event.NetBind}},
		},
		"sys_exit of listen and bind", "servers that open a port, and ports that are bound, are not seen",
	},
	{
		"accept",
		[]part{{"on_accept", handleAccept, []event.Kind{event.NetAccept}}, {"on_socketcall", handleSocketcall, []event.Kind{event.NetAccept}}},
		"sys_exit of accept, accept4", "incoming connections are not seen",
	},
	{
		"send-bytes",
		[]part{{"on_send", 0, []event.Kind{event.NetSend}}},
		"sock_send_length", "how much a process sends where is not counted (Linux 6.3 or newer counts it)",
	},
	{
		"calls",
		[]part{{"on_call", handleCall, callKinds()}},
		"sys_exit of ptrace, setns, mount, finit_module, bpf and kin", "what processes do to others, to the host and to their own rights is not seen",
	},
	{
		"signal",
		[]part{{"on_signal", 0, []event.Kind{event.ProcessSignal}}},
		"signal_generate", "signals that processes send each other are not seen",
	},
	{
		"memory-file",
		[]part{{"on_open", handleOpen, []event.Kind{event.ProcessTrace}}, {"on_memory", handleMemory, []event.Kind{event.ProcessTrace}}},
		"sys_exit of open, creat, openat, openat2", "opens of /proc/PID/mem are not seen",
	},
	{
		"device-open",
		[]part{{"on_open", handleOpen, []event.Kind{event.DeviceOpen}}, {"on_device", handleDevice, []event.Kind{event.DeviceOpen}}},
		"sys_exit of open, creat, openat, openat2", "devices that are opened are not seen",
	},
	{
		"device-control",
		[]part{{"on_control", handleControl, []event.Kind{event.DeviceControl}}},
		"sys_exit of ioctl", "how often a process controls a device is not counted",
	},
	{
		"capabilities",
		[]part{{"on_capable", 0, []event.Kind{event.ProcessCapability}}},
		"cap_capable", "which capabilities a process uses is not counted (Linux 6.13 or newer counts it)",
	},
	{
		"sysctl",
		[]part{{"on_sysctl", 0, []event.Kind{event.HostSysctl}}},
		"cgroup/sysctl at the root of cgroup v2", "settings below /proc/sys that are changed are not seen",
	},
	{
		"cgroup-create",
		[]part{{"on_cgroup", 0, []event.Kind{event.CgroupCreate}}},
		"cgroup_mkdir", "control groups that are made are not seen",
	},
	{
		"receive-bytes",
		[]part{{"on_receive", 0, []event.Kind{event.NetReceive}}},
		"sock_recv_length", "how much a process receives from where is not counted (Linux 6.3 or newer counts it)",
	},
	{
		"dns",
		[]part{{"on_dns_send", 0, []event.Kind{event.NetDNS}}, {"on_dns_recv", 0, []event.Kind{event.NetDNS}}},
		"sock_send_length, sock_recv_length", "names that processes look up are not seen (Linux 6.3 or newer shows them)",
	},
	{
		"tls",
		[]part{{"on_tls", 0, []event.Kind{event.NetTLS}}},
		"sock_send_length", "names of servers that processes begin TLS with are not seen (Linux 6.3 or newer shows them)",
	},
	{
		"existing-processes",
		[]part{{"on_seen", 0, []event.Kind{event.ProcessSeen}}},
		"iter/task", "processes that ran before the sensor are known only once they act",
	},
}

// attach loads and attaches what is wanted and does not run yet. It returns the iterator over
// running processes, if it loaded it.
func (s *Sensor) attach(spec *ebpf.CollectionSpec, d Demand) (iter *ebpf.Program, err error) {
	behindExit := false
	var caps []event.Capability
	for _, f := range features {
		row, used := event.Capability{Name: f.name, OK: true, Detail: f.uses}, false
		for _, p := range f.parts {
			if !s.wanted(p, d) {
				continue
			}
			used = true
			if s.running[p.program] {
				continue
			}
			prog, err := s.start(spec, p)
			if err != nil {
				row.OK, row.Detail = false, f.lost+": "+cause(err)
				s.log.Debug("program refused", "program", p.program, "error", fmt.Sprintf("%+v", err))
				if errors.Is(err, unix.EPERM) && f.name == "exec" {
					return nil, refused("load the exec program", err)
				}
				continue
			}
			s.running[p.program] = true
			behindExit = behindExit || p.handler != 0
			if p.program == "on_seen" {
				iter = prog
			}
		}
		if used {
			caps = append(caps, row)
		}
	}
	s.caps = caps
	s.counting.Store(s.running["on_control"] || s.running["on_capable"])
	if s.running["on_call"] {
		if err := s.routeCalls(d); err != nil {
			return nil, err
		}
	}
	if behindExit && !s.running["dispatch"] {
		if _, err := s.start(spec, part{program: "dispatch"}); err != nil {
			return nil, refused("attach to the exit of system calls", err)
		}
		s.running["dispatch"] = true
	}
	if err := s.remember(); err != nil {
		return nil, err
	}
	return iter, nil
}

func (s *Sensor) wanted(p part, d Demand) bool {
	return slices.ContainsFunc(p.kinds, d.wants)
}

// start loads one program and puts it to work.
func (s *Sensor) start(spec *ebpf.CollectionSpec, p part) (*ebpf.Program, error) {
	prog, err := loadProgram(spec, s.maps, p.program)
	if err != nil {
		return nil, err
	}
	s.programs, s.names = append(s.programs, prog), append(s.names, p.program)
	switch {
	case p.handler != 0:
		if err := s.maps["handlers"].Put(p.handler, prog); err != nil {
			return nil, fmt.Errorf("install handler %s: %w", p.program, err)
		}
		return prog, s.route(p.handler)
	case p.program == "on_seen":
		return prog, nil
	case prog.Type() == ebpf.CGroupSockAddr || prog.Type() == ebpf.CGroupSysctl:
		return prog, s.attachCgroup(prog, p.program, spec.Programs[p.program].AttachType)
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: prog})
	if err != nil {
		return nil, fmt.Errorf("attach %s: %w", p.program, err)
	}
	return prog, s.keep(p.program, l)
}

// cause is the first line of an error: for a program that the kernel refused, the reason.
func cause(err error) string {
	if errors.Is(err, ebpf.ErrNotSupported) {
		return "this kernel does not have it"
	}
	var v *ebpf.VerifierError
	if errors.As(err, &v) && v.Cause != nil {
		err = v.Cause
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// Probe says what this kernel can and cannot do, one row a feature. It loads each program and
// attaches none.
func Probe() []event.Capability {
	rows := []event.Capability{{Name: "btf", OK: true, Detail: "/sys/kernel/btf/vmlinux"}}
	if err := usable(); err != nil {
		rows[0].OK, rows[0].Detail = false, err.Error()
		for _, f := range features {
			rows = append(rows, event.Capability{Name: f.name, Detail: f.lost})
		}
		return rows
	}
	spec, variant, err := programs()
	var maps map[string]*ebpf.Map
	if err == nil {
		maps, err = createMaps(spec, nil)
	}
	if err != nil {
		rows[0].OK, rows[0].Detail = false, err.Error()
		return rows
	}
	defer func() {
		for _, m := range maps {
			_ = m.Close()
		}
	}()
	rows[0].Detail += ", " + variant + " programs"
	for _, f := range features {
		row := event.Capability{Name: f.name, OK: true, Detail: f.uses}
		for _, p := range f.parts {
			prog, err := loadProgram(spec, maps, p.program)
			if err != nil {
				row.OK, row.Detail = false, f.lost+": "+cause(err)
				break
			}
			_ = prog.Close()
		}
		rows = append(rows, row)
	}
	return append(rows, overlay(), secondWitness(), lsm())
}

func overlay() event.Capability {
	c := event.Capability{Name: "overlay-drift", OK: true, Detail: "overlayfs inode: tells files written since a container started"}
	known, err := os.ReadFile("/proc/filesystems")
	if err == nil && !bytes.Contains(known, []byte("\toverlay\n")) {
		c.Detail = "overlayfs is not loaded; used once it is"
	}
	return c
}

func lsm() event.Capability {
	return event.Capability{Name: "lsm", Detail: "what policies forbid is stopped by the hooks that picket doctor names in its rows enforce-…"}
}
