package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// receiver is a Sink that remembers, and fails as it is told.
type receiver struct {
	mu   sync.Mutex
	got  []string
	fail func(batch []json.RawMessage) error
}

// Send takes the batch unless fail says no.
func (r *receiver) Send(ctx context.Context, batch []json.RawMessage) error {
	r.mu.Lock()
	fail := r.fail
	r.mu.Unlock()
	if fail != nil {
		if err := fail(batch); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range batch {
		r.got = append(r.got, string(b))
	}
	return ctx.Err()
}

// String names it.
func (r *receiver) String() string { return "receiver" }

func (r *receiver) set(fail func([]json.RawMessage) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = fail
}

func (r *receiver) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func num(n int) json.RawMessage { return json.RawMessage(`{"n":` + strconv.Itoa(n) + `}`) }

// start opens an outbox with the given receivers and runs it until the test ends or stop is called.
func start(t *testing.T, dir string, limit int64, sinks map[string]*receiver) (*Outbox, func()) {
	t.Helper()
	o, err := Open(dir, nil, Options{MaxBytes: limit, MinWait: time.Millisecond, MaxWait: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range sinks {
		if err := o.add(Config{Name: name}, r); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); o.Run(ctx) }()
	stop := sync.OnceFunc(func() { cancel(); <-done; o.Close() })
	t.Cleanup(stop)
	return o, stop
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("not within 10 s: " + what)
}

func expect(t *testing.T, got []string, from, to int) {
	t.Helper()
	var want []string
	for n := from; n <= to; n++ {
		want = append(want, string(num(n)))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d records %.200q, want %d to %d in order", len(got), got, from, to)
	}
}

func TestDeliversInOrderAcrossSegmentsAndRestarts(t *testing.T) {
	dir, r := t.TempDir(), &receiver{}
	n := 0
	for range 3 {
		o, stop := start(t, dir, 1<<20, map[string]*receiver{"a": r})
		for range 1000 {
			n++
			if err := o.log.append(time.Now(), [][]byte{num(n)}); err != nil {
				t.Fatal(err)
			}
		}
		wait(t, "all", func() bool { return len(r.all()) >= n })
		stop()
	}
	expect(t, r.all(), 1, n)
}

func TestASlowSinkHoldsUpNoOther(t *testing.T) {
	fast, slow := &receiver{}, &receiver{fail: func([]json.RawMessage) error { return errors.New("away") }}
	o, _ := start(t, t.TempDir(), 1<<20, map[string]*receiver{"fast": fast, "slow": slow})
	for n := 1; n <= 500; n++ {
		if err := o.Append(num(n)); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "fast", func() bool { return len(fast.all()) == 500 })
	expect(t, fast.all(), 1, 500)
	i := slices.IndexFunc(o.Status(), func(s Status) bool { return s.Name == "slow" })
	if s := o.Status()[i]; s.OK || s.Pending != 500 || s.Error != "away" || s.Lag <= 0 {
		t.Errorf("status of slow: %+v", s)
	}
	slow.set(nil)
	wait(t, "slow", func() bool { return len(slow.all()) == 500 })
	expect(t, slow.all(), 1, 500)
}

func TestRefusedRecordsAreSetAsideAlone(t *testing.T) {
	dir := t.TempDir()
	r := &receiver{fail: func(b []json.RawMessage) error {
		for _, rec := range b {
			if strings.Contains(string(rec), "7}") {
				return &Refused{Reason: "no sevens"}
			}
		}
		return nil
	}}
	o, _ := start(t, dir, 1<<20, map[string]*receiver{"a": r})
	var all []json.RawMessage
	for n := 1; n <= 100; n++ {
		all = append(all, num(n))
	}
	if err := o.Append(all...); err != nil {
		t.Fatal(err)
	}
	wait(t, "90 records", func() bool { return len(r.all()) == 90 && o.Status()[0].Pending == 0 })
	if s := o.Status()[0]; s.Dead != 10 || s.Sent != 90 {
		t.Errorf("%+v", s)
	}
	b, _ := os.ReadFile(filepath.Join(dir, "a.dead.jsonl"))
	if n := bytes.Count(b, []byte(`"reason":"no sevens"`)); n != 10 {
		t.Errorf("%d dead letters, want 10:\n%s", n, b)
	}
}

func TestFullOutboxDropsTheOldestAndCounts(t *testing.T) {
	r := &receiver{fail: func([]json.RawMessage) error { return errors.New("away") }}
	o, _ := start(t, t.TempDir(), 256<<10, map[string]*receiver{"a": r})
	big := strings.Repeat("x", 8<<10)
	const total = 200
	for n := 1; n <= total; n++ {
		if err := o.Append(json.RawMessage(fmt.Sprintf(`{"n":%d,"x":%q}`, n, big))); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, size := o.log.bounds(); size > 256<<10+64<<10 {
		t.Errorf("the outbox has %d bytes", size)
	}
	r.set(nil)
	wait(t, "the end", func() bool { return o.Status()[0].Pending == 0 })
	s := o.Status()[0]
	if s.Lost == 0 || s.Sent+s.Lost != total || int(s.Sent) != len(r.all()) {
		t.Errorf("%+v: sent and lost are not %d", s, total)
	}
	if last := r.all()[len(r.all())-1]; !strings.HasPrefix(last, `{"n":200,`) {
		t.Errorf("the last record is %.20s", last)
	}
}

func TestDeliveredSegmentsGo(t *testing.T) {
	dir, r := t.TempDir(), &receiver{}
	o, _ := start(t, dir, 1<<20, map[string]*receiver{"a": r})
	rec := json.RawMessage(`"` + strings.Repeat("x", 30<<10) + `"`)
	for range 30 {
		if err := o.Append(rec); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "one segment", func() bool { l, _ := filepath.Glob(filepath.Join(dir, "*.log")); return len(l) == 1 })
}

func TestBrokenTailIsCutOffAndBrokenMiddleSkipped(t *testing.T) {
	dir, away := t.TempDir(), &receiver{fail: func([]json.RawMessage) error { return errors.New("away") }}
	o, stop := start(t, dir, 1<<20, map[string]*receiver{"a": away})
	rec := strings.Repeat("x", 20<<10)
	for n := 1; n <= 10; n++ {
		if err := o.Append(json.RawMessage(fmt.Sprintf(`{"n":%d,"x":%q}`, n, rec))); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	if len(logs) < 3 {
		t.Fatalf("%d segments", len(logs))
	}
	b, _ := os.ReadFile(logs[1])
	b[len(b)/2] ^= 1
	os.WriteFile(logs[1], b, 0o600)
	f, _ := os.OpenFile(logs[len(logs)-1], os.O_WRONLY|os.O_APPEND, 0)
	f.Write(appendFrame(nil, entry{999, at, []byte("half a record")})[:30])
	f.Close()

	r := &receiver{}
	o, _ = start(t, dir, 1<<20, map[string]*receiver{"a": r})
	if err := o.Append(num(11)); err != nil {
		t.Fatal(err)
	}
	wait(t, "all", func() bool { return o.Status()[0].Pending == 0 })
	s := o.Status()[0]
	if s.Lost == 0 || s.Lost > 4 || s.Sent+s.Lost != 11 {
		t.Errorf("%+v", s)
	}
	if got := r.all(); got[len(got)-1] != string(num(11)) {
		t.Errorf("the record after the crash is %.30s", got[len(got)-1])
	}
}

func TestShutdownIsNoFailure(t *testing.T) {
	entered := make(chan bool, 1)
	block := make(chan bool)
	r := &receiver{fail: func([]json.RawMessage) error { entered <- true; <-block; return errors.New("cut") }}
	dir := t.TempDir()
	o, stop := start(t, dir, 1<<20, map[string]*receiver{"a": r})
	o.Append(num(1))
	<-entered
	go func() { time.Sleep(10 * time.Millisecond); close(block) }()
	stop()
	r.set(nil)
	start(t, dir, 1<<20, map[string]*receiver{"a": r})
	wait(t, "the record", func() bool { return len(r.all()) == 1 })
}

// TestKill9 kills a process that appends and delivers, over and over: every record whose Append
// returned arrives, and in order.
func TestKill9(t *testing.T) {
	if dir := os.Getenv("PICKET_TEST_CRASH"); dir != "" {
		crashChild(dir)
		return
	}
	dir := t.TempDir()
	for range 8 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill9$")
		cmd.Env = append(os.Environ(), "PICKET_TEST_CRASH="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(150 * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
	}
	o, err := Open(filepath.Join(dir, "box"), []Config{{Type: "jsonl", Path: filepath.Join(dir, "out.jsonl")}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- o.Run(ctx) }()
	wait(t, "the rest", func() bool { return o.Status()[0].Pending == 0 })
	cancel()
	<-done

	promised, _ := os.ReadFile(filepath.Join(dir, "promised"))
	out, _ := os.ReadFile(filepath.Join(dir, "out.jsonl"))
	seen := map[string]bool{}
	last := 0
	for line := range strings.Lines(string(out)) {
		var rec struct{ N int }
		if json.Unmarshal([]byte(line), &rec) != nil {
			continue // half a line of a killed write; the record came again
		}
		if !seen[strconv.Itoa(rec.N)] && rec.N < last {
			t.Fatalf("record %d came first after %d", rec.N, last)
		}
		seen[strconv.Itoa(rec.N)] = true
		last = max(last, rec.N)
	}
	lines := strings.Fields(string(promised))
	for _, n := range lines[:len(lines)-1] {
		if !seen[n] {
			t.Errorf("record %s was taken and never came", n)
		}
	}
	if len(lines) < 50 {
		t.Errorf("only %d records: the test proves little", len(lines))
	}
	t.Logf("%d records promised, %d lines written", len(lines), bytes.Count(out, []byte("\n")))
}

func crashChild(dir string) {
	o, err := Open(filepath.Join(dir, "box"), []Config{{Type: "jsonl", Path: filepath.Join(dir, "out.jsonl")}}, Options{MaxBytes: 1 << 20})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go o.Run(context.Background())
	f, err := os.OpenFile(filepath.Join(dir, "promised"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		os.Exit(1)
	}
	b, _ := io.ReadAll(f)
	n := bytes.Count(b, []byte("\n")) * 1000 // leaves a gap that no earlier run has used
	for {
		n++
		if o.Append(num(n)) == nil {
			fmt.Fprintln(f, n)
		}
	}
}

func FuzzSegment(f *testing.F) {
	good := appendFrame([]byte(magic), entry{1, at, []byte(`{"n":1}`)})
	f.Add(good)
	f.Add(appendFrame(good, entry{2, at, nil}))
	f.Add(good[:len(good)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, segmentName(1)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		os.WriteFile(filepath.Join(dir, "a.cursor"), []byte("1"), 0o600)
		r := &receiver{}
		o, stop := start(t, dir, 1<<20, map[string]*receiver{"a": r})
		if err := o.Append(num(1)); err != nil {
			t.Fatal(err)
		}
		wait(t, "the new record", func() bool { g := r.all(); return len(g) > 0 && g[len(g)-1] == string(num(1)) })
		stop()
	})
}
