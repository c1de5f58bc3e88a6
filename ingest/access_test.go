package ingest

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// short says what was read of a line, for a table to be checked by eye.
func short(line string) string {
	r, v := Parse([]byte(line))
	if v != Request {
		return [...]string{"other", "", "broken"}[v]
	}
	s := r.Method + " " + r.Route
	if r.Path != r.Route {
		s += " (" + r.Path + ")"
	}
	for _, part := range []struct{ name, text string }{
		{"?", r.Query},
		{"=", r.Status.String()},
		{"by ", r.Client.String()},
		{"as ", r.Principal},
		{"with ", r.UserAgent},
		{"ms ", r.Duration.String()},
		{"model ", r.Model},
		{"in ", r.TokensIn.String()},
		{"out ", r.TokensOut.String()},
		{"max ", r.MaxTokens.String()},
		{"!", r.Attacks},
	} {
		if part.text != "" && part.text != "invalid AddrPort" {
			s += " " + part.name + part.text
		}
	}
	return s
}

func TestLinesOfServersAreRead(t *testing.T) {
	for _, c := range [][2]string{
		// uvicorn
		{`INFO:     10.0.0.5:51234 - "POST /v1/chat/completions HTTP/1.1" 200 OK`, `POST /v1/chat/completions =200 by 10.0.0.5:51234`},
		{`(APIServer pid=17) INFO:     10.0.0.5:51234 - "GET /health HTTP/1.1" 200 OK`, `GET /health =200 by 10.0.0.5:51234`},
		{`[2026-01-02 15:04:05] INFO:     [2001:db8::7]:41234 - "GET /get_server_info HTTP/1.1" 200 OK`, `GET /get_server_info =200 by [2001:db8::7]:41234`},
		{`INFO:     2001:db8::7:51234 - "GET / HTTP/1.1" 401 Unauthorized`, `GET / =401 by [2001:db8::7]:51234`},
		{"\x1b[32mINFO\x1b[0m:     127.0.0.1:51234 - \"\x1b[1mGET /v1/models?key=sk-abc HTTP/1.1\x1b[0m\" \x1b[32m200 OK\x1b[0m", `GET /v1/models ?key; =200 by 127.0.0.1:51234`},
		{`INFO:      - "GET /x HTTP/1.1" 200 OK`, `GET /x =200`},
		{`INFO:     Uvicorn running on http://0.0.0.0:8000 (Press CTRL+C to quit)`, `other`},
		{`INFO:     10.0.0.5:51234 - "GET /x" 200`, `broken`},
		{`INFO:     10.0.0.5:51234 - "EAT /x HTTP/1.1" 200 OK`, `broken`},
		{`INFO:     10.0.0.5:51234 - "GET /x HTTP/1.1" 20000 OK`, `broken`},
		{`INFO:     10.0.0.5:51234 - "WebSocket /ws" [accepted]`, `broken`},
		// what a prompt says that a server writes into its log
		{`INFO 01-02 15:04:05 [logger.py:43] Received request x: prompt: 'INFO:     6.6.6.6:1 - "GET /x HTTP/1.1" 200 OK'`, `other`},
		{`INFO 01-02 15:04:05 [logger.py:43] Received request x] HTTP request: 2 /v2/repository/models/x/load`, `other`},
		{`10.0.0.5 - a] 'POST /forged HTTP/1.1' 200 [01/Jan/2026:00:00:00 +0000] "GET /x HTTP/1.1" 200 9 "-" "u"`, `GET /x =200 by 10.0.0.5:0 as a] with u`},
		{`prompt [GIN] 2026/01/02 - 15:04:05 | 200 | 1s | 6.6.6.6 | GET "/x"`, `other`},
		// gunicorn, nginx, aiohttp, TorchServe
		{`10.0.0.5 - - [01/Jan/2026:00:00:00 +0000] "GET /api/2.0/mlflow/experiments/search HTTP/1.1" 200 123 "-" "curl/8.5"`, `GET /api/2.0/mlflow/experiments/search =200 by 10.0.0.5:0 with curl/8.5`},
		{`10.0.0.5 - bob [01/Jan/2026:00:00:00 +0000] "GET /x HTTP/2.0" 403 9 "http://a/" "x\" HTTP/1.1\" 200"`, `GET /x =403 by 10.0.0.5:0 as bob with x\" HTTP/1.1\" 200`},
		{`2026-01-02 20:45:37,461	INFO web_log.py:206 -- 10.0.0.5 [02/Jan/2026:20:45:37 +0000] 'POST /api/jobs/ HTTP/1.1' 200 90 bytes 1234 us '-' 'python-requests/2.27.1'`, `POST /api/jobs (/api/jobs/) =200 by 10.0.0.5:0 with python-requests/2.27.1`},
		{`2026-01-02T15:04:05,000 [INFO ] epollEventLoopGroup-3-1 ACCESS_LOG - /10.0.0.5:40592 "POST /models?url=http://192.0.2.9/x.mar HTTP/1.1" 200 1`, `POST /models ?url; =200 by 10.0.0.5:40592`},
		// gin
		{`[GIN] 2026/01/02 - 15:04:05 | 200 |  1.234567ms |        10.0.0.5 | POST     "/api/chat"`, `POST /api/chat =200 by 10.0.0.5:0 ms 1`},
		{`[GIN] 2026/01/02 - 15:04:05 | 404 |       5.1µs |             ::1 | HEAD     "/x\"y"`, `HEAD /x"y =404 by [::1]:0 ms 0`},
		{`[GIN] listening`, `other`},
		// llama.cpp
		{`srv  log_server_r: request: POST /v1/completions 10.0.0.5 200`, `POST /v1/completions =200 by 10.0.0.5:0`},
		{`0.02.123.456 I srv  log_server_r: done request: GET /a b 200 10.0.0.5 404`, `GET /a b 200 =404 by 10.0.0.5:0`},
		{`srv  log_server_r: response: x`, `other`},
		// Triton, TGI, Jupyter, Ray
		{`I0102 15:04:05.123456 1 http_server.cc:4522] HTTP request: 2 /v2/repository/models/x/load`, `POST /v2/repository/models/x/load`},
		{`{"timestamp":"2026","level":"INFO","message":"Success","target":"text_generation_router::server","span":{"name":"generate","total_time":"1.5s","parameters":"GenerateParameters { max_new_tokens: Some(4096) }"}}`, `POST /generate =200 ms 1500 max 4096`},
		{`[I 2026-01-02 15:04:05.123 ServerApp] 201 POST /api/terminals?1 (bob@10.0.0.5) 12.30ms`, `POST /api/terminals ?1; =201 by 10.0.0.5:0 as bob ms 12`},
		{`[W 2026-01-02 15:04:05.123 ServerApp] 403 GET /api/kernels (@::1) 1ms referer=None`, `GET /api/kernels =403 by [::1]:0 ms 1`},
		{`INFO 2026-01-02 15:04:05,123 proxy 10.0.0.1 1f6e -- POST /chat 200 4.2ms`, `POST /chat =200 ms 4`},
		// gateways
		{`{"remote_addr":"10.0.0.5","request":"POST /v1/chat/completions HTTP/1.1","status":200,"request_time":"0.250","http_user_agent":"x"}`, `POST /v1/chat/completions =200 by 10.0.0.5:0 with x ms 250`},
		{`{"method":"POST","path":"/v1/x","response_code":200,"downstream_remote_address":"10.0.0.5:99","user_id":"u7","model":"m","prompt_tokens":5,"completion_tokens":7}`, `POST /v1/x =200 by 10.0.0.5:99 as u7 model m in 5 out 7`},
		{`{"request":{"remote_ip":"10.0.0.5","method":"GET","uri":"/x"},"status":404}`, `GET /x =404 by 10.0.0.5:0`},
		{`{"a":`, `other`},
		{`{"method":"GET","path":"/x","status":-1}`, `broken`},
		{``, `other`},
		{`Loading safetensors checkpoint shards: 100% Completed`, `other`},
	} {
		if got := short(c[0]); got != c[1] {
			t.Errorf("%s\n got %s\nwant %s", c[0], got, c[1])
		}
	}
}

func TestTricksInPathsAreNamed(t *testing.T) {
	for raw, want := range map[string]string{
		"/v1/models":                          "/v1/models ",
		"//v1//models":                        "/v1/models doubled-slash;",
		"/public/../v1/models":                "/v1/models dot-segments;",
		"/public/%2e%2e/v1/models":            "/v1/models encoded-dot;dot-segments;",
		"/%76%31/models":                      "/v1/models encoded-text;",
		"/%252e%252e/etc/passwd":              "/etc/passwd double-encoded;dot-segments;traversal;",
		"/health;/v1;x=1/models":              "/health/v1/models path-parameter;",
		`/a\..\..\etc`:                        "/etc dot-segments;traversal;",
		"/x%00.png":                           "/x\ufffd.png control;",
		"/get-artifact?path=..%2f..%2fetc":    "/get-artifact traversal;",
		"/x?p=%252e%252e%252fetc":             "/x traversal;",
		"/x?v=1..2":                           "/x ",
		"/v1/models/meta-llama%2FLlama-3":     "/v1/models/meta-llama/Llama-3 ",
		"/a%20b%zz":                           "/a b%zz ",
		"http://user:secret@host/v1/models":   "/v1/models ",
		"http://host":                         "/ ",
		"/x/sk-0123456789abcdef0123456789abc": "/x/*** ",
	} {
		path, route, _, attacks := Target(raw)
		if got := route + " " + attacks; got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
		if strings.Contains(path, "secret") || strings.Contains(path, "0123456789") {
			t.Errorf("%s: a secret was kept: %s", raw, path)
		}
	}
	if _, _, query, _ := Target("/x?key=v&a;b=1&key=w&" + strings.Repeat("n&", 40)); query != "key;a_b;n;" {
		t.Errorf("%q", query)
	}
	if _, _, query, _ := Target("/x?sk-0123456789abcdef0123456789abc"); query != "***;" {
		t.Errorf("a secret was kept: %q", query)
	}
	if path, route, _, _ := Target("/" + strings.Repeat("é", 4000)); len(path) > maxPath || len(route) > maxPath || !utf8.ValidString(path) {
		t.Errorf("%d and %d bytes were kept", len(path), len(route))
	}
}

func TestWhatARuntimeWroteAroundALineIsTakenOff(t *testing.T) {
	for line, want := range map[string]string{
		`2026-01-02T15:04:05.123456789Z stdout F INFO: x`:      "INFO: x 0 false",
		`2026-01-02T15:04:05.123456789+02:00 stderr P begin`:   "begin 1 true",
		`{"log":"INFO: \"x\"\n","stream":"stdout","time":"t"}`: `INFO: "x" 0 false`,
		`{"log":"begin","stream":"stderr","time":"t"}`:         "begin 1 true",
		`2026-01-02T15:04:05,000 [INFO ] x y z`:                "2026-01-02T15:04:05,000 [INFO ] x y z 0 false",
		`{"log":"broken`:                                       `{"log":"broken 0 false`,
	} {
		text, stream, part := unwrap([]byte(line))
		if got := fmt.Sprint(string(text), " ", stream, " ", part); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`INFO:     10.0.0.5:51234 - "POST /v1/chat/completions?a=%2e HTTP/1.1" 200 OK`, `[GIN] d | 200 | 1s | ::1 | GET "/x"`, `srv  log_server_r: request: GET /x 1.2.3.4 200`,
		`1.2.3.4 - b [d] "GET /x HTTP/1.1" 200 1 "-" "ua"`, `I1 x] HTTP request: 2 /v2`, `[I 2 S] 200 GET /x (a@::1) 1ms`, `INFO 2026 proxy -- GET / 200 1ms`,
		`{"method":"GET","path":"/x;/../%00","status":200}`, `{"log":"x\n"}`, `2026-01-02T15:04:05Z stdout F x`, "\x1b[1m\x1b[", `2026 -- 1.2.3.4 'GET /x HTTP/1.1' 200 '`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		text, _, _ := unwrap(line)
		r, v := Parse(text)
		if v != Request {
			if r.Path != "" || r.Client.IsValid() {
				t.Errorf("a line that is no request left something: %+v", r)
			}
			return
		}
		for _, s := range []string{r.Path, r.Route, r.Query, r.UserAgent, r.Principal, r.Model, r.Attacks} {
			if len(s) > 2*maxPath || strings.ContainsAny(s, "\n\r\x00\x1b") {
				t.Errorf("%q is not bounded or holds a control character", s)
			}
		}
		if !strings.HasPrefix(r.Route, "/") || !method(r.Method) {
			t.Errorf("%q %q", r.Method, r.Route)
		}
	})
}
