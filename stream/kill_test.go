package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/event"
)

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
