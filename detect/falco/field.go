package falco

import (
	"slices"
	"strings"
)

// valueType says how a field's values are compared.
type valueType uint8

const (
	textual valueType = iota
	numeric
	boolean
	address
	subnet // an address, compared with networks
)

// target is what a Falco field is here.
type target struct {
	names []string // several: any of them
	kind  valueType
	// absent is what Falco shows where the field is not there here, "" where nothing.
	absent string
	// blank is set where an empty text is kept apart from none.
	blank bool
	// cut is how much of the value Falco shows, 0 for all.
	cut int
	// words is set where Falco has several words in one text, and a list stands here.
	words bool
	// linked is set of paths that may begin with /var/run, which leads to /run.
	linked bool
	// one is set where a value must be this one; other values cannot be told.
	one string
}

// fields are the Falco fields that have one meaning for all events.
var fields = map[string]target{
	"proc.name":               {names: []string{"process.original_name"}},
	"proc.exe":                {names: []string{"process.argv0"}},
	"proc.exepath":            {names: []string{"process.exe"}},
	"proc.cmdline":            {names: []string{"process.command"}},
	"proc.exeline":            {names: []string{"process.cmdline"}},
	"proc.args":               {names: []string{"process.args"}, blank: true},
	"proc.cwd":                {names: []string{"process.cwd"}},
	"proc.pid":                {names: []string{"process.pid"}, kind: numeric},
	"proc.vpid":               {names: []string{"process.ns_pid"}, kind: numeric},
	"proc.ppid":               {names: []string{"process.parent.pid"}, kind: numeric},
	"proc.pname":              {names: []string{"process.parent.original_name"}},
	"proc.pexe":               {names: []string{"process.parent.argv0"}},
	"proc.pexepath":           {names: []string{"process.parent.exe"}},
	"proc.pcmdline":           {names: []string{"process.parent.command"}},
	"proc.aname":              {names: []string{"process.ancestors"}},
	"proc.sid":                {names: []string{"process.session"}, kind: numeric},
	"proc.duration":           {names: []string{"process.age"}, kind: numeric},
	"proc.tty":                {names: []string{"process.tty"}, absent: "0", one: "0"},
	"thread.tid":              {names: []string{"process.tid"}, kind: numeric},
	"user.uid":                {names: []string{"process.uid_number"}, kind: numeric},
	"user.name":               {names: []string{"process.user"}},
	"user.loginuid":           {names: []string{"process.login_uid"}, kind: numeric, absent: "-1"},
	"group.gid":               {names: []string{"process.gid_number"}, kind: numeric},
	"container.id":            {names: []string{"container.id"}, absent: "host", cut: 12},
	"container.full_id":       {names: []string{"container.id"}},
	"k8s.pod.uid":             {names: []string{"k8s.pod.uid"}},
	"evt.hostname":            {names: []string{"host"}},
	"thread.cap_effective":    {names: []string{"process.capabilities"}, words: true},
	"thread.cap_permitted":    {names: []string{"process.capabilities_permitted"}, words: true},
	"proc.is_exe_lower_layer": {names: []string{"process.layer"}, kind: boolean, one: "lower"},
	"proc.is_exe_upper_layer": {names: []string{"process.layer"}, kind: boolean, one: "upper"},
	"proc.is_exe_from_memfd":  {names: []string{"process.memfd"}, kind: boolean},
}

// fileFields are those of a file that was opened.
var fileFields = map[string]target{
	"fd.name":      {names: []string{"file.path"}},
	"fd.directory": {names: []string{"file.directory"}},
	"fd.filename":  {names: []string{"file.name"}},
	"fd.ino":       {names: []string{"file.inode"}, kind: numeric},
}

// netFields are those of a connection or a listening socket.
var netFields = map[string]target{
	"fd.sip":     {names: []string{"DestinationIp"}, kind: address},
	"fd.cip":     {names: []string{"SourceIp"}, kind: address},
	"fd.rip":     {names: []string{"net.remote.ip"}, kind: address},
	"fd.lip":     {names: []string{"net.local.ip"}, kind: address},
	"fd.ip":      {names: []string{"net.remote.ip", "net.local.ip"}, kind: address},
	"fd.snet":    {names: []string{"DestinationIp"}, kind: subnet},
	"fd.cnet":    {names: []string{"SourceIp"}, kind: subnet},
	"fd.rnet":    {names: []string{"net.remote.ip"}, kind: subnet},
	"fd.lnet":    {names: []string{"net.local.ip"}, kind: subnet},
	"fd.net":     {names: []string{"net.remote.ip", "net.local.ip"}, kind: subnet},
	"fd.sport":   {names: []string{"DestinationPort"}, kind: numeric},
	"fd.cport":   {names: []string{"SourcePort"}, kind: numeric},
	"fd.rport":   {names: []string{"net.remote.port"}, kind: numeric},
	"fd.lport":   {names: []string{"net.local.port"}, kind: numeric},
	"fd.port":    {names: []string{"net.remote.port", "net.local.port"}, kind: numeric},
	"fd.l4proto": {names: []string{"net.protocol"}},
}

// localFields are those of a socket of the host.
var localFields = map[string]target{"fd.name": {names: []string{"net.unix.path"}, linked: true}}

// paths are the arguments of calls that are kept, by source and argument.
var paths = map[string]string{
	"write.name": "file.path", "read.name": "file.path", "chmod.filename": "file.path",
	"rename.oldpath": "file.old_path", "rename.newpath": "file.path", "delete.path": "file.path", "delete.name": "file.path",
	"link.target": "file.old_path", "link.oldpath": "file.old_path", "link.linkpath": "file.path", "link.newpath": "file.path",
	"mkdir.path": "file.path", "chown.path": "file.path", "chown.pathname": "file.path",
	"chroot.path": "call.object", "mount.dev": "mount.source", "mount.dir": "mount.target", "mount.type": "mount.type", "umount2.name": "mount.target",
	"ptrace.request": "call.request", "setns.nstype": "call.flags", "unshare.flags": "call.flags", "mount.flags": "call.flags", "bpf.cmd": "call.request",
	"init_module.uargs": "call.object", "finit_module.uargs": "call.object", "delete_module.name": "module.path",
}

// missing says why a field cannot be told, by the beginning of its name. The first that fits counts.
var missing = []struct{ prefix, why string }{
	{"container.image", "the image of a container is not known here"},
	{"container.", "only the id of a container is known here"},
	{"k8s.", "only the uid of a pod is known here"},
	{"fd.nameraw", "paths are seen as the kernel resolved them, not as they were spelled"},
	{"fd.name", "a connection has no text form here: test its addresses and ports"},
	{"fd.sip.name", "names of addresses are not looked up"},
	{"fd.cip.name", "names of addresses are not looked up"},
	{"proc.env", "the environment is not kept"},
	{"proc.is_vpgid_leader", "process groups are not known here"},
	{"proc.aname", "ancestors are known up to the seventh"},
	{"proc.a", "of ancestors only names are known here"},
	{"evt.buffer", "what was read or written is not looked at"},
	{"evt.arg.flags", "the flags of the call are not kept"},
	{"evt.arg.", "that argument of the call is not kept"},
	{"thread.cap_", "only effective and permitted capabilities are known here"},
}

// reason says why a field cannot be told.
func reason(name string) string {
	for _, m := range missing {
		if strings.HasPrefix(name, m.prefix) {
			return m.why
		}
	}
	return "there is no such field here"
}

// target returns what a field is for the events of s. It reports false where Falco has no such
// field for them either, so that each comparison of it is false; why is not empty where Falco has
// it and Picket does not.
func (s *source) target(c *check) (t target, ok bool, why string) {
	if c.field == "proc.aname" && c.hasArg {
		return ancestorTarget(c.arg)
	}
	if t, ok := fields[c.field]; ok && !c.hasArg {
		return t, true, ""
	}
	if s.family == foreign {
		return target{names: []string{c.name()}}, true, ""
	}
	if arg, ok := strings.CutPrefix(c.field, "evt.arg."); ok {
		return s.argument(arg)
	}
	if !strings.HasPrefix(c.field, "fd.") {
		return target{}, true, reason(c.field)
	}
	own := fileFields
	switch s.family {
	case process, named:
		return target{}, false, ""
	case network:
		own = netFields
	case local:
		own = localFields
	}
	if t, ok := own[c.field]; ok {
		return t, true, ""
	}
	if s.family == local {
		return s.localTarget(c)
	}
	_, file := fileFields[c.field]
	_, net := netFields[c.field]
	if net && s.family == opened || file && s.family == network && c.field != "fd.name" {
		return target{}, false, ""
	}
	return target{}, true, reason(c.field)
}

// localTarget is a field that a socket of the host does not have, or not here.
func (s *source) localTarget(c *check) (target, bool, string) {
	if slices.Contains(c.change, "basename") {
		return target{}, true, "the last part of a socket's path is no field here: compare by endswith"
	}
	_, file := fileFields[c.field]
	_, net := netFields[c.field]
	if file || net || strings.HasSuffix(c.field, "ip.name") {
		return target{}, false, ""
	}
	return target{}, true, reason(c.field)
}

// ancestorTarget is the field of proc.aname[n].
func ancestorTarget(n string) (target, bool, string) {
	switch n {
	case "0":
		return fields["proc.name"], true, ""
	case "1":
		return fields["proc.pname"], true, ""
	case "2", "3", "4", "5", "6", "7":
		return target{names: []string{"process.ancestor." + n + ".original_name"}}, true, ""
	}
	return target{}, true, reason("proc.aname")
}

func (s *source) argument(arg string) (target, bool, string) {
	if name := paths[s.name+"."+arg]; name != "" {
		return target{names: []string{name}}, true, ""
	}
	if s.family == process && arg == "exe" {
		return fields["proc.exe"], true, ""
	}
	if s.args == nil || slices.Contains(s.args, arg) {
		return target{}, true, reason("evt.arg." + arg)
	}
	return target{}, false, "" // another call's argument
}
