// Package detect turns events into findings: it matches each event against the Sigma rules of the
// loaded threats, follows sequences of matches within a container or lineage, and says in one
// sentence what happened.
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
//	net.connect, net.accept        network_connection
//	net.listen                     network_listen
//	net.send                       network_send
//	sensor.health                  sensor_health
//
// Rules of the levels informational and low are building blocks: sequences are made of them, and
// by themselves they are counted but yield no finding (Options.MinLevel).
package detect

import (
	"cmp"
	"encoding/json"
	"errors"
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
	Noisy      int            // findings of one rule in one workload within ten minutes, past which more are only counted; 100 if 0
}

// Engine matches events against rules. Its methods may be called by several goroutines.
type Engine struct {
	log  *slog.Logger
	host string
	min  event.Severity

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
}

// ruleset is what Reload replaces as a whole.
type ruleset struct {
	match   *sigma.Engine
	rules   map[*sigma.Rule]*rule
	all     []*rule // rules and sequences, by name
	windows []*window
	demand  map[event.Kind]bool
	except  *exceptions

	inactive []Inactive
}

// rule is a Sigma rule or a sequence, made ready.
type rule struct {
	info       event.Rule
	severity   event.Severity
	techniques []event.Technique
	summary    template
	file       string
	playbook   string
	sequence   bool
	alerts     bool // yields findings by itself
	feeds      []feed
	cost       int
	brought    bool // by a collection
	counts
}

// counts is what a rule did since the agent started.
type counts struct{ hits, excepted, throttled, repeated uint64 }

// feed names a step of a sequence that a rule is.
type feed struct {
	window *window
	step   int
}

// New returns an engine with the given threats. It fails only where the rules do not fit
// together, which LoadThreats has already sorted out.
func New(o Options) (*Engine, error) {
	e := &Engine{
		log: o.Log, host: o.Host, min: cmp.Or(o.MinLevel, event.Medium), view: newView(),
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

// Reload replaces the rules and the exceptions. Open sequences, and the counts of rules that stay,
// are kept. On an error the engine goes on with what it had. The new set is made ready before any
// event has to wait, and takes over between two of them.
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
	for _, w := range set.windows {
		for _, old := range e.set.windows {
			if old.rule.info.ID == w.rule.info.ID && slices.Equal(old.def.Rules, w.def.Rules) && slices.Equal(old.def.GroupBy, w.def.GroupBy) {
				w.restore(old.state())
			}
		}
	}
	e.set = set
	e.log.Info("rules loaded", "rules", len(set.rules), "sequences", len(set.windows))
	return nil
}

func (e *Engine) build(threats []Threat, except []*Exception) (*ruleset, error) {
	set := &ruleset{rules: map[*sigma.Rule]*rule{}, demand: map[event.Kind]bool{}}
	byName := map[string]*rule{}
	var list []*sigma.Rule
	for _, t := range threats {
		set.inactive = append(set.inactive, t.Inactive...)
		for _, r := range t.Rules {
			name := ruleName(r)
			if byName[name] != nil { // only in a collection: a file of the same name as another
				name = cmp.Or(r.ID, fmt.Sprintf("%s:%d", r.SourceFile, r.Line))
			}
			made := e.makeRule(event.Rule{ID: r.ID, Name: name, Title: r.Title, Threat: t.Name, Author: r.Author, Tags: r.Tags}, r.Level)
			made.file, made.brought = r.SourceFile, t.Collection
			if made.info.ID == "" {
				made.info.ID = name
			}
			if s, playbook, err := summaryOf(r.Custom); err == nil {
				made.summary, made.playbook = s, playbook
			}
			set.rules[r], byName[name], byName[made.info.ID] = made, made, made
			list, set.all = append(list, r), append(set.all, made)
			for k := event.KindNone + 1; k.String() != ""; k++ {
				if covered(r.Logsource, k) {
					set.demand[k] = true
				}
			}
		}
	}
	for _, t := range threats {
		for _, s := range t.Sequences {
			made := e.makeRule(event.Rule{ID: s.ID, Name: s.Name, Title: s.Title, Threat: t.Name, Author: s.Author, Tags: s.Tags}, s.Level)
			made.file, made.sequence = s.SourceFile, true
			w := newWindow(made, s)
			for i, name := range s.Rules {
				part := byName[name]
				if part == nil {
					return nil, fmt.Errorf("%s:%d: sequence %s: there is no rule %q", s.SourceFile, s.Line, s.Name, name)
				}
				part.feeds = append(part.feeds, feed{w, i})
			}
			set.windows, set.all = append(set.windows, w), append(set.all, made)
		}
	}
	for _, r := range set.all { // later steps first: an event that is two steps does not follow itself
		slices.SortStableFunc(r.feeds, func(a, b feed) int { return cmp.Compare(b.step, a.step) })
	}
	slices.SortFunc(set.all, func(a, b *rule) int { return cmp.Compare(a.info.Name, b.info.Name) })
	var err error
	if set.match, err = sigma.Compile(list, Schema()); err != nil {
		return nil, err
	}
	for r, cost := range set.match.Costs() {
		set.rules[r].cost = cost
	}
	set.except, err = newExceptions(except)
	return set, err
}

func (e *Engine) makeRule(info event.Rule, level string) *rule {
	severity := event.ParseSeverity(level)
	return &rule{info: info, severity: severity, techniques: Techniques(info.Tags), alerts: severity >= e.min}
}

// Process matches one event and returns the findings it completes, nil for none. It keeps
// nothing of ev.
func (e *Engine) Process(ev *event.Event) []event.Finding {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Events++
	e.view.e, e.fired = ev, e.fired[:0]
	e.set.match.Match(e.view, e.hit)
	if len(e.fired) == 0 {
		return nil
	}
	return e.judge(ev)
}

// judge makes findings of the rules that fired on ev.
func (e *Engine) judge(ev *event.Event) (out []event.Finding) {
	if ev.Host == "" || ev.Process == nil {
		ev = ev.Clone()
		ev.Host = cmp.Or(ev.Host, e.host)
		ev.Process = cmp.Or(ev.Process, &event.Process{})
	}
	var sequences []event.Finding
	except := e.set.except.look(e.view, ev.Time)
	for _, fired := range e.fired {
		r := e.set.rules[fired]
		if hides(except, r) {
			r.excepted++
			e.stats.Excepted++
			continue
		}
		r.hits++
		e.stats.Matches++
		for _, to := range r.feeds {
			e.changed = true
			f, evicted := to.window.feed(to.step, r, ev)
			e.stats.Evicted += uint64(evicted)
			if f == nil {
				continue
			}
			if hides(except, to.window.rule) {
				to.window.rule.excepted++
				e.stats.Excepted++
				continue
			}
			to.window.rule.hits++
			sequences = append(sequences, *f)
		}
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
		m := r.matchOf(ev)
		out = append(out, r.finding([]match{m}, count, sentence(m.Clause)))
	}
	out = append(out, sequences...)
	e.stats.Findings += uint64(len(out))
	return out
}

// Advance tells that the time is now, for windows that close without an event. No detector has
// anything to say about silence yet, so it returns no findings.
func (e *Engine) Advance(now time.Time) []event.Finding {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.set.windows {
		before := len(w.groups)
		w.expire(now)
		e.changed = e.changed || len(w.groups) != before
	}
	e.repeats.advance(now)
	e.say(e.noisy.advance(now)...)
	e.say(e.set.except.advance(now)...)
	return nil
}

// Stats counts what an engine did.
type Stats struct {
	Rules    int    `json:"rules"`
	Events   uint64 `json:"events"`
	Matches  uint64 `json:"matches"`
	Findings uint64 `json:"findings"`
	Repeats  uint64 `json:"repeats"` // matches kept quiet because a finding had just said it
	Groups   int    `json:"groups"`  // open sequences
	Evicted  uint64 `json:"evicted"` // open sequences given up for want of room

	Excepted  uint64 `json:"excepted"`  // matches that an exception hid
	Throttled uint64 `json:"throttled"` // findings not raised because the rule was noisy
}

// Stats returns the counts so far.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats
	s.Rules = len(e.set.all)
	for _, w := range e.set.windows {
		s.Groups += len(w.groups)
	}
	return s
}

// Snapshot returns the open sequences, to be given to Restore when the agent starts again. It
// reports false, and returns nothing, where they are as at the last Snapshot.
func (e *Engine) Snapshot() ([]byte, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.changed {
		return nil, false
	}
	s := snapshot{Version: snapshotVersion, Sequences: map[string][]group{}}
	for _, w := range e.set.windows {
		if len(w.groups) > 0 {
			s.Sequences[w.rule.info.ID] = w.state()
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		e.log.Error("cannot write down open sequences", "error", err)
		return nil, false
	}
	e.changed = false
	return b, true
}

// Restore takes over the open sequences of a Snapshot, in place of those the engine has. Those
// of rules that are gone or have other steps are left out.
func (e *Engine) Restore(data []byte) error {
	var s snapshot
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("restore open sequences: %w", err)
	}
	if s.Version != snapshotVersion {
		return errors.New("restore open sequences: written by another version of the program")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.set.windows {
		w.reset()
		w.restore(s.Sequences[w.rule.info.ID])
	}
	return nil
}

// sentence ends a clause.
func sentence(clause string) string { return clause + "." }
