package sink

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func hook(t *testing.T, c Config) *webhook {
	t.Helper()
	s, err := openWebhook(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWebhookSendsASignedArray(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	os.WriteFile(file, []byte("Bearer t0ken\n"), 0o600)
	var ids []string
	hs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var batch []json.RawMessage
		if json.Unmarshal(body, &batch) != nil || len(batch) != 2 || r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s", r.Method, body)
		}
		mac := hmac.New(sha256.New, []byte("s3cret"))
		mac.Write([]byte(r.Header.Get("X-Picket-Id") + "." + r.Header.Get("X-Picket-Timestamp") + "." + string(body)))
		if got := r.Header.Get("X-Picket-Signature"); got != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
			t.Errorf("signature %s", got)
		}
		if got := r.Header.Get("Authorization"); got != "Bearer t0ken" {
			t.Errorf("authorization %q", got)
		}
		ids = append(ids, r.Header.Get("X-Picket-Id"))
	}))
	defer hs.Close()
	s := hook(t, Config{URL: hs.URL + "/in?key=hidden", Secret: "s3cret", Headers: map[string]string{"Authorization": "@" + file}})
	for range 2 {
		if err := s.Send(t.Context(), []json.RawMessage{num(1), num(2)}); err != nil {
			t.Error(err)
		}
	}
	if len(ids) != 2 || ids[0] != ids[1] {
		t.Errorf("a repeat has another id: %v", ids)
	}
	if strings.Contains(s.String(), "hidden") {
		t.Errorf("%s shows a secret", s)
	}
}

func TestWebhookAnswers(t *testing.T) {
	for _, c := range []struct {
		status  int
		header  string
		refused bool
		later   time.Duration
		says    string
	}{
		{200, "", false, 0, ""},
		{204, "", false, 0, ""},
		{302, "", false, 0, "redirects are not followed"},
		{400, "", true, 0, "bad \u001b thing"},
		{401, "", false, 0, "check the sink's headers"},
		{403, "", false, 0, "check the sink's headers"},
		{404, "", false, 0, "check the sink's url"},
		{413, "", true, 0, "413"},
		{422, "", true, 0, "422"},
		{429, "7", false, 7 * time.Second, "429"},
		{500, "", false, 0, "500"},
		{503, "120", false, 2 * time.Minute, "503"},
	} {
		hs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if c.header != "" {
				w.Header().Set("Retry-After", c.header)
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.status)
			if c.status > 204 {
				io.WriteString(w, "bad \x1b thing")
			}
		}))
		err := hook(t, Config{URL: hs.URL + "?key=hidden"}).Send(t.Context(), []json.RawMessage{num(1)})
		hs.Close()
		if c.says == "" {
			if err != nil {
				t.Errorf("%d: %v", c.status, err)
			}
			continue
		}
		var refused *Refused
		var later *Later
		if errors.As(err, &refused) != c.refused || err == nil {
			t.Errorf("%d: %v", c.status, err)
			continue
		}
		if errors.As(err, &later) != (c.later > 0) || later != nil && later.After != c.later {
			t.Errorf("%d: %v", c.status, err)
		}
		if says := strings.ReplaceAll(c.says, "\u001b", " "); !strings.Contains(err.Error(), says) || strings.ContainsAny(err.Error(), "\x1b\n") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%d: %q, want %q", c.status, err, says)
		}
	}
}

func TestWebhookSurvivesBrokenReceivers(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var n atomic.Int32
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			switch n.Add(1) {
			case 1: // hangs up
			case 2:
				io.WriteString(c, "garbage\r\n\r\n")
			case 3: // takes the request and hangs up half way through the answer
				c.Read(make([]byte, 4096))
				io.WriteString(c, "HTTP/1.1 20")
			default:
				c.Read(make([]byte, 4096))
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			}
			c.Close()
		}
	}()
	o, err := Open(t.TempDir(), []Config{{Type: "webhook", URL: "http://" + ln.Addr().String()}}, Options{MinWait: time.Millisecond, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- o.Run(ctx) }()
	if err := o.Append(num(1)); err != nil {
		t.Fatal(err)
	}
	wait(t, "delivery", func() bool { return o.Status()[0].Sent == 1 })
	cancel()
	<-done
	o.Close()
}

func TestWebhookStopsWithItsContext(t *testing.T) {
	release := make(chan bool)
	hs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hs.Close()
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := hook(t, Config{URL: hs.URL}).Send(ctx, nil); err == nil || time.Since(begin) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

func TestWebhookLeavesMetadataServicesAlone(t *testing.T) {
	err := hook(t, Config{URL: "http://169.254.169.254/latest"}).Send(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "link-local") {
		t.Error(err)
	}
}

func TestFileRotatesAndFollows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "out.jsonl")
	s, err := openFile(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.size = 100
	send := func(n int) {
		t.Helper()
		if err := s.Send(t.Context(), []json.RawMessage{num(n)}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 100 {
		send(n)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	list, _ := filepath.Glob(path + "*")
	if len(list) != 1+fileKeep {
		t.Errorf("files: %v", list)
	}
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	send(1000)
	if b, _ := os.ReadFile(path); string(b) != string(num(1000))+"\n" {
		t.Errorf("after logrotate: %q", b)
	}
	os.WriteFile(path, []byte(`{"half`), 0o640)
	send(1001)
	if b, _ := os.ReadFile(path); string(b) != "{\"half\n"+string(num(1001))+"\n" {
		t.Errorf("after half a line: %q", b)
	}
}

func TestFileSaysWhatItCannotWrite(t *testing.T) {
	dir := t.TempDir()
	if _, err := openFile(Config{Path: dir}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
	if _, err := openFile(Config{Path: "/dev/null"}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		configs []Config
		want    string
	}{
		{nil, ""},
		{[]Config{{Type: "jsonl", Path: "x"}, {Type: "webhook", URL: "https://x"}}, ""},
		{[]Config{{Type: "jsonl", Path: "x"}, {Type: "jsonl", Path: "y"}}, "another one named"},
		{[]Config{{Type: "kafka"}}, "unknown type"},
		{[]Config{{Type: "jsonl"}}, "wants a path"},
		{[]Config{{Type: "webhook", URL: "ftp://x"}}, "http:// or https://"},
		{[]Config{{Type: "jsonl", Path: "x", Name: "../up"}}, "want letters"},
	} {
		err := Check(c.configs)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.configs, err, c.want)
		}
	}
}
