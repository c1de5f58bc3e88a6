package enforce

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/event"
)

const eperm = "errno 1"

// server counts the connections to an address.
type server struct {
	at netip.AddrPort
	n  atomic.Int32
}

func serve(t *testing.T, host string) *server {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skip("no listener on", host, err)
	}
	t.Cleanup(func() { l.Close() })
	s := &server{at: netip.MustParseAddrPort(l.Addr().String())}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.n.Add(1)
			c.Close()
		}
	}()
	return s
}

func allow(list ...string) *Egress {
	e := &Egress{}
	for _, s := range list {
		p, deny := strings.CutPrefix(s, "!")
		e.Prefixes = append(e.Prefixes, Prefix{Prefix: netip.MustParsePrefix(p), Allow: !deny})
	}
	return e
}

func TestEgressIsDenied(t *testing.T) {
	r := newTold(t)
	g := r.group(t, "")
	below := r.group(t, g)
	four, other, six := serve(t, "127.0.0.1"), serve(t, "127.0.0.2"), serve(t, "::1")
	any4 := netip.AddrPortFrom(netip.IPv4Unspecified(), four.at.Port()).String()
	rules := Rules{Enforce: true, Egress: allow("127.0.0.0/8", "!127.0.0.2/32")}
	r.bind(t, g, "web", rules)
	for _, tt := range []struct {
		what, group, network, to string
		server                   *server
		want                     string
	}{
		{"allowed", g, "tcp4", four.at.String(), four, "ok"},
		{"denied by the longer prefix", g, "tcp4", other.at.String(), other, eperm},
		{"IPv6, which no entry covers", g, "tcp6", six.at.String(), six, eperm},
		{"in a cgroup below", below, "tcp4", other.at.String(), other, eperm},
		{"in the root", "", "tcp4", other.at.String(), other, "ok"},
		{"any address is loopback", g, "tcp4", any4, four, "ok"},
	} {
		before := tt.server.n.Load()
		if got := r.act(t, tt.group, "dial", tt.network, tt.to); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
		if tt.want != "ok" && tt.server.n.Load() != before {
			t.Errorf("%s: the server was reached", tt.what)
		}
	}
	e := r.wait(t, "connect4", func(e *event.Event) bool { return e.Net.Remote == other.at })
	id, _ := r.ID(g)
	if e.Process.PID == 0 || e.Process.StartBoot == 0 || e.Process.PPID != uint32(os.Getpid()) || e.Process.CgroupID != id || e.Host != "testhost" || e.Process.Comm == "" {
		t.Errorf("by %+v", e.Process)
	}
	want := &event.Policy{Name: "web", Rule: "egress", Action: "denied", Rung: "cgroup/connect4"}
	if d := cmp.Diff(want, e.Policy); d != "" {
		t.Error(d)
	}
	if e.Net.Protocol != "tcp" || !e.Net.Initiated || time.Since(e.Time).Abs() > time.Minute {
		t.Errorf("%+v at %v", e.Net, e.Time)
	}
	r.wait(t, "connect6", func(e *event.Event) bool { return e.Net.Remote == six.at && e.Policy.Rung == "cgroup/connect6" })
}

func TestIPv4ThroughIPv6IsIPv4(t *testing.T) {
	r := newTold(t)
	g := r.group(t, "")
	r.bind(t, g, "web", Rules{Enforce: true, Egress: allow("::/0", "127.0.0.1/32")})
	yes, no := listenPacket(t, "127.0.0.1"), listenPacket(t, "127.0.0.2")
	for to, want := range map[*packets]string{yes: "ok", no: eperm} {
		if got := r.act(t, g, "send", "[::ffff:"+to.at.Addr().String()+"]:"+port(to.at), "6"); got != want {
			t.Errorf("to %s: %q, want %q", to.at, got, want)
		}
		if got := r.act(t, g, "send", to.at.String(), "4"); got != want {
			t.Errorf("to %s: %q, want %q", to.at, got, want)
		}
	}
	if yes.count(t) != 2 || no.count(t) != 0 {
		t.Errorf("%d packets came where they may, %d where not", yes.count(t), no.count(t))
	}
	e := r.wait(t, "sendmsg6", func(e *event.Event) bool { return e.Policy.Rung == "cgroup/sendmsg6" || e.Net.Remote == no.at })
	if e.Net.Remote != no.at || e.Net.Protocol != "udp" || e.Policy.Action != "denied" {
		t.Errorf("%+v %+v", e.Net, e.Policy)
	}
}

func port(a netip.AddrPort) string {
	_, p, _ := net.SplitHostPort(a.String())
	return p
}

// packets is a datagram socket of our own.
type packets struct {
	at netip.AddrPort
	c  net.PacketConn
	n  int
}

func listenPacket(t *testing.T, host string) *packets {
	t.Helper()
	c, err := net.ListenPacket("udp4", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &packets{at: netip.MustParseAddrPort(c.LocalAddr().String()), c: c}
}

// count returns how many packets came. On loopback they are there when the sender returns.
func (p *packets) count(t *testing.T) int {
	t.Helper()
	buf := make([]byte, 16)
	for {
		if err := p.c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.c.ReadFrom(buf); err != nil {
			return p.n
		}
		p.n++
	}
}

func TestPortsOfANetwork(t *testing.T) {
	r := newTold(t)
	g := r.group(t, "")
	yes, no := serve(t, "127.0.0.1"), serve(t, "127.0.0.1")
	r.bind(t, g, "web", Rules{Enforce: true, Egress: &Egress{Prefixes: []Prefix{
		{Prefix: netip.MustParsePrefix("127.0.0.0/8"), Allow: true, Ports: []uint16{1, yes.at.Port()}},
	}}})
	if got := r.act(t, g, "dial", "tcp4", yes.at.String()); got != "ok" {
		t.Errorf("an allowed port: %s", got)
	}
	if got := r.act(t, g, "dial", "tcp4", no.at.String()); got != eperm || no.n.Load() != 0 {
		t.Errorf("another port: %s", got)
	}
}

func TestADenyListAlone(t *testing.T) {
	r := newTold(t)
	g := r.group(t, "")
	yes, no := serve(t, "127.0.0.1"), serve(t, "127.0.0.2")
	r.bind(t, g, "web", Rules{Enforce: true, Egress: &Egress{Open: true, Prefixes: allow("!127.0.0.2/32").Prefixes}})
	if got := r.act(t, g, "dial", "tcp4", yes.at.String()); got != "ok" {
		t.Errorf("what is not named: %s", got)
	}
	if got := r.act(t, g, "dial", "tcp4", no.at.String()); got != eperm {
		t.Errorf("what is denied: %s", got)
	}
}

func TestRawSocketsDoNotGoRound(t *testing.T) {
	r := newTold(t)
	g := r.group(t, "")
	if got := r.act(t, g, "raw"); got != "ok" {
		t.Skip("raw sockets are not to be had here: ", got)
	}
	r.bind(t, g, "web", Rules{Enforce: true, Egress: allow("127.0.0.0/8")})
	if got := r.act(t, g, "raw"); got != eperm {
		t.Errorf("a raw socket: %s", got)
	}
	e := r.wait(t, "sock_create", func(e *event.Event) bool { return e.Policy.Rung == "cgroup/sock_create" })
	if e.Net.Protocol != "ip/255" || e.Policy.Action != "denied" {
		t.Errorf("%+v %+v", e.Net, e.Policy)
	}
}

func TestObservingOnlyTells(t *testing.T) {
	r := newTold(t)
	g := r.group(t, "")
	s := serve(t, "127.0.0.1")
	r.bind(t, g, "web", Rules{Egress: allow()})
	if got := r.act(t, g, "dial", "tcp4", s.at.String()); got != "ok" {
		t.Errorf("observed: %s", got)
	}
	e := r.wait(t, "seen", func(e *event.Event) bool { return e.Net.Remote == s.at })
	if e.Policy.Action != "seen" {
		t.Errorf("%+v", e.Policy)
	}
}

func TestRepeatsAreCounted(t *testing.T) {
	r := newTold(t)
	g := r.group(t, "")
	s := serve(t, "127.0.0.1")
	r.bind(t, g, "web", Rules{Enforce: true, Egress: allow()})
	r.act(t, g, "often", s.at.String())
	r.wait(t, "the first", func(e *event.Event) bool { return e.Net.Remote == s.at })
	if n := r.number(); n > 5 {
		t.Errorf("%d events for 50 attempts of one process", n)
	}
	if got := r.Counts()["cgroup/connect4 denied"]; got != 50 {
		t.Errorf("%d counted, want 50", got)
	}
}

func TestWhatIsReleasedIsAllowedAgain(t *testing.T) {
	r := newTold(t)
	g := r.group(t, "")
	s := serve(t, "127.0.0.1")
	try := func(what, want string) {
		t.Helper()
		if got := r.act(t, g, "dial", "tcp4", s.at.String()); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	if n := len(r.Programs()); n != 0 {
		t.Errorf("%d programs are attached before a policy is bound", n)
	}
	id := r.bind(t, g, "web", Rules{Enforce: true, Egress: allow()})
	try("bound", eperm)
	if !r.Release(id) || r.Release(id) {
		t.Error("release does not say whether the cgroup was bound")
	}
	try("released", "ok")
	if d := cmp.Diff([]string(nil), r.Programs()); d != "" {
		t.Errorf("programs are left attached: %s", d)
	}
	r.bind(t, g, "web", Rules{Enforce: true, Egress: allow()})
	try("bound again", eperm)
	if err := r.Apply("web", Rules{Enforce: true, Egress: allow("127.0.0.1/32")}); err != nil {
		t.Fatal(err)
	}
	try("changed rules", "ok")
	r.Remove("web")
	if n := entries(t, r.Enforcer, "peers"); n != 0 {
		t.Errorf("%d networks are left in the kernel", n)
	}
	r.bind(t, g, "web", Rules{Enforce: true, Egress: allow()})
	try("bound a third time", eperm)
	if err := r.detachAll(); err != nil {
		t.Fatal(err)
	}
	try("detached, as when the process ends", "ok")
}

func entries(t *testing.T, e *Enforcer, name string) (n int) {
	t.Helper()
	var key, val []byte
	for it := e.maps[name].Iterate(); it.Next(&key, &val); n++ {
	}
	return n
}

// detachAll is what becomes of the links when a process ends.
func (e *Enforcer) detachAll() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name := range e.attached {
		if err := e.detach(name); err != nil {
			return err
		}
	}
	return nil
}

func TestTheKernelLetsGoInTime(t *testing.T) {
	r := newTold(t)
	g := r.group(t, "")
	s := serve(t, "127.0.0.1")
	began := time.Now()
	if got := r.act(t, g, "dial", "tcp4", s.at.String()); got != "ok" {
		t.Fatalf("unbound: %s", got)
	}
	until := time.Now().Add(time.Second + 4*time.Since(began)) // an emulated machine takes two to start the process that acts
	r.bind(t, g, "web", Rules{Enforce: true, Until: until, Egress: allow()})
	if got := r.act(t, g, "dial", "tcp4", s.at.String()); got != eperm {
		t.Errorf("before: %s", got)
	}
	time.Sleep(time.Until(until.Add(20 * time.Millisecond)))
	if got := r.act(t, g, "dial", "tcp4", s.at.String()); got != "ok" {
		t.Errorf("after: %s", got)
	}
}

func TestProtectedCgroupsAreRefused(t *testing.T) {
	r := newTold(t)
	if err := r.Apply("web", Rules{Enforce: true, Egress: allow()}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"/", ""} {
		if err := r.Bind(Target{Cgroup: c}, "web"); err == nil || !strings.Contains(err.Error(), "nothing is done to it") {
			t.Errorf("%q: %v", c, err)
		}
	}
	g := r.group(t, "")
	procs := r.root + g + "/cgroup.procs"
	was := ownGroup(t)
	if err := os.WriteFile(procs, []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(r.root+was+"/cgroup.procs", []byte("0"), 0)
	if err := r.Bind(Target{Cgroup: g}, "web"); err == nil || !strings.Contains(err.Error(), "holds Picket itself") {
		t.Errorf("our own cgroup: %v", err)
	}
	// Where it comes into a bound cgroup later, nothing is done to it all the same.
	if err := os.WriteFile(r.root+was+"/cgroup.procs", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	if err := r.Bind(Target{Cgroup: g}, "web"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(procs, []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "127.0.0.1")
	c, err := net.Dial("tcp4", s.at.String())
	if err != nil {
		t.Fatalf("Picket itself was stopped: %v", err)
	}
	c.Close()
}

func ownGroup(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return p
		}
	}
	t.Fatal("no cgroup v2")
	return ""
}
