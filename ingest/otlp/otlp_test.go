package otlp

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"picket/event"
)

// field appends a field that has a length.
func field(b []byte, num protowire.Number, part []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), part)
}

// anyValue encodes what a test writes as Go.
func anyValue(v any) (b []byte) {
	switch v := v.(type) {
	case string:
		return field(nil, 1, []byte(v))
	case bool:
		return protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), protowire.EncodeBool(v))
	case int:
		return protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), uint64(v))
	case float64:
		return protowire.AppendFixed64(protowire.AppendTag(nil, 4, protowire.Fixed64Type), math.Float64bits(v))
	case []any:
		for _, one := range v {
			b = field(b, 1, anyValue(one))
		}
		return field(nil, 5, b)
	case map[string]any:
		for key, one := range v {
			b = field(b, 1, field(field(nil, 1, []byte(key)), 2, anyValue(one)))
		}
		return field(nil, 6, b)
	}
	panic(fmt.Sprintf("%T", v))
}

func keyValues(b []byte, num protowire.Number, attributes map[string]any) []byte {
	for key, v := range attributes {
		b = field(b, num, field(field(nil, 1, []byte(key)), 2, anyValue(v)))
	}
	return b
}

type sent struct {
	attributes map[string]any
	events     map[string]map[string]any
	failed     bool
}

var clock = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// export encodes a request with spans that took 1.5 s and ended a second ago.
func export(spans ...sent) []byte {
	var scope []byte
	for _, s := range spans {
		b := field(nil, 5, []byte("chat llama"))
		b = protowire.AppendFixed64(protowire.AppendTag(b, 7, protowire.Fixed64Type), uint64(clock.Add(-2500*time.Millisecond).UnixNano()))
		b = protowire.AppendFixed64(protowire.AppendTag(b, 8, protowire.Fixed64Type), uint64(clock.Add(-time.Second).UnixNano()))
		b = keyValues(b, 9, s.attributes)
		for name, attributes := range s.events {
			b = field(b, 11, keyValues(field(nil, 2, []byte(name)), 3, attributes))
		}
		if s.failed {
			b = field(b, 15, protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), 2))
		}
		scope = field(scope, 2, b)
	}
	return field(nil, 1, field(keyValues(nil, 1, nil), 2, scope))
}

// receiver is a Server at a port of its own.
type receiver struct {
	*Server
	url string

	mu       sync.Mutex
	requests []*event.Event
	contents []Content
}

func serve(t *testing.T, o Options) *receiver {
	t.Helper()
	r := &receiver{}
	o.Now = func() time.Time { return clock }
	judge := o.Judge
	o.Judge = func(c Content, to *event.Request) {
		r.mu.Lock()
		r.contents = append(r.contents, c)
		r.mu.Unlock()
		if judge != nil {
			judge(c, to)
		}
	}
	o.Told = func(e *event.Event) {
		r.mu.Lock()
		r.requests = append(r.requests, e)
		r.mu.Unlock()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.Server, r.url = New(o), "http://"+l.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(t.Context(), l) }()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *receiver) post(t *testing.T, path string, body []byte, header ...string) (status int, answer string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/x-protobuf")
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(b)
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	zip.Write(b)
	zip.Close()
	return out.Bytes()
}

var addrs = cmp.Comparer(func(a, b event.Request) bool { return a == b })

func TestSpansBecomeRequests(t *testing.T) {
	for name, tt := range map[string]struct {
		span    sent
		want    event.Request
		content Content
	}{
		"as of 1.41": {
			sent{attributes: map[string]any{
				"gen_ai.operation.name": "chat", "gen_ai.provider.name": "vllm", "gen_ai.request.model": "llama", "gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 34,
				"gen_ai.request.max_tokens": 4096, "gen_ai.request.temperature": 0.7, "gen_ai.request.choice.count": 2, "gen_ai.response.finish_reasons": []any{"stop"},
				"gen_ai.conversation.id": "c-1", "client.address": "10.0.0.5", "client.port": 51234, "user_agent.original": "curl/8", "enduser.id": "anna",
				"gen_ai.input.messages":  []any{map[string]any{"role": "user", "parts": []any{map[string]any{"type": "text", "content": "hello"}}}, map[string]any{"role": "tool", "parts": []any{map[string]any{"response": "of a tool"}}}},
				"gen_ai.output.messages": []any{map[string]any{"role": "assistant", "parts": []any{map[string]any{"type": "text", "content": "hi"}}}}, "gen_ai.system_instructions": []any{map[string]any{"content": "be kind"}},
			}},
			event.Request{
				Engine: "vllm", Source: "span", Operation: "chat", Model: "llama", TokensIn: event.Measured(12), TokensOut: event.Measured(34), MaxTokens: event.Measured(4096), Temperature: event.Measured(700),
				Choices: event.Measured(2), Finish: "stop", Conversation: "c-1", UserAgent: "curl/8", Principal: "anna", PrincipalKind: "subject", Duration: event.Measured(1500),
			},
			Content{System: "be kind", Prompt: "hello", Answer: "hi", Output: "hi", Outside: "of a tool", Thread: "c-1"},
		},
		"as before 1.36, with events": {
			sent{
				attributes: map[string]any{"gen_ai.system": "openai", "gen_ai.request.model": "m", "gen_ai.usage.prompt_tokens": 1, "gen_ai.usage.completion_tokens": 2, "session.id": "s"},
				events: map[string]map[string]any{
					"gen_ai.user.message": {"content": "hello"}, "gen_ai.choice": {"finish_reason": "content_filter", "message": `{"role":"assistant","content":"no"}`}, "gen_ai.system.message": {"content": "be kind"},
				},
			},
			event.Request{Engine: "openai", Source: "span", Model: "m", TokensIn: event.Measured(1), TokensOut: event.Measured(2), Finish: "content_filter", Conversation: "s", Principal: "s", PrincipalKind: "conversation", Duration: event.Measured(1500)},
			Content{System: "be kind", Prompt: "hello", Answer: "no", Output: "no", Thread: "s"},
		},
		"messages in JSON": {
			sent{attributes: map[string]any{"gen_ai.request.model": "m", "gen_ai.input.messages": `[{"role":"system","parts":[{"type":"text","content":"rules"}]},{"role":"user","content":"hello"}]`}},
			event.Request{Source: "span", Model: "m", Duration: event.Measured(1500)},
			Content{System: "rules", Prompt: "hello"},
		},
		"messages with numbers": {
			sent{attributes: map[string]any{"gen_ai.system": "x", "gen_ai.prompt.0.role": "system", "gen_ai.prompt.0.content": "rules", "gen_ai.prompt.1.content": "hello", "gen_ai.completion.0.content": "hi"}},
			event.Request{Engine: "x", Source: "span", Duration: event.Measured(1500)},
			Content{System: "rules", Prompt: "hello", Answer: "hi", Output: "hi"},
		},
		"a tool": {
			sent{attributes: map[string]any{"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search", "gen_ai.tool.call.arguments": `{"query":"weather"}`, "gen_ai.tool.call.result": "rain"}},
			event.Request{Source: "span", Operation: "execute_tool", Tool: "search", Duration: event.Measured(1500)},
			Content{Tool: `search {"query":"weather",}`, Arguments: "weather", Outside: "rain"},
		},
		"a call with members of its own": {
			sent{attributes: map[string]any{"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "mail", "gen_ai.agent.name": "helper", "gen_ai.tool.call.arguments": map[string]any{"to": "bob", "n": 2}, "gen_ai.tool.call.result": `{"sent":"yes"}`}},
			event.Request{Source: "span", Operation: "execute_tool", Tool: "mail", Agent: "helper", Duration: event.Measured(1500)},
			Content{Tool: `mail {"n":2,"to":"bob",}`, Arguments: "x", Outside: "yes"},
		},
		"tools that were offered": {
			sent{attributes: map[string]any{"gen_ai.request.model": "m", "gen_ai.tool.definitions": `[{"type":"function","function":{"name":"mail","description":"sends"}},{"name":"search"}]`}},
			event.Request{Source: "span", Model: "m", Duration: event.Measured(1500)},
			Content{Definitions: []Definition{{"mail", `{"function":{"description":"sends","name":"mail",},"type":"function",}`}, {"search", `{"name":"search",}`}}},
		},
		"odd numbers": {
			sent{failed: true, attributes: map[string]any{"gen_ai.system": "x", "gen_ai.usage.input_tokens": "17", "gen_ai.usage.output_tokens": math.NaN(), "gen_ai.request.max_tokens": 1e300, "gen_ai.request.temperature": "warm", "client.address": "here"}},
			event.Request{Engine: "x", Source: "span", TokensIn: event.Measured(17), Status: event.Measured(500), Duration: event.Measured(1500)},
			Content{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := serve(t, Options{})
			if status, answer := r.post(t, tracesPath, export(tt.span)); status != http.StatusOK || answer != "" {
				t.Fatalf("%d %q", status, answer)
			}
			if len(r.requests) != 1 {
				t.Fatalf("%d requests", len(r.requests))
			}
			got := *r.requests[0].Request
			if tt.want.UserAgent != "" && got.Client.String() != "10.0.0.5:51234" {
				t.Errorf("client %v", got.Client)
			}
			got.Client = tt.want.Client
			if tt.content.Arguments == "x" { // in the order in which they came
				tt.content.Arguments = r.contents[0].Arguments
				if a := tt.content.Arguments; a != "bob\n2" && a != "2\nbob" {
					t.Errorf("arguments %q", a)
				}
			}
			if diff := cmp.Diff(tt.want, got, addrs); diff != "" {
				t.Errorf("want %+v\n got %+v", tt.want, got)
			}
			if diff := cmp.Diff(tt.content, r.contents[0]); diff != "" {
				t.Error(diff)
			}
			if want := clock.Add(-time.Second); !r.requests[0].Time.Equal(want) {
				t.Errorf("at %v, want %v", r.requests[0].Time, want)
			}
		})
	}
}

const inJSON = `{"resourceSpans":[{"resource":{"attributes":[]},"scopeSpans":[{"scope":{},"spans":[
	{"traceId":"5b8aa5a2d2c872e8321cf37308d69df2","spanId":"051581bf3cb55c13","name":"chat","kind":3,"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000",
	"attributes":[{"key":"gen_ai.request.model","value":{"stringValue":"m"}},{"key":"gen_ai.usage.input_tokens","value":{"intValue":"7"}},{"key":"gen_ai.request.temperature","value":{"doubleValue":0}},
		{"key":"gen_ai.input.messages","value":{"arrayValue":{"values":[{"kvlistValue":{"values":[{"key":"role","value":{"stringValue":"user"}},{"key":"content","value":{"stringValue":"hello"}}]}}]}}}],
	"status":{"code":2}},
	{"name":"GET /","attributes":[{"key":"http.route","value":{"stringValue":"/"}}]}]}]}]}`

func TestWhatASpanHoldsIsBounded(t *testing.T) {
	empty := bytes.Repeat([]byte{1<<3 | 2, 0}, 1<<20) // values of nothing
	one := field(field(nil, 1, []byte("gen_ai.x")), 2, field(nil, 5, empty[:len(empty)/64]))
	var b []byte
	for range 64 {
		b = field(b, 9, one)
	}
	s, err := spanOf(b)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.attributes["gen_ai.x"].list); n > maxValues {
		t.Errorf("%d values", n)
	}
	b = b[:0]
	for i := range 64 {
		b = field(b, 9, field(field(nil, 1, fmt.Append(nil, "gen_ai.", i)), 2, field(nil, 5, empty[:len(empty)/64])))
	}
	if s, err = spanOf(b); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, v := range s.attributes {
		n += len(v.list)
	}
	if n > maxValues || n < maxValues/2 {
		t.Errorf("%d values in a span, want %d at most", n, maxValues)
	}
	if n := len(unwrapped(value{is: aText, text: "[" + strings.Repeat("0,", 400_000) + "0]"}).list); n > maxValues {
		t.Errorf("%d values of JSON", n)
	}
}

func TestWhatAPathHoldsIsNotKept(t *testing.T) {
	r := serve(t, Options{})
	long := strings.Repeat("k", maxField)
	if status, _ := r.post(t, tracesPath, export(
		sent{attributes: map[string]any{"gen_ai.request.model": "m", "url.path": "/x/%2e%2e/sk-0123456789abcdef0123456789", "http.request.header.authorization": "Bearer " + long + "1"}},
		sent{attributes: map[string]any{"gen_ai.request.model": "m", "http.target": "/v1/models?key=secret", "http.request.header.authorization": "Bearer " + long + "2"}},
	)); status != http.StatusOK {
		t.Fatal(status)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a, b := r.requests[0].Request, r.requests[1].Request
	if a.Path != "/x/%2e%2e/***" || a.Route != "/***" || a.Attacks != "encoded-dot;dot-segments;" {
		t.Errorf("%q, %q, %q", a.Path, a.Route, a.Attacks)
	}
	if b.Path != "/v1/models" || b.Query != "key;" {
		t.Errorf("%q, %q", b.Path, b.Query)
	}
	if r.contents[0].Key == r.contents[1].Key {
		t.Error("two keys that begin alike are one")
	}
}

func TestEachWayIn(t *testing.T) {
	r := serve(t, Options{})
	one := export(sent{attributes: map[string]any{"gen_ai.request.model": "m"}}, sent{attributes: map[string]any{"http.route": "/"}})
	for name, tt := range map[string]struct {
		body   []byte
		header []string
		want   string
	}{
		"protobuf":         {one, nil, ""},
		"packed protobuf":  {zipped(one), []string{"Content-Encoding", "gzip"}, ""},
		"JSON":             {[]byte(inJSON), []string{"Content-Type", "application/json; charset=utf-8"}, "{}\n"},
		"packed JSON":      {zipped([]byte(inJSON)), []string{"Content-Type", "application/json", "Content-Encoding", "gzip"}, "{}\n"},
		"an empty request": {nil, nil, ""},
	} {
		if status, answer := r.post(t, tracesPath, tt.body, tt.header...); status != http.StatusOK || answer != tt.want {
			t.Errorf("%s: %d %q", name, status, answer)
		}
	}
	want := Counts{Bodies: 5, Spans: 8, Requests: 4}
	if got := r.Counts(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, e := range r.requests {
		if q := e.Request; q.TokensIn.Known && (q.TokensIn.N != 7 || !q.Temperature.Known || q.Status.N != 500 || !e.Time.Equal(clock)) {
			t.Errorf("of JSON: %+v at %v", q, e.Time)
		}
	}
}

// TestGRPC speaks as a client of gRPC does: HTTP/2, a length before the message, the status in a trailer.
func TestGRPC(t *testing.T) {
	r := serve(t, Options{Token: "a token of some length"})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	call := func(message []byte, header ...string) (status, text string, body []byte) {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+grpcPath, bytes.NewReader(message))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/grpc")
		q.Header.Set("Te", "trailers")
		for i := 0; i < len(header); i += 2 {
			q.Header.Set(header[i], header[i+1])
		}
		a, err := transport.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		body, err = io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		if s := a.Header.Get("Grpc-Status"); s != "" {
			return s, a.Header.Get("Grpc-Message"), body
		}
		return a.Trailer.Get("Grpc-Status"), a.Trailer.Get("Grpc-Message"), body
	}
	framed := func(packed byte, b []byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{packed}, uint32(len(b))), b...)
	}
	body, token := export(sent{attributes: map[string]any{"gen_ai.request.model": "m"}}), []string{"Authorization", "Bearer a token of some length"}
	for name, tt := range map[string]struct {
		message []byte
		header  []string
		status  string
	}{
		"plain":            {framed(0, body), token, "0"},
		"packed":           {framed(1, zipped(body)), append(token, "Grpc-Encoding", "gzip"), "0"},
		"without a token":  {framed(0, body), nil, "16"},
		"with another":     {framed(0, body), []string{"Authorization", "Bearer a token of some lengthx"}, "16"},
		"a wrong length":   {framed(0, body)[:20], token, "3"},
		"no protobuf":      {framed(0, []byte("\xff\xff")), token, "3"},
		"packed otherwise": {framed(1, body), append(token, "Grpc-Encoding", "zstd"), "3"},
	} {
		if status, text, answer := call(tt.message, tt.header...); status != tt.status || status == "0" && !bytes.Equal(answer, make([]byte, 5)) {
			t.Errorf("%s: status %s (%s), %q; want %s", name, status, text, answer, tt.status)
		}
	}
	if got := r.Counts(); got.Requests != 2 || got.Refused != 5 {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsRefused(t *testing.T) {
	r := serve(t, Options{})
	bomb := zipped(make([]byte, 64<<20))
	for name, tt := range map[string]struct {
		path   string
		body   []byte
		header []string
		status int
		say    string
	}{
		"metrics":         {"/v1/metrics", nil, nil, 404, "metrics and logs are not taken"},
		"another type":    {tracesPath, nil, []string{"Content-Type", "text/plain"}, 415, "want the content type"},
		"another packing": {tracesPath, nil, []string{"Content-Encoding", "br"}, 415, "gzip or not at all"},
		"too much":        {tracesPath, make([]byte, maxBody+100), nil, 413, "send smaller batches"},
		"a bomb":          {tracesPath, bomb, []string{"Content-Encoding", "gzip"}, 413, "send smaller batches"},
		"cut gzip":        {tracesPath, bomb[:100], []string{"Content-Encoding", "gzip"}, 400, "unexpected EOF"},
		"no protobuf":     {tracesPath, []byte("hello"), nil, 400, "not an export request"},
		"cut protobuf":    {tracesPath, export(sent{attributes: map[string]any{"gen_ai.system": "x"}})[:40], nil, 400, "not an export request"},
		"cut JSON":        {tracesPath, []byte("{\n\"resourceSpans\": [\n{]"), []string{"Content-Type", "application/json"}, 400, "line 3"},
		"much JSON":       {tracesPath, bytes.Repeat([]byte(" "), maxJSON+100), []string{"Content-Type", "application/json"}, 413, "send smaller"},
	} {
		if status, answer := r.post(t, tt.path, tt.body, tt.header...); status != tt.status || !strings.Contains(answer, tt.say) {
			t.Errorf("%s: %d %q", name, status, answer)
		}
	}
	if got := r.Counts(); got.Refused != 10 || got.Bodies != 0 || got.Requests != 0 {
		t.Errorf("%+v", got)
	}
}

func TestTooManyAreCountedAndSaid(t *testing.T) {
	r := serve(t, Options{})
	spans := make([]sent, maxPerSecond+7)
	for i := range spans {
		spans[i].attributes = map[string]any{"gen_ai.request.model": "m"}
	}
	if status, answer := r.post(t, tracesPath, export(spans...)); status != http.StatusOK || !strings.Contains(answer, "more than 2000 requests in a second") || answer[3] != 7 {
		t.Errorf("%d %q", status, answer)
	}
	status, answer := r.post(t, tracesPath, []byte(inJSON), "Content-Type", "application/json")
	var said struct {
		PartialSuccess struct{ RejectedSpans string }
	}
	if err := json.Unmarshal([]byte(answer), &said); err != nil || status != http.StatusOK || said.PartialSuccess.RejectedSpans != "1" {
		t.Errorf("%d %q", status, answer)
	}
	if got := r.Counts(); got.Requests != maxPerSecond || got.Dropped != 8 {
		t.Errorf("%+v", got)
	}
}

func TestWhoComesWhileAllAreBusyIsAskedToComeAgain(t *testing.T) {
	begun, wait := make(chan bool, maxAtOnce), make(chan bool)
	r := serve(t, Options{Judge: func(Content, *event.Request) { begun <- true; <-wait }})
	body := export(sent{attributes: map[string]any{"gen_ai.request.model": "m"}})
	var all sync.WaitGroup
	for range maxAtOnce {
		all.Go(func() { r.post(t, tracesPath, body) })
	}
	for range maxAtOnce {
		<-begun
	}
	if status, answer := r.post(t, tracesPath, body); status != http.StatusServiceUnavailable || !strings.Contains(answer, "again") {
		t.Errorf("%d %q", status, answer)
	}
	close(wait)
	all.Wait()
}

func TestConnectionsAreBounded(t *testing.T) {
	r := serve(t, Options{})
	for range maxConnections {
		c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil || r.Counts().Refused != 1 {
		t.Errorf("one more was taken: %v, %+v", err, r.Counts())
	}
}

// FuzzSpans wants any body to be read or refused, in little memory and without a text that is too long.
func FuzzSpans(f *testing.F) {
	f.Add(export(sent{attributes: map[string]any{"gen_ai.request.model": "m", "gen_ai.input.messages": []any{map[string]any{"role": "user", "content": "x"}}}, events: map[string]map[string]any{"gen_ai.choice": {"message": "x"}}}), false)
	f.Add([]byte(inJSON), true)
	f.Add([]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"gen_ai.prompt","value":{"stringValue":"[[[[{\"content\":[]}]]]]"}}]}]}]}]}`), true)
	f.Fuzz(func(t *testing.T, body []byte, isJSON bool) {
		decode := spansOf
		if isJSON {
			decode = jsonSpansOf
		}
		_ = decode(body, func(s *span) error {
			e := requestOf(s, clock, func(Content, *event.Request) {})
			if e == nil {
				return nil
			}
			if e.Time.After(clock) || clock.Sub(e.Time) > lateFor || len(e.Request.Model) > 3*maxField || len(e.Request.Principal) > 6*maxField+64 {
				t.Errorf("%+v", e)
			}
			if _, err := event.ParseRecord(e.AppendRecord(nil)); err != nil {
				t.Errorf("what is written is not read: %v", err)
			}
			return nil
		})
	})
}
