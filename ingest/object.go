package ingest

import (
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"picket/event"
)

// The names under which gateways write the parts of a request: nginx, Envoy, Caddy, Traefik, and
// those of OpenTelemetry.
var (
	methodNames = []string{"method", "request_method", "RequestMethod", "http.request.method"}
	pathNames   = []string{"path", "uri", "request_uri", "url", "RequestPath", "x-envoy-original-path", "url.path"}
	statusNames = []string{"status", "response_code", "status_code", "DownstreamStatus", "http.response.status_code"}
	clientNames = []string{"remote_addr", "client_ip", "remote_ip", "downstream_remote_address", "ClientAddr", "client", "client.address"}
	agentNames  = []string{"http_user_agent", "user_agent", "request_User-Agent", "user-agent", "user_agent.original"}
	userNames   = []string{"remote_user", "user", "user_id", "subject", "ClientUsername"}
	modelNames  = []string{"model", "gen_ai.request.model"}
	inNames     = []string{"prompt_tokens", "input_tokens", "gen_ai.usage.input_tokens"}
	outNames    = []string{"completion_tokens", "output_tokens", "gen_ai.usage.output_tokens"}
	maxNamesOf  = []string{"max_tokens", "gen_ai.request.max_tokens"}
)

// spans of TGI, and the paths that they serve.
var tgiPaths = map[string]string{
	"generate": "/generate", "generate_stream": "/generate_stream", "compat_generate": "/", "chat_completions": "/v1/chat/completions",
	"completions": "/v1/completions", "tokenize": "/tokenize",
}

// object is a line of JSON.
type object map[string]any

// text is the first of the names that holds a text or number.
func (o object) text(names []string) string {
	for _, n := range names {
		switch v := o[n].(type) {
		case string:
			if v != "" {
				return v
			}
		case json.Number:
			return v.String()
		}
	}
	return ""
}

func (o object) number(names []string) event.Measure {
	f, err := strconv.ParseFloat(o.text(names), 64)
	if err != nil || f < 0 || f > math.MaxInt32 || math.IsNaN(f) {
		return event.Measure{}
	}
	return event.Measured(int64(f))
}

// parseJSON reads a line of a gateway, or of TGI.
func parseJSON(s string) (event.Request, Verdict) {
	var o object
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	if err := dec.Decode(&o); err != nil {
		return event.Request{}, Other
	}
	if target, _ := o["target"].(string); strings.HasPrefix(target, "text_generation_router") {
		return parseTGI(o)
	}
	if inner, ok := o["request"].(map[string]any); ok { // Caddy
		for k, v := range inner {
			if _, have := o[k]; !have {
				o[k] = v
			}
		}
	}
	verb, raw := o.text(methodNames), o.text(pathNames)
	if line, ok := o["request"].(string); ok && verb == "" {
		verb, raw, _ = strings.Cut(line, " ")
		raw, _, _ = strings.Cut(raw, " ")
	}
	status := o.text(statusNames)
	if !method(verb) || raw == "" || status == "" {
		return event.Request{}, Other
	}
	client, _ := address(o.text(clientNames))
	r, v := ask(verb, raw, status, client)
	if v != Request {
		return r, v
	}
	r.UserAgent = printable(o.text(agentNames), maxText)
	if user := o.text(userNames); user != "" && user != "-" {
		r.Principal, r.PrincipalKind = printable(user, maxText), "subject"
	}
	r.Model = printable(o.text(modelNames), maxText)
	r.TokensIn, r.TokensOut, r.MaxTokens = o.number(inNames), o.number(outNames), o.number(maxNamesOf)
	r.Duration = o.number([]string{"duration_ms"})
	if sec, err := strconv.ParseFloat(o.text([]string{"request_time"}), 64); err == nil && sec >= 0 && sec < 1e6 {
		r.Duration = event.Measured(int64(sec * 1000))
	}
	return r, v
}

// parseTGI reads a request that ended: its span has the parameters as one text of Rust.
func parseTGI(o object) (event.Request, Verdict) {
	span, _ := o["span"].(map[string]any)
	name, _ := span["name"].(string)
	path := tgiPaths[name]
	if path == "" {
		return event.Request{}, Other
	}
	status := "200"
	if level, _ := o["level"].(string); level == "ERROR" {
		status = "500"
	}
	r, v := ask("POST", path, status, netip.AddrPort{})
	took, _ := span["total_time"].(string)
	r.Duration = milliseconds(took)
	parameters, _ := span["parameters"].(string)
	if _, rest, ok := strings.Cut(parameters, "max_new_tokens: Some("); ok {
		n, _, _ := strings.Cut(rest, ")")
		r.MaxTokens = object{"n": n}.number([]string{"n"})
	}
	return r, v
}
