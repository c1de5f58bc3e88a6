package ingest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

const (
	askEvery   = 15 * time.Second
	askFor     = 3 * time.Second
	maxAnswer  = 4 << 20
	maxAsked   = 64 // services
	maxAtOnce  = 8  // that are asked, so that one which does not answer keeps no other one waiting
	maxPorts   = 4  // of one that are tried
	maxModels  = 8  // of one that are told of
	maxSamples = 20_000
)

// Service is an AI service that may tell metrics.
type Service struct {
	Process *event.Process
	Engine  string
	Listens []string // addresses
}

// Asking says how asking services goes.
type Asking struct{ Asked, Failed, Refused uint64 }

// Asker asks services for their metrics.
type Asker struct {
	services func() []Service
	told     func(*event.Event)
	now      func() time.Time
	before   map[string]reading // by process and model; of one goroutine at a time

	mu     sync.Mutex
	asking Asking
}

// reading is what a service said at a time.
type reading struct {
	at                                              time.Time
	in, out, preempted, done, failed                float64
	hasIn, hasOut, hasPreempted, hasDone, hasFailed bool
	since                                           time.Time // for which it has waited
}

// NewAsker returns an Asker of what services returns; told is given what they say.
func NewAsker(services func() []Service, told func(*event.Event)) *Asker {
	return &Asker{services: services, told: told, now: time.Now, before: map[string]reading{}}
}

// Run asks until ctx ends.
func (a *Asker) Run(ctx context.Context) {
	every := time.NewTicker(askEvery)
	defer every.Stop()
	for {
		a.round(ctx)
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// Asking returns how it went so far.
func (a *Asker) Asking() Asking {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asking
}

func (a *Asker) count(do func(*Asking)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	do(&a.asking)
}

// round asks each service once. A port is forgotten where its service is gone.
func (a *Asker) round(ctx context.Context) {
	living := map[string]bool{}
	list := a.services()
	var all sync.WaitGroup
	var taking sync.Mutex
	slots := make(chan struct{}, maxAtOnce)
	for _, s := range list[:min(len(list), maxAsked)] {
		if prefixes[s.Engine] == nil {
			continue
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			a.visit(ctx, s, func(at, text string) bool {
				taking.Lock()
				defer taking.Unlock()
				return a.take(s, at, text, living)
			})
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return
	}
	for key := range a.before {
		if !living[key] {
			delete(a.before, key)
		}
	}
}

// visit asks a service at its ports until it tells something.
func (a *Asker) visit(ctx context.Context, s Service, take func(at, text string) bool) {
	for _, at := range s.Listens[:min(len(s.Listens), maxPorts)] {
		if ctx.Err() != nil {
			return
		}
		text, err := a.ask(ctx, s.Process.PID, at)
		a.count(func(c *Asking) {
			c.Asked++
			if err != nil {
				c.Failed++
			}
		})
		if err == nil && take(at, text) {
			return
		}
	}
}

// ask gets the metrics of a service, from within its own network.
func (a *Asker) ask(ctx context.Context, pid uint32, at string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialIn(ctx, pid, at) },
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/metrics", nil)
	if err != nil {
		return "", fmt.Errorf("ask for metrics: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask for metrics: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("ask for metrics: status %d", resp.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(b) > maxAnswer {
		err = errors.New("the answer is longer than 4 MiB")
	}
	return string(b), err
}

// dialIn connects to an address in the network namespace of a process. The thread that enters it is
// thrown away.
func dialIn(ctx context.Context, pid uint32, at string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return nil, err
	}
	switch host {
	case "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	type result struct {
		conn net.Conn
		err  error
	}
	out := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never let go: the thread ends with this goroutine
		ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(ns, unix.CLONE_NEWNET)
			unix.Close(ns) //nolint:errcheck // nothing was written
		}
		if err != nil {
			out <- result{nil, fmt.Errorf("enter the network of process %d: %w", pid, err)}
			return
		}
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, port)) // one address: in this thread
		out <- result{c, err}
	}()
	r := <-out
	return r.conn, r.err
}

// sample is a line of metrics.
type sample struct {
	name, model, labels string
	value               float64
}

// metrics reads the text format of Prometheus: what it cannot read is counted.
func metrics(text string) (out []sample, refused uint64) {
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for lines.Scan() {
		s := strings.TrimSpace(lines.Text())
		if s == "" || s[0] == '#' {
			continue
		}
		one, ok := sampleOf(s)
		if !ok || len(out) >= maxSamples {
			refused++
			continue
		}
		out = append(out, one)
	}
	if lines.Err() != nil {
		refused++
	}
	return out, refused
}

func sampleOf(s string) (sample, bool) {
	var one sample
	rest := s
	if i := strings.IndexAny(s, "{ "); i < 0 {
		return one, false
	} else if one.name, rest = s[:i], s[i:]; rest[0] == '{' {
		end := strings.LastIndexByte(rest, '}')
		if end < 0 {
			return one, false
		}
		one.labels, rest = rest[1:end], rest[end+1:]
	}
	num, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	v, err := strconv.ParseFloat(num, 64)
	one.value = v
	one.model = label(one.labels, "model_name", "model")
	return one, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
}

// label returns the value of the first label that is there.
func label(labels string, names ...string) string {
	for _, n := range names {
		for _, begin := range []string{n + `="`, "," + n + `="`} {
			i := strings.Index(labels, begin)
			if i < 0 || begin[0] != ',' && i != 0 {
				continue
			}
			if end := strings.IndexByte(labels[i+len(begin):], '"'); end >= 0 {
				return printable(labels[i+len(begin):][:end], maxText)
			}
		}
	}
	return ""
}

// meaning is what a metric of an engine says.
type meaning func(*said, float64)

// said is what the metrics of a service say of one model.
type said struct {
	reading
	running, waiting, cache event.Measure
	adapters                names
}

func gauge(m func(*said) *event.Measure, unit float64) meaning {
	return func(s *said, v float64) {
		if v *= unit; v >= 0 && v < math.MaxInt32 {
			*m(s) = event.Measured(m(s).N + int64(v))
		}
	}
}

// fullest is a gauge of which the largest says it: a share is told for each engine, and by vLLM under two
// names.
func fullest(m func(*said) *event.Measure, unit float64) meaning {
	return func(s *said, v float64) {
		if v *= unit; v >= 0 && v < math.MaxInt32 {
			*m(s) = event.Measured(max(m(s).N, int64(v)))
		}
	}
}

func counter(m func(*said) (*float64, *bool)) meaning {
	return func(s *said, v float64) {
		if v >= 0 {
			sum, has := m(s)
			*sum, *has = *sum+v, true
		}
	}
}

var (
	running   = gauge(func(s *said) *event.Measure { return &s.running }, 1)
	waiting   = gauge(func(s *said) *event.Measure { return &s.waiting }, 1)
	cache     = fullest(func(s *said) *event.Measure { return &s.cache }, 100)
	tokensIn  = counter(func(s *said) (*float64, *bool) { return &s.in, &s.hasIn })
	tokensOut = counter(func(s *said) (*float64, *bool) { return &s.out, &s.hasOut })
	preempted = counter(func(s *said) (*float64, *bool) { return &s.preempted, &s.hasPreempted })
	done      = counter(func(s *said) (*float64, *bool) { return &s.done, &s.hasDone })
	failed    = counter(func(s *said) (*float64, *bool) { return &s.failed, &s.hasFailed })
)

// prefixes say what the metrics of each engine are called.
var prefixes = map[string]map[string]meaning{
	"vllm": {
		"vllm:num_requests_running": running, "vllm:num_requests_waiting": waiting, "vllm:kv_cache_usage_perc": cache, "vllm:gpu_cache_usage_perc": cache,
		"vllm:prompt_tokens_total": tokensIn, "vllm:generation_tokens_total": tokensOut, "vllm:num_preemptions_total": preempted, "vllm:request_success_total": done,
	},
	"sglang": {
		"sglang:num_running_reqs": running, "sglang:num_queue_reqs": waiting, "sglang:token_usage": cache, "sglang:prompt_tokens_total": tokensIn,
		"sglang:generation_tokens_total": tokensOut, "sglang:num_requests_total": done,
	},
	"triton": {"nv_inference_pending_request_count": waiting, "nv_inference_request_success": done, "nv_inference_request_failure": failed},
	"tgi": {
		"tgi_batch_current_size": running, "tgi_queue_size": waiting, "tgi_request_input_length_sum": tokensIn, "tgi_request_generated_tokens_sum": tokensOut,
		"tgi_request_success": done, "tgi_request_failure": failed,
	},
	"llama.cpp": {
		"llamacpp:requests_processing": running, "llamacpp:requests_deferred": waiting, "llamacpp:kv_cache_usage_ratio": cache,
		"llamacpp:prompt_tokens_total": tokensIn, "llamacpp:tokens_predicted_total": tokensOut,
	},
	"ray": {"ray_serve_num_http_requests_total": done, "ray_serve_num_http_error_requests_total": failed, "ray_serve_num_ongoing_http_requests": running},
}

// take makes events of an answer. It reports false where it holds no metric of the engine.
func (a *Asker) take(s Service, at, text string, living map[string]bool) bool {
	samples, refused := metrics(text)
	a.count(func(c *Asking) { c.Refused += refused })
	models := map[string]*said{}
	known := prefixes[s.Engine]
	for _, one := range samples {
		means := known[one.name]
		if means == nil && one.name != "vllm:lora_requests_info" {
			continue
		}
		m := models[one.model]
		if m == nil {
			if len(models) >= maxModels {
				continue
			}
			m = &said{}
			models[one.model] = m
		}
		if means != nil {
			means(m, one.value)
			continue
		}
		for _, labelName := range []string{"running_lora_adapters", "waiting_lora_adapters"} {
			for adapter := range strings.SplitSeq(label(one.labels, labelName), ",") {
				if adapter != "" {
					m.adapters.add(adapter)
				}
			}
		}
	}
	list := make([]string, 0, len(models))
	for name := range models {
		list = append(list, name)
	}
	slices.Sort(list)
	for _, name := range list {
		key := fmt.Sprint(s.Process.PID, " ", s.Process.StartBoot, " ", name)
		living[key] = true
		a.tell(s, at, name, key, models[name])
	}
	return len(models) > 0
}

// tell compares what a service says with what it said before.
func (a *Asker) tell(s Service, at, model, key string, m *said) {
	now := a.now()
	was, known := a.before[key]
	out := &event.Service{Engine: s.Engine, Model: model, Address: at, Running: m.running, Waiting: m.waiting, Cache: m.cache, Adapters: m.adapters.String()}
	passed := now.Sub(was.at).Seconds()
	grown := func(has bool, is, before float64) event.Measure {
		if !known || !has || is < before {
			return event.Measure{}
		}
		return event.Measured(int64(min(is-before, math.MaxInt32)))
	}
	rate := func(m event.Measure) event.Measure {
		if m.Known && passed > 0 {
			m.N = int64(float64(m.N) / passed)
		}
		return m
	}
	news := grown(m.hasOut, m.out, was.out)
	out.TokensIn, out.TokensOut = rate(grown(m.hasIn, m.in, was.in)), rate(news)
	out.Preemptions = grown(m.hasPreempted, m.preempted, was.preempted)
	out.Requests, out.Failures = grown(m.hasDone, m.done, was.done), grown(m.hasFailed, m.failed, was.failed)
	m.at = now
	if m.waiting.N > 0 && news.Known && news.N == 0 {
		m.since = was.since
		if m.since.IsZero() {
			m.since = was.at
		}
		out.Stalled = event.Measured(int64(now.Sub(m.since).Seconds()))
	}
	a.before[key] = m.reading
	a.told(&event.Event{
		Kind: event.ServiceMetrics, Time: now, Service: out,
		Process: &event.Process{PID: s.Process.PID, TID: s.Process.PID, StartBoot: s.Process.StartBoot, LoginUID: ^uint32(0)},
	})
}
