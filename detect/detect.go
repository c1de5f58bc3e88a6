// Package detect turns events into findings: it matches each event against the Sigma rules of the
// loaded threats, follows correlations of matches, such as a sequence within a container or lineage,
// and says in one sentence what happened.
//
// An Engine is a function of the events it is given: it has no clock, does no I/O and starts no
// goroutine. The same events give the same findings with the same ids.
//
// Which Sigma log sources (all with product linux) an event belongs to:
//
//	process.start, process.seen    process_creation
//	process.fork                   process_fork
//	process.exit                   process_termination
//	file.read                      file_access
//	file.create                    file_event
//	file.write                     file_event, file_change
//	file.rename                    file_event, file_rename
//	file.delete                    file_delete
//	file.chmod                     file_change
//	file.link                      file_event, file_link
//	file.mkdir                     file_mkdir
//	file.truncate                  file_event, file_change
//	file.chown, file.attribute     file_change
//	file.map                       image_load
//	file.io                        file_io
//	net.connect, net.accept        network_connection
//	net.listen                     network_listen
//	net.send                       network_send
//	net.dns                        dns_query
//	net.receive                    network_receive
//	net.bind                       network_bind
//	net.unix                       network_unix
//	net.tls                        network_tls
//	sensor.health                  sensor_health
//	process.trace                  process_access
//	process.signal                 process_signal
//	process.credentials            process_credentials
//	process.capability             process_capability
//	process.namespace              process_namespace
//	host.mount                     host_mount
//	host.module                    driver_load
//	host.bpf                       host_bpf
//	host.kernel                    host_kernel
//	host.sysctl                    host_sysctl
//	device.open                    device_open
//	device.control                 device_control
//	cgroup.create                  cgroup_create
//	policy.violation               policy_violation
//	gpu.sample                     gpu_sample
//	gpu.error                      gpu_error
//	model.seen                     model_file
//	cuda                           cuda_call
//	python.audit                   python_audit
//	profile.deviation              profile_deviation
//	model.drift                    model_drift
//
// What the API server of a Kubernetes cluster was asked, kubernetes.audit, has the log source
// kubernetes/application/audit, as Sigma's own rules.
//
// What AI services are asked, and say of themselves, has the service as its product (vllm, sglang,
// triton, tgi, llamacpp, ollama, ray, jupyter, mlflow…):
//
//	request                        http_access, gen_ai
//	service.metrics                service_metrics
//
// Rules of the levels informational and low are building blocks: correlations are made of them, and
// by themselves they are counted but yield no finding (Options.MinLevel). So are rules that stand in
// one file with the correlations made of them, unless one of these says generate.
package detect

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
	"picket/sigma"
)

// Options is what an Engine needs. The zero value is an engine without rules.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Host       string         // stands in for events that name no host
	Threats    []Threat       // from LoadThreats
	MinLevel   event.Severity // rules below it are building blocks; Medium if 0
	Quiet      time.Duration  // how long a repeat is kept quiet; 60 s if 0
	Exceptions []*Exception   // from LoadExceptions
	Hosts      bool           // events come from several hosts, by clocks and ways of their own, as in a replay
	Noisy      int            // findings of one rule in one workload within ten minutes, past which more are only counted; 100 if 0
}

// Engine matches events against rules. Its methods may be called by several goroutines.
type Engine struct {
	log   *slog.Logger
	host  string
	hosts bool
	min   event.Severity

	mu      sync.Mutex
	set     *ruleset
	view    *view
	repeats repeats
	noisy   throttle
	notices []string // for Notices
	stats   Stats
	changed bool // since the last Snapshot

	hit   func(*sigma.Rule) // appends to fired; made once, so that Match allocates nothing
	fired []*sigma.Rule
	made  []madeMatch // of the event at hand
}

// ruleset is what Reload replaces as a whole.
type ruleset struct {
	match        *sigma.Engine
	follow       *sigma.Correlator[*match]
	rules        map[*sigma.Rule]*rule
	correlations map[*sigma.Correlation]*rule
	all          []*rule // rules and correlations, by name
	demand       map[event.Kind]bool
	filtered     bool // there are filters, which may expire
	except       *exceptions
	inactive     []Inactive
}

// rule is a Sigma rule or a correlation, made ready.
type rule struct {
	info       event.Rule
	severity   event.Severity
	techniques []event.Technique
	summary    template
	file       string
	playbook   string
	sequence   bool
	alerts     bool // yields findings by itself
	cost       int
	brought    bool // by a collection
	counts
}

// counts is what a rule did since the agent started.
type counts struct{ hits, excepted, throttled, repeated uint64 }

// New returns an engine with the given threats. It fails only where the rules do not fit
// together, which LoadThreats has already sorted out.
func New(o Options) (*Engine, error) {
	e := &Engine{
		log: o.Log, host: o.Host, hosts: o.Hosts, min: cmp.Or(o.MinLevel, event.Medium), view: newView(),
		repeats: repeats{quiet: cmp.Or(o.Quiet, time.Minute), seen: map[string]*repeat{}},
		noisy:   throttle{most: cmp.Or(o.Noisy, 100), per: noisyTime, flows: map[flowKey]*flow{}},
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.hit = func(r *sigma.Rule) { e.fired = append(e.fired, r) }
	set, err := e.build(o.Threats, o.Exceptions)
	if err != nil {
		return nil, err
	}
	e.set = set
	if o.Registerer != nil {
		register(o.Registerer, e)
	}
	return e, nil
}

// Reload replaces the rules and the exceptions. Open windows, and the counts of rules that stay, are
// kept. On an error the engine goes on with what it had. The new set is made ready before any event
// has to wait, and takes over between two of them.
func (e *Engine) Reload(threats []Threat, except ...*Exception) error {
	set, err := e.build(threats, except)
	if err != nil {
		return fmt.Errorf("reload of rules: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	before := map[string]counts{}
	for _, r := range e.set.all {
		before[r.info.ID] = r.counts
	}
	for _, r := range set.all {
		r.counts = before[r.info.ID]
	}
	set.except.keep(e.set.except)
	state, err := e.set.follow.Snapshot()
	if err == nil {
		err = set.follow.Restore(state)
	}
	if err != nil {
		e.log.Error("open correlations are lost", "error", err)
	}
	old := e.set.follow.Stats()
	e.stats.Evicted, e.stats.Late, e.stats.Clamped = e.stats.Evicted+old.Evicted, e.stats.Late+old.Late, e.stats.Clamped+old.Clamped
	for _, one := range old.ByCorrelation {
		e.stats.Uncounted += one.Missing + one.NotNumeric
	}
	e.set = set
	e.log.Info("rules loaded", "rules", len(set.rules), "correlations", len(set.correlations))
	return nil
}

func (e *Engine) build(threats []Threat, except []*Exception) (*ruleset, error) {
	set := &ruleset{rules: map[*sigma.Rule]*rule{}, correlations: map[*sigma.Correlation]*rule{}, demand: map[event.Kind]bool{}}
	var all sigma.Collection
	for _, t := range threats {
		all.Add(&t.Collection)
	}
	names := map[string]bool{}
	silent := sigma.BuildingBlocks(all.Rules, all.Correlations)
	for _, t := range threats {
		set.inactive = append(set.inactive, t.Inactive...)
		for _, r := range t.Rules {
			made := e.makeRule(t.Name, &r.Meta)
			made.alerts = made.severity >= e.min && !silent[&r.Meta]
			made.brought = t.Brought
			if names[made.info.Name] { // only of what a user brings: a file called as another
				made.info.Name = cmp.Or(r.ID, fmt.Sprintf("%s:%d", r.SourceFile, r.Line))
			}
			names[made.info.Name] = true
			set.rules[r], set.all = made, append(set.all, made)
			for _, k := range KindsOf(r.Logsource) {
				// A rule about anything that Linux says does not make the sensor look at more calls.
				if k < event.FileLink || r.Logsource.Category != "" {
					set.demand[k] = true
				}
			}
		}
		for _, c := range t.Correlations {
			made := e.makeRule(t.Name, &c.Meta)
			made.sequence, made.alerts = true, !silent[&c.Meta]
			set.correlations[c], set.all = made, append(set.all, made)
		}
	}
	slices.SortFunc(set.all, func(a, b *rule) int { return cmp.Compare(a.info.Name, b.info.Name) })
	var err error
	set.filtered = len(all.Filters) > 0
	if set.match, err = (sigma.Options{Filters: all.Filters, Placeholders: valuesFor(threats...)}).Compile(all.Rules, Schema()); err != nil {
		return nil, err
	}
	for r, cost := range set.match.Costs() {
		set.rules[r].cost = cost
	}
	if set.except, err = newExceptions(except); err != nil {
		return nil, err
	}
	set.follow, err = e.correlator(all.Rules, all.Correlations)
	return set, err
}

// makeRule makes what a rule and a correlation have in common ready.
func (e *Engine) makeRule(threat string, m *sigma.Meta) *rule {
	name := ruleName(m)
	info := event.Rule{ID: cmp.Or(m.ID, name), Name: name, Title: m.Title, Threat: threat, Author: m.Author, Tags: m.Tags}
	made := &rule{info: info, severity: event.ParseSeverity(m.Level), techniques: Techniques(m.Tags), file: m.SourceFile}
	if s, playbook, err := summaryOf(m.Custom); err == nil {
		made.summary, made.playbook = s, playbook
	}
	return made
}

// Process matches one event and returns the findings it completes, nil for none. It keeps
// nothing of ev.
func (e *Engine) Process(ev *event.Event) []event.Finding {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.view.e = ev
	e.set.match.Advance(ev.Time)
	if !e.fires(e.view) {
		return nil
	}
	return e.judge(ev)
}

// ProcessForeign is Process for what f has read last. An event is made of it only where a rule
// fires; that one moves sequences on like any other.
func (e *Engine) ProcessForeign(f *Foreign) []event.Finding {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.set.filtered { // a time is read where one is asked for only
		e.set.match.Advance(f.time())
	}
	if !e.fires(f) {
		return nil
	}
	return e.judge(f.Event())
}

// fires matches an event and gathers the rules that fire on it.
func (e *Engine) fires(ev sigma.Event) bool {
	e.stats.Events++
	e.fired = e.fired[:0]
	e.set.match.Match(ev, e.hit)
	return len(e.fired) > 0
}

// judge makes findings of the rules that fired on ev.
func (e *Engine) judge(ev *event.Event) (out []event.Finding) {
	if ev.Host == "" || ev.Process == nil {
		ev = ev.Clone()
		ev.Host = cmp.Or(ev.Host, e.host)
		ev.Process = cmp.Or(ev.Process, &event.Process{})
	}
	e.view.e, e.made = ev, e.made[:0]
	except := e.set.except.look(e.view, ev.Time)
	kept := e.fired[:0]
	for _, fired := range e.fired {
		r := e.set.rules[fired]
		if hides(except, r) {
			r.excepted++
			e.stats.Excepted++
			continue
		}
		kept = append(kept, fired)
		r.hits++
		e.stats.Matches++
		if !r.alerts {
			continue
		}
		count, ok := e.repeats.first(r.info.ID, ev)
		if !ok {
			e.stats.Repeats++
			r.repeated++
			continue
		}
		if pass, say := e.noisy.pass(r, ev); !pass || say != "" {
			e.say(say)
			if !pass {
				e.stats.Throttled++
				r.throttled++
				continue
			}
		}
		m := e.match(fired)
		out = append(out, r.finding([]match{*m}, count, sentence(m.Clause)))
	}
	e.fired = kept
	seen := sigma.Observation{Event: groupView{e.view}, Time: ev.Time, Weight: uint64(ev.Count), Source: e.source(ev.Host), Rules: e.fired}
	if e.set.follow.Observe(seen, func(f *sigma.Firing[*match]) {
		if r := e.set.correlations[f.Correlation]; hides(except, r) {
			r.excepted++
			e.stats.Excepted++
			return
		}
		out = e.tell(out, f)
	}) {
		e.changed = true
	}
	e.stats.Findings += uint64(len(out))
	return out
}

// tell appends the finding that a correlation which fired makes, if any.
func (e *Engine) tell(out []event.Finding, f *sigma.Firing[*match]) []event.Finding {
	if made := e.correlated(f); made != nil {
		return append(out, *made)
	}
	return out
}

// Advance tells that the time is now, for windows that close without an event, and returns the
// findings of those that did.
func (e *Engine) Advance(now time.Time) (out []event.Finding) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.set.follow.Advance(now, func(f *sigma.Firing[*match]) { out = e.tell(out, f) }) {
		e.changed = true
	}
	e.passed(now)
	e.stats.Findings += uint64(len(out))
	return out
}

// Heard is Advance where the time is known by the events of a host alone, as in a replay: what
// others have to say of an earlier time still counts.
func (e *Engine) Heard(host string, at time.Time) (out []event.Finding) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.set.follow.Heard(e.source(host), at, func(f *sigma.Firing[*match]) { out = e.tell(out, f) }) {
		e.changed = true
	}
	e.passed(at)
	e.stats.Findings += uint64(len(out))
	return out
}

// source is whose clock told the time of an event.
func (e *Engine) source(host string) string {
	if !e.hosts {
		return ""
	}
	return host
}

// passed tells all but correlations that the time is now.
func (e *Engine) passed(now time.Time) {
	e.set.match.Advance(now)
	e.repeats.advance(now)
	e.say(e.noisy.advance(now)...)
	e.say(e.set.except.advance(now)...)
}

// sigmaRules returns the rules that events are matched against.
func (e *Engine) sigmaRules() []*sigma.Rule {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.set.match.Rules()
}

// Stats counts what an engine did.
type Stats struct {
	Rules    int    `json:"rules"`
	Events   uint64 `json:"events"`
	Matches  uint64 `json:"matches"`
	Findings uint64 `json:"findings"`
	Repeats  uint64 `json:"repeats"` // matches kept quiet because a finding had just said it
	Groups   int    `json:"groups"`  // open windows of correlations
	Evicted  uint64 `json:"evicted"` // open windows given up for want of room
	Late     uint64 `json:"late"`    // matches that came too late to count in correlations
	Clamped  uint64 `json:"clamped"` // matches whose clock was far ahead: they counted as of then
	// Uncounted are matches that lack a field which a correlation groups by or counts.
	Uncounted  uint64 `json:"uncounted"`
	GroupBytes int    `json:"group_bytes"` // held by open windows, about

	Excepted  uint64 `json:"excepted"`  // matches that an exception hid
	Throttled uint64 `json:"throttled"` // findings not raised because the rule was noisy
}

// Stats returns the counts so far.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats
	s.Rules = len(e.set.all)
	c := e.set.follow.Stats()
	s.Groups, s.GroupBytes = c.Groups, c.Bytes
	s.Evicted, s.Late, s.Clamped = s.Evicted+c.Evicted, s.Late+c.Late, s.Clamped+c.Clamped
	for _, one := range c.ByCorrelation {
		s.Uncounted += one.Missing + one.NotNumeric
	}
	return s
}

// Correlations returns what each correlation did and holds.
func (e *Engine) Correlations() []sigma.CorrelationStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.set.follow.Stats().ByCorrelation
}

// Suppressions returns what filters hid since the rules were loaded.
func (e *Engine) Suppressions() []sigma.Suppression {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.set.match.Suppressions()
}

// Snapshot returns the open windows of correlations, to be given to Restore when the agent starts again. It
// reports false, and returns nothing, where they are as at the last Snapshot.
func (e *Engine) Snapshot() ([]byte, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.changed {
		return nil, false
	}
	b, err := e.set.follow.Snapshot()
	if err != nil {
		e.log.Error("cannot write down open correlations", "error", err)
		return nil, false
	}
	e.changed = false
	return b, true
}

// Restore takes over the open windows of a Snapshot, in place of those the engine has. Those of
// correlations that are gone or mean something else now are left out.
func (e *Engine) Restore(data []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.set.follow.Restore(data)
}

// sentence ends a clause.
func sentence(clause string) string { return clause + "." }
