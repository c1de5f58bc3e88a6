package node

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"picket/event"
	"picket/ingest"
	"picket/workload"
)

// Ingest is the ingest section.
type Ingest struct {
	Logs       []IngestLog       `yaml:"logs" doc:"access logs of AI services, beside those that are found by the processes that write them"`
	Metrics    string            `yaml:"metrics" doc:"on: services that are recognised are asked for their metrics every 15 seconds, over their own loopback; off: they are not"`
	OTLP       string            `yaml:"otlp" doc:"address at which traces in OTLP are taken, over HTTP and gRPC, such as 127.0.0.1:4318; empty takes none; docs/principals.md"`
	Kubernetes Values            `yaml:"kubernetes" doc:"files, or patterns of them, that are the audit log of a Kubernetes API server: /var/log/kubernetes/audit*.log; docs/kubernetes-audit.md"`
	Audit      IngestAudit       `yaml:"audit" doc:"takes the audit log of clusters by webhook, where there is no file: docs/kubernetes-audit.md"`
	Tools      map[string]Values `yaml:"tools" doc:"tools that agents may call, by the agent's name (gen_ai.agent.name); * is all that are not named. Calls of others are found; an agent without a list may call all"`
	Token      string            `yaml:"token" doc:"whole path of a file whose first line is a token that senders of traces must show; needed where others than this host reach the address"`
}

// IngestLog names access logs.
type IngestLog struct {
	Paths  []string `yaml:"paths" doc:"files, or patterns of them: /var/log/nginx/llm*.log"`
	Engine string   `yaml:"engine" doc:"what is asked there: vllm, sglang, triton, tgi, llama.cpp, ollama, ray, jupyter, mlflow…; empty is a gateway"`
}

// validate checks the ingest section.
func (g *Ingest) validate() (key, msg string) {
	if !oneOf(g.Metrics, "off", "on") {
		return "ingest.metrics", "want off or on"
	}
	for i, l := range g.Logs {
		at := fmt.Sprintf("ingest.logs.%d", i)
		if len(l.Paths) == 0 {
			return at + ".paths", "want at least one file"
		}
		for _, p := range l.Paths {
			if _, err := filepath.Match(p, ""); err != nil || !filepath.IsAbs(p) {
				return at + ".paths", "want the whole path of a file, or a pattern as of a shell"
			}
		}
		if strings.ContainsAny(l.Engine, " \t\n;") {
			return at + ".engine", "want the name of an engine"
		}
	}
	for i, p := range g.Kubernetes {
		if _, err := filepath.Match(p, ""); err != nil || !filepath.IsAbs(p) {
			return fmt.Sprintf("ingest.kubernetes.%d", i), "want the whole path of a file, or a pattern as of a shell"
		}
	}
	if key, msg := g.Audit.validate(); key != "" {
		return key, msg
	}
	return g.validateTraces()
}

func (g *Ingest) logs() (out []ingest.Logs) {
	for _, l := range g.Logs {
		out = append(out, ingest.Logs{Paths: l.Paths, Engine: l.Engine})
	}
	return out
}

// startIngest reads what AI services tell of themselves until ctx ends; the channel is closed then.
func (a *agent) startIngest(ctx context.Context, events chan struct{}) <-chan struct{} {
	told := func(e *event.Event) {
		select {
		case <-events:
			e.Host = a.cfg.Host
			a.handle(e)
			events <- struct{}{}
		case <-ctx.Done():
		}
	}
	a.requests = ingest.New(ingest.Options{
		Log: a.log.With("component", "ingest"), Registerer: a.reg, Logs: a.cfg.Ingest.logs(), Audit: a.cfg.Ingest.Kubernetes, Processes: a.tracker.Members,
		State: filepath.Join(a.cfg.dir("agent"), "logs.json"), Told: told,
	})
	var all sync.WaitGroup
	all.Go(func() { a.requests.Run(ctx) })
	if a.cfg.Ingest.Metrics == "on" {
		a.asker = ingest.NewAsker(a.services(), told)
		all.Go(func() { a.asker.Run(ctx) })
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		all.Wait()
	}()
	return done
}

// services returns what lists the AI services that listen somewhere.
func (a *agent) services() func() []ingest.Service {
	survey := a.tracker.Survey()
	return func() (out []ingest.Service) {
		roots := map[string]*event.Process{}
		for _, p := range a.tracker.Members() {
			if p.Key() == p.Workload.Root {
				roots[p.Workload.ID] = p
			}
		}
		running, _ := survey.Look()
		for _, r := range running {
			if p := roots[r.ID]; p != nil && len(r.Listens) > 0 {
				out = append(out, ingest.Service{Process: p, Engine: r.Engine, Listens: r.Listens})
			}
		}
		return out
	}
}

// ingestCapability says how reading access logs goes.
func (a *agent) ingestCapability() event.Capability {
	row := event.Capability{Name: "requests", OK: true}
	if a.requests == nil {
		row.Detail = "starting"
		return row
	}
	t, _ := a.requests.Total()
	row.Detail, row.OK = a.requests.String(), t.Dropped == 0 && t.Lost == 0
	if a.asker != nil {
		is := a.asker.Asking()
		row.Detail += fmt.Sprintf("; services were asked for metrics %d times, %d in vain", is.Asked, is.Failed)
	}
	return row
}

// ingestChecks looks once for the logs that are read, and says of which services there are none.
func ingestChecks(cfg *Config) []Check {
	tracker := workload.New(workload.Options{Host: cfg.Host})
	names, _ := filepath.Glob("/proc/[0-9]*") // the pattern is in order
	for _, name := range names {
		if pid, err := strconv.ParseUint(filepath.Base(name), 10, 32); err == nil {
			p := &event.Process{PID: uint32(pid), TID: uint32(pid), LoginUID: ^uint32(0)}
			tracker.Stamp(&event.Event{Kind: event.NetListen, Time: time.Now(), Process: p})
		}
	}
	seen := 0
	var dark, found []string
	for _, p := range tracker.Members() {
		if p.Key() != p.Workload.Root {
			continue
		}
		logs := ingest.OpenLogs(p)
		for _, f := range logs {
			found = append(found, fmt.Sprintf("%s (%s)", f.Name(), p.Workload.Engine))
			f.Close() //nolint:errcheck // it was only opened
		}
		if seen++; len(logs) == 0 {
			dark = append(dark, fmt.Sprintf("%s[%d]", p.Workload.Engine, p.PID))
		}
	}
	detail := fmt.Sprintf("%d AI services run", seen)
	if len(found) > 0 {
		detail += "; access logs: " + strings.Join(found[:min(len(found), 8)], ", ")
	}
	if len(dark) > 0 {
		detail += "; without a file that they log to, so that their requests are not seen: " + strings.Join(dark[:min(len(dark), 8)], ", ") + " (docs/requests.md)"
	}
	return []Check{{Name: "requests", OK: len(dark) == 0, Detail: detail}}
}
