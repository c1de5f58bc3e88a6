package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"picket/api"
	"picket/event"
	"picket/incident"
	"picket/respond"
	"picket/respond/action"
	"picket/sink"
	"picket/store/events"
	"picket/store/state"
	"picket/stream"
	"picket/ui"
)

// adminUser is the user that one-time links of picket run and picket signin open.
const adminUser = "admin"

// server is the server role: stream → incident → store, sink, api.
type server struct {
	cfg *Config
	log *slog.Logger
	reg *prometheus.Registry

	state  *state.Store
	client *events.Client // follows the store when the supervisor starts it on another address
	writer *events.Writer
	hub    *stream.Hub
	ca     *stream.CA
	outbox *sink.Outbox
	fleet  *fleet
	runs   inventories
	api    *api.Server
	rules  *ruleList

	respond  *respond.Engine
	assets   []respond.Asset
	executor action.Executor // the agents, and reach
	audit    *audit
	reach    *action.Local // what the server itself does: tells people, opens cases, revokes tokens

	did         chan stream.Batch  // by the server itself, to be told of
	runsChanged chan api.RunChange // that pages are to be told of
	unnoted     prometheus.Counter // acts of agents that are none of the incident they name
	adopting    chan string        // hosts whose agents have runs of their own to hand over
	answers     *answers           // changed incidents, for the rules of respond

	mu         sync.Mutex // of correlator, and of what is saved in its order
	correlator *incident.Correlator
	changed    map[string]event.Incident // not kept yet
	wake       chan struct{}

	started time.Time
}

// RunServer runs the server role until ctx ends.
func RunServer(ctx context.Context, cfg *Config, log *slog.Logger) error {
	s := &server{
		cfg: cfg, log: log, reg: prometheus.NewRegistry(), fleet: newFleet(time.Now), started: time.Now(),
		assets: cfg.assets(), changed: map[string]event.Incident{}, wake: make(chan struct{}, 1), answers: newAnswers(),
		did: make(chan stream.Batch, 256), runsChanged: make(chan api.RunChange, 256), adopting: make(chan string, 64), unnoted: newUnnoted(),
	}
	s.reg.MustRegister(s.unnoted)
	s.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	countRestarts(cfg, s.reg)
	undo := &cleanup{log: log}
	defer undo.run()
	if err := s.open(ctx, undo); err != nil {
		return err
	}
	return s.run(ctx)
}

// open builds the parts from the end of the way to its start; the engine of playbooks goes on with its
// runs at once, and finds the way to agents open.
func (s *server) open(ctx context.Context, undo *cleanup) error {
	dir := s.cfg.dir("server")
	if err := makeDir(dir, 0); err != nil {
		return err
	}
	release, err := lock(dir, "server")
	if err != nil {
		return err
	}
	undo.add("lock", func() error { release(); return nil })
	if s.state, err = state.Open(ctx, state.Options{Dir: dir, URL: s.cfg.Store.State, Log: s.part("state")}); err != nil {
		return &Error{Err: err, Code: ExitHost}
	}
	undo.add("state", s.state.Close)
	s.audit = openAudit(ctx, s.state, dir, s.part("audit"))
	undo.add("audit", s.audit.close)
	if err := s.openStore(); err != nil {
		return err
	}
	undo.add("store", func() error { s.client.Close(); return nil })
	s.outbox, err = sink.Open(filepath.Join(dir, "outbox"), s.cfg.Sink, sink.Options{
		Log: s.part("sink"), Registerer: s.reg, Mapping: sink.Mapping{Version: Version, URL: s.cfg.API.URL},
	})
	if err != nil {
		return err
	}
	undo.add("sink", s.outbox.Close)
	if err := s.openIncidents(ctx); err != nil {
		return err
	}
	if s.ca, err = stream.OpenCA(filepath.Join(dir, "ca"), s.cfg.Stream.Names); err != nil {
		return err
	}
	s.hub, err = stream.OpenHub(s.ca, stream.HubOptions{
		Log: s.part("stream"), Registerer: s.reg, Listen: s.cfg.Stream.Listen, Dir: filepath.Join(dir, "stream"),
		EventBytes: int64(s.cfg.Stream.Retention),
		Revoked: func(name, serial string) bool {
			gone, err := s.state.Revoked(ctx, name, serial)
			return err != nil || gone // who cannot be looked up does not come in; the agent tries again
		},
	})
	if err != nil {
		return &Error{Err: err, Hint: "the address is stream.listen in picket.yaml", Code: ExitHost}
	}
	undo.add("stream", s.hub.Close)
	if err := s.openReach(); err != nil {
		return err
	}
	undo.add("acts", s.reach.Close)
	s.executor = executor{s.reach, action.Remote{Ask: func(ctx context.Context, c action.Command) (action.Answer, error) {
		return actions{s}.Ask(ctx, c.Request.Target.Host, c)
	}}}
	if err := s.openRespond(ctx); err != nil {
		return err
	}
	undo.add("respond", s.respond.Close)
	if err := s.openAPI(ctx); err != nil {
		return err
	}
	undo.add("api", s.api.Close)
	return nil
}

func (s *server) part(name string) *slog.Logger { return s.log.With("component", name) }

func (s *server) openStore() error {
	o := events.Options{URL: s.cfg.Store.Events, Log: s.part("store")}
	if o.URL == "" {
		st, err := ReadStatus(s.cfg)
		if err != nil {
			return &Error{Err: errors.New("no event store"), Hint: "set store.events in picket.yaml to its URL, or start all with picket run", Code: ExitConfig}
		}
		o.URL = "http://" + st.Children["store"].Addr
		if o.Password, err = storePassword(s.cfg, 0); err != nil {
			return err
		}
		o.User = storeUser
	}
	var err error
	if s.client, err = events.New(o); err != nil {
		return err
	}
	s.writer = events.NewWriter(s.client, events.WriterOptions{Log: s.part("store"), Registerer: s.reg})
	return nil
}

// openIncidents hands the correlator what earlier runs of the server knew.
func (s *server) openIncidents(ctx context.Context) error {
	window := time.Duration(s.cfg.Incident.Window)
	s.correlator = incident.New(incident.Options{Log: s.part("incident"), Registerer: s.reg, Window: window})
	known, err := s.state.Incidents(ctx, state.IncidentQuery{Limit: 1000})
	if err != nil {
		return fmt.Errorf("incidents of the last run: %w", err)
	}
	s.correlator.Restore(known)
	if err := s.catchUp(ctx, window); err != nil {
		return err
	}
	agents, err := s.state.Agents(ctx)
	if err != nil {
		return fmt.Errorf("agents of the last run: %w", err)
	}
	for _, a := range agents {
		if a.Heartbeat != nil {
			s.fleet.restore(*a.Heartbeat, a.LastSeen)
		}
	}
	return nil
}

// catchUp gives the correlator the findings that were kept when an earlier run ended before their
// incident was.
func (s *server) catchUp(ctx context.Context, window time.Duration) error {
	recent, err := s.state.Findings(ctx, state.FindingQuery{Limit: 1000})
	if err != nil {
		return fmt.Errorf("findings of the last run: %w", err)
	}
	for _, f := range slices.Backward(recent) { // the latest comes first
		if s.started.Sub(f.Time) > window {
			continue
		}
		inc, absorbed, changed := s.join(f)
		if !changed {
			continue
		}
		if err := s.state.SetFindingIncident(ctx, f.ID, inc.ID); err != nil {
			return fmt.Errorf("findings of the last run: %w", err)
		}
		for _, a := range absorbed {
			if err := s.moveFindings(ctx, a, inc.ID); err != nil {
				return err
			}
		}
	}
	if len(s.changed) > 0 {
		s.wake <- struct{}{}
	}
	return nil
}

func (s *server) openAPI(ctx context.Context) error {
	if _, err := s.state.User(ctx, adminUser); errors.Is(err, state.ErrNotFound) {
		if err := s.state.SaveUser(ctx, state.User{Name: adminUser, Role: api.Admin.String()}); err != nil {
			return fmt.Errorf("first user: %w", err)
		}
	}
	s.rules = newRuleList(s.cfg, s.log, s.fleet)
	var err error
	s.api, err = api.New(api.Deps{
		Incidents: incidents{s}, Findings: findings{s.state}, Events: stored{s.client},
		Fleet: s.fleet, Inventory: &s.runs, Health: s, Rules: s.rules, Actions: actions{s}, Accounts: accounts{s.state}, Audit: s.audit, Runs: s.respond,
	}, api.Options{
		Log: s.part("api"), Registerer: s.reg, Gatherer: prometheus.Gatherers{s.reg, s.fleet}, UI: ui.Handler(),
		Version: Version, Hosts: s.cfg.API.Hosts, Hooks: s.cfg.API.hooks(),
	})
	return err
}

// run serves until ctx ends or a part fails.
func (s *server) run(ctx context.Context) error {
	open, err := net.Listen("tcp", s.cfg.API.Listen)
	if err != nil {
		return &Error{Err: fmt.Errorf("api.listen: %w", err), Hint: "choose another address with api.listen in picket.yaml", Code: ExitHost}
	}
	private, err := listenPrivate(SocketPath(s.cfg))
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	serve := func(l net.Listener, h http.Handler) {
		srv := api.HTTPServer(h, s.part("api"))
		g.Go(func() error {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("api: %w", err)
			}
			return nil
		})
		g.Go(func() error {
			<-ctx.Done()
			_ = s.api.Close() // ends the streams, for which Shutdown would wait
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
			defer cancel()
			if srv.Shutdown(end) != nil {
				return srv.Close()
			}
			return nil
		})
	}
	serve(open, s.api.Handler())
	serve(private, s.api.Trusted())
	g.Go(func() error { return s.writer.Run(ctx) })
	g.Go(func() error { return s.outbox.Run(ctx) })
	g.Go(func() error { return s.flush(ctx) })
	g.Go(func() error { return s.hub.Events(ctx, func(b stream.Batch) { s.events(ctx, b) }) })
	g.Go(func() error {
		return s.hub.Findings(ctx, func(from string, f event.Finding) error { return s.finding(ctx, from, f) })
	})
	g.Go(func() error {
		return s.hub.Heartbeats(ctx, func(from string, b event.Heartbeat) { s.heartbeat(ctx, from, b) })
	})
	g.Go(func() error {
		return s.hub.Inventories(ctx, func(from string, inv event.Inventory) { s.runs.take(s.host(from, inv.Host), inv) })
	})
	g.Go(func() error { return s.watch(ctx) })
	g.Go(func() error { return s.rules.follow(ctx) })
	g.Go(func() error { return s.answers.run(ctx, s.answerIncident) })
	g.Go(func() error { return s.reach.Run(ctx) })
	g.Go(func() error { return s.publishRuns(ctx) })
	g.Go(func() error { return s.tellActs(ctx) })
	g.Go(func() error { return s.adoptRuns(ctx) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// listenPrivate listens on a socket that only its owner and root can open.
func listenPrivate(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("api: %w", err)
	}
	l, err := net.Listen("unix", path) // inside a directory of mode 0700
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	return l, os.Chmod(path, 0o600)
}

// host returns the name of an agent's host. The agent says it in its heartbeats; it is believed
// where the name in its certificate is derived from it.
func (s *server) host(from, said string) string {
	if from == api.ServerHost {
		return s.cfg.Host
	}
	if said == "" {
		said = s.fleet.host(from)
	}
	if AgentName(said) == from {
		return said
	}
	return from
}

// events puts a batch into the store.
func (s *server) events(ctx context.Context, b stream.Batch) {
	if s.api.WantsEvents() && !b.Again {
		for line := range lines(b.Lines) {
			s.api.PublishEvent(line)
		}
	}
	if err := s.acted(ctx, b.From, b.Lines); err != nil {
		s.log.Error("an act is not told to sinks and incidents", "error", err)
	}
	err := s.writer.Add(ctx, events.Batch{Host: s.host(b.From, ""), Lines: b.Lines, N: b.N, Again: b.Again, Ack: b.Ack})
	if err != nil && ctx.Err() == nil {
		s.log.Error("events were not taken", "error", err)
	}
}

// finding joins a finding to its incident, keeps it, and tells sinks and pages. It may be called
// again with the same finding: then it changes nothing, and tells nobody twice. The incident is
// kept and told a moment later, see flush: under a burst it changes with every finding. It is answered
// at once where it has something new, as what is contained is contained the sooner.
func (s *server) finding(ctx context.Context, from string, f event.Finding) error {
	f.Host = s.host(from, f.Host)
	inc, absorbed, changed := s.join(f)
	fresh, err := s.state.InsertFinding(ctx, f, inc.ID)
	if err != nil {
		return fmt.Errorf("keeping finding %s: %w", f.ID, err)
	}
	if fresh {
		s.api.PublishFinding(f)
		s.keepFinding(ctx, f)
	}
	if fresh && changed && firstOfRule(&inc, &f) { // each later one waits for the incident to be kept
		s.answers.put(inc)
	}
	for _, a := range absorbed {
		if err := s.moveFindings(ctx, a, inc.ID); err != nil {
			return err
		}
	}
	if changed {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	if err := s.outbox.Finding(f, inc.ID); err != nil {
		return fmt.Errorf("queueing finding %s: %w", f.ID, err)
	}
	return nil
}

// firstOfRule reports whether no other finding of an incident is of a finding's rule.
func firstOfRule(inc *event.Incident, f *event.Finding) bool {
	return !slices.ContainsFunc(inc.Findings, func(r event.FindingRef) bool { return r.Rule == f.Rule.Name && r.ID != f.ID })
}

// join gives a finding to the correlator and notes the incidents that are to be kept and told.
func (s *server) join(f event.Finding) (inc event.Incident, absorbed []event.Incident, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	inc, absorbed, changed = s.correlator.Process(f)
	if changed {
		s.changed[inc.ID] = inc
		for _, a := range absorbed {
			s.changed[a.ID] = a
		}
	}
	return inc, absorbed, changed
}

// flushEvery is how often, at most, a changing incident is kept and told.
const flushEvery = 250 * time.Millisecond

// flush keeps changed incidents and tells sinks and pages. What a crash takes is made again at the
// next start from the findings, which are kept before.
func (s *server) flush(ctx context.Context) error {
	whole := context.WithoutCancel(ctx) // what was begun is finished
	for {
		select {
		case <-ctx.Done():
			s.flushChanged(whole)
			return nil
		case <-s.wake:
		}
		s.flushChanged(whole)
		select {
		case <-ctx.Done():
		case <-time.After(flushEvery):
		}
	}
}

func (s *server) flushChanged(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, inc := range s.changed {
		err := s.keepIncident(ctx, inc)
		if errors.Is(err, state.ErrConflict) {
			err = s.takeStored(ctx, id)
		}
		if err != nil {
			s.log.Error("a changed incident was not kept; it is tried again", "incident", id, "error", err)
			continue
		}
		delete(s.changed, id)
	}
}

// takeStored gives the correlator an incident as it is stored, which is newer than its own: it was
// out of memory when one of its findings came once more.
func (s *server) takeStored(ctx context.Context, id string) error {
	stored, err := s.state.Incident(ctx, id)
	if err != nil {
		return fmt.Errorf("incident %s: %w", id, err)
	}
	s.correlator.Restore([]event.Incident{stored})
	return nil
}

// moveFindings gives the findings of an incident that became part of another to that one.
func (s *server) moveFindings(ctx context.Context, absorbed event.Incident, into string) error {
	for _, f := range absorbed.Findings {
		if err := s.state.SetFindingIncident(ctx, f.ID, into); err != nil && !errors.Is(err, state.ErrNotFound) {
			return fmt.Errorf("moving finding %s to incident %s: %w", f.ID, into, err)
		}
	}
	return nil
}

// keepIncident keeps a changed incident and tells sinks and pages.
func (s *server) keepIncident(ctx context.Context, inc event.Incident) error {
	if err := s.state.SaveIncident(ctx, inc); err != nil {
		return fmt.Errorf("keeping incident %s: %w", inc.ID, err)
	}
	if err := s.outbox.Incident(inc); err != nil {
		return fmt.Errorf("queueing incident %s: %w", inc.ID, err)
	}
	s.api.PublishIncident(s.tagged(inc))
	s.answers.put(inc)
	return nil
}

// keepFinding puts a finding among the events, so that a hunt finds both.
func (s *server) keepFinding(ctx context.Context, f event.Finding) {
	row, err := json.Marshal(map[string]string{
		"_time": f.Time.UTC().Format(time.RFC3339Nano), "_msg": f.Summary, "event.id": f.ID, "class": "finding", "event.kind": "finding",
		"host": f.Host, "finding.rule": f.Rule.Name, "finding.severity": f.Severity.String(), "finding.title": f.Rule.Title, "finding.threat": f.Rule.Threat,
	})
	if err != nil {
		s.log.Error("a finding was not written as an event", "error", err)
		return
	}
	_ = s.writer.Add(ctx, events.Batch{Host: f.Host, Lines: append(row, '\n'), N: 1, Again: true, Ack: func() {}}) // fails only at the end
}

func (s *server) heartbeat(ctx context.Context, from string, b event.Heartbeat) {
	b.Host = s.host(from, b.Host)
	back := s.fleet.heard(from, b)
	b.Metrics = ""
	if err := s.state.SaveHeartbeat(ctx, from, b); err != nil && ctx.Err() == nil {
		s.log.Warn("a heartbeat was not kept", "host", b.Host, "error", err)
	}
	if back {
		s.log.Info("an agent reports", "host", b.Host, "version", b.Version, "rules", b.Rules)
	}
	s.publishAgent(b.Host)
	s.toAdopt(b.Host, b.Runs)
}

func (s *server) publishAgent(host string) {
	if a, ok := s.fleet.agent(host); ok {
		s.api.PublishAgent(a)
	}
}

// watch tells when agents fall silent and when the server's health changes.
func (s *server) watch(ctx context.Context) error {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, host := range s.fleet.silence() {
			s.log.Warn("an agent fell silent: its host is not watched, or cannot reach the server", "host", host)
			s.publishAgent(host)
		}
		r := s.Report(ctx)
		if now := r.Status + fmt.Sprint(len(r.Components)); now != last {
			last = now
			s.api.PublishHealth(r)
		}
	}
}
