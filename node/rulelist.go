package node

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"picket/api"
	"picket/detect"
)

// ruleList is the rules as the page shows them: what this host's files say, and what the agents
// count of each.
type ruleList struct {
	cfg   *Config
	log   *slog.Logger
	fleet *fleet

	mu      sync.Mutex
	rules   []api.LoadedRule
	threats []detect.Threat // that they come from

	known map[string]bool // mistakes of the rules listed
	seen  string          // fingerprint of the files
}

func newRuleList(cfg *Config, log *slog.Logger, f *fleet) *ruleList {
	l := &ruleList{cfg: cfg, log: log, fleet: f}
	read := readRules(cfg)
	l.known = mistakes(read.err) // as an agent that starts takes what is in order
	l.take(read)
	return l
}

// Loaded implements api.Rules.
func (l *ruleList) Loaded(context.Context) ([]api.LoadedRule, error) {
	hits := l.fleet.byRule("picket_detect_rule_hits_total")
	quiet := l.fleet.byRule("picket_detect_rule_suppressed_total")
	l.mu.Lock()
	out := slices.Clone(l.rules)
	l.mu.Unlock()
	for i := range out {
		key := ruleKey{out[i].Name, out[i].Threat}
		out[i].Hits, out[i].Suppressed = hits[key], quiet[key]
	}
	return out, nil
}

// follow lists the rules anew when their files change, until ctx ends.
func (l *ruleList) follow(ctx context.Context) error {
	changed := watchRules(ctx, l.cfg, l.log)
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	if changed != nil {
		tick.Stop()
	}
	for {
		if fingerprint(l.cfg) != l.seen { // also what changed before there were watches
			l.take(readRules(l.cfg))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
		}
	}
}

// take lists rules as an agent takes them: where there is a mistake that the listed ones do not have,
// these stay in use.
func (l *ruleList) take(read ruleSet) {
	l.seen = read.seen
	if len(fresh(read.err, l.known)) > 0 {
		l.log.Warn("rules have new mistakes: the last good ones stay listed, as agents keep them")
		return
	}
	e, err := detect.New(detect.Options{Threats: read.threats, Exceptions: read.except})
	if err != nil {
		l.log.Warn("rules cannot be listed", "error", err)
		return
	}
	rules := e.Rules()
	for _, r := range e.Inactive() {
		rules = append(rules, r.Info())
	}
	out := make([]api.LoadedRule, len(rules))
	for i, r := range rules {
		out[i] = api.LoadedRule{
			ID: r.ID, Name: r.Name, Title: r.Title, Threat: r.Threat, Level: r.Level, Author: r.Author,
			Techniques: detect.Techniques(r.Tags), Inactive: r.Inactive, Cost: r.Cost,
		}
	}
	l.known = mistakes(read.err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rules, l.threats = out, read.threats
}

// ruleKey names a rule in the agents' metrics.
type ruleKey struct{ rule, threat string }

// byRule adds up a counter of the agents over all but rule and threat.
func (f *fleet) byRule(name string) map[ruleKey]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[ruleKey]uint64{}
	for _, a := range f.agents {
		for _, family := range a.metrics {
			if family.GetName() != name {
				continue
			}
			for _, m := range family.Metric {
				var key ruleKey
				for _, l := range m.Label {
					switch l.GetName() {
					case "rule":
						key.rule = l.GetValue()
					case "threat":
						key.threat = l.GetValue()
					}
				}
				out[key] += uint64(max(0, m.GetCounter().GetValue()))
			}
		}
	}
	return out
}

var _ api.Rules = (*ruleList)(nil)
