package falco

import (
	"encoding/hex"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"picket/event"
)

// naive tells what Falco would say of an event, comparison by comparison, without any of the
// translation: what a field is comes from here, not from the tables of the package.
type naive struct{ e *event.Event }

func (v naive) holds(n *node) bool {
	switch n.op {
	case opAnd:
		return !slices.ContainsFunc(n.kids, func(k *node) bool { return !v.holds(k) })
	case opOr:
		return slices.ContainsFunc(n.kids, v.holds)
	case opNot:
		return !v.holds(n.kids[0])
	}
	return v.compare(n.check)
}

func (v naive) compare(c *check) bool {
	values := v.field(c)
	for _, change := range slices.Backward(c.change) {
		for j, s := range values {
			switch change {
			case "tolower":
				values[j] = strings.ToLower(s)
			case "toupper":
				values[j] = strings.ToUpper(s)
			case "basename":
				values[j] = s[strings.LastIndexByte(s, '/')+1:]
			}
		}
	}
	if c.op == "exists" {
		return len(values) > 0
	}
	var want []string
	if c.other != nil {
		if want = v.field(c.other); len(want) == 0 {
			return false
		}
	}
	for _, w := range c.values {
		want = append(want, w.text)
	}
	if slices.Contains([]string{"=", "!=", "in", "intersects"}, c.op) && c.other == nil {
		n := len(want)
		want = slices.DeleteFunc(want, func(w string) bool {
			return w == "<NA>" || w == "N/A" || w == "" && c.field != "proc.args"
		})
		if len(values) == 0 { // a value that is not there reads <NA>; an empty text is none
			return len(want) < n && c.op != "!="
		}
	}
	if c.op == "!=" {
		return len(values) > 0 && !slices.ContainsFunc(values, func(s string) bool {
			return slices.ContainsFunc(want, func(w string) bool { return v.one(c, "=", s, w) })
		})
	}
	return slices.ContainsFunc(values, func(s string) bool {
		return slices.ContainsFunc(want, func(w string) bool { return v.one(c, c.op, s, w) })
	})
}

// one compares one value with one that is wanted.
func (v naive) one(c *check, op, s, w string) bool {
	if strings.HasSuffix(c.field, "net") && strings.HasPrefix(c.field, "fd.") {
		p, err := netip.ParsePrefix(w)
		a, err2 := netip.ParseAddr(s)
		return err == nil && err2 == nil && p.Contains(a)
	}
	lower := strings.ToLower
	switch op {
	case "=", "in", "intersects":
		if c.field == "proc.cwd" && len(w) > 1 {
			return strings.TrimSuffix(s, "/") == strings.TrimSuffix(w, "/")
		}
		return s == w
	case "contains":
		return strings.Contains(s, w)
	case "icontains":
		return strings.Contains(lower(s), lower(w))
	case "startswith":
		return strings.HasPrefix(s, w)
	case "istartswith":
		return strings.HasPrefix(lower(s), lower(w))
	case "endswith":
		return strings.HasSuffix(s, w)
	case "iendswith":
		return strings.HasSuffix(lower(s), lower(w))
	case "bcontains", "bstartswith":
		raw, _ := hex.DecodeString(w)
		i := strings.Index(s, string(raw))
		return i == 0 || i > 0 && op == "bcontains"
	case "glob":
		return shellMatch(w, s)
	case "iglob":
		return shellMatch(lower(w), lower(s))
	case "regex":
		return regexp.MustCompile(`\A(?:` + w + `)\z`).MatchString(s)
	case "pmatch":
		have, prefix := components(s), components(w)
		return len(have) >= len(prefix) && slices.Equal(have[:len(prefix)], prefix)
	}
	a, err := strconv.ParseInt(s, 10, 64)
	b, err2 := strconv.ParseInt(w, 0, 64)
	if err != nil || err2 != nil {
		return false
	}
	return map[string]bool{"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]
}

func components(path string) (out []string) {
	for c := range strings.SplitSeq(path, "/") {
		if c != "" {
			out = append(out, c)
		}
	}
	return out
}

func shellMatch(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	switch pattern[0] {
	case '*':
		return shellMatch(pattern[1:], s) || s != "" && shellMatch(pattern, s[1:])
	case '?':
		return s != "" && shellMatch(pattern[1:], s[1:])
	}
	return s != "" && s[0] == pattern[0] && shellMatch(pattern[1:], s[1:])
}

// field returns the values of a Falco field, none where the event does not have it.
func (v naive) field(c *check) []string {
	p := v.e.Process
	some := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	number := func(n int64) []string { return []string{strconv.FormatInt(n, 10)} }
	flag := func(b bool) []string { return []string{strconv.FormatBool(b)} }
	up := func(n int) *event.Process {
		a := p
		for ; a != nil && n > 0; n-- {
			a = a.Parent
		}
		return a
	}
	comm := func(a *event.Process) []string {
		if a == nil {
			return nil
		}
		return some(a.Comm)
	}
	command := func(a *event.Process) []string {
		if a == nil {
			return nil
		}
		return some(strings.Join(append([]string{a.Comm}, a.Args[min(1, len(a.Args)):]...), " "))
	}
	first := func(a *event.Process) []string {
		if a == nil || len(a.Args) == 0 {
			return nil
		}
		return some(a.Args[0])
	}
	switch c.field {
	case "evt.type":
		return some(map[event.Kind]string{
			event.ProcessStart: "execve", event.FileRead: "openat", event.FileWrite: "openat", event.FileCreate: "openat", event.FileRename: "rename",
			event.FileDelete: "unlink", event.FileChmod: "chmod", event.NetConnect: "connect", event.NetAccept: "accept", event.NetListen: "listen",
			event.NetBind: "bind", event.NetUnix: "connect",
		}[v.e.Kind])
	case "evt.num":
		return number(7)
	case "evt.dir":
		return some("<")
	case "evt.hostname":
		return some(v.e.Host)
	case "evt.res":
		return some(map[int32]string{0: "SUCCESS", 115: "EINPROGRESS", 2: "ENOENT"}[v.e.Errno])
	case "evt.rawres":
		return number(-int64(v.e.Errno))
	case "evt.failed":
		return flag(v.e.Errno != 0)
	case "proc.name":
		return comm(p)
	case "proc.pname":
		return comm(up(1))
	case "proc.aname":
		if c.hasArg {
			n, _ := strconv.Atoi(c.arg)
			return comm(up(n))
		}
		var out []string
		for a := range p.Ancestors {
			out = append(out, a.Comm)
		}
		return out
	case "proc.cmdline":
		return command(p)
	case "proc.pcmdline":
		return command(up(1))
	case "proc.exe":
		return first(p)
	case "proc.pexe":
		return first(up(1))
	case "proc.args":
		return []string{strings.Join(p.Args[min(1, len(p.Args)):], " ")}
	case "proc.exepath":
		return some(p.Exe)
	case "proc.cwd":
		return some(strings.TrimSuffix(p.CWD, "/") + "/")
	case "proc.vpid":
		return number(int64(p.NSPID))
	case "proc.pid":
		return number(int64(p.PID))
	case "proc.tty":
		if p.TTY == "" {
			return some("0")
		}
		return some("34816")
	case "proc.duration":
		return number(int64(v.e.Time.Sub(p.Start)))
	case "proc.is_exe_upper_layer":
		return flag(p.Layer == event.LayerUpper)
	case "proc.is_exe_from_memfd":
		return flag(p.Memfd)
	case "user.uid":
		return number(int64(p.Cred.EUID))
	case "user.loginuid":
		return number(int64(int32(p.LoginUID)))
	case "user.name":
		return some(p.User)
	case "thread.cap_effective", "thread.cap_permitted":
		mask := map[string]uint64{"thread.cap_effective": p.Cred.CapEff, "thread.cap_permitted": p.Cred.CapPerm}[c.field]
		var names []string
		for bit, name := range map[int]string{1: "CAP_DAC_OVERRIDE", 2: "CAP_DAC_READ_SEARCH", 12: "CAP_NET_ADMIN", 16: "CAP_SYS_MODULE", 21: "CAP_SYS_ADMIN"} {
			if mask>>bit&1 == 1 {
				names = append(names, name)
			}
		}
		return some(strings.Join(names, " "))
	case "container.id":
		if p.Container == nil {
			return some("host")
		}
		return some(p.Container.ID[:min(12, len(p.Container.ID))])
	}
	return v.object(c, some, number, flag)
}

// object returns the values of a field of what the event is about.
func (v naive) object(c *check, some func(string) []string, number func(int64) []string, flag func(bool) []string) []string {
	e := v.e
	dir := func(path string) string {
		if i := strings.LastIndexByte(path, '/'); i > 0 {
			return path[:i]
		}
		return "/"
	}
	opens := e.Kind == event.FileRead || e.Kind == event.FileWrite || e.Kind == event.FileCreate
	switch c.field {
	case "evt.arg.oldpath":
		if e.Kind == event.FileRename {
			return some(e.File.Old)
		}
		return nil
	case "evt.arg.newpath":
		if e.Kind == event.FileRename {
			return some(e.File.Path)
		}
		return nil
	case "evt.arg.path":
		if e.Kind == event.FileDelete {
			return some(e.File.Path)
		}
		return nil
	case "evt.arg.name":
		if e.Kind == event.FileDelete || opens {
			return some(e.File.Path)
		}
		return nil
	case "evt.arg.filename":
		if e.Kind == event.FileChmod {
			return some(e.File.Path)
		}
		return nil
	case "evt.arg.mode":
		if e.Kind == event.FileChmod {
			var bits []string
			for i, name := range strings.Fields("S_IXOTH S_IWOTH S_IROTH S_IXGRP S_IWGRP S_IRGRP S_IXUSR S_IWUSR S_IRUSR S_ISVTX S_ISGID S_ISUID") {
				if e.File.Mode>>i&1 == 1 {
					bits = append(bits, name)
				}
			}
			return some(strings.Join(bits, "|"))
		}
		return nil
	case "evt.arg.flags":
		if e.Kind == event.FileCreate {
			return some("O_WRONLY|O_CREAT")
		}
		return nil
	}
	if opens || e.Kind == event.FileChmod {
		switch c.field {
		case "evt.is_open_read":
			return flag(e.Kind == event.FileRead)
		case "evt.is_open_write":
			return flag(e.Kind == event.FileWrite || e.Kind == event.FileCreate)
		case "evt.is_open_exec":
			return flag(e.Kind == event.FileCreate && e.File.Mode&0o111 != 0)
		case "fd.num":
			if e.Errno != 0 {
				return number(-1)
			}
			return number(3)
		case "fd.typechar":
			return some("f")
		case "fd.type":
			return some("file")
		case "fd.name":
			return some(e.File.Path)
		case "fd.directory":
			return some(dir(e.File.Path))
		case "fd.filename":
			return some(e.File.Path[strings.LastIndexByte(e.File.Path, '/')+1:])
		}
		return nil
	}
	if e.Kind.Class() != "net" {
		return nil
	}
	return v.end(c.field, some, number)
}

// end returns the values of a field of a connection.
func (v naive) end(field string, some func(string) []string, number func(int64) []string) []string {
	if u := v.e.Net.Unix; u != nil {
		switch field {
		case "fd.num":
			return number(3)
		case "fd.typechar":
			return some("u")
		case "fd.type", "fd.sockfamily":
			return some("unix")
		case "fd.name": // by either name of the directory
			if strings.HasPrefix(u.Path, "/run/") {
				return []string{u.Path, "/var" + u.Path}
			}
			return some(u.Path)
		}
		return nil
	}
	client, server := v.e.Net.Local, v.e.Net.Remote
	if v.e.Kind == event.NetAccept || v.e.Kind == event.NetListen || v.e.Kind == event.NetBind {
		client, server = server, client
	}
	ips := map[string][]netip.AddrPort{
		"fd.s": {server}, "fd.c": {client}, "fd.r": {v.e.Net.Remote}, "fd.l": {v.e.Net.Local}, "fd.": {v.e.Net.Local, v.e.Net.Remote},
	}
	var out []string
	for _, what := range []string{"ip", "net", "port"} {
		ends, ok := ips[strings.TrimSuffix(field, what)]
		if !ok || !strings.HasSuffix(field, what) {
			continue
		}
		for _, end := range ends {
			switch {
			case !end.IsValid():
			case what == "port":
				out = append(out, number(int64(end.Port()))...)
			default:
				out = append(out, end.Addr().String())
			}
		}
		return out
	}
	six := v.e.Net.Remote.Addr().Is6() && v.e.Net.Remote.IsValid() || v.e.Net.Local.Addr().Is6()
	switch field {
	case "fd.num":
		return number(3)
	case "fd.name":
		name := func(a netip.AddrPort) string { return a.Addr().String() + ":" + strconv.Itoa(int(a.Port())) }
		if v.e.Net.Remote.IsValid() {
			return some(name(client) + "->" + name(server))
		}
		return some(name(server))
	case "fd.typechar":
		return some(map[bool]string{true: "6", false: "4"}[six])
	case "fd.type":
		return some(map[bool]string{true: "ipv6", false: "ipv4"}[six])
	case "fd.sockfamily":
		return some("ip")
	case "fd.l4proto":
		return some(v.e.Net.Protocol)
	}
	return nil
}
