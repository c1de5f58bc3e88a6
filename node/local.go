package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
	"picket/incident"
	"picket/respond"
	"picket/respond/action"
)

// RespondLocal is respond.local.
type RespondLocal struct {
	After Duration    `yaml:"after" doc:"how long the server must have been out of reach before this host's agent acts by itself"`
	Rules []LocalRule `yaml:"rules" doc:"what this host's agent does by itself while the server is away; empty is nothing"`
}

// LocalRule is one of respond.local.rules.
type LocalRule struct {
	Name        string   `yaml:"name" doc:"its name in runs"`
	Playbook    string   `yaml:"playbook" doc:"the playbook's name; each of its steps must be one that an agent does by itself"`
	Level       string   `yaml:"level" doc:"findings that are at least so severe: low, medium, high, critical; empty takes all"`
	Threats     []string `yaml:"threats" doc:"findings of one of these threats; empty takes all"`
	Rules       []string `yaml:"rules" doc:"findings of one of these rules; empty takes all"`
	Entities    []string `yaml:"entities" doc:"findings about one of these entities, kind:name, where name may hold * and ?; empty takes all"`
	Tags        []string `yaml:"tags" doc:"findings about what bears one of these tags of assets; empty takes all"`
	Limit       int      `yaml:"limit" doc:"runs within an hour, past which nothing is done; 0 is 10"`
	Destructive bool     `yaml:"destructive" doc:"the playbook may hold acts that cannot be taken back"`
}

const (
	minLocalAfter = 5 * time.Second
	maxLocalRules = 32
	maxOwed       = 256 // incidents that wait for the server, or for the time to act
)

func (r *LocalRule) rule() respond.Rule {
	out := respond.Rule{
		Name: r.Name, Playbook: r.Playbook, Mode: respond.Auto, Threats: r.Threats, Rules: r.Rules, Entities: r.Entities, Tags: r.Tags, Limit: r.Limit, Destructive: r.Destructive,
	}
	if r.Level != "" {
		out.Level = event.ParseSeverity(r.Level)
	}
	return out
}

// validateLocal checks what the agent does by itself; the playbooks are read for it.
func (c *Respond) validateLocal() (key, msg string) {
	l := &c.Local
	switch {
	case l.After < Duration(minLocalAfter) || l.After > Duration(24*time.Hour):
		return "respond.local.after", fmt.Sprintf("want from %s to 1d", Duration(minLocalAfter))
	case len(l.Rules) == 0:
		return "", ""
	case len(l.Rules) > maxLocalRules:
		return "respond.local.rules", fmt.Sprintf("want at most %d", maxLocalRules)
	}
	lib, _ := c.library() // a mistake in another playbook is the server's to tell
	seen := map[string]bool{}
	for i := range l.Rules {
		r, at := &l.Rules[i], fmt.Sprintf("respond.local.rules.%d", i)
		if !oneOf(r.Level, "", "informational", "low", "medium", "high", "critical") {
			return at + ".level", "want low, medium, high or critical"
		}
		rule := r.rule()
		if err := rule.Check(); err != nil {
			return at, err.Error()
		}
		if seen[r.Name] {
			return at + ".name", "a second rule named " + r.Name
		}
		seen[r.Name] = true
		if err := lib.CheckLocal(r.Playbook, r.Destructive); err != nil {
			return at + ".playbook", err.Error()
		}
	}
	return "", ""
}

// local answers findings by playbooks of this host's own while the server is away. What it did the
// server takes over when it is back.
type local struct {
	log    *slog.Logger
	after  time.Duration
	server interface { // how the server is reached
		Connected() bool
		Pending() (events, findings int64)
	}
	engine  *respond.Engine
	journal *localRuns
	dropped prometheus.Counter

	mu    sync.Mutex
	rules []*localWatch
	heard time.Time // when the server was last in reach
}

// localWatch is what one rule is about, of what the server has not taken yet: each container, and each
// process outside of one with what it started, by its first finding. An incident would join what happened
// on a host at the same time; nobody looks before an agent acts, so here nothing is joined.
type localWatch struct {
	rule string
	owed map[string]*owed
}

// owed is an incident of one finding that the server may not know of.
type owed struct {
	rule string
	inc  event.Incident
	done bool
}

// openLocal makes the engine of this host's own playbooks, where the configuration names some. What
// keeps it from that is told, and the agent sees and tells all the same.
func (a *agent) openLocal(undo *cleanup) {
	if len(a.cfg.Respond.Local.Rules) == 0 {
		return
	}
	l, err := newLocal(a.cfg, a.log.With("component", "local"), a.reg, a.acts, a.stream)
	if err != nil {
		a.log.Error("this agent does nothing by itself while the server is away", "error", err)
		a.unarmed = err
		return
	}
	undo.add("local playbooks", l.engine.Close)
	a.local, a.acts.runs = l, l.answer
}

// localCapability says whether the agent acts by itself.
func (a *agent) localCapability() event.Capability {
	if a.unarmed != nil {
		return event.Capability{Name: "local-playbooks", Detail: "nothing is done while the server is away: " + a.unarmed.Error()}
	}
	return event.Capability{Name: "local-playbooks", OK: true, Detail: fmt.Sprintf("%d rules of respond.local act when the server is away for %s", len(a.cfg.Respond.Local.Rules), a.cfg.Respond.Local.After)}
}

func newLocal(cfg *Config, log *slog.Logger, reg prometheus.Registerer, acts *acts, server interface {
	Connected() bool
	Pending() (events, findings int64)
},
) (*local, error) {
	if acts.wrong != nil {
		return nil, acts.wrong
	}
	lib, err := cfg.Respond.library()
	if err != nil {
		log.Warn("a playbook has mistakes and cannot be run: picket playbook validate tells them", "error", err)
	}
	c := cfg.Respond.config()
	c.Rules, c.Assets = nil, cfg.assets()
	var names []string
	for i := range cfg.Respond.Local.Rules {
		c.Rules, names = append(c.Rules, cfg.Respond.Local.Rules[i].rule()), append(names, cfg.Respond.Local.Rules[i].Playbook)
	}
	if err := lib.Sign(c.Signatures, time.Now()); err != nil {
		log.Warn("nobody who is trusted signed a playbook", "respond.signatures", c.Signatures.Mode, "error", err)
	}
	if err := lib.Keep(names); err != nil {
		return nil, err
	}
	journal, err := openLocalRuns(filepath.Join(cfg.dir("agent"), "runs"), log)
	if err != nil {
		return nil, err
	}
	l := &local{
		log: log, after: time.Duration(cfg.Respond.Local.After), server: server, journal: journal, heard: time.Now(),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "picket_respond_local_dropped_total", Help: "Findings that the agent could not weigh for its own playbooks, as too many waited for the server."}),
	}
	reg.MustRegister(l.dropped)
	for _, r := range c.Rules {
		l.rules = append(l.rules, &localWatch{rule: r.Name})
	}
	l.engine, err = respond.New(context.Background(), respond.Options{
		Log: log, Journal: journal, Incidents: nowhere{}, Executor: acts.local, Library: lib, Config: c, Transport: noTransport{}, Agent: cfg.Host,
	})
	return l, err
}

// see takes a finding that was handed on to the server.
func (l *local) see(f event.Finding) {
	alone, _, _ := incident.New(incident.Options{}).Process(f)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.rules {
		if l.engine.Fits(w.rule, &alone, f.Rule.Threat) && !w.take(&f, alone) {
			l.dropped.Inc()
		}
	}
}

// take notes what a finding is about, unless that is noted. It reports whether there was room.
func (w *localWatch) take(f *event.Finding, alone event.Incident) bool {
	if len(f.Processes) == 0 {
		return true // there is nothing that could be acted on
	}
	key := "container " + f.Processes[0].Container
	if f.Processes[0].Container == "" {
		key = "process " + f.Processes[0].UID
	}
	known := w.owed[key] != nil || slices.ContainsFunc(f.Processes, func(p event.ProcessNode) bool { return w.owed["process "+p.UID] != nil })
	switch {
	case known:
		return true
	case len(w.owed) >= maxOwed:
		return false
	case w.owed == nil:
		w.owed = map[string]*owed{}
	}
	alone.ID = f.ID // the server finds its own incident by that
	w.owed[key] = &owed{rule: w.rule, inc: alone}
	return true
}

// run acts on what the server does not, until ctx ends.
func (l *local) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, o := range l.due(now) {
				if err := l.engine.Follow(ctx, o.rule, o.inc); err != nil && ctx.Err() == nil {
					l.log.Warn("a finding was not answered by this host's own playbooks", "finding", o.inc.ID, "error", err)
				}
			}
		}
	}
}

// due returns what is to be acted on now. What the server has taken is forgotten.
func (l *local) due(now time.Time) (out []owed) {
	connected := l.server.Connected()
	_, pending := l.server.Pending()
	l.mu.Lock()
	defer l.mu.Unlock()
	if connected {
		l.heard = now
		for _, w := range l.rules {
			if pending == 0 {
				w.owed = nil
			}
		}
		return nil
	}
	if now.Sub(l.heard) < l.after {
		return nil
	}
	for _, w := range l.rules {
		for _, o := range w.owed {
			if !o.done {
				o.done = true
				out = append(out, *o)
			}
		}
	}
	slices.SortFunc(out, func(x, y owed) int { return x.inc.FirstSeen.Compare(y.inc.FirstSeen) })
	return out
}

// waiting returns how many runs wait for the server to take them over.
func (l *local) waiting() int {
	if l == nil {
		return 0
	}
	return l.journal.over()
}

// answer tells the server of a run, or forgets one that it has taken over.
func (l *local) answer(ctx context.Context, c action.Command) (out action.Answer) {
	switch c.Op {
	case action.OpRun:
		h, err := l.engine.Handover(ctx)
		if err == nil && h != nil {
			out.Run, err = json.Marshal(h)
		}
		if err != nil {
			out.Error = err.Error()
		}
	case action.OpTaken:
		if err := l.engine.Release(ctx, c.ID); err != nil && !errors.Is(err, respond.ErrNotFound) {
			out.Error = err.Error()
		}
	}
	return out
}

// nowhere is the incidents of an agent: it has none but those that it is handed.
type nowhere struct{}

// Incident returns none.
func (nowhere) Incident(context.Context, string) (event.Incident, error) {
	return event.Incident{}, respond.ErrNotFound
}
