package event

import (
	"net/netip"
	"strconv"
	"strings"
)

// Where it is known from that there was a request.
const (
	FromLog  = "log"  // a line of the service's access log
	FromSpan = "span" // a span that the service, or a program that uses it, sent
)

// Request is one request to an AI service. It holds no text that people wrote: of a prompt there are
// its length, a keyed hash and a score, of a query the names of its parameters.
type Request struct {
	Engine string // vllm, sglang, triton, tgi, llama.cpp, ollama, ray, jupyter, mlflow…
	Source string // FromLog or FromSpan

	Method    string
	Path      string // as the client wrote it, without query and fragment, cut to 512 bytes
	Route     string // Path as servers read it: decoded, without doubled slashes, dots and ;parameters
	Query     string // names of the query's parameters, each with a semicolon behind it
	Status    Measure
	Duration  Measure // milliseconds
	Client    netip.AddrPort
	UserAgent string

	Principal     string // who asked: hash of a key, subject, address with program, or conversation
	PrincipalKind string // key, subject, client or conversation

	Operation    string // chat, text_completion, embeddings…
	Model        string // that was asked for
	TokensIn     Measure
	TokensOut    Measure
	MaxTokens    Measure // that the answer may have at most
	Temperature  Measure // thousandths
	Choices      Measure // answers asked for at once
	LogProbs     Measure // alternatives asked for of each token
	Finish       string  // why the answer ended: stop, length, content_filter…
	Conversation string

	Agent        string // that asked, or called a tool
	AgentVersion string
	Tool         string // that was called
	Tools        string // that the model was offered: name=keyed hash of the definition, each with a semicolon behind it
	ToolDoes     string // what the arguments of a call are about, each with a semicolon behind it
	Unusual      string // what of it was never done before, likewise
	Changed      string // tools whose definition is not what it was, likewise
	Found        string // kinds of secret in what tools and documents gave back, likewise

	AnswerLength Measure // bytes
	Repeats      Measure // percent of the answer's runs of four words that stood in it before
	Noise        Measure // percent of the end of the noisiest line of the prompt that is no text
	Template     string  // keyed MinHash of the prompt: eight parts of eight hexadecimal digits; prompts of one form share some
	PromptHash   string  // HMAC of the prompt with a key of the installation
	PromptLength Measure // bytes
	PromptScore  Measure // how much it looks like an attack, of 1000
	Secrets      string  // kinds of secret found in the answer, each with a semicolon behind it
	Attacks      string  // kinds of attack found in path, query or prompt, each with a semicolon behind it
}

// Service is what an AI service says of itself in its metrics. Rates and counts are of the time since
// it was asked before.
type Service struct {
	Engine      string
	Model       string
	Address     string  // at which it was asked
	Running     Measure // requests that are worked on
	Waiting     Measure // requests that wait
	Cache       Measure // percent of the cache for keys and values in use
	TokensIn    Measure // a second
	TokensOut   Measure // a second
	Preemptions Measure
	Requests    Measure
	Failures    Measure
	Stalled     Measure // seconds for which requests have waited and no token came
	Adapters    string  // adapters (LoRA) that it has loaded, each with a semicolon behind it
}

// Engine returns which kind of AI service a request was for, or metrics are of; "" for other events.
func (e *Event) Engine() string {
	switch {
	case e.Request != nil:
		return e.Request.Engine
	case e.Service != nil:
		return e.Service.Engine
	}
	return ""
}

// describe is the sentence of Describe about a request.
func (r *Request) describe(who string) string {
	var b strings.Builder
	b.WriteString(who + " was asked ")
	if r.Path != "" {
		b.WriteString(strings.TrimSpace(r.Method + " " + r.Path))
	} else {
		b.WriteString(strings.TrimSpace(r.Operation + " of " + r.Model))
	}
	if r.Client.Addr().IsValid() {
		b.WriteString(" by " + r.Client.Addr().Unmap().String())
	}
	if r.Status.Known {
		b.WriteString(": " + strconv.FormatInt(r.Status.N, 10))
	}
	return b.String()
}

// text tells requests apart.
func (r *Request) text() string {
	return strings.Join([]string{
		r.Engine, r.Source, r.Method, r.Path, r.Query, r.Status.String(), r.Client.String(), r.UserAgent, r.Principal,
		r.Operation, r.Model, r.TokensIn.String(), r.TokensOut.String(), r.Conversation, r.PromptHash,
	}, "\x00")
}

// String returns the number, "" where it is not known.
func (m Measure) String() string {
	if !m.Known {
		return ""
	}
	return strconv.FormatInt(m.N, 10)
}

// describe is the sentence of Describe about a service's metrics.
func (s *Service) describe(who string) string {
	var b strings.Builder
	b.WriteString(who + " serves")
	if s.Model != "" {
		b.WriteString(" " + s.Model)
	}
	sep := ": "
	part := func(m Measure, unit string) {
		if m.Known {
			b.WriteString(sep + m.String() + unit)
			sep = ", "
		}
	}
	part(s.Running, " requests run")
	part(s.Waiting, " wait")
	part(s.Cache, " % of the cache is used")
	part(s.TokensOut, " tokens a second come out")
	return b.String()
}
