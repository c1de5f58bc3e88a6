package event

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// catalogue has one row a field: its names, type, meaning, and how to read and write it.
// The order is free to change between versions; names are not.
var catalogue = slices.Concat(common, policyFields)

// common are the fields of processes, files and connections.
var common = []Info{
	top("event.kind", "", Text, "what happened: process.start, file.read, net.connect…",
		func(e *Event) Value { return text(e.Kind.String()) },
		func(e *Event, s string) error {
			k, ok := ParseKind(s)
			if !ok {
				return fmt.Errorf("event.kind %q is not known", s)
			}
			e.Kind = k
			return nil
		}),
	top("host", "Computer", Text, "the host's name",
		func(e *Event) Value { return text(e.Host) }, func(e *Event, s string) error { e.Host = s; return nil }),
	top("event.errno", "", Integer, "error number of a call that failed",
		func(e *Event) Value { return count(int64(e.Errno)) }, number(func(e *Event, n int64) { e.Errno = int32(n) })),
	top("event.truncated", "", Boolean, "true where a value was cut to fit",
		func(e *Event) Value {
			if !e.Truncated {
				return Value{}
			}
			return boolean(true)
		}, flag(func(e *Event, b bool) { e.Truncated = b })),
	top("event.count", "", Integer, "how many events like it this one stands for, where more than one",
		func(e *Event) Value {
			if e.Count < 2 {
				return Value{}
			}
			return integer(int64(e.Count))
		}, number(func(e *Event, n int64) { e.Count = uint32(n) })),
	top("message", "", Text, "the text of a sensor.health event",
		func(e *Event) Value { return text(e.Message) }, func(e *Event, s string) error { e.Message = s; return nil }),

	proc("process.uid", "ProcessGuid", Text, "identity of the process over the fleet",
		func(p *Process) Value { return text(p.UID) }, func(p *Process, s string) error { p.UID = s; return nil }),
	proc("process.pid", "ProcessId", Integer, "process id on the host",
		func(p *Process) Value { return count(p.PID) }, numberP(func(p *Process, n int64) { p.PID = uint32(n) })),
	proc("process.tid", "", Integer, "thread id",
		func(p *Process) Value { return count(p.TID) }, numberP(func(p *Process, n int64) { p.TID = uint32(n) })),
	proc("process.ns_pid", "", Integer, "process id inside its pid namespace",
		func(p *Process) Value { return count(p.NSPID) }, numberP(func(p *Process, n int64) { p.NSPID = uint32(n) })),
	proc("process.start", "", Text, "when the process started, RFC 3339",
		func(p *Process) Value {
			if p.Start.IsZero() {
				return Value{}
			}
			return text(p.Start.UTC().Format(time.RFC3339Nano))
		},
		func(p *Process, s string) (err error) { p.Start, err = time.Parse(time.RFC3339Nano, s); return err }),
	proc("process.name", "", Text, "last part of the executable's path",
		func(p *Process) Value { return text(p.Name()) }, func(p *Process, s string) error { p.Comm = s; return nil }),
	proc("process.exe", "Image", Text, "executable's path as the kernel resolved it; rules also match process.invoked",
		func(p *Process) Value { return list(p.Images()) }, func(p *Process, s string) error { p.Exe = s; p.images = nil; return nil }),
	proc("process.invoked", "", Text, "path that was passed to execve",
		func(p *Process) Value { return text(p.Invoked) }, func(p *Process, s string) error { p.Invoked = s; p.images = nil; return nil }),
	proc("process.original_name", "OriginalFileName", Text, "comm: the kernel's 15-character name",
		func(p *Process) Value { return text(p.Comm) }, func(p *Process, s string) error { p.Comm, p.command = s, ""; return nil }),
	proc("process.cmdline", "CommandLine", Text, "arguments joined by one space",
		func(p *Process) Value { return text(p.Cmdline) },
		func(p *Process, s string) error { p.Cmdline, p.command = s, ""; p.Args = strings.Fields(s); return nil }),
	derived(proc("process.argv0", "", Text, "the first argument, which a program may choose freely",
		func(p *Process) Value { return text(p.Argv0()) }, nil), "process.cmdline"),
	derived(proc("process.args", "", Text, "arguments after the first, joined by one space; empty where there is but one",
		func(p *Process) Value {
			if p.Cmdline == "" {
				return Value{}
			}
			return Value{Kind: Text, Str: p.Arguments()}
		}, nil), "process.cmdline"),
	derived(proc("process.command", "", Text, "the kernel's name and the arguments after the first, joined by one space",
		func(p *Process) Value { return text(p.Command()) }, nil), "process.cmdline"),
	derived(top("process.age", "", Integer, "nanoseconds from the process's start to the event",
		func(e *Event) Value {
			if e.Process == nil || e.Process.Start.IsZero() || e.Time.IsZero() {
				return Value{}
			}
			return integer(int64(e.Time.Sub(e.Process.Start)))
		}, nil), "process.start"),
	proc("process.cwd", "CurrentDirectory", Text, "working directory",
		func(p *Process) Value { return text(p.CWD) }, func(p *Process, s string) error { p.CWD = s; return nil }),
	proc("process.tty", "", Text, "terminal",
		func(p *Process) Value { return text(p.TTY) }, func(p *Process, s string) error { p.TTY = s; return nil }),
	proc("process.uid_number", "UserId", Integer, "effective user id",
		func(p *Process) Value { return integer(int64(p.Cred.EUID)) }, numberP(func(p *Process, n int64) { p.Cred.EUID = uint32(n) })),
	proc("process.gid_number", "", Integer, "effective group id",
		func(p *Process) Value { return integer(int64(p.Cred.EGID)) }, numberP(func(p *Process, n int64) { p.Cred.EGID = uint32(n) })),
	proc("process.user", "User", Text, "user name",
		func(p *Process) Value { return text(p.User) }, func(p *Process, s string) error { p.User = s; return nil }),
	proc("process.login_uid", "LogonId", Integer, "user id of the login this descends from",
		func(p *Process) Value {
			if p.LoginUID == ^uint32(0) {
				return Value{}
			}
			return integer(int64(p.LoginUID))
		}, numberP(func(p *Process, n int64) { p.LoginUID = uint32(n) })),
	proc("process.session", "", Integer, "session id",
		func(p *Process) Value { return count(p.SessionID) }, numberP(func(p *Process, n int64) { p.SessionID = uint32(n) })),
	proc("process.cap_effective", "", Integer, "effective capabilities as a bit mask",
		func(p *Process) Value { return count(p.Cred.CapEff) }, numberP(func(p *Process, n int64) { p.Cred.CapEff, p.caps = uint64(n), nil })),
	proc("process.cap_permitted", "", Integer, "permitted capabilities as a bit mask",
		func(p *Process) Value { return count(p.Cred.CapPerm) }, numberP(func(p *Process, n int64) { p.Cred.CapPerm, p.caps = uint64(n), nil })),
	derived(proc("process.capabilities", "", List, "effective capabilities by name, such as CAP_SYS_ADMIN",
		func(p *Process) Value { return list(p.capSets().effective) }, nil), "process.cap_effective"),
	derived(proc("process.capabilities_permitted", "", List, "permitted capabilities by name",
		func(p *Process) Value { return list(p.capSets().permitted) }, nil), "process.cap_permitted"),
	proc("process.layer", "", Text, "overlay layer of the executable: upper was written since the container started",
		func(p *Process) Value { return text(p.Layer.String()) }, func(p *Process, s string) error { p.Layer = parseLayer(s); return nil }),
	proc("process.memfd", "", Boolean, "the executable never had a name on disk",
		func(p *Process) Value { return boolean(p.Memfd) }, flagP(func(p *Process, b bool) { p.Memfd = b })),
	proc("process.preload", "", Text, "LD_PRELOAD, LD_AUDIT or LD_LIBRARY_PATH given to the executable",
		func(p *Process) Value { return text(p.Preload) }, func(p *Process, s string) error { p.Preload = s; return nil }),
	proc("process.cgroup", "", Text, "cgroup path",
		func(p *Process) Value { return text(p.CgroupPath) }, func(p *Process, s string) error { p.CgroupPath = s; return nil }),
	proc("process.mnt_ns", "", Integer, "mount namespace",
		func(p *Process) Value { return count(p.NS.Mnt) }, numberP(func(p *Process, n int64) { p.NS.Mnt = uint32(n) })),
	proc("process.net_ns", "", Integer, "network namespace",
		func(p *Process) Value { return count(p.NS.Net) }, numberP(func(p *Process, n int64) { p.NS.Net = uint32(n) })),
	proc("process.pid_ns", "", Integer, "pid namespace",
		func(p *Process) Value { return count(p.NS.PID) }, numberP(func(p *Process, n int64) { p.NS.PID = uint32(n) })),
	proc("process.exit_code", "", Integer, "exit status",
		func(p *Process) Value { return count(int64(p.ExitCode)) }, numberP(func(p *Process, n int64) { p.ExitCode = int32(n) })),
	proc("process.exit_signal", "", Integer, "signal that ended the process",
		func(p *Process) Value { return count(int64(p.ExitSignal)) }, numberP(func(p *Process, n int64) { p.ExitSignal = int32(n) })),

	parent("process.parent.uid", "ParentProcessGuid", Text, "identity of the parent",
		func(p *Process) Value { return text(p.UID) }, func(p *Process, s string) error { p.UID = s; return nil }),
	parent("process.parent.pid", "ParentProcessId", Integer, "process id of the parent",
		func(p *Process) Value { return count(p.PID) }, numberP(func(p *Process, n int64) { p.PID = uint32(n) })),
	parent("process.parent.name", "", Text, "last part of the parent's executable path",
		func(p *Process) Value { return text(p.Name()) }, func(p *Process, s string) error { p.Comm = s; return nil }),
	parent("process.parent.exe", "ParentImage", Text, "the parent's executable",
		func(p *Process) Value { return list(p.Images()) }, func(p *Process, s string) error { p.Exe = s; p.images = nil; return nil }),
	parent("process.parent.cmdline", "ParentCommandLine", Text, "the parent's arguments",
		func(p *Process) Value { return text(p.Cmdline) }, func(p *Process, s string) error { p.Cmdline, p.command = s, ""; return nil }),
	parent("process.parent.user", "ParentUser", Text, "the parent's user name",
		func(p *Process) Value { return text(p.User) }, func(p *Process, s string) error { p.User = s; return nil }),

	parent("process.parent.original_name", "", Text, "the parent's comm, or its name where comm is not known",
		func(p *Process) Value { return text(p.kernelName()) }, func(p *Process, s string) error { p.Comm, p.command = s, ""; return nil }),
	derived(parent("process.parent.argv0", "", Text, "the parent's first argument",
		func(p *Process) Value { return text(p.Argv0()) }, nil), "process.parent.cmdline"),
	derived(parent("process.parent.command", "", Text, "the parent's comm and arguments after the first, joined by one space",
		func(p *Process) Value { return text(p.Command()) }, nil), "process.parent.cmdline"),
	proc("process.ancestors", "", List, "comm of each ancestor, nearest first; as text: sh < nginx < runc",
		func(p *Process) Value { return list(p.AncestorNames()) },
		func(p *Process, s string) error { p.ancestors = nil; p.setAncestors(s); return nil }),
	ancestor(2), ancestor(3), ancestor(4), ancestor(5), ancestor(6), ancestor(7),

	cont("container.id", "ContainerId", "container id", func(c *Container) *string { return &c.ID }),
	cont("container.runtime", "", "container runtime", func(c *Container) *string { return &c.Runtime }),
	cont("k8s.pod.uid", "PodUid", "Kubernetes pod", func(c *Container) *string { return &c.PodUID }),

	work("ai.workload.id", "identity of the AI workload", func(w *Workload) *string { return &w.ID }),
	work("ai.workload.kind", "inference, training, notebook or agent", func(w *Workload) *string { return (*string)(&w.Kind) }),
	work("ai.workload.engine", "vllm, triton, ollama, torchrun…", func(w *Workload) *string { return &w.Engine }),
	work("ai.workload.name", "what people call the workload", func(w *Workload) *string { return &w.Name }),
	top("ai.workload.root", "", Boolean, "true where the process is the recognised server or job itself",
		func(e *Event) Value {
			if e.Process == nil || e.Process.Workload == nil {
				return Value{}
			}
			return boolean(e.root == yes || e.root == unsaid && e.Process.Workload.Root == e.Process.Key())
		},
		flag(func(e *Event, b bool) { e.process().workload(); e.root = said(b) })),
	top("ai.workload.member", "", Boolean, "true where the process is the recognised server or job itself or one of its own workers",
		func(e *Event) Value {
			if e.Process == nil || e.Process.Workload == nil {
				return Value{}
			}
			return boolean(e.member == yes || e.member == unsaid && e.Process.Member())
		},
		flag(func(e *Event, b bool) { e.process().workload(); e.member = said(b) })),
	top("ai.workload.child", "", Boolean, "true where the server or job, or one of its workers, started the process as another program",
		func(e *Event) Value {
			if e.Process == nil || e.Process.Workload == nil {
				return Value{}
			}
			p := e.Process
			return boolean(e.child == yes || e.child == unsaid && p.Parent != nil && p.Parent.Member() && !p.Member())
		},
		flag(func(e *Event, b bool) { e.process().workload(); e.child = said(b) })),
	mod("ai.model.path", "model directory that the file belongs to", func(m *Model) *string { return &m.Path }),
	mod("ai.model.name", "model name", func(m *Model) *string { return &m.Name }),
	mod("ai.model.format", "format of the file: safetensors, gguf, pickle…", func(m *Model) *string { return &m.Format }),
	mod("ai.model.workload", "id of the workload that serves or trains it", func(m *Model) *string { return &m.Workload }),
	top("ai.model.stranger", "", Boolean, "true where the process is neither the model's own server or job nor one of its workers",
		func(e *Event) Value {
			if e.File.Model == nil {
				return Value{}
			}
			return boolean(e.Stranger())
		},
		flag(func(e *Event, b bool) { e.model(); e.stranger = said(b) })),

	top("file.path", "TargetFilename", Text, "file's path, resolved by the kernel",
		func(e *Event) Value { return text(e.File.Path) }, func(e *Event, s string) error { e.File.Path = s; return nil }),
	derived(top("file.directory", "", Text, "directory that the file is in",
		func(e *Event) Value {
			i := strings.LastIndexByte(e.File.Path, '/')
			return text(e.File.Path[:max(i, min(i+1, 1))]) // of /a the directory is /
		}, nil), "file.path"),
	derived(top("file.name", "", Text, "last part of the file's path",
		func(e *Event) Value { return text(e.File.Path[strings.LastIndexByte(e.File.Path, '/')+1:]) }, nil), "file.path"),
	top("file.old_path", "SourceFilename", Text, "path before a rename",
		func(e *Event) Value { return text(e.File.Old) }, func(e *Event, s string) error { e.File.Old = s; return nil }),
	top("file.inode", "", Integer, "inode number",
		func(e *Event) Value { return count(e.File.Ino) }, number(func(e *Event, n int64) { e.File.Ino = uint64(n) })),
	top("file.device", "", Integer, "device number, kernel encoding",
		func(e *Event) Value { return count(e.File.Dev) }, number(func(e *Event, n int64) { e.File.Dev = uint64(n) })),
	top("file.size", "", Integer, "size in bytes when it was opened",
		func(e *Event) Value { return count(e.File.Size) }, number(func(e *Event, n int64) { e.File.Size = n })),
	top("file.mode", "", Integer, "file mode bits",
		func(e *Event) Value { return count(e.File.Mode) }, number(func(e *Event, n int64) { e.File.Mode = uint32(n) })),
	derived(top("file.permissions", "", Text, "permissions in the file's mode, or given to it, as ls -l writes them: rwsr-xr-x",
		func(e *Event) Value { return text(e.File.Permissions()) }, nil), "file.mode"),
	top("file.layer", "", Text, "overlay layer of the file",
		func(e *Event) Value { return text(e.File.Layer.String()) }, func(e *Event, s string) error { e.File.Layer = parseLayer(s); return nil }),

	top("net.remote.ip", "", Text, "address of the other end",
		func(e *Event) Value { return addr(e.Net.Remote) }, address(func(e *Event) *netip.AddrPort { return &e.Net.Remote })),
	top("net.remote.port", "", Integer, "port of the other end",
		func(e *Event) Value { return count(e.Net.Remote.Port()) }, port(func(e *Event) *netip.AddrPort { return &e.Net.Remote })),
	top("net.local.ip", "", Text, "our address",
		func(e *Event) Value { return addr(e.Net.Local) }, address(func(e *Event) *netip.AddrPort { return &e.Net.Local })),
	top("net.local.port", "", Integer, "our port",
		func(e *Event) Value { return count(e.Net.Local.Port()) }, port(func(e *Event) *netip.AddrPort { return &e.Net.Local })),
	top("net.protocol", "Protocol", Text, "tcp or udp",
		func(e *Event) Value { return text(e.Net.Protocol) }, func(e *Event, s string) error { e.Net.Protocol = s; return nil }),
	top("net.initiated", "Initiated", Boolean, "true where the process opened the connection",
		func(e *Event) Value {
			if e.Kind.Class() != "net" {
				return Value{}
			}
			return boolean(e.Net.Initiated)
		}, flag(func(e *Event, b bool) { e.Net.Initiated = b })),
	top("net.bytes_out", "", Integer, "bytes sent so far by the process to the other end",
		func(e *Event) Value { return count(e.Net.BytesOut) }, number(func(e *Event, n int64) { e.Net.BytesOut = uint64(n) })),
	top("", "SourceIp", Text, "the connecting end's address",
		func(e *Event) Value { return addr(*e.source()) }, address((*Event).source)),
	top("", "SourcePort", Integer, "the connecting end's port",
		func(e *Event) Value { return count(e.source().Port()) }, port((*Event).source)),
	top("", "DestinationIp", Text, "the accepting end's address",
		func(e *Event) Value { return addr(*e.destination()) }, address((*Event).destination)),
	top("", "DestinationPort", Integer, "the accepting end's port",
		func(e *Event) Value { return count(e.destination().Port()) }, port((*Event).destination)),
}

// Stranger reports whether the event's file belongs to a model and its process does not: it is
// outside the workload that owns the model, or below its root but started as another program
// than the root (a shell that a server spawned is a stranger to the server's weights).
func (e *Event) Stranger() bool {
	m, p := e.File.Model, e.Process
	if e.stranger != unsaid || m == nil || p == nil {
		return e.stranger == yes
	}
	if m.Workload == "" || p.Workload == nil || p.Workload.ID != m.Workload {
		return true
	}
	return !p.Member()
}

// answer is what a recorded event says of a field that a live one derives.
type answer int8

const (
	unsaid answer = iota
	yes
	no
)

func said(b bool) answer {
	if b {
		return yes
	}
	return no
}

// source is the end that connected. An event that was set field by field sets net.initiated first
// or is taken as initiated.
func (e *Event) source() *netip.AddrPort {
	if e.Kind == NetAccept || e.Kind == NetListen {
		return &e.Net.Remote
	}
	return &e.Net.Local
}

func (e *Event) destination() *netip.AddrPort {
	if e.Kind == NetAccept || e.Kind == NetListen {
		return &e.Net.Local
	}
	return &e.Net.Remote
}

func (e *Event) process() *Process {
	if e.Process == nil {
		e.Process = &Process{LoginUID: ^uint32(0)}
	}
	return e.Process
}

func (e *Event) model() *Model {
	if e.File.Model == nil {
		e.File.Model = new(Model)
	}
	return e.File.Model
}

func (p *Process) workload() *Workload {
	if p.Workload == nil {
		p.Workload = &Workload{ID: "workload"}
	}
	return p.Workload
}

func parseLayer(s string) Layer {
	switch s {
	case "lower":
		return LayerLower
	case "upper":
		return LayerUpper
	}
	return LayerNone
}

func top(name, sigma string, t ValueKind, doc string, get func(*Event) Value, set func(*Event, string) error) Info {
	if name == "" {
		name = "sigma." + sigma
	}
	return Info{Name: name, Sigma: sigma, Type: t, Doc: doc, get: get, set: set}
}

// derived marks a field as another view of one that is recorded: it is neither recorded nor set.
func derived(f Info, from string) Info {
	f.derived = true
	f.set = func(*Event, string) error { return fmt.Errorf("%s follows from %s: set that", f.Name, from) }
	return f
}

func proc(name, sigma string, t ValueKind, doc string, get func(*Process) Value, set func(*Process, string) error) Info {
	return top(name, sigma, t, doc,
		func(e *Event) Value {
			if e.Process == nil {
				return Value{}
			}
			return get(e.Process)
		},
		func(e *Event, s string) error { return set(e.process(), s) })
}

func parent(name, sigma string, t ValueKind, doc string, get func(*Process) Value, set func(*Process, string) error) Info {
	return top(name, sigma, t, doc,
		func(e *Event) Value {
			if e.Process == nil || e.Process.Parent == nil {
				return Value{}
			}
			return get(e.Process.Parent)
		},
		func(e *Event, s string) error {
			p := e.process()
			if p.Parent == nil {
				p.Parent = new(Process)
			}
			return set(p.Parent, s)
		})
}

func cont(name, sigma, doc string, member func(*Container) *string) Info {
	return proc(name, sigma, Text, doc,
		func(p *Process) Value {
			if p.Container == nil {
				return Value{}
			}
			return text(*member(p.Container))
		},
		func(p *Process, s string) error {
			if p.Container == nil {
				p.Container = new(Container)
			}
			*member(p.Container) = s
			return nil
		})
}

func work(name, doc string, member func(*Workload) *string) Info {
	return proc(name, "", Text, doc,
		func(p *Process) Value {
			if p.Workload == nil {
				return Value{}
			}
			return text(*member(p.Workload))
		},
		func(p *Process, s string) error { *member(p.workload()) = s; return nil })
}

func mod(name, doc string, member func(*Model) *string) Info {
	return top(name, "", Text, doc,
		func(e *Event) Value {
			if e.File.Model == nil {
				return Value{}
			}
			return text(*member(e.File.Model))
		},
		func(e *Event, s string) error { *member(e.model()) = s; return nil })
}

func number(put func(*Event, int64)) func(*Event, string) error {
	return func(e *Event, s string) error {
		n, err := strconv.ParseInt(s, 0, 64)
		if err != nil {
			return fmt.Errorf("%q is not an integer", s)
		}
		put(e, n)
		return nil
	}
}

func numberP(put func(*Process, int64)) func(*Process, string) error {
	set := number(func(e *Event, n int64) { put(e.Process, n) })
	return func(p *Process, s string) error { return set(&Event{Process: p}, s) }
}

func flag(put func(*Event, bool)) func(*Event, string) error {
	return func(e *Event, s string) error {
		b, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("%q is not true or false", s)
		}
		put(e, b)
		return nil
	}
}

func flagP(put func(*Process, bool)) func(*Process, string) error {
	set := flag(func(e *Event, b bool) { put(e.Process, b) })
	return func(p *Process, s string) error { return set(&Event{Process: p}, s) }
}

func address(end func(*Event) *netip.AddrPort) func(*Event, string) error {
	return func(e *Event, s string) error {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("%q is not an IP address", s)
		}
		*end(e) = netip.AddrPortFrom(a, end(e).Port())
		return nil
	}
}

func port(end func(*Event) *netip.AddrPort) func(*Event, string) error {
	return func(e *Event, s string) error {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return errors.New("a port is a number from 0 to 65535")
		}
		a := end(e).Addr()
		*end(e) = netip.AddrPortFrom(a, uint16(n))
		return nil
	}
}
