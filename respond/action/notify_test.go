package action

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// said is one request that a receiver got.
type said struct {
	Method, Path string
	Header       http.Header
	Body         any
	raw          []byte
}

// listener is a receiver that keeps what it gets and answers as a test says.
type listener struct {
	*httptest.Server
	mu     sync.Mutex
	got    []said
	answer func(n int, s said) (status int, body string)
}

func listen(t *testing.T, answer func(n int, s said) (int, string)) *listener {
	t.Helper()
	l := &listener{answer: answer}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := said{Method: r.Method, Path: r.URL.RequestURI(), Header: r.Header}
		s.raw, _ = io.ReadAll(r.Body)
		_ = json.Unmarshal(s.raw, &s.Body)
		l.mu.Lock()
		l.got = append(l.got, s)
		n := len(l.got)
		l.mu.Unlock()
		status, body := 200, "{}"
		if l.answer != nil {
			status, body = l.answer(n, s)
		}
		if status == 0 { // the answer gets lost
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	l.Config.ErrorLog = nil
	t.Cleanup(l.Close)
	return l
}

func (l *listener) requests() []said {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]said(nil), l.got...)
}

// reached returns an act over loopback channels that does not wait long between tries. Secrets are
// "hunter2" in the environment.
func reached(t *testing.T, open func(ReachOptions) (Action, error), channels ...Channel) *reach {
	t.Helper()
	a := must(open(ReachOptions{Channels: channels, Loopback: true, Env: func(name string) (string, bool) { return "hunter2", name == "KEY" }}))(t).(*reach)
	for _, c := range a.channels {
		wireOf(c.receiver).pause = time.Millisecond
	}
	return a
}

func wireOf(r receiver) *wire {
	switch r := r.(type) {
	case *webhookOut:
		return r.w
	case *slack:
		return r.w
	case *pagerDuty:
		return r.w
	case *alertmanager:
		return r.w
	case *email:
		return r.w
	case *ticketHTTP:
		return r.w
	case *jira:
		return r.w
	case *iris:
		return r.w
	}
	return nil
}

// told is a request with what an attacker may have had a say in.
func told(channel string) *Request {
	return &Request{
		ID: "req-1", Incident: "inc-7", By: "policy:tell", Run: "run-1", Step: "step-2", Target: Target{Host: "gpu-1"},
		Params: map[string]string{
			"channel": channel, "title": "Weights sent out", "severity": "high", "marking": "TLP:AMBER", "link": "https://picket.example.org/incidents/inc-7",
			"text": "process <!channel> ```@all [x](javascript:1)\r\nBcc: x@example.org\x1b[2J\u202e",
		},
	}
}

// wantText is the text of told as receivers may show it.
const wantText = "process <!channel> ```@all [x](javascript:1) \nBcc: x@example.org [2J "

var wantFacts = map[string]any{
	"id": "req-1", "title": "Weights sent out", "text": wantText, "severity": "high", "marking": "TLP:AMBER", "incident": "inc-7",
	"link": "https://picket.example.org/incidents/inc-7", "host": "gpu-1", "run": "run-1", "step": "step-2", "by": "policy:tell",
}

// without returns a copy of a decoded object that lacks some keys, whose values must not be empty.
func without(t *testing.T, v any, keys ...string) map[string]any {
	t.Helper()
	out := map[string]any{}
	maps.Copy(out, v.(map[string]any))
	for _, k := range keys {
		if s, _ := out[k].(string); s == "" {
			t.Errorf("%s is missing", k)
		}
		delete(out, k)
	}
	return out
}

func TestWebhookContract(t *testing.T) {
	l := listen(t, func(n int, _ said) (int, string) { return map[bool]int{true: 503, false: 200}[n == 1], "" })
	a := reached(t, NewNotify, Channel{Name: "hook", Type: "webhook", URL: l.URL + "/in?x=1", Secret: "env:KEY"})
	if res := must(a.Do(t.Context(), told("hook")))(t); res.State != Done {
		t.Fatalf("%+v", res)
	}
	got := l.requests()
	if len(got) != 2 {
		t.Fatalf("%d requests", len(got))
	}
	for _, s := range got {
		if s.Method != "POST" || s.Path != "/in?x=1" || s.Header.Get("X-Picket-Id") != "req-1" || s.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %v", s.Method, s.Path, s.Header)
		}
		mac := hmac.New(sha256.New, []byte("hunter2"))
		mac.Write([]byte("req-1." + s.Header.Get("X-Picket-Timestamp") + "." + string(s.raw)))
		if s.Header.Get("X-Picket-Signature") != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
			t.Errorf("signature %s", s.Header.Get("X-Picket-Signature"))
		}
		if diff := cmp.Diff(wantFacts, without(t, s.Body, "at")); diff != "" {
			t.Error(diff)
		}
	}
}

func TestSlackContract(t *testing.T) {
	l := listen(t, func(int, said) (int, string) { return 200, "ok" })
	file := filepath.Join(t.TempDir(), "url")
	writeFile(t, file, l.URL+"/services/T0/B0/x\n")
	a := reached(t, NewNotify, Channel{Name: "ops", Type: "slack", URL: "@" + file})
	if res := must(a.Do(t.Context(), told("ops")))(t); res.State != Done {
		t.Fatalf("%+v", res)
	}
	want := map[string]any{
		"unfurl_links": false, "unfurl_media": false,
		"text": "```\nTLP:AMBER [high] Weights sent out\n\nprocess &lt;!channel&gt; '''@all [x](javascript:1) \nBcc: x@example.org [2J \n\n" +
			"incident: inc-7\nhost: gpu-1\nseverity: high\nmarking: TLP:AMBER\nrun: run-1\nstep: step-2\nby: policy:tell\nrequest: req-1\n" +
			"link: https://picket.example.org/incidents/inc-7\n```\nhttps://picket.example.org/incidents/inc-7",
	}
	if got := l.requests(); len(got) != 1 || got[0].Path != "/services/T0/B0/x" || !cmp.Equal(want, got[0].Body) {
		t.Errorf("%s\n%s", got[0].Path, cmp.Diff(want, got[0].Body))
	}
}

func TestPagerDutyContract(t *testing.T) {
	l := listen(t, func(int, said) (int, string) { return 202, `{"status":"success","dedup_key":"picket-inc-7"}` })
	a := reached(t, NewNotify, Channel{Name: "pd", Type: "pagerduty", URL: l.URL, Secret: "env:KEY"})
	r := told("pd")
	if res := must(a.Do(t.Context(), r))(t); res.State != Done || res.Output != "picket-inc-7" {
		t.Fatalf("%+v", res)
	}
	if _, _, err := a.Verify(t.Context(), r); err == nil {
		t.Error("it is said to hold, though nobody can ask")
	}
	if res := must(a.Undo(t.Context(), r))(t); res.State != Undone || !strings.Contains(res.Detail, "resolved") {
		t.Errorf("%+v", res)
	}
	got := l.requests()
	payload := got[0].Body.(map[string]any)["payload"].(map[string]any)
	payload["custom_details"] = without(t, payload["custom_details"], "at")
	got[0].Body.(map[string]any)["payload"] = without(t, payload, "timestamp")
	want := []any{
		map[string]any{
			"routing_key": "hunter2", "event_action": "trigger", "dedup_key": "picket-inc-7", "client": "Picket",
			"links": []any{map[string]any{"href": "https://picket.example.org/incidents/inc-7", "text": "Picket"}},
			"payload": map[string]any{
				"summary": "TLP:AMBER [high] Weights sent out", "source": "gpu-1", "severity": "error", "custom_details": wantFacts,
			},
		},
		map[string]any{"routing_key": "hunter2", "event_action": "resolve", "dedup_key": "picket-inc-7"},
	}
	if diff := cmp.Diff(want, []any{got[0].Body, got[1].Body}); diff != "" || got[0].Path != "/v2/enqueue" {
		t.Errorf("%s\n%s", got[0].Path, diff)
	}
}

// TestAlertmanager sends to a real one.
func TestAlertmanager(t *testing.T) {
	program, err := exec.LookPath("prometheus-alertmanager")
	needs(t, "alertmanager", err == nil, "needs prometheus-alertmanager: apt install prometheus-alertmanager")
	free := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	addr := free.Addr().String()
	_ = free.Close()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a.yml"), "route: {receiver: none}\nreceivers: [{name: none}]\n")
	cmd := exec.Command(program, "--config.file="+filepath.Join(dir, "a.yml"), "--storage.path="+dir, "--web.listen-address="+addr, "--cluster.listen-address=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	a := reached(t, NewNotify, Channel{Name: "am", Type: "alertmanager", URL: "http://" + addr})
	wireOf(a.channels["am"].receiver).pause = 200 * time.Millisecond // it starts
	r := told("am")
	if holds, detail, err := a.Verify(t.Context(), r); holds || err != nil {
		t.Fatalf("before: %v %s %v", holds, detail, err)
	}
	if res := must(a.Do(t.Context(), r))(t); res.State != Done {
		t.Fatalf("%+v", res)
	}
	eventually(t, func() (bool, string) {
		holds, detail, err := a.Verify(t.Context(), r)
		return holds && err == nil, fmt.Sprint(detail, err)
	})
	resp := must(http.Get("http://" + addr + "/api/v2/alerts"))(t)
	defer resp.Body.Close()
	var alerts []struct{ Labels, Annotations map[string]string }
	if err := json.NewDecoder(resp.Body).Decode(&alerts); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"alertname": "Picket", "severity": "high", "incident": "inc-7", "instance": "gpu-1", "picket_request": "req-1"}
	if len(alerts) != 1 || !cmp.Equal(want, alerts[0].Labels) || alerts[0].Annotations["description"] != wantText {
		t.Errorf("%+v", alerts)
	}
	if res := must(a.Undo(t.Context(), r))(t); res.State != Undone {
		t.Fatalf("%+v", res)
	}
	eventually(t, func() (bool, string) {
		holds, detail, err := a.Verify(t.Context(), r)
		return !holds && err == nil, fmt.Sprint(detail, err)
	})
}

func eventually(t *testing.T, holds func() (bool, string)) {
	t.Helper()
	var detail string
	for range 200 {
		var ok bool
		if ok, detail = holds(); ok {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error(detail)
}

// TestReceiversAnswers holds how an act comes out by what the receiver says, and that nothing secret
// is told of it.
func TestReceiversAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		status []int // of each try; the last one for all that follow, 0: the answer gets lost
		body   string
		state  State
		tries  int
		says   string
	}{
		{"busy, then well", []int{429, 503, 200}, "", Done, 3, ""},
		{"a bad request", []int{400}, "no\x1b such hunter2", Failed, 1, "400 Bad Request: no such ***"},
		{"a wrong key", []int{401}, "", Failed, 1, "check the channel's secret"},
		{"a wrong address", []int{404}, "", Failed, 1, "check the channel's url"},
		{"a redirect", []int{307}, "", Failed, 1, "redirects are not followed"},
		{"broken, then a bad request", []int{502, 400}, "", Unknown, 2, "400"},
		{"lost answers, then well", []int{0, 0, 200}, "", Done, 3, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := listen(t, func(n int, _ said) (int, string) { return c.status[min(n, len(c.status))-1], c.body })
			a := reached(t, NewNotify, Channel{Name: "pd", Type: "pagerduty", URL: l.URL, Secret: "env:KEY"})
			res := must(a.Do(t.Context(), told("pd")))(t)
			if res.State != c.state || len(l.requests()) != c.tries || !strings.Contains(res.Detail, c.says) || strings.Contains(res.Detail, "hunter2") {
				t.Errorf("after %d tries %+v", len(l.requests()), res)
			}
		})
	}
}
