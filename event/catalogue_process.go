package event

import (
	"strings"
	"time"
)

// processRows says who did it: the process, its parent and those before.
var processRows = []Info{
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
	proc("process.core_dumped", "", Boolean, "true where the kernel wrote the memory of a process that ended to a file, or to the program that takes such",
		func(p *Process) Value {
			if !p.CoreDumped {
				return Value{}
			}
			return boolean(true)
		}, flagP(func(p *Process, b bool) { p.CoreDumped = b })),
	top("process.installer", "", Text, "the installer of packages that the process is while it installs, or that it runs below: pip, uv, conda, npm…",
		func(e *Event) Value {
			if e.Process == nil || e.installer != "" {
				return text(e.installer)
			}
			if of := e.Process.OfInstaller(); of != nil {
				return text(of.Installer())
			}
			return Value{}
		}, func(e *Event, s string) error { e.process(); e.installer = s; return nil }),

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
}

func (e *Event) process() *Process {
	if e.Process == nil {
		e.Process = &Process{LoginUID: ^uint32(0)}
	}
	return e.Process
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

func numberP(put func(*Process, int64)) func(*Process, string) error {
	set := number(func(e *Event, n int64) { put(e.Process, n) })
	return func(p *Process, s string) error { return set(&Event{Process: p}, s) }
}

func flagP(put func(*Process, bool)) func(*Process, string) error {
	set := flag(func(e *Event, b bool) { put(e.Process, b) })
	return func(p *Process, s string) error { return set(&Event{Process: p}, s) }
}
