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
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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

func TestHubAway(t *testing.T) {
	s := newSite(t)
	var kept atomic.Int64
	a := s.agent("gpu-1", AgentOptions{Kept: func(n int) { kept.Add(int64(n)) }}) // there is no hub at all yet
	for n := range 5000 {
		a.PublishEvents(line(n), 1)
	}
	if err := a.PublishFinding(finding(1)); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if n := kept.Load(); n != 5000 {
		t.Errorf("%d of 5000 are said to be kept", n)
	}
	a = s.agent("gpu-1", AgentOptions{})
	defer a.Close()
	h := s.hub(HubOptions{})
	defer h.Close()
	sink := newSink()
	defer sink.drink(t, h)()
	eventually(t, "spooled records there", func() bool { e, f, _ := sink.counts(); return e == 5000 && f == 1 })
}
