package falco

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/detect"
	"picket/event"
	"picket/sigma"
)

// shown is an event as the rule engine sees it.
type shown struct{ e *event.Event }

func (s shown) Value(id uint16) sigma.Value {
	v := s.e.Value(event.Field(id))
	switch v.Kind {
	case event.Text:
		return sigma.Value{Kind: sigma.Text, Str: v.Str}
	case event.Integer:
		return sigma.Value{Kind: sigma.Integer, Int: v.Int}
	case event.Boolean:
		return sigma.Value{Kind: sigma.Boolean, Int: v.Int}
	case event.List:
		return sigma.Value{Kind: sigma.List, List: v.List}
	}
	return sigma.Value{}
}

func (s shown) Extra(string) sigma.Value { return sigma.Value{} }

func (s shown) EachText(func(uint16, string) bool) {}

func (s shown) Logsources() (out []sigma.Logsource) {
	for _, c := range map[event.Kind][]string{
		event.ProcessStart: {"process_creation"}, event.FileRead: {"file_access"}, event.FileCreate: {"file_event"},
		event.FileWrite: {"file_event", "file_change"}, event.FileRename: {"file_event", "file_rename"}, event.FileDelete: {"file_delete"},
		event.FileChmod: {"file_change"}, event.NetConnect: {"network_connection"}, event.NetAccept: {"network_connection"}, event.NetListen: {"network_listen"},
		event.NetBind: {"network_bind"}, event.NetUnix: {"network_unix"},
	}[s.e.Kind] {
		out = append(out, sigma.Logsource{Product: "linux", Category: c})
	}
	return out
}

// vocabulary is what a condition compares fields with, so that random events come near to it.
type vocabulary struct {
	rnd   *rand.Rand
	words map[string][]string // by the part of the event that they are fit for
}

func newVocabulary(n *node, seed uint64) *vocabulary {
	v := &vocabulary{rand.New(rand.NewPCG(seed, 1)), map[string][]string{}}
	v.gather(n, map[*node]bool{})
	return v
}

func (v *vocabulary) gather(n *node, seen map[*node]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	for _, k := range n.kids {
		v.gather(k, seen)
	}
	if n.op != opCheck {
		return
	}
	part := n.check.field
	switch {
	case strings.HasPrefix(part, "proc.a") && part != "proc.args":
		part = "proc.pname"
	case strings.HasPrefix(part, "evt.arg."):
		part = "fd.name"
	}
	for _, w := range n.check.values {
		v.words[part] = append(v.words[part], w.text)
	}
}

// word returns a text of the condition, whole, shortened, lengthened or in another case, or else.
func (v *vocabulary) word(part string, others ...string) string {
	words := v.words[part]
	if len(words) == 0 || v.rnd.IntN(6) == 0 {
		words = others
	}
	w := words[v.rnd.IntN(len(words))]
	switch v.rnd.IntN(12) {
	case 0:
		w += "x"
	case 1:
		w = "x" + w
	case 2:
		w = strings.ToUpper(w)
	case 3:
		w = strings.ReplaceAll(w, "*", "y")
	}
	return w
}

func (v *vocabulary) process(depth int) *event.Process {
	p := &event.Process{
		PID: uint32(1 + v.rnd.IntN(3)), NSPID: uint32(1 + v.rnd.IntN(2)), LoginUID: []uint32{^uint32(0), 0, 1000}[v.rnd.IntN(3)],
		TTY: []string{"", "pts0"}[v.rnd.IntN(2)], User: v.word("user.name", "root", "", "me"), CWD: strings.TrimSuffix(v.word("proc.cwd", "/", "/tmp"), "/"),
		Memfd: v.rnd.IntN(3) == 0, Layer: event.Layer(v.rnd.IntN(3)), Exe: v.word("proc.exepath", "/usr/bin/x", "/bin/y"),
		Start: time.Unix(1000, 0).Add(-time.Duration(v.rnd.IntN(10)) * time.Second),
	}
	p.Cred.EUID = uint32(v.rnd.IntN(2) * 1000)
	p.Cred.CapEff = []uint64{0, 1 << 21, 1<<21 | 1<<1, 1<<17 - 1, 1<<41 - 1}[v.rnd.IntN(5)]
	p.Cred.CapPerm = []uint64{0, 1 << 12, p.Cred.CapEff}[v.rnd.IntN(3)]
	if p.CWD == "" {
		p.CWD = "/"
	}
	part, line := "proc.name", "proc.cmdline"
	if depth > 0 {
		part, line = "proc.pname", "proc.pcmdline"
	}
	if p.Comm = v.word(part, "sh", "cat", "nginx"); v.rnd.IntN(20) == 0 {
		p.Comm = "x"
	}
	text := p.Comm
	switch v.rnd.IntN(4) {
	case 0:
		text += " " + v.word("proc.args", "-a", "b c")
	case 1:
		text = v.word(line, "sh -c id", "x")
		if v.rnd.IntN(2) == 0 {
			text = p.Comm + " " + text
		}
		p.Comm, _, _ = strings.Cut(strings.TrimLeft(text, " "), " ")
	case 2:
		text += " " + v.word(line, "y") + " z"
	}
	if p.Args = strings.Split(strings.TrimLeft(text, " "), " "); p.Args[0] == "" || p.Comm == "" {
		p.Comm, p.Args = "sh", []string{"sh"}
	}
	if v.rnd.IntN(3) == 0 {
		p.Args[0] = v.word(map[bool]string{true: "proc.pexe", false: "proc.exe"}[depth > 0], "/usr/bin/java", p.Comm)
	}
	if p.Args[0] == "" {
		p.Args[0] = "-"
	}
	p.Cmdline = strings.Join(p.Args, " ")
	if v.rnd.IntN(2) == 0 {
		p.Container = &event.Container{ID: v.word("container.id", "abc", "0123456789abcdef")}
		if p.Container.ID == "host" || p.Container.ID == "" {
			p.Container = nil
		}
	}
	if depth < 4 && v.rnd.IntN(5) > 0 {
		p.Parent = v.process(depth + 1)
	}
	if v.rnd.IntN(2) == 0 {
		p.Seal()
	}
	return p
}

func (v *vocabulary) path() string {
	var p string
	switch v.rnd.IntN(4) {
	case 0:
		p = v.word("fd.directory", "/etc", "/root") + "/" + v.word("fd.filename", "a", ".profile")
	case 1:
		p = v.word("fd.name", "/etc/x", "/a") + "/" + v.word("fd.filename", "b")
	default:
		p = v.word("fd.name", "/etc/passwd", "/x")
	}
	if !strings.HasPrefix(p, "/") {
		p = "/d/" + p
	}
	return p
}

func (v *vocabulary) end(part string) netip.AddrPort {
	ip := v.word(part, "192.0.2.7", "127.0.0.1", "2001:db8::1", "0.0.0.0")
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		addr = netip.MustParseAddr([]string{"10.1.2.3", "8.8.8.8", "::1"}[v.rnd.IntN(3)])
	}
	port := uint16(443)
	fmt.Sscan(v.word("fd."+[]string{"sport", "port"}[v.rnd.IntN(2)], "22", "443", "31000"), &port)
	return netip.AddrPortFrom(addr, port)
}

func (v *vocabulary) event() *event.Event {
	kinds := []event.Kind{
		event.ProcessStart, event.ProcessStart, event.FileRead, event.FileCreate, event.FileWrite, event.FileRename, event.FileDelete,
		event.FileChmod, event.NetConnect, event.NetAccept, event.NetListen, event.NetBind, event.NetUnix,
	}
	e := &event.Event{Kind: kinds[v.rnd.IntN(len(kinds))], Time: time.Unix(1000, 0), Host: "h", Process: v.process(0)}
	switch e.Kind.Class() {
	case "file":
		e.File.Path = v.path()
		if e.Kind == event.FileChmod || e.Kind == event.FileCreate {
			e.File.Mode = 0o100000 | v.rnd.Uint32N(1<<12)
		}
		if e.Kind == event.FileRename {
			e.File.Old = v.path()
		}
	case "net":
		if e.Kind == event.NetUnix {
			path := strings.Replace(v.word("fd.name", "/run/docker.sock", "/run/x", "@x"), "/var/run/", "/run/", 1) // as the kernel resolves it
			e.Net = event.Net{Protocol: "unix", Initiated: true, Unix: &event.Unix{Path: path}}
			break
		}
		e.Net = event.Net{Protocol: []string{"tcp", "udp"}[v.rnd.IntN(2)], Initiated: e.Kind == event.NetConnect, Local: v.end("fd.cip")}
		if e.Kind != event.NetListen && e.Kind != event.NetBind {
			e.Net.Remote = v.end("fd.sip")
			if e.Net.Local.Addr().Is4() != e.Net.Remote.Addr().Is4() {
				e.Net.Local = netip.AddrPortFrom(map[bool]netip.Addr{true: netip.MustParseAddr("10.9.8.7"), false: netip.MustParseAddr("fd00::7")}[e.Net.Remote.Addr().Is4()], 5)
			}
		}
	}
	e.Errno = []int32{0, 0, 0, 115, 2}[v.rnd.IntN(5)]
	return e
}

// agree compares a rule's translation with the naive evaluator on random events, and returns how
// many of them fired.
func agree(t *testing.T, r *ruleDef, res Result, rounds int) (hits int) {
	t.Helper()
	var text strings.Builder
	for _, x := range res.Rules {
		if !x.Inactive {
			text.WriteString("---\n" + x.YAML)
		}
	}
	parsed, err := sigma.Parse("made.yml", []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	engine, err := sigma.Compile(parsed.Rules, detect.Schema())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range engine.Warnings() {
		t.Errorf("%s: %v", r.name, w)
	}
	v := newVocabulary(r.tree, 7)
	for range rounds {
		e := v.event()
		got := false
		engine.Match(shown{e}, func(*sigma.Rule) { got = true })
		want := naive{e}.holds(r.tree)
		if want {
			hits++
		}
		if got != want {
			t.Fatalf("rule %q fires here: %v, by the condition: %v, on\n%s\n%s", r.name, got, want, e.AppendRecord(nil), text.String())
		}
	}
	return hits
}

func TestTranslationMeansTheSame(t *testing.T) {
	const rounds = 1000
	for _, cond := range []string{
		`evt.type=execve and proc.name in (sh, Bash)`,
		`evt.type=execve and proc.name != sh`,
		`evt.type=execve and not proc.name = sh`,
		`evt.type=execve and not proc.pname != sh`,
		`evt.type=execve and proc.pname exists and not proc.aname[2] exists`,
		`evt.type=execve and proc.aname in (nginx, sh)`,
		`evt.type=execve and proc.cmdline startswith "sh -c" and not proc.args contains 'i?d*'`,
		`evt.type=execve and proc.args icontains "-A" or evt.type=execve and proc.args = ""`,
		`evt.type=execve and proc.args intersects (-a, "b c")`,
		`evt.type=execve and (proc.cmdline glob "*-c*d" or proc.cmdline iglob "X ?*")`,
		`evt.type=execve and proc.cmdline regex "sh.*(id|b c)"`,
		`evt.type=execve and proc.cwd startswith /tmp/ and proc.exe endswith java`,
		`evt.type=execve and (proc.cwd contains /tmp/ or proc.cwd = /root/)`,
		`evt.type=execve and tolower(proc.name) in (sh, cat)`,
		`evt.type=execve and toupper(proc.name) startswith NG`,
		`evt.type=execve and proc.name = val(proc.pname)`,
		`evt.type=execve and user.loginuid != 0 and user.uid < 1000`,
		`evt.type=execve and user.loginuid in (-1, 1000) and proc.vpid=1`,
		`evt.type=execve and user.loginuid < 0 or evt.type=execve and user.loginuid >= 1000`,
		`evt.type=execve and proc.tty != 0 and container.id != host`,
		`evt.type=execve and proc.tty = 0 and container.id = host`,
		`evt.type=execve and container.id in (host, abc) and not container.id = abcx`,
		`evt.type=execve and container.id = 0123456789ab`,
		`evt.type=execve and container.id != 0123456789ab and proc.name=sh`,
		`evt.type in (connect, accept) and fd.num>=0 and fd.sport=22`,
		`evt.type=execve and not user.name in ("<NA>","N/A","")`,
		`evt.type=execve and user.name != ""`,
		`evt.type=execve and proc.is_exe_upper_layer=true and proc.is_exe_from_memfd=false`,
		`evt.type=execve and proc.duration > 5000000000`,
		`evt.type=execve and proc.name bstartswith 7368`,
		`evt.type in (open, openat) and evt.is_open_write=true and fd.typechar='f' and fd.num>=0 and fd.name pmatch (/etc, /root/)`,
		`evt.type in (open, openat) and (fd.directory in (/, /etc) or fd.filename = .profile)`,
		`evt.type in (open, openat) and evt.is_open_read=true and fd.num = -1 and evt.res startswith E`,
		`evt.type=openat and evt.arg.flags contains O_CREAT and fd.name contains "/."`,
		`evt.type in (open, openat, openat2) and evt.is_open_exec=true`,
		`evt.type in (open, openat, openat2) and evt.is_open_exec!=true and evt.is_open_write=true`,
		`evt.type=openat and basename(fd.name) = passwd`,
		`evt.type in (rename, unlink) and (evt.arg.oldpath contains x or evt.arg.path startswith /etc or fd.name = /x)`,
		`evt.type=chmod and evt.arg.filename startswith /etc and evt.failed=false`,
		`evt.type=chmod and evt.arg.mode contains S_ISUID and not evt.arg.mode contains "S_IXOTH"`,
		`evt.type in (chmod, fchmodat) and (evt.arg.mode contains S_IXGRP or evt.arg.mode contains S_IWOTH or evt.arg.mode contains S_ISVTX)`,
		`evt.type=execve and thread.cap_effective contains CAP_SYS_ADMIN and not thread.cap_permitted icontains net_admin`,
		`(evt.type=connect and (evt.rawres >= 0 or evt.res = EINPROGRESS)) and (fd.typechar=4 or fd.typechar=6)`,
		`evt.type in (connect, accept, listen) and fd.typechar=6 and fd.sport in (22, 443)`,
		`evt.type in (connect, accept) and fd.ip != "0.0.0.0" and fd.net != "127.0.0.0/8" and not fd.snet in ("10.0.0.0/8")`,
		`evt.type in (connect, accept) and (fd.sip = 192.0.2.7 or fd.cnet = 2001:db8::/32) and fd.l4proto=tcp`,
		`evt.type in (connect, execve) and (fd.sport=22 or proc.name=sh) and not (fd.rip=127.0.0.1 and fd.lport=443)`,
		`evt.type=execve and (proc.name=sh and not (proc.pname=sh and (proc.args contains a or user.uid=0)) or proc.pname=nginx and not user.uid=0)`,
		`evt.type=connect and fd.name in (/var/run/docker.sock, /run/containerd/containerd.sock)`,
		`evt.type=connect and fd.type=unix and fd.name != /var/run/docker.sock and not fd.name startswith @`,
		`evt.type=connect and fd.sockfamily=unix and (fd.name glob /var/run/*.sock or fd.name endswith x) and fd.num >= 0`,
		`evt.type=connect and fd.typechar=u and fd.name pmatch (/var/run) and evt.failed=false`,
		`evt.type=connect and fd.name exists and fd.type != ipv4 and proc.name=sh`,
		`evt.type=connect and fd.sport != 22 or evt.type=connect and fd.typechar=u`,
		`evt.type=bind and fd.sport in (22, 443) and fd.typechar=4`,
		`evt.type in (bind, listen) and (fd.snet = "127.0.0.0/8" or fd.lport = 22) and fd.l4proto=udp`,
		`evt.type=execve`,
		`evt.type=connect and evt.dir=<`,
		`not evt.type=execve and evt.type in (connect, execve) and fd.port = 443`,
	} {
		rs, err := Load(File{"x.yaml", fmt.Appendf(nil, "- rule: %q\n  condition: %q\n  priority: ERROR\n", "r "+slug(cond), cond)})
		if err != nil {
			t.Fatal(err)
		}
		res := rs.Translate()[0]
		if res.Status != Carried {
			t.Errorf("%s: %s: %v", cond, res.Status, res.Reasons)
			continue
		}
		if hits := agree(t, rs.rules[0], res, rounds); hits == 0 || hits == rounds {
			t.Errorf("%s: fired on %d of %d events, which proves nothing", cond, hits, rounds)
		}
	}
}

// Alternatives that are too many for one list of maps, and conditions that no list of maps can
// hold, become several selections.
func TestLargeConditionsMeanTheSame(t *testing.T) {
	var pairs, nested []string
	for i := range 100 {
		pairs = append(pairs, fmt.Sprintf("(proc.name=n%d and proc.args contains a%d)", i%2, i))
		nested = append(nested, fmt.Sprintf("(proc.name=n%d and not (proc.args contains a%d and (user.uid=0 or not proc.pname=p%d)))", i%2, i, i))
	}
	for _, cond := range []string{strings.Join(pairs, " or "), strings.Join(nested, " or "), "not (" + strings.Join(pairs, " or ") + ")"} {
		rs, err := Load(File{"x.yaml", fmt.Appendf(nil, "- rule: R\n  condition: %q\n", "evt.type=execve and ("+cond+")")})
		if err != nil {
			t.Fatal(err)
		}
		res := rs.Translate()[0]
		if res.Status != Carried {
			t.Fatalf("%s: %q", res.Status, res.Reasons)
		}
		if hits := agree(t, rs.rules[0], res, 500); hits == 0 || hits == 500 {
			t.Errorf("fired on %d of 500 events", hits)
		}
	}
}

func TestPublicRulesMeanTheSame(t *testing.T) {
	rs := loadPublic(t)
	quiet := 0
	for i, res := range rs.Translate() {
		if !slices.ContainsFunc(res.Rules, func(x Translation) bool { return !x.Inactive }) {
			continue
		}
		if agree(t, rs.rules[i], res, 400) == 0 {
			quiet++
		}
	}
	if quiet > 25 {
		t.Errorf("%d rules fired on no event, so that nothing was compared", quiet)
	}
}
