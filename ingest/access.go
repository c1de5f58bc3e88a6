package ingest

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"picket/event"
)

// Parse reads one line of an access log. Each format is known by how its lines begin: what a client
// wrote, which stands further back, cannot make a line be taken for another one. The formats:
//
//	INFO:     10.0.0.5:51234 - "POST /v1/models HTTP/1.1" 200 OK            uvicorn: vLLM, SGLang, MLflow…
//	10.0.0.5 - bob [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 9 "-" "curl/8"   gunicorn, nginx, aiohttp
//	[GIN] 2026/01/02 - 15:04:05 | 200 | 1.2s | 10.0.0.5 | POST "/api/chat"  Ollama
//	srv log_server_r: request: POST /v1/completions 10.0.0.5 200            llama.cpp
//	I0102 15:04:05.000000 1 http_server.cc:4522] HTTP request: 2 /v2/models Triton, verbose
//	[I 2026-01-02 15:04:05.000 ServerApp] 200 GET /lab (bob@10.0.0.5) 1.2ms Jupyter
//	INFO 2026-01-02 15:04:05,000 proxy 10.0.0.1 8f… -- POST / 200 3.4ms     Ray Serve
//	2026-01-02T15:04:05,000 … - /10.0.0.5:4000 "POST /models HTTP/1.1" 200 1 TorchServe
//	{"request_method":"POST","uri":"/v1/models","status":200,…}             gateways; TGI's spans
func Parse(line []byte) (event.Request, Verdict) {
	s := strings.TrimRight(plainText(line), " \r\n")
	switch {
	case s == "":
		return event.Request{}, Other
	case s[0] == '{':
		return parseJSON(s)
	case strings.HasPrefix(s, "[GIN] "):
		return parseGin(s[len("[GIN] "):])
	case strings.HasPrefix(s, "INFO 2"):
		return parseRay(s)
	}
	if i := strings.Index(s[:min(len(s), 64)], "log_server_r:"); i >= 0 && !strings.Contains(s[:i], `"`) {
		return parseLlama(s[i+len("log_server_r:"):])
	}
	if head, rest, ok := strings.Cut(s, "] HTTP request: "); ok && ofTriton(head) {
		return parseTriton(rest)
	}
	if i := strings.Index(s[:min(len(s), 80)], "] "); i > 0 && s[0] == '[' {
		if r, v := parseTornado(s[i+2:]); v != Other {
			return r, v
		}
	}
	if rest, ok := afterInfo(s); ok {
		return parseUvicorn(rest)
	}
	return parseCombined(s)
}

// method reports whether s is a method that servers of AI know.
func method(s string) bool {
	switch s {
	case "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE":
		return true
	}
	return false
}

// ask makes a request of its parts.
func ask(verb, raw, status string, client netip.AddrPort) (event.Request, Verdict) {
	r := event.Request{Source: event.FromLog, Method: strings.Clone(verb), Client: client}
	n, err := strconv.ParseUint(status, 10, 16)
	if !method(verb) || raw == "" || status != "" && (err != nil || n < 100 || n > 999) {
		return event.Request{}, Broken
	}
	if status != "" {
		r.Status = event.Measured(int64(n))
	}
	t := targetOf(raw)
	r.Path, r.Route, r.Query, r.Attacks = t.path, t.route, t.query, t.attacks
	return r, Request
}

// address reads 10.0.0.5, 10.0.0.5:4000, ::1, [::1]:4000, and uvicorn's ::1:4000.
func address(s string) (netip.AddrPort, bool) {
	if a, err := netip.ParseAddrPort(s); err == nil {
		return bare(a.Addr(), a.Port()), true
	}
	if i := strings.LastIndexByte(s, ':'); i > 0 && strings.Count(s, ":") > 2 && len(s)-i > 5 { // a port of five digits is no part of an address
		if a, err := netip.ParseAddr(s[:i]); err == nil {
			if n, err := strconv.ParseUint(s[i+1:], 10, 16); err == nil {
				return bare(a, uint16(n)), true
			}
		}
	}
	a, err := netip.ParseAddr(s)
	return bare(a, 0), err == nil
}

func bare(a netip.Addr, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a.Unmap().WithZone(""), port)
}

// afterInfo returns what stands behind INFO: and the spaces after it. Before it servers put a time or
// a name in brackets.
func afterInfo(s string) (string, bool) {
	for range 3 {
		s = strings.TrimLeft(s, " ")
		if rest, ok := strings.CutPrefix(s, "INFO:"); ok {
			return strings.TrimLeft(rest, " "), true
		}
		if s == "" || s[0] != '(' && s[0] != '[' {
			return "", false
		}
		end := strings.IndexAny(s[:min(len(s), 80)], ")]\"'")
		if end < 0 || s[end] == '"' || s[end] == '\'' {
			return "", false
		}
		s = s[end+1:]
	}
	return "", false
}

// parseUvicorn reads 10.0.0.5:51234 - "GET / HTTP/1.1" 200 OK.
func parseUvicorn(s string) (event.Request, Verdict) {
	if rest, ok := strings.CutPrefix(s, `- "`); ok { // by a socket of the host, which has no address
		return quoted(rest, '"', netip.AddrPort{})
	}
	from, rest, _ := strings.Cut(s, ` - "`)
	client, ok := address(from)
	if !ok {
		return event.Request{}, Other
	}
	return quoted(rest, '"', client)
}

// quoted reads a request line behind its first quote, and the status behind its last.
func quoted(s string, quote byte, client netip.AddrPort) (event.Request, Verdict) {
	verb, rest, _ := strings.Cut(s, " ")
	raw, rest, _ := strings.Cut(rest, " ") // a target has no space
	version, rest, ok := strings.Cut(rest, string(quote)+" ")
	status, _, _ := strings.Cut(rest, " ")
	if !ok || !strings.HasPrefix(version, "HTTP/") || len(version) > 8 {
		return event.Request{}, Broken
	}
	return ask(verb, raw, status, client)
}

// parseCombined reads the format that Apache made usual, with the remote user or without, in double
// or single quotes, behind a time and -- or - / as Ray and TorchServe write it.
func parseCombined(s string) (event.Request, Verdict) {
	if i := strings.Index(s[:min(len(s), 160)], " -- "); i > 0 && s[0] == '2' && !strings.ContainsAny(s[:i], `"'`) {
		s = s[i+4:]
	} else if i := strings.Index(s[:min(len(s), 160)], " - /"); i > 0 && s[0] == '2' && !strings.ContainsAny(s[:i], `"'`) {
		s = s[i+4:]
	}
	at := strings.IndexAny(s, `"'`)
	if at > 0 && s[at] == '\'' && strings.Contains(s[:at], " - ") { // in the name of a user, which a client chose: servers escape " alone there
		at = strings.IndexByte(s, '"')
	}
	if at < 8 || at > 512 {
		return event.Request{}, Other
	}
	from, rest, _ := strings.Cut(s[:at], " ")
	client, ok := address(from)
	if !ok {
		return event.Request{}, Other
	}
	quote := s[at]
	r, v := quoted(s[at+1:], quote, client)
	if v != Request {
		return r, v
	}
	if f := strings.Fields(rest); len(f) >= 2 && f[0] == "-" && f[1] != "-" && f[1][0] != '[' {
		r.Principal, r.PrincipalKind = printable(f[1], maxText), "subject"
	}
	if end := strings.TrimRight(s, " "); end[len(end)-1] == quote { // "referer" "agent"
		end = end[:len(end)-1]
		if i := strings.LastIndex(end, " "+string(quote)); i > at && end[i+2:] != "-" {
			r.UserAgent = printable(end[i+2:], maxText)
		}
	}
	return r, v
}

// parseGin reads date - time | 200 | 1.2s | 10.0.0.5 | POST "/api/chat".
func parseGin(s string) (event.Request, Verdict) {
	f := strings.SplitN(s, "|", 5)
	if len(f) < 5 {
		return event.Request{}, Other
	}
	for i := range f {
		f[i] = strings.TrimSpace(f[i])
	}
	client, _ := address(f[3])
	verb, raw, _ := strings.Cut(f[4], " ")
	raw = strings.TrimSpace(raw)
	if whole, err := strconv.QuotedPrefix(raw); err == nil {
		raw, _ = strconv.Unquote(whole) // it was just found to be quoted
	}
	r, v := ask(verb, raw, f[1], client)
	r.Duration = milliseconds(f[2])
	return r, v
}

// milliseconds reads 1.2s, 3.4ms or 5µs.
func milliseconds(s string) event.Measure {
	d, err := time.ParseDuration(strings.ReplaceAll(s, " ", ""))
	if err != nil || d < 0 {
		return event.Measure{}
	}
	return event.Measured(d.Milliseconds())
}

// parseLlama reads request: POST /v1/completions 10.0.0.5 200. The path is not encoded there: what
// stands behind it is read from the end.
func parseLlama(s string) (event.Request, Verdict) {
	s = strings.TrimLeft(s, " ")
	for _, begin := range []string{"request:", "done request:"} {
		rest, ok := strings.CutPrefix(s, begin)
		if !ok {
			continue
		}
		verb, rest, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
		i := strings.LastIndexByte(rest, ' ')
		if i < 0 {
			return event.Request{}, Broken
		}
		status, rest := rest[i+1:], rest[:i]
		i = strings.LastIndexByte(rest, ' ')
		if i < 0 {
			return event.Request{}, Broken
		}
		client, _ := address(rest[i+1:])
		return ask(verb, rest[:i], status, client)
	}
	return event.Request{}, Other
}

// ofTriton reports whether a line begins as Triton's do: I0102 15:04:05.000000 1 http_server.cc:4522.
func ofTriton(head string) bool {
	f := strings.Fields(head)
	return len(f) == 4 && len(head) < 120 && len(f[0]) == 5 && f[0][0] == 'I' && strings.HasPrefix(f[3], "http_server.cc:")
}

// parseTriton reads 2 /v2/models/x/infer: the method is a number of libevhtp. Who asked is not said.
func parseTriton(s string) (event.Request, Verdict) {
	verbs := map[string]string{"0": "GET", "1": "HEAD", "2": "POST", "3": "PUT", "4": "DELETE"}
	num, raw, _ := strings.Cut(s, " ")
	return ask(verbs[num], strings.TrimSpace(raw), "", netip.AddrPort{})
}

// parseTornado reads 200 GET /lab (bob@10.0.0.5) 1.2ms.
func parseTornado(s string) (event.Request, Verdict) {
	status, rest, _ := strings.Cut(s, " ")
	verb, rest, _ := strings.Cut(rest, " ")
	raw, rest, ok := strings.Cut(rest, " (")
	if !ok || len(status) != 3 || !method(verb) {
		return event.Request{}, Other
	}
	who, rest, ok := strings.Cut(rest, ")")
	if !ok {
		return event.Request{}, Broken
	}
	user := ""
	if i := strings.LastIndexByte(who, '@'); i >= 0 {
		user, who = who[:i], who[i+1:]
	}
	client, _ := address(who)
	r, v := ask(verb, raw, status, client)
	if v == Request && user != "" {
		r.Principal, r.PrincipalKind = printable(user, maxText), "subject"
	}
	took, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	r.Duration = milliseconds(took)
	return r, v
}

// parseRay reads INFO date time proxy 10.0.0.1 id -- POST / 200 3.4ms. The address is the proxy's own.
func parseRay(s string) (event.Request, Verdict) {
	head, rest, ok := strings.Cut(s, " -- ")
	if !ok {
		head, rest, ok = strings.Cut(s, " - ")
	}
	if !ok || !strings.Contains(head, "proxy") || len(head) > 200 {
		return parseCombined(strings.TrimPrefix(s, "INFO ")) // the dashboard
	}
	f := strings.Fields(rest)
	if len(f) != 4 || !method(f[0]) {
		return event.Request{}, Other
	}
	r, v := ask(f[0], f[1], f[2], netip.AddrPort{})
	r.Duration = milliseconds(f[3])
	return r, v
}
