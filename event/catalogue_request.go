package event

import (
	"net/netip"
	"strconv"
)

// requestFields are those of a request to an AI service. Where OpenTelemetry has a name for what a
// model was asked (gen_ai), it is taken.
var requestFields = []Info{
	engineField,
	reqText("ai.request.source", "where the request is known from: log or span", func(r *Request) *string { return &r.Source }),
	reqText("http.method", "method of the request", func(r *Request) *string { return &r.Method }),
	reqText("http.path", "path of the request as the client wrote it, without the query", func(r *Request) *string { return &r.Path }),
	reqText("http.route", "path as servers read it: decoded, without doubled slashes, dots and ;parameters", func(r *Request) *string { return &r.Route }),
	reqText("http.query", "names of the query's parameters, each with a semicolon behind it", func(r *Request) *string { return &r.Query }),
	reqNumber("http.status", "status of the answer", func(r *Request) *Measure { return &r.Status }),
	reqNumber("http.duration", "milliseconds until the answer ended", func(r *Request) *Measure { return &r.Duration }),
	top("http.client.ip", "", Text, "address that the request came from",
		func(e *Event) Value {
			if e.Request == nil {
				return Value{}
			}
			return addr(e.Request.Client)
		},
		func(e *Event, s string) error {
			a, err := netip.ParseAddr(s)
			if err == nil {
				r := e.request()
				r.Client = netip.AddrPortFrom(a, r.Client.Port())
			}
			return err
		}),
	top("http.client.port", "", Integer, "port that the request came from",
		func(e *Event) Value {
			if e.Request == nil {
				return Value{}
			}
			return count(e.Request.Client.Port())
		},
		func(e *Event, s string) error {
			n, err := strconv.ParseUint(s, 10, 16)
			if err == nil {
				r := e.request()
				r.Client = netip.AddrPortFrom(r.Client.Addr(), uint16(n))
			}
			return err
		}),
	reqText("http.user_agent", "program that the client says it is", func(r *Request) *string { return &r.UserAgent }),

	reqText("principal.id", "who asked: the keyed hash of a key, a subject, an address with a program, or a conversation", func(r *Request) *string { return &r.Principal }),
	reqText("principal.kind", "what principal.id is: key, subject, client or conversation", func(r *Request) *string { return &r.PrincipalKind }),

	reqText("gen_ai.operation.name", "what was asked of the model: chat, text_completion, embeddings…", func(r *Request) *string { return &r.Operation }),
	reqText("gen_ai.request.model", "model that was asked for", func(r *Request) *string { return &r.Model }),
	reqNumber("gen_ai.usage.input_tokens", "tokens of the prompt", func(r *Request) *Measure { return &r.TokensIn }),
	reqNumber("gen_ai.usage.output_tokens", "tokens of the answer", func(r *Request) *Measure { return &r.TokensOut }),
	reqNumber("gen_ai.request.max_tokens", "tokens that the answer may have at most", func(r *Request) *Measure { return &r.MaxTokens }),
	reqNumber("gen_ai.request.temperature", "temperature asked for, in thousandths: 700 is 0.7", func(r *Request) *Measure { return &r.Temperature }),
	reqNumber("gen_ai.request.choice.count", "answers asked for at once", func(r *Request) *Measure { return &r.Choices }),
	reqNumber("ai.request.logprobs", "alternatives asked for of each token of the answer", func(r *Request) *Measure { return &r.LogProbs }),
	reqText("gen_ai.response.finish_reasons", "why the answer ended: stop, length, content_filter…", func(r *Request) *string { return &r.Finish }),
	reqText("gen_ai.conversation.id", "conversation that the request belongs to", func(r *Request) *string { return &r.Conversation }),

	reqText("gen_ai.agent.name", "agent that asked, or called a tool", func(r *Request) *string { return &r.Agent }),
	reqText("gen_ai.agent.version", "version of the agent", func(r *Request) *string { return &r.AgentVersion }),
	reqText("gen_ai.tool.name", "tool that was called", func(r *Request) *string { return &r.Tool }),
	reqText("ai.tool.definitions", "tools that the model was offered, as name=keyed hash of the definition, each with a semicolon behind it", func(r *Request) *string { return &r.Tools }),
	reqText("ai.tool.does", "what a call's arguments are about, each with a semicolon behind it: shell, outside (a destination that the user did not name), secret, carried (what came in by a tool or document)", func(r *Request) *string { return &r.ToolDoes }),
	reqText("ai.tool.unusual", "what of the agent's tools is not as before, each with a semicolon behind it: new (never called), unlisted (not in ingest.tools), changed (another definition)", func(r *Request) *string { return &r.Unusual }),
	reqText("ai.tool.changed", "tools whose definition is not what it was, each with a semicolon behind it", func(r *Request) *string { return &r.Changed }),
	reqText("ai.content.secrets", "kinds of secret found in what tools and documents gave back, each with a semicolon behind it", func(r *Request) *string { return &r.Found }),
	reqNumber("ai.answer.length", "bytes of the answer", func(r *Request) *Measure { return &r.AnswerLength }),
	reqNumber("ai.answer.repetition", "percent of the answer's runs of four words that stood in it before", func(r *Request) *Measure { return &r.Repeats }),
	reqNumber("ai.prompt.noise", "percent of the noisiest line of the prompt, at its end, that looks like no text", func(r *Request) *Measure { return &r.Noise }),

	reqText("ai.prompt.hash", "keyed hash of the prompt; the text is not kept", func(r *Request) *string { return &r.PromptHash }),
	reqText("ai.prompt.template", "keyed sketch of the prompt in eight parts, some of which prompts of one form share", func(r *Request) *string { return &r.Template }),
	reqNumber("ai.prompt.length", "bytes of the prompt", func(r *Request) *Measure { return &r.PromptLength }),
	reqNumber("ai.prompt.score", "how much the prompt looks like an attack, of 1000", func(r *Request) *Measure { return &r.PromptScore }),
	reqText("ai.request.secrets", "kinds of secret found in the answer, each with a semicolon behind it", func(r *Request) *string { return &r.Secrets }),
	reqText("ai.request.attacks", "kinds of attack found in path, query or prompt, each with a semicolon behind it", func(r *Request) *string { return &r.Attacks }),
}

// serviceFields are those of a service's metrics.
var serviceFields = []Info{
	svcText("service.model", "model that the service serves", func(s *Service) *string { return &s.Model }),
	svcText("service.address", "address at which the service was asked for its metrics", func(s *Service) *string { return &s.Address }),
	svcNumber("service.running", "requests that are worked on", func(s *Service) *Measure { return &s.Running }),
	svcNumber("service.waiting", "requests that wait", func(s *Service) *Measure { return &s.Waiting }),
	svcNumber("service.cache", "percent of the cache for keys and values in use", func(s *Service) *Measure { return &s.Cache }),
	svcNumber("service.tokens_in", "tokens of prompts a second", func(s *Service) *Measure { return &s.TokensIn }),
	svcNumber("service.tokens_out", "tokens of answers a second", func(s *Service) *Measure { return &s.TokensOut }),
	svcNumber("service.preemptions", "requests put off for want of cache since the last look", func(s *Service) *Measure { return &s.Preemptions }),
	svcNumber("service.requests", "requests that ended since the last look", func(s *Service) *Measure { return &s.Requests }),
	svcNumber("service.failures", "requests that failed since the last look", func(s *Service) *Measure { return &s.Failures }),
	svcNumber("service.stalled", "seconds for which requests have waited and no token came", func(s *Service) *Measure { return &s.Stalled }),
	svcText("service.adapters", "adapters (LoRA) that the service has loaded, each with a semicolon behind it", func(s *Service) *string { return &s.Adapters }),
}

// engineField is the same of both.
var engineField = top("ai.engine", "", Text, "kind of AI service: vllm, sglang, triton, tgi, llama.cpp, ollama, ray, jupyter, mlflow…",
	func(e *Event) Value { return text(e.Engine()) },
	func(e *Event, s string) error {
		if e.Kind == ServiceMetrics {
			e.service().Engine = s
		} else {
			e.request().Engine = s
		}
		return nil
	})

func (e *Event) request() *Request {
	if e.Request == nil {
		e.Request = new(Request)
	}
	return e.Request
}

func (e *Event) service() *Service {
	if e.Service == nil {
		e.Service = new(Service)
	}
	return e.Service
}

func reqText(name, doc string, member func(*Request) *string) Info {
	return part(name, "", doc, func(e *Event) *Request { return e.Request }, (*Event).request, member)
}

func svcText(name, doc string, member func(*Service) *string) Info {
	return part(name, "", doc, func(e *Event) *Service { return e.Service }, (*Event).service, member)
}

func reqNumber(name, doc string, member func(*Request) *Measure) Info {
	return top(name, "", Integer, doc,
		func(e *Event) Value {
			if e.Request == nil {
				return Value{}
			}
			return member(e.Request).value()
		},
		func(e *Event, s string) error { return member(e.request()).set(s) })
}

func svcNumber(name, doc string, member func(*Service) *Measure) Info {
	return top(name, "", Integer, doc,
		func(e *Event) Value {
			if e.Service == nil {
				return Value{}
			}
			return member(e.Service).value()
		},
		func(e *Event, s string) error { return member(e.service()).set(s) })
}
