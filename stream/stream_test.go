package stream

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
)

// TestMain plays an agent or a hub where a test starts itself again to kill it.
func TestMain(m *testing.M) {
	switch os.Getenv("STREAM_TEST_ROLE") {
	case "agent":
		playAgent()
	case "hub":
		playHub()
	}
	os.Exit(m.Run())
}

// testLog shows a program's log with the test that fails.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

type site struct {
	t    testing.TB
	dir  string
	addr string
	ca   *CA
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), addr: freeAddr(t)}
	var err error
	if s.ca, err = OpenCA(filepath.Join(s.dir, "ca"), []string{"picket.example"}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) hub(o HubOptions) *Hub {
	s.t.Helper()
	o.Listen, o.Dir = s.addr, filepath.Join(s.dir, "hub")
	if o.Log == nil {
		o.Log = testLog(s.t)
	}
	h, err := OpenHub(s.ca, o)
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

func (s *site) bundle(name string) Bundle {
	s.t.Helper()
	b, err := s.ca.Enrol(name, "tls://"+s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (s *site) agent(name string, o AgentOptions) *Agent {
	s.t.Helper()
	o.Dir = filepath.Join(s.dir, "spool-"+name)
	o.Log = testLog(s.t)
	a, err := NewAgent(s.bundle(name), o)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for start := time.Now(); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func line(n int) []byte { return fmt.Appendf(nil, `{"event.id":"e%d","class":"file"}`+"\n", n) }

func finding(n int) event.Finding {
	return event.Finding{ID: fmt.Sprintf("f%d", n), Host: "gpu-1", Rule: event.Rule{Name: "r"}}
}

// sink counts what a hub hands over, by id.
type sink struct {
	mu       sync.Mutex
	events   map[string]int
	findings map[string]int
	beats    int
	from     map[string]bool
}

func newSink() *sink {
	return &sink{events: map[string]int{}, findings: map[string]int{}, from: map[string]bool{}}
}

// drink consumes all that the hub hands over until the returned function is called.
func (s *sink) drink(t testing.TB, h *Hub) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := h.Events(ctx, func(b Batch) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.from[b.From] = true
			n := 0
			for l := range bytes.Lines(b.Lines) {
				var e struct {
					ID string `json:"event.id"`
				}
				if err := json.Unmarshal(l, &e); err != nil {
					t.Error(err)
				}
				s.events[e.ID]++
				n++
			}
			if n != b.N {
				t.Errorf("batch of %d lines says %d", n, b.N)
			}
			b.Ack()
		}); err != nil && ctx.Err() == nil {
			t.Log("events:", err)
		}
	})
	wg.Go(func() {
		if err := h.Findings(ctx, func(from string, f event.Finding) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.findings[f.ID]++
			return nil
		}); err != nil && ctx.Err() == nil {
			t.Log("findings:", err)
		}
	})
	wg.Go(func() {
		if err := h.Heartbeats(ctx, func(string, event.Heartbeat) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.beats++
		}); err != nil {
			t.Error(err)
		}
	})
	return func() { cancel(); wg.Wait() }
}

func (s *sink) counts() (events, findings, beats int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events), len(s.findings), s.beats
}

func TestThereAndBack(t *testing.T) {
	s := newSite(t)
	reg := prometheus.NewRegistry()
	h := s.hub(HubOptions{Registerer: reg})
	defer h.Close()
	sink := newSink()
	defer sink.drink(t, h)()
	a := s.agent("gpu-1", AgentOptions{Registerer: prometheus.NewRegistry()})
	eventually(t, "connected", a.Connected)
	for n := range 1234 {
		a.PublishEvents(line(n), 1)
	}
	for n := range 20 {
		if err := a.PublishFinding(finding(n)); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	a.Heartbeat(event.Heartbeat{Host: "gpu-1"})
	eventually(t, "all there", func() bool { e, f, b := sink.counts(); return e == 1234 && f == 20 && b == 1 })
	t.Log("all there after", time.Since(start))
	eventually(t, "spool empty", func() bool { e, f := a.Pending(); return e+f == 0 })
	if !sink.from["gpu-1"] {
		t.Error("sender unknown")
	}
	if got := h.Agents(); len(got) != 1 || got[0] != "gpu-1" {
		t.Errorf("agents: %v", got)
	}
	families, err := reg.Gather()
	if err != nil || len(families) < 6 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := a.PublishFinding(finding(1)); err == nil {
		t.Error("a closed agent takes findings")
	}
	left, err := filepath.Glob(filepath.Join(s.dir, "spool-gpu-1", "*", "*.spool"))
	if err != nil || len(left) != 0 {
		t.Errorf("spool files left: %v, %v", left, err)
	}
}

func TestStrangersStayOut(t *testing.T) {
	s := newSite(t)
	revoked := map[string]bool{}
	var mu sync.Mutex
	h := s.hub(HubOptions{Log: slog.New(slog.DiscardHandler), Revoked: func(_, serial string) bool {
		mu.Lock()
		defer mu.Unlock()
		return revoked[serial]
	}})
	defer h.Close()
	b := s.bundle("gpu-1")
	conf, err := b.tlsConfig()
	if err != nil {
		t.Fatal(err)
	}
	dial := func(c *tls.Config, o ...nats.Option) (*nats.Conn, error) {
		return nats.Connect(b.URL, append([]nats.Option{nats.Secure(c), nats.NoReconnect(), nats.Timeout(2 * time.Second)}, o...)...)
	}
	t.Run("no certificate", func(t *testing.T) {
		c := conf.Clone()
		c.Certificates = nil
		if nc, err := dial(c); err == nil {
			nc.Close()
			t.Error("let in")
		}
		if nc, err := dial(c, nats.UserInfo("hub", "")); err == nil {
			nc.Close()
			t.Error("let in")
		}
	})
	t.Run("no TLS", func(t *testing.T) {
		if nc, err := nats.Connect("nats://"+s.addr, nats.NoReconnect()); err == nil {
			nc.Close()
			t.Error("let in")
		}
	})
	t.Run("other CA", func(t *testing.T) {
		other := newSite(t)
		c, err := other.bundle("gpu-1").tlsConfig()
		if err != nil {
			t.Fatal(err)
		}
		c.RootCAs = conf.RootCAs
		if nc, err := dial(c); err == nil {
			nc.Close()
			t.Error("let in")
		}
	})
	t.Run("server's certificate", func(t *testing.T) {
		c := conf.Clone()
		c.Certificates = []tls.Certificate{s.ca.server}
		if nc, err := dial(c); err == nil {
			nc.Close()
			t.Error("let in")
		}
	})
	t.Run("revoked", func(t *testing.T) {
		rb := s.bundle("gpu-2")
		c, err := rb.tlsConfig()
		if err != nil {
			t.Fatal(err)
		}
		nc, err := dial(c)
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		revoked[rb.Serial()] = true
		mu.Unlock()
		if err := h.Disconnect("gpu-2"); err != nil {
			t.Error(err)
		}
		eventually(t, "disconnected", nc.IsClosed)
		if nc, err := dial(c); err == nil {
			nc.Close()
			t.Error("let in")
		}
	})
	t.Run("subjects of others", func(t *testing.T) {
		errs := make(chan error, 20)
		nc, err := dial(conf, nats.CustomInboxPrefix("_INBOX.gpu-1"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err }))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		for _, subject := range []string{"picket.ev.gpu-2", "picket.fi.gpu-2", "picket.hb.gpu-2", "picket.cmd.gpu-1", "$JS.API.STREAM.DELETE.EVENTS", "$JS.API.INFO", "$SYS.REQ.SERVER.PING"} {
			if err := nc.Publish(subject, []byte("x")); err != nil {
				t.Error(err)
			}
			violates(t, nc, errs, "publish "+subject)
		}
		for _, subject := range []string{"picket.>", ">", "_INBOX.>", "picket.cmd.*", "picket.cmd.gpu-2", "$SYS.>"} {
			if _, err := nc.SubscribeSync(subject); err != nil {
				t.Error(err)
			}
			violates(t, nc, errs, "subscribe "+subject)
		}
	})
}

func violates(t *testing.T, nc *nats.Conn, errs chan error, what string) {
	t.Helper()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-errs:
		if !strings.Contains(strings.ToLower(err.Error()), "permissions violation") {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(2 * time.Second):
		t.Errorf("%s was not refused", what)
	}
}

func TestCA(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"ca.key", "ca.crt", "server.key", "server.crt"} {
		if i, err := os.Stat(filepath.Join(s.dir, "ca", name)); err != nil || i.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, i.Mode(), err)
		}
	}
	again, err := OpenCA(filepath.Join(s.dir, "ca"), nil)
	if err != nil {
		t.Fatal(err)
	}
	b := s.bundle("gpu-1")
	if !again.Issued(b) {
		t.Error("the same CA does not know its own")
	}
	again.now = func() time.Time { return time.Now().Add(agentLife - renewBefore + time.Hour) }
	if again.Issued(b) {
		t.Error("a certificate that is about to expire passes")
	}
	if newSite(t).ca.Issued(b) {
		t.Error("another CA claims it")
	}
	for _, name := range []string{"", "a.b", "*", ">", "a b", "ä", strings.Repeat("x", 300)} {
		if _, err := s.ca.Enrol(name, "tls://x:1"); err == nil {
			t.Errorf("name %q passes", name)
		}
	}
	if _, err := s.ca.Enrol("a", "http://x:1"); err == nil {
		t.Error("an http URL passes")
	}
	file := filepath.Join(s.dir, "bundle.json")
	if err := b.Write(file); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadBundle(file); err != nil || got != b {
		t.Errorf("%v, %v", got, err)
	}
	if err := os.Remove(filepath.Join(s.dir, "ca", "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCA(filepath.Join(s.dir, "ca"), nil); err == nil || !strings.Contains(err.Error(), "other half") {
		t.Errorf("half a CA: %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	s := newSite(t)
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = OpenHub(s.ca, HubOptions{Listen: s.addr, Dir: s.dir})
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), "stream.listen") {
		t.Error(err)
	}
}

// playHub runs a hub until it is killed, and notes each id that it hands over before it acknowledges.
func playHub() {
	ca, err := OpenCA(filepath.Join(os.Args[1], "ca"), nil)
	if err != nil {
		panic(err)
	}
	h, err := OpenHub(ca, HubOptions{Listen: os.Args[2], Dir: filepath.Join(os.Args[1], "hub"), Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		panic(err)
	}
	out, err := os.OpenFile(filepath.Join(os.Args[1], "out"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	go func() {
		panic(h.Events(ctx, func(b Batch) {
			if _, err := out.Write(b.Lines); err != nil {
				panic(err)
			}
			b.Ack()
		}))
	}()
	panic(h.Findings(ctx, func(_ string, f event.Finding) error {
		_, err := fmt.Fprintf(out, `{"event.id":%q}`+"\n", f.ID)
		return err
	}))
}

// playAgent sends a finding and some events every few milliseconds until it is killed, and says
// which findings it was told are safe.
func playAgent() {
	b, err := ReadBundle(filepath.Join(os.Args[1], "bundle.json"))
	if err != nil {
		panic(err)
	}
	a, err := NewAgent(b, AgentOptions{Dir: filepath.Join(os.Args[1], "spool"), Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		panic(err)
	}
	for n := 0; ; n++ {
		f := event.Finding{ID: fmt.Sprintf("%s-%d", os.Args[2], n)}
		if err := a.PublishFinding(f); err != nil {
			panic(err)
		}
		fmt.Println(f.ID)
		a.PublishEvents(line(n), 1)
		time.Sleep(2 * time.Millisecond)
	}
}

func play(t testing.TB, role string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "STREAM_TEST_ROLE="+role)
	var out bytes.Buffer
	cmd.Stdout = &out
	cmd.Stderr = t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, &out
}

func ids(t testing.TB, file string) map[string]int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	out := map[string]int{}
	for l := range bytes.Lines(b) {
		var e struct {
			ID string `json:"event.id"`
		}
		if json.Unmarshal(l, &e) == nil { // the last line may be half
			out[e.ID]++
		}
	}
	return out
}

// TestKillHub kills the hub's process again and again while an agent sends: all must arrive.
func TestKillHub(t *testing.T) {
	s := newSite(t)
	hub, _ := play(t, "hub", s.dir, s.addr)
	a := s.agent("gpu-1", AgentOptions{})
	defer a.Close()
	eventually(t, "connected", a.Connected)
	n := 0
	for range kills(3) {
		for until := time.Now().Add(1500 * time.Millisecond); time.Now().Before(until); n++ {
			if err := a.PublishFinding(finding(n)); err != nil {
				t.Fatal(err)
			}
			a.PublishEvents(line(n), 1)
			time.Sleep(time.Millisecond)
		}
		_ = hub.Process.Kill()
		_ = hub.Wait()
		hub, _ = play(t, "hub", s.dir, s.addr)
	}
	start := time.Now()
	out := filepath.Join(s.dir, "out")
	for got := 0; got < 2*n; got = len(ids(t, out)) {
		if time.Since(start) > 60*time.Second {
			t.Fatalf("%d of %d arrived", got, 2*n)
		}
		time.Sleep(100 * time.Millisecond)
	}
	twice := 0
	for _, c := range ids(t, out) {
		if c > 1 {
			twice++
		}
	}
	t.Logf("%d findings and as many events, all there %v after the last kill; %d handed over again for whoever consumes to drop", n, time.Since(start), twice)
}

// TestKillAgent kills the agent's process again and again: each finding that PublishFinding
// returned for must arrive, and no finding may be in the stream twice.
func TestKillAgent(t *testing.T) {
	s := newSite(t)
	h := s.hub(HubOptions{})
	defer h.Close()
	sink := newSink()
	defer sink.drink(t, h)()
	if err := s.bundle("gpu-1").Write(filepath.Join(s.dir, "bundle.json")); err != nil {
		t.Fatal(err)
	}
	var said []string
	for k := range kills(5) {
		cmd, out := play(t, "agent", s.dir, fmt.Sprint("run", k))
		time.Sleep(400 * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		said = append(said, strings.Fields(out.String())...)
	}
	if len(said) < 50 {
		t.Fatalf("only %d findings", len(said))
	}
	cmd, _ := play(t, "agent", s.dir, "last")
	eventually(t, "all findings there", func() bool {
		sink.mu.Lock()
		defer sink.mu.Unlock()
		for _, id := range said {
			if sink.findings[id] == 0 {
				return false
			}
		}
		return true
	})
	_ = cmd.Process.Kill()
	sink.mu.Lock()
	defer sink.mu.Unlock()
	for id, n := range sink.findings {
		if n > 1 {
			t.Errorf("finding %s came %d times", id, n)
		}
	}
	for id, n := range sink.events {
		if n > 20 { // the runs share event ids, so some come once per run
			t.Errorf("event %s came %d times", id, n)
		}
	}
	t.Logf("%d findings over %d kills, none lost, none twice", len(said), kills(5))
}

func kills(n int) int {
	if s := os.Getenv("PICKET_KILLS"); s != "" {
		_, _ = fmt.Sscan(s, &n)
	}
	return n
}

func TestHubAway(t *testing.T) {
	s := newSite(t)
	a := s.agent("gpu-1", AgentOptions{}) // there is no hub at all yet
	for n := range 5000 {
		a.PublishEvents(line(n), 1)
	}
	if err := a.PublishFinding(finding(1)); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = s.agent("gpu-1", AgentOptions{})
	defer a.Close()
	h := s.hub(HubOptions{})
	defer h.Close()
	sink := newSink()
	defer sink.drink(t, h)()
	eventually(t, "spooled records there", func() bool { e, f, _ := sink.counts(); return e == 5000 && f == 1 })
}
