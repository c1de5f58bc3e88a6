package event

// callFields are the fields of what a process asked of the kernel, and of how it was started.
var callFields = []Info{
	proc("process.fd_exec", "", Boolean, "true where the program was started by a descriptor, and not by a path",
		func(p *Process) Value {
			if !p.FDExec {
				return Value{}
			}
			return boolean(true)
		}, flagP(func(p *Process, b bool) { p.FDExec = b })),
	derived(proc("process.loader", "", Boolean, "the executable is the loader of shared libraries, run by hand",
		func(p *Process) Value { return boolean(p.Loader()) }, nil), "process.exe"),
	derived(proc("process.masked", "", Boolean, "the process was started under a name that is not its executable's",
		func(p *Process) Value { return boolean(p.Masked()) }, nil), "process.cmdline"),

	asked("call.name", "the system call", func(c *Call) *string { return &c.Name }),
	asked("call.request", "what the call was to do, where one does several things: PTRACE_ATTACH, BPF_PROG_LOAD", func(c *Call) *string { return &c.Request }),
	asked("call.flags", "flags of the call by name, with | between: CLONE_NEWNS|CLONE_NEWPID", func(c *Call) *string { return &c.Flags }),
	asked("call.object", "what the call was about: a path, a key, a name", func(c *Call) *string { return &c.Object }),
	asked("call.ids", "user or group ids that were asked for, separated by spaces", func(c *Call) *string { return &c.IDs }),
	top("signal.number", "", Integer, "number of the signal",
		func(e *Event) Value {
			if e.Kind != ProcessSignal || e.Call == nil {
				return Value{}
			}
			return count(e.Call.Number)
		},
		number(func(e *Event, n int64) { e.call().Number = n })),

	derived(proc("sigma.SourceImage", "SourceImage", List, "executable that reaches for the other process",
		func(p *Process) Value { return list(p.Images()) }, nil), "process.exe"),
	aim("target.pid", "TargetProcessId", Integer, "process id of the process that the call was aimed at",
		func(p *Process) Value { return count(p.PID) }, numberP(func(p *Process, n int64) { p.PID = uint32(n) })),
	aim("target.exe", "TargetImage", Text, "executable of the process that the call was aimed at",
		func(p *Process) Value { return text(p.Exe) }, func(p *Process, s string) error { p.Exe = s; return nil }),
	aim("target.name", "", Text, "last part of that executable's path",
		func(p *Process) Value { return text(p.Name()) }, func(p *Process, s string) error { p.Comm = s; return nil }),
	aim("target.uid", "", Integer, "user id of the process that the call was aimed at",
		func(p *Process) Value { return integer(int64(p.Cred.UID)) }, numberP(func(p *Process, n int64) { p.Cred.UID = uint32(n) })),
	aim("target.container.id", "", Text, "container of the process that the call was aimed at",
		func(p *Process) Value { return text(containerOf(p)) }, func(p *Process, s string) error { p.Container = &Container{ID: s}; return nil }),
	aim("target.workload.id", "", Text, "AI workload of the process that the call was aimed at",
		func(p *Process) Value {
			if p.Workload == nil {
				return Value{}
			}
			return text(p.Workload.ID)
		},
		func(p *Process, s string) error { p.workload().ID = s; return nil }),
	derived(top("target.foreign", "", Boolean, "true where that process is in another container, or in none while the caller is in one",
		func(e *Event) Value {
			if e.Call == nil || e.Call.Target == nil {
				return Value{}
			}
			return boolean(e.Foreign())
		}, nil), "target.container.id"),

	asked("namespace.type", "kinds of the namespaces, separated by spaces: mnt, net, uts, ipc, pid, cgroup, user, time", func(c *Call) *string { return &c.Space.Types }),
	top("namespace.inode", "", Integer, "inode of the namespace that was entered",
		func(e *Event) Value {
			if e.Call == nil {
				return Value{}
			}
			return count(e.Call.Space.Inode)
		},
		number(func(e *Event, n int64) { e.call().Space.Inode = uint32(n) })),
	top("namespace.host", "", Boolean, "true where the namespace that was entered is the host's own",
		func(e *Event) Value {
			if e.Call == nil || e.Kind != ProcessNamespace {
				return Value{}
			}
			return boolean(e.Call.Space.Host)
		},
		flag(func(e *Event, b bool) { e.call().Space.Host = b })),

	asked("mount.source", "what was mounted, as the program spelled it", func(c *Call) *string { return &c.Mount.Source }),
	asked("mount.target", "where it was mounted, as the program spelled it", func(c *Call) *string { return &c.Mount.Target }),
	asked("mount.type", "kind of file system", func(c *Call) *string { return &c.Mount.Type }),
	asked("mount.options", "options of the file system, without passwords", func(c *Call) *string { return &c.Mount.Options }),

	asked("module.path", "file of the kernel module, or its name where there is no file", func(c *Call) *string { return &c.Module }),
	asked("bpf.name", "name of the BPF program", func(c *Call) *string { return &c.BPF }),
	asked("bpf.type", "type of the BPF program: kprobe, tracing, sched_cls", func(c *Call) *string { return &c.BPFType }),

	asked("sysctl.name", "setting below /proc/sys: kernel/core_pattern", func(c *Call) *string { return &c.Sysctl }),
	asked("sysctl.value", "value that the setting gets", func(c *Call) *string { return &c.Value }),
	asked("capability.name", "capability that was asked for, such as CAP_SYS_ADMIN; event.errno where the process does not have it", func(c *Call) *string { return &c.Capability }),
	asked("cgroup.path", "control group that was made, below the root of its hierarchy", func(c *Call) *string { return &c.Group }),

	top("device.number", "", Integer, "which device it is, kernel encoding: major<<20 | minor",
		func(e *Event) Value { return count(e.File.Device) }, number(func(e *Event, n int64) { e.File.Device = uint64(n) })),
	derived(top("device.major", "", Integer, "major number of the device: 195 of an NVIDIA GPU, 226 of a graphics card, 1 of /dev/mem",
		func(e *Event) Value { return count(e.File.Device >> 20) }, nil), "device.number"),
	derived(top("device.minor", "", Integer, "minor number of the device",
		func(e *Event) Value {
			if e.File.Device == 0 {
				return Value{}
			}
			return integer(int64(e.File.Device & (1<<20 - 1)))
		}, nil), "device.number"),
	derived(top("device.type", "", Text, "char or block",
		func(e *Event) Value {
			if e.File.Device == 0 {
				return Value{}
			}
			return text(map[uint32]string{0o020000: "char", 0o060000: "block"}[e.File.Mode&0o170000])
		}, nil), "file.mode"),
}

func (e *Event) call() *Call {
	if e.Call == nil {
		e.Call = new(Call)
	}
	return e.Call
}

func asked(name, doc string, member func(*Call) *string) Info {
	return part(name, "", doc, func(e *Event) *Call { return e.Call }, (*Event).call, member)
}

// aim is a field of the process that a call was aimed at.
func aim(name, sigma string, t ValueKind, doc string, get func(*Process) Value, set func(*Process, string) error) Info {
	return top(name, sigma, t, doc,
		func(e *Event) Value {
			if e.Call == nil || e.Call.Target == nil {
				return Value{}
			}
			return get(e.Call.Target)
		},
		func(e *Event, s string) error {
			c := e.call()
			if c.Target == nil {
				c.Target = &Process{LoginUID: ^uint32(0)}
			}
			return set(c.Target, s)
		})
}
