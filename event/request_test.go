package event

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func request() *Event {
	return &Event{
		Kind: ServiceRequest, Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Host: "h", Process: &Process{PID: 7, Exe: "/usr/bin/python3"}, Count: 3,
		Request: &Request{
			Engine: "vllm", Source: FromLog, Method: "POST", Path: "//v1/chat/completions", Route: "/v1/chat/completions", Query: "url;", Status: Measured(200),
			Duration: Measured(0), Client: netip.MustParseAddrPort("192.0.2.7:51234"), UserAgent: "curl/8", Principal: "k1", PrincipalKind: "key",
			Operation: "chat", Model: "llama", TokensIn: Measured(12), TokensOut: Measured(0), MaxTokens: Measured(1), Temperature: Measured(700),
			Choices: Measured(1), LogProbs: Measured(5), Finish: "stop", Conversation: "c", PromptHash: "ab", PromptLength: Measured(9), PromptScore: Measured(1),
			Secrets: "jwt;", Attacks: "doubled-slash;",
		},
	}
}

func metrics() *Event {
	e := request()
	e.Kind, e.Request, e.Count = ServiceMetrics, nil, 0
	e.Service = &Service{
		Engine: "sglang", Model: "m", Address: "127.0.0.1:30000", Running: Measured(0), Waiting: Measured(4), Cache: Measured(99), TokensIn: Measured(1),
		TokensOut: Measured(0), Preemptions: Measured(2), Requests: Measured(3), Failures: Measured(1), Stalled: Measured(120), Adapters: "a;b;",
	}
	return e
}

func TestRequestsAndMetricsSurviveARoundTrip(t *testing.T) {
	for _, e := range []*Event{request(), metrics()} {
		back, err := ParseRecord(e.AppendRecord(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(e.Request, back.Request, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(e.Service, back.Service); d != "" {
			t.Error(d)
		}
		if back.ID() == (&Event{Kind: e.Kind, Time: e.Time, Host: e.Host, Process: e.Process}).ID() || e.ID() != back.ID() {
			t.Error("the identity does not mind what was asked")
		}
	}
}

func TestWhatIsNotKnownOfARequestIsAbsent(t *testing.T) {
	e := request()
	e.Request = &Request{Engine: "ollama", Path: "/api/tags"}
	row := string(e.AppendRecord(nil))
	for _, absent := range []string{"http.status", "http.client", "gen_ai.usage", "principal", "service."} {
		if strings.Contains(row, absent) {
			t.Errorf("%s is not known: %s", absent, row)
		}
	}
}

func TestRequestsAreSpokenOf(t *testing.T) {
	got := []string{request().Describe(), metrics().Describe(), request().Kind.Class(), metrics().Kind.Class()}
	want := []string{
		"python3[7] was asked POST //v1/chat/completions by 192.0.2.7: 200, 3 times",
		"python3[7] serves m: 0 requests run, 4 wait, 99 % of the cache is used, 0 tokens a second come out", "request", "service",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	span := &Event{Kind: ServiceRequest, Request: &Request{Operation: "chat", Model: "llama"}}
	if got := span.Describe(); got != "a process was asked chat of llama" {
		t.Error(got)
	}
	for line, want := range map[string]string{
		`{"event.kind":"request","http.client.ip":"x"}`:       "field http.client.ip",
		`{"event.kind":"request","http.client.port":"70000"}`: "field http.client.port",
		`{"event.kind":"request","http.status":"ok"}`:         "field http.status",
	} {
		if _, err := ParseRecord([]byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", line, err)
		}
	}
}
