package falco

import (
	"slices"
	"strings"

	"picket/event"
)

// family says what sort of object the events of a source are about.
type family uint8

const (
	process family = iota
	opened         // a file, through a descriptor
	named          // a file, by its path
	network
	local   // a socket of the host
	foreign // no sensor here reports it
)

// source is a Sigma log source, or a part of one, and the Falco events that it stands for.
type source struct {
	name     string
	category string
	family   family
	types    []string     // Falco's evt.type, the usual ones first
	usual    int          // how many of types are usual
	kinds    []event.Kind // the kinds of the category that are meant
	whole    bool         // kinds are all that the category has, so that the rule need not say it
	called   bool         // the system call's name tells the events from others of the category
	args     []string     // evt.arg.X that Falco has for these events
	remarks  []string
}

// sources returns the log sources that have events here.
func sources() []*source {
	return append(objectSources(), callSources()...)
}

// callSources are calls that are told apart by name.
func callSources() []*source {
	call := func(name, category string, kind event.Kind, remarks ...string) *source {
		return &source{name: name, category: category, types: []string{name}, usual: 1, kinds: []event.Kind{kind}, called: true, remarks: remarks}
	}
	return []*source{
		call("ptrace", "process_access", event.ProcessTrace, "of ptrace, requests that attach, seize, write or ask to be traced are seen (narrower)"),
		call("process_vm_readv", "process_access", event.ProcessTrace),
		call("process_vm_writev", "process_access", event.ProcessTrace),
		call("pidfd_getfd", "process_access", event.ProcessTrace),
		call("setns", "process_namespace", event.ProcessNamespace),
		call("unshare", "process_namespace", event.ProcessNamespace),
		call("chroot", "process_namespace", event.ProcessNamespace),
		call("mount", "host_mount", event.HostMount),
		call("umount2", "host_mount", event.HostMount),
		call("fsconfig", "host_mount", event.HostMount),
		call("init_module", "driver_load", event.HostModule),
		call("finit_module", "driver_load", event.HostModule),
		call("delete_module", "driver_load", event.HostModule),
		call("bpf", "host_bpf", event.HostBPF, "of bpf, commands that load, attach, link, pin or get are seen (narrower)"),
		call("userfaultfd", "host_kernel", event.HostKernel),
		call("kill", "process_signal", event.ProcessSignal),
		call("tkill", "process_signal", event.ProcessSignal),
		call("tgkill", "process_signal", event.ProcessSignal),
		call("setuid", "process_credentials", event.ProcessCred),
		call("setgid", "process_credentials", event.ProcessCred),
		call("setresuid", "process_credentials", event.ProcessCred),
		call("setresgid", "process_credentials", event.ProcessCred),
		call("capset", "process_credentials", event.ProcessCred),
	}
}

// objectSources are about processes, files and connections. Those of one Falco event may be several:
// an open is a write or a read.
func objectSources() []*source {
	open := []string{"open", "openat", "openat2", "creat", "open_by_handle_at"}
	return []*source{
		{name: "exec", category: "process_creation", types: []string{"execve", "execveat"}, usual: 1, kinds: []event.Kind{event.ProcessStart, event.ProcessSeen}, whole: true},
		{name: "fork", category: "process_fork", types: []string{"clone", "clone3", "fork", "vfork"}, usual: 4, kinds: []event.Kind{event.ProcessFork}, whole: true},
		{name: "exit", category: "process_termination", types: []string{"procexit"}, usual: 1, kinds: []event.Kind{event.ProcessExit}, whole: true},
		{name: "write", category: "file_event", family: opened, types: open, usual: 3, kinds: []event.Kind{event.FileCreate, event.FileWrite}, args: []string{"fd", "dirfd", "name", "flags", "mode", "dev", "ino"}},
		{
			name: "read", category: "file_access", family: opened, types: open[:3], usual: 3, kinds: []event.Kind{event.FileRead}, whole: true, args: []string{"fd", "dirfd", "name", "flags", "mode", "dev", "ino"},
			remarks: []string{"reads are seen below watched directories only"},
		},
		{name: "rename", category: "file_rename", family: named, types: []string{"rename", "renameat", "renameat2"}, usual: 3, kinds: []event.Kind{event.FileRename}, whole: true, args: []string{"res", "oldpath", "newpath", "olddirfd", "newdirfd", "flags"}},
		{name: "delete", category: "file_delete", family: named, types: []string{"unlink", "unlinkat"}, usual: 2, kinds: []event.Kind{event.FileDelete}, whole: true, args: []string{"res", "path", "name", "dirfd", "flags"}},
		{name: "chmod", category: "file_change", family: opened, types: []string{"chmod", "fchmod", "fchmodat", "fchmodat2"}, usual: 3, kinds: []event.Kind{event.FileChmod}, args: []string{"res", "filename", "mode", "fd", "dirfd", "flags"}},
		{name: "link", category: "file_link", family: named, types: []string{"link", "linkat", "symlink", "symlinkat"}, usual: 4, kinds: []event.Kind{event.FileLink}, whole: true, args: []string{"res", "target", "linkpath", "linkdirfd", "oldpath", "newpath", "olddir", "newdir", "flags"}},
		{name: "mkdir", category: "file_mkdir", family: named, types: []string{"mkdir", "mkdirat"}, usual: 2, kinds: []event.Kind{event.FileMkdir}, whole: true, args: []string{"res", "path", "mode", "dirfd"}},
		{name: "chown", category: "file_change", family: named, types: []string{"chown", "lchown", "fchown", "fchownat"}, usual: 4, kinds: []event.Kind{event.FileChown}, args: []string{"res", "path", "pathname", "fd", "dirfd", "uid", "gid", "flags"}},
		{name: "connect", category: "network_connection", family: network, types: []string{"connect"}, usual: 1, kinds: []event.Kind{event.NetConnect}},
		{name: "unix", category: "network_unix", family: local, types: []string{"connect"}, usual: 1, kinds: []event.Kind{event.NetUnix}, whole: true},
		{name: "accept", category: "network_connection", family: network, types: []string{"accept", "accept4"}, usual: 2, kinds: []event.Kind{event.NetAccept}},
		{name: "listen", category: "network_listen", family: network, types: []string{"listen"}, usual: 1, kinds: []event.Kind{event.NetListen}, whole: true},
		{
			name: "bind", category: "network_bind", family: network, types: []string{"bind"}, usual: 1, kinds: []event.Kind{event.NetBind}, whole: true,
			remarks: []string{"of bind, TCP and UDP ports that are asked for by number are seen (narrower)"},
		},
	}
}

// variants are the calls that do what another one does, by the one that names their log source.
var variants = map[string][]string{
	"dup": {"dup2", "dup3"}, "init_module": {"finit_module"},
	"sendto": {"sendmsg", "sendmmsg"}, "recvfrom": {"recvmsg", "recvmmsg"}, "setuid": {"setreuid", "setresuid"}, "mknod": {"mknodat"},
	"mount": {"umount", "umount2"}, "userfaultfd": nil,
}

// canonical returns the call after which the log source of an event is named.
func canonical(evt string) string {
	for name, others := range variants {
		if slices.Contains(others, evt) {
			return name
		}
	}
	return evt
}

// sourcesOf returns the sources of the event types that a condition names, in a fixed order.
func sourcesOf(tree *node) []*source {
	types := map[string]bool{}
	seen := map[*node]bool{}
	tree.eventTypes(types, seen)
	var out []*source
	active := sources()
	for _, s := range active {
		if slices.ContainsFunc(s.types, func(t string) bool { return types[t] }) {
			s.widen(types)
			out = append(out, s)
		}
	}
	var names []string
	for t := range types {
		if !slices.ContainsFunc(active, func(s *source) bool { return slices.Contains(s.types, t) }) {
			names = append(names, t)
		}
	}
	slices.Sort(names)
	for _, t := range names {
		c := category(canonical(t))
		i := slices.IndexFunc(out, func(s *source) bool { return s.family == foreign && s.category == c })
		if i < 0 {
			i = len(out)
			out = append(out, &source{name: c, category: c, family: foreign, whole: true})
		}
		out[i].types = append(out[i].types, t)
		out[i].usual++
	}
	return out
}

// widen notes where a condition names some of the calls that are not told apart here.
func (s *source) widen(types map[string]bool) {
	var asked, taken []string
	for i, t := range s.types {
		if types[t] {
			asked = append(asked, t)
		} else if i < s.usual {
			taken = append(taken, t)
		}
	}
	if len(taken) > 0 {
		s.remarks = append(s.remarks, strings.Join(asked, ", ")+" is not told apart from "+strings.Join(taken, ", ")+" (noisier)")
	}
}

// eventTypes gathers the values that evt.type is compared with.
func (n *node) eventTypes(types map[string]bool, seen map[*node]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	if n.op == opCheck && n.check.field == "evt.type" {
		for _, v := range n.check.values {
			types[v.text] = true
		}
	}
	for _, kid := range n.kids {
		kid.eventTypes(types, seen)
	}
}

// category makes a log source of an event's name.
func category(evt string) string { return slug(evt) }

// kindNames returns the kinds of event as rules name them.
func (s *source) kindNames() []string {
	names := make([]string, len(s.kinds))
	for i, k := range s.kinds {
		names[i] = k.String()
	}
	return names
}

// selects reports whether evt.type equals one of the types given. Calls that do the same are not
// told apart here, so where only some of the source's calls are named the answer is what makes
// the rule wider: any of them is enough, and under a not all are needed.
func (s *source) selects(c *check, neg bool) bool {
	named := func(t string) bool {
		return slices.ContainsFunc(c.values, func(v value) bool { return v.text == t })
	}
	every := neg != (c.op == "!=")
	hit := slices.ContainsFunc(s.types, named)
	if every {
		hit = hit && !slices.ContainsFunc(s.types[:s.usual], func(t string) bool { return !named(t) })
	}
	return hit != (c.op == "!=")
}
