package child_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"picket/store/child"
	"picket/store/events"
)

// TestMain plays the store where the test starts itself again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "-listen=") {
		if err := child.Main(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

type store struct {
	t    testing.TB
	cfg  events.Config
	mu   sync.Mutex
	cmd  *exec.Cmd
	errs bytes.Buffer
}

func newStore(t testing.TB) (*store, *events.Client) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &store{t: t, cfg: events.Config{Dir: filepath.Join(dir, "events"), Listen: addr, User: "picket", Password: secret, MinFree: 1 << 20}}
	s.start()
	t.Cleanup(s.kill)
	c, err := events.New(events.Options{URL: "http://" + addr, User: "picket", Password: "hush"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	s.ready(c)
	return s, c
}

func (s *store) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd = exec.Command(os.Args[0], events.Args(s.cfg)...)
	s.cmd.Stderr = &s.errs
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *store) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *store) ready(c *events.Client) {
	s.t.Helper()
	var err error
	for range 200 {
		if err = c.Ready(context.Background()); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.t.Fatalf("store does not start: %v\n%s", err, s.errs.String())
}

func line(id int, at time.Time) string {
	return fmt.Sprintf(`{"_time":%q,"_msg":"cat[%d] read /srv/models/weights.safetensors","event.id":"id%d","class":"file","host":"forged","process.name":"cat"}`+"\n",
		at.UTC().Format(time.RFC3339Nano), id, id)
}

func ask(t testing.TB, c *events.Client, q events.Query) []map[string]string {
	t.Helper()
	var out []map[string]string
	err := c.Query(context.Background(), q, func(raw json.RawMessage) error {
		m := map[string]string{}
		if err := json.Unmarshal(raw, &m); err != nil {
			return err
		}
		out = append(out, m)
		return nil
	})
	if err != nil {
		t.Fatalf("query %q: %v", q.Q, err)
	}
	return out
}

func await(t testing.TB, c *events.Client, q events.Query, n int) []map[string]string {
	t.Helper()
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		if got := ask(t, c, q); len(got) == n {
			return got
		} else if time.Since(start) > 10*time.Second {
			t.Fatalf("query %q: %d rows, want %d: %v", q.Q, len(got), n, got)
		}
	}
}

func TestQuery(t *testing.T) {
	_, c := newStore(t)
	ctx := context.Background()
	now := time.Now().Add(-time.Minute)
	var b strings.Builder
	for i := range 250 {
		b.WriteString(line(i, now.Add(time.Duration(i/5)*time.Millisecond)))
	}
	b.WriteString("not json\n" + `{"_msg":"no id"}` + "\n")
	skipped, err := c.Append(ctx, "gpu-1", []byte(b.String()), 252)
	if err != nil || skipped != 2 {
		t.Fatalf("append: %d skipped, %v", skipped, err)
	}
	if _, err := c.Append(ctx, "gpu-1", []byte(line(7, now.Add(time.Millisecond))), 1); err != nil { // a repeat
		t.Fatal(err)
	}
	rows := await(t, c, events.Query{Limit: 1000}, 250)
	for i, r := range rows {
		if r["host"] != "gpu-1" || r["_stream"] != "" || r["_stream_id"] != "" {
			t.Fatalf("row %v", r)
		}
		if i > 0 && r["_time"] > rows[i-1]["_time"] && len(r["_time"]) == len(rows[i-1]["_time"]) {
			t.Fatalf("row %d is newer than the one before", i)
		}
	}

	t.Run("pages", func(t *testing.T) {
		seen := map[string]bool{}
		var before events.Cursor
		for range 20 {
			page := ask(t, c, events.Query{Limit: 33, Before: before})
			for _, r := range page {
				if seen[r["event.id"]] {
					t.Fatalf("%s on two pages", r["event.id"])
				}
				seen[r["event.id"]] = true
			}
			if len(page) == 0 {
				break
			}
			last := page[len(page)-1]
			before.ID = last["event.id"]
			if before.Time, err = time.Parse(time.RFC3339Nano, last["_time"]); err != nil {
				t.Fatal(err)
			}
		}
		if len(seen) != 250 {
			t.Fatalf("%d events on all pages", len(seen))
		}
	})
	t.Run("text", func(t *testing.T) {
		await(t, c, events.Query{Q: `{host="gpu-1"} event.id:id9`}, 1) // streams show later than rows
		for q, want := range map[string]int{
			"weights": 250, "process.name:cat": 250, "nothing": 0, `"|"`: 0, "cat | limit 3": 3,
			"* | stats by (host) count() n": 1, "event.id:id7 # why": 1, "event.id:in(id1,id2) | fields event.id": 2,
			"host:forged": 0, "{host=\"gpu-1\"} event.id:id9": 1,
		} {
			if got := ask(t, c, events.Query{Q: q, Limit: 1000}); len(got) != want {
				t.Errorf("%q: %d rows, want %d", q, len(got), want)
			}
		}
	})
	t.Run("bad text", func(t *testing.T) {
		for q, word := range map[string]string{
			"* | nosuchpipe": "nosuchpipe", "weights |": "ends with", `"open`: "quote", "a | join by (x) (b)": "join",
			"(a": "not closed", "a)": "partner", "event.id:in(* | nosuch)": "nosuch", "options(ignore_global_time_filter=true) *": "options",
			"a:>": "value is missing", "* | sort by (": "closed", "* | stats foo()": "foo", `a:re("(")`: "regexp", "_time:foo": "duration",
		} {
			err := c.Query(ctx, events.Query{Q: q}, func(json.RawMessage) error { return nil })
			if !errors.Is(err, events.ErrQuery) || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "requestURI") || strings.Contains(err.Error(), "context") {
				t.Errorf("%q: %v", q, err)
			} else {
				t.Log(q, "→", err)
			}
		}
	})
	t.Run("hits", func(t *testing.T) {
		start := now.Add(-537 * time.Millisecond)
		b, err := c.Hits(ctx, events.Query{Q: "* | limit 1", Start: start, End: start.Add(999 * time.Millisecond)}, 100)
		if err != nil || len(b) != 100 {
			t.Fatal(len(b), err)
		}
		for i, n := range map[int]uint64{52: 0, 53: 15, 54: 51, 55: 50, 56: 50, 57: 50, 58: 35, 59: 0} {
			if got := b[i].Count; got+5 < n || got > n+5 { // the start is cut to a millisecond
				t.Errorf("bucket %d holds %d events, want %d", i, got, n)
			}
		}
	})
	t.Run("fields", func(t *testing.T) {
		v, err := c.FieldValues(ctx, events.Query{}, "host")
		if err != nil || len(v) != 1 || v[0].Value != "gpu-1" {
			t.Errorf("%v, %v", v, err)
		}
		n, err := c.FieldNames(ctx, events.Query{})
		if err != nil || len(n) < 6 {
			t.Errorf("%v, %v", n, err)
		}
	})
	t.Run("password", func(t *testing.T) {
		o, err := events.New(events.Options{URL: "http://" + strings.TrimPrefix(serverURL(c), "http://"), User: "picket", Password: "wrong"})
		if err != nil {
			t.Fatal(err)
		}
		err = o.Query(ctx, events.Query{}, func(json.RawMessage) error { return nil })
		if !errors.Is(err, events.ErrAway) || !strings.Contains(err.Error(), "password") {
			t.Error(err)
		}
	})
}

func serverURL(c *events.Client) string { return c.URL() }

// TestKillUnderLoad kills the store again and again while events come in: each must be there in
// the end, once, and nothing may be acknowledged that is not.
func TestKillUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 20 s")
	}
	kills, _ := strconv.Atoi(os.Getenv("PICKET_KILLS"))
	if kills == 0 {
		kills = 3
	}
	s, c := newStore(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := events.NewWriter(c, events.WriterOptions{})
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()

	const perBatch = 50
	var acked, sent atomic.Int64
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for deadline := time.Now().Add(time.Duration(kills) * 3 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			var b strings.Builder
			for range perBatch {
				b.WriteString(line(int(sent.Add(1)), time.Now()))
			}
			if err := w.Add(ctx, events.Batch{Host: "gpu-1", Lines: []byte(b.String()), N: perBatch, Ack: func() { acked.Add(perBatch) }}); err != nil {
				t.Error(err)
			}
		}
	}()
	for range kills {
		time.Sleep(2600 * time.Millisecond)
		s.kill()
		s.start()
	}
	<-stop
	for start := time.Now(); acked.Load() < sent.Load() && time.Since(start) < 60*time.Second; {
		time.Sleep(100 * time.Millisecond)
	}
	if acked.Load() != sent.Load() {
		t.Fatalf("%d of %d acknowledged", acked.Load(), sent.Load())
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	time.Sleep(2 * time.Second)
	end := time.Now()
	total := ask(t, c, events.Query{Q: "* | stats count() rows, count_uniq(event.id) events", End: end, Start: end.Add(-time.Hour)})
	want := strconv.FormatInt(sent.Load(), 10)
	if total[0]["rows"] != want || total[0]["events"] != want {
		t.Fatalf("sent %s, the store has %v", want, total)
	}
	t.Logf("%s events, %d kills, none lost, none twice", want, kills)
}
