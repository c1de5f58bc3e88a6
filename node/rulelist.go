package node

import (
	"context"
	"log/slog"
	"slices"

	"picket/api"
	"picket/detect"
	"picket/threats"
)

// ruleList is the rules as the page shows them: what this host's files say, and what the agents
// count of each.
type ruleList struct {
	rules []api.LoadedRule
	fleet *fleet
}

// Loaded implements api.Rules.
func (l ruleList) Loaded(context.Context) ([]api.LoadedRule, error) {
	hits := l.fleet.byRule("picket_detect_rule_hits_total")
	quiet := l.fleet.byRule("picket_detect_rule_suppressed_total")
	out := slices.Clone(l.rules)
	for i := range out {
		key := ruleKey{out[i].Name, out[i].Threat}
		out[i].Hits, out[i].Suppressed = hits[key], quiet[key]
	}
	return out, nil
}

// loadedRules reads the threats as an agent on this host does, for the page to show.
func loadedRules(cfg *Config, log *slog.Logger) []api.LoadedRule {
	loaded, _ := LoadThreats(cfg, ThreatRoots(cfg, threats.FS)...) // an agent says what is wrong with them
	e, err := detect.New(detect.Options{Threats: loaded})
	if err != nil {
		log.Warn("rules cannot be listed", "error", err)
		return nil
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
	return out
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

var _ api.Rules = ruleList{}
