package otlp

import (
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"picket/event"
	"picket/ingest"
)

// Content is what people and models wrote. It is judged, and then forgotten.
type Content struct {
	System, Prompt, Answer string
	// Outside is what came from neither: results of tools, retrieved documents.
	Outside string
	Output  string // of Answer, what this request got: the rest was told before
	Tool    string // called, with its arguments behind it
	Key     string // that the request was made with

	Arguments   string // of the call, their texts alone
	Thread      string // conversation or trace that it belongs to
	Definitions []Definition
}

// Definition is what a model was told of a tool.
type Definition struct{ Name, Text string }

const (
	maxTools  = 64  // definitions of one request
	maxField  = 256 // bytes of a text that is kept
	maxTarget = 8 << 10
	maxText   = 1 << 20 // of content
	lateFor   = 10 * time.Minute
)

// names says which attributes hold a thing, the newest first: the semantic conventions of
// OpenTelemetry v1.41, those before 1.36, and what OpenLLMetry and vLLM write.
var names = struct {
	operation, engine, model, in, out, most, temperature, choices, probs, finish, conversation, subject, client, port, agent, method, path, route, status, key, agentName, agentVersion, tool []string
}{
	operation:    []string{"gen_ai.operation.name"},
	engine:       []string{"gen_ai.provider.name", "gen_ai.system"},
	model:        []string{"gen_ai.request.model", "gen_ai.response.model"},
	in:           []string{"gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"},
	out:          []string{"gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"},
	most:         []string{"gen_ai.request.max_tokens"},
	temperature:  []string{"gen_ai.request.temperature"},
	choices:      []string{"gen_ai.request.choice.count", "gen_ai.request.n"},
	probs:        []string{"gen_ai.request.top_logprobs", "gen_ai.request.logprobs", "gen_ai.openai.request.top_logprobs"},
	finish:       []string{"gen_ai.response.finish_reasons", "gen_ai.response.finish_reason"},
	conversation: []string{"gen_ai.conversation.id", "session.id"},
	subject:      []string{"enduser.id", "user.id", "user.email", "user.name", "gen_ai.user", "gen_ai.openai.request.user"},
	client:       []string{"client.address", "net.sock.peer.addr", "net.peer.ip"},
	port:         []string{"client.port", "net.sock.peer.port", "net.peer.port"},
	agent:        []string{"user_agent.original", "http.user_agent"},
	method:       []string{"http.request.method", "http.method"},
	path:         []string{"url.path", "http.target"},
	route:        []string{"http.route"},
	status:       []string{"http.response.status_code", "http.status_code"},
	agentName:    []string{"gen_ai.agent.name", "gen_ai.agent.id"},
	agentVersion: []string{"gen_ai.agent.version"},
	tool:         []string{"gen_ai.tool.name"},
	key:          []string{"http.request.header.authorization", "http.request.header.x-api-key", "http.request.header.api-key"},
}

// requestOf makes an event of a span; nil where the span is about no model. now is when it came.
func requestOf(s *span, now time.Time, judge func(Content, *event.Request)) *event.Event {
	a := s.attributes
	if first(a, names.operation).is == none && first(a, names.engine).is == none && first(a, names.model).is == none {
		return nil
	}
	r := &event.Request{
		Engine: engine(text(a, names.engine)), Source: event.FromSpan, Operation: text(a, names.operation), Model: text(a, names.model),
		Method: text(a, names.method), UserAgent: text(a, names.agent), Conversation: text(a, names.conversation),
		Agent: text(a, names.agentName), AgentVersion: text(a, names.agentVersion), Tool: text(a, names.tool),
		Status: number(a, names.status, 1), TokensIn: number(a, names.in, 1), TokensOut: number(a, names.out, 1), MaxTokens: number(a, names.most, 1),
		Temperature: number(a, names.temperature, 1000), Choices: number(a, names.choices, 1), LogProbs: number(a, names.probs, 1), Finish: finish(a),
	}
	tricks := ""
	if target := long(a, names.path); target != "" {
		r.Path, r.Route, r.Query, tricks = ingest.Target(target[:min(len(target), maxTarget)])
	}
	if route := text(a, names.route); route != "" {
		r.Route = route
	}
	if !r.Status.Known && s.failed {
		r.Status = event.Measured(500)
	}
	if ip, err := netip.ParseAddr(text(a, names.client)); err == nil {
		port := number(a, names.port, 1)
		r.Client = netip.AddrPortFrom(ip.Unmap().WithZone(""), uint16(max(0, min(port.N, math.MaxUint16))))
	}
	at := now
	if end := time.Unix(0, int64(min(s.end, math.MaxInt64))).UTC(); !end.After(now) && now.Sub(end) <= lateFor {
		at = end
	}
	if s.end >= s.start && s.start > 0 && s.end-s.start < uint64(24*time.Hour) {
		r.Duration = event.Measured(int64(s.end-s.start) / int64(time.Millisecond))
	}
	c := contentOf(s)
	if c.Thread = r.Conversation; c.Thread == "" {
		c.Thread = s.trace
	}
	if r.Finish == "" {
		r.Finish = choice(s)
	}
	judge(c, r)
	r.Attacks = tricks + r.Attacks
	if r.Principal == "" { // the judge names one by its key
		r.Principal, r.PrincipalKind = principal(a, r)
	}
	return &event.Event{Kind: event.ServiceRequest, Time: at, Request: r}
}

// principal says who asked, where no key says it.
func principal(a map[string]value, r *event.Request) (id, kind string) {
	switch {
	case text(a, names.subject) != "":
		return text(a, names.subject), "subject"
	case r.Client.IsValid():
		return strings.TrimSpace(r.Client.Addr().String() + " " + r.UserAgent), "client"
	case r.Conversation != "":
		return r.Conversation, "conversation"
	}
	return "", ""
}

// engine is Picket's word for who serves.
func engine(s string) string {
	switch s = strings.ToLower(s); s {
	case "llama_cpp", "llamacpp":
		return "llama.cpp"
	case "text-generation-inference", "huggingface_tgi":
		return "tgi"
	}
	return s
}

func finish(a map[string]value) string {
	v := first(a, names.finish)
	if v.is == aList && len(v.list) > 0 {
		v = v.list[0]
	}
	return clean(strings.Trim(v.text, `[]"`))
}

// choice is why the answer ended, as it stood in an event.
func choice(s *span) string {
	for _, e := range s.events {
		if v := e.attributes["finish_reason"]; e.name == "gen_ai.choice" && v.is == aText {
			return clean(v.text)
		}
	}
	return ""
}

func first(a map[string]value, keys []string) value {
	for _, k := range keys {
		if v := a[k]; v.is != none {
			return v
		}
	}
	return value{}
}

func text(a map[string]value, keys []string) string { return clean(long(a, keys)) }

// long is a text at its whole length, which is not kept.
func long(a map[string]value, keys []string) string {
	v := first(a, keys)
	if v.is == aList && len(v.list) == 1 { // headers are lists
		v = v.list[0]
	}
	if v.is == aNumber {
		return strconv.FormatFloat(v.num, 'f', -1, 64)
	}
	return v.text
}

// number reads a number, which some write as a text. What is none, or no sensible one, is not known.
func number(a map[string]value, keys []string, times float64) event.Measure {
	v := first(a, keys)
	if v.is == aText {
		n, err := strconv.ParseFloat(v.text, 64)
		if err != nil {
			return event.Measure{}
		}
		v = value{is: aNumber, num: n}
	}
	if v.is != aNumber && v.is != aTruth || math.IsNaN(v.num) || math.Abs(v.num) > 1e12 {
		return event.Measure{}
	}
	return event.Measured(int64(math.Round(v.num * times)))
}

// clean makes a text that can be kept: short, and valid.
func clean(s string) string {
	return strings.ToValidUTF8(strings.Clone(s[:min(len(s), maxField)]), "\uFFFD")
}

// contentOf gathers what was written, from wherever the library put it.
func contentOf(s *span) (c Content) {
	a := s.attributes
	c.message("system", a["gen_ai.system_instructions"])
	for _, k := range []string{"gen_ai.input.messages", "gen_ai.prompt"} {
		c.messages(a[k], "user")
	}
	c.numbered(a, "gen_ai.prompt.", "user")
	before := len(c.Answer)
	for _, k := range []string{"gen_ai.output.messages", "gen_ai.completion"} {
		c.messages(a[k], "assistant")
	}
	c.numbered(a, "gen_ai.completion.", "assistant")
	for _, k := range []string{"gen_ai.retrieval.documents", "gen_ai.tool.call.result"} {
		if words(a[k]) == "" { // results have whatever members their tool gives them
			c.message("tool", value{is: aText, text: texts(a[k])})
			continue
		}
		c.message("tool", a[k])
	}
	for _, e := range s.events {
		c.event(e)
	}
	if name := text(a, []string{"gen_ai.tool.name"}); name != "" {
		arguments := unwrapped(a["gen_ai.tool.call.arguments"])
		c.Tool, c.Arguments = name+" "+canonical(arguments), texts(arguments)
	}
	c.Output = strings.TrimLeft(c.Answer[min(before, len(c.Answer)):], "\n")
	c.Definitions = definitions(a["gen_ai.tool.definitions"])
	if c.Key = long(a, names.key); c.Key != "" { // two tokens of one issuer may begin alike
		c.Key = strings.TrimPrefix(c.Key, "Bearer ")
	}
	return c
}

// numbered takes messages whose attributes have their number in the name, as OpenLLMetry writes them.
func (c *Content) numbered(a map[string]value, prefix, role string) {
	for i := range maxAttributes {
		n := prefix + strconv.Itoa(i)
		v := a[n+".content"]
		if v.is == none {
			return
		}
		c.message(word(a[n+".role"], role), v)
	}
}

// event takes a message that was told by an event, as libraries of before 1.36 do.
func (c *Content) event(e spanEvent) {
	a := e.attributes
	switch e.name {
	case "gen_ai.content.prompt":
		c.messages(a["gen_ai.prompt"], "user")
	case "gen_ai.content.completion":
		c.messages(a["gen_ai.completion"], "assistant")
	case "gen_ai.choice":
		c.messages(first(a, []string{"message", "content"}), "assistant")
	case "gen_ai.client.inference.operation.details":
		c.messages(a["gen_ai.input.messages"], "user")
		c.messages(a["gen_ai.output.messages"], "assistant")
		c.messages(a["gen_ai.system_instructions"], "system")
	default:
		if role, ok := strings.CutSuffix(strings.TrimPrefix(e.name, "gen_ai."), ".message"); ok {
			c.message(role, a["content"])
		}
	}
}

// messages takes a list of messages, each with its role, or one text; either may be written as JSON.
func (c *Content) messages(v value, role string) {
	v = unwrapped(v)
	if v.is != aList {
		c.message(word(v.member("role"), role), v)
		return
	}
	for _, m := range v.list {
		c.message(word(m.member("role"), role), m)
	}
}

func (c *Content) message(role string, v value) {
	to := &c.Prompt
	switch role {
	case "system", "developer":
		to = &c.System
	case "assistant", "model":
		to = &c.Answer
	case "tool", "function":
		to = &c.Outside
	}
	if s := words(v); s != "" && len(*to) < maxText {
		*to = strings.TrimLeft(*to+"\n"+s, "\n")
	}
}

// member returns a member of a map.
func (v value) member(name string) value {
	if i := slices.Index(v.keys, name); v.is == aMap && i >= 0 {
		return v.list[i]
	}
	return value{}
}

func word(v value, otherwise string) string {
	if v.is == aText {
		return v.text
	}
	return otherwise
}

// words returns what is written in a value. Of a map these are the members that hold what was said;
// types, roles and names are not it.
func words(v value) string {
	var b strings.Builder
	var walk func(v value)
	walk = func(v value) {
		switch v = unwrapped(v); v.is {
		case aText:
			if b.Len() > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(v.text)
		case aList:
			for _, one := range v.list {
				walk(one)
			}
		case aMap:
			for i, key := range v.keys {
				switch key {
				case "content", "text", "parts", "arguments", "result", "response", "document", "documents", "message", "query":
					walk(v.list[i])
				}
			}
		}
	}
	walk(v)
	return b.String()
}

// definitions returns what a model was told of tools, by their names.
func definitions(v value) (out []Definition) {
	v = unwrapped(v)
	list := v.list
	if v.is != aList {
		list = []value{v}
	}
	for _, one := range list {
		one = unwrapped(one)
		name := word(one.member("name"), word(unwrapped(one.member("function")).member("name"), ""))
		if name != "" && len(out) < maxTools {
			out = append(out, Definition{clean(name), canonical(one)})
		}
	}
	return out
}

// texts returns all that is written in a value, whatever its members are called.
func texts(v value) string {
	var b strings.Builder
	var walk func(v value)
	walk = func(v value) {
		switch v = unwrapped(v); v.is {
		case aText:
			b.WriteString(v.text)
			b.WriteByte('\n')
		case aNumber:
			b.WriteString(strconv.FormatFloat(v.num, 'f', -1, 64) + "\n")
		case aList, aMap:
			for _, one := range v.list {
				walk(one)
			}
		}
	}
	walk(v)
	return strings.TrimSuffix(b.String(), "\n")
}

// canonical writes a value in one way, in whatever order its members came.
func canonical(v value) string {
	var b strings.Builder
	var walk func(v value)
	walk = func(v value) {
		switch v = unwrapped(v); v.is {
		case aText:
			b.WriteString(strconv.Quote(v.text))
		case aNumber, aTruth:
			b.WriteString(strconv.FormatFloat(v.num, 'g', -1, 64))
		case aList:
			b.WriteByte('[')
			for _, one := range v.list {
				walk(one)
				b.WriteByte(',')
			}
			b.WriteByte(']')
		case aMap:
			order := make([]int, len(v.keys))
			for i := range order {
				order[i] = i
			}
			slices.SortFunc(order, func(i, j int) int { return strings.Compare(v.keys[i], v.keys[j]) })
			b.WriteByte('{')
			for _, i := range order {
				b.WriteString(strconv.Quote(v.keys[i]) + ":")
				if i < len(v.list) {
					walk(v.list[i])
				}
				b.WriteByte(',')
			}
			b.WriteByte('}')
		}
	}
	walk(v)
	return b.String()
}

// unwrapped reads a text that is a list or a map in JSON.
func unwrapped(v value) value {
	s := strings.TrimSpace(v.text)
	if v.is != aText || len(s) < 2 || len(s) > maxText || s[0] != '[' && s[0] != '{' {
		return v
	}
	var j any
	if json.Unmarshal([]byte(s), &j) != nil {
		return v
	}
	left := maxValues
	return plain(j, 0, &left)
}

// plain makes a value of decoded JSON. Members come in the order of their names.
func plain(j any, depth int, left *int) (v value) {
	if *left--; depth > maxDepth || *left < 0 {
		return v
	}
	switch j := j.(type) {
	case string:
		return value{is: aText, text: j}
	case float64:
		return value{is: aNumber, num: j}
	case bool:
		return value{is: aTruth}
	case []any:
		v.is = aList
		for _, one := range j {
			if *left <= 0 {
				break
			}
			v.list = append(v.list, plain(one, depth+1, left))
		}
	case map[string]any:
		v.is = aMap
		for key := range j {
			v.keys = append(v.keys, key)
		}
		slices.Sort(v.keys)
		v.keys = v.keys[:min(len(v.keys), max(*left, 0))]
		for _, key := range v.keys {
			v.list = append(v.list, plain(j[key], depth+1, left))
		}
	}
	return v
}
