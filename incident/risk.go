package incident

import (
	"maps"
	"math"
	"slices"

	"picket/event"
)

// weight is what the first finding of a rule adds to the certainty that something is wrong, in percent.
var weight = map[event.Severity]float64{event.Informational: 2, event.Low: 6, event.Medium: 18, event.High: 35, event.Critical: 60}

// killChain is the order in which an attack makes progress: ATT&CK v19's tactics, with those that
// only ATLAS has where they stand in its matrix.
var killChain = []string{
	"reconnaissance", "resource-development", "initial-access", "ai-model-access", "execution", "persistence", "privilege-escalation",
	"stealth", "defense-impairment", "defense-evasion", "credential-access", "discovery", "lateral-movement", "collection", "ai-attack-staging",
	"command-and-control", "exfiltration", "impact",
}

func stage(tactic string) int {
	if i := slices.Index(killChain, tactic); i >= 0 {
		return i
	}
	return len(killChain)
}

// risk is 0 to 100. Each rule that fired is evidence: 100·(1 − Π(1 − w)) over the rules' weights, so
// that repeats of one rule add nothing and many weak signs do not pass for a strong one. Each tactic
// beyond the first adds 6, up to 30: an attack that moves on is worse than one that tries again.
func risk(inc *event.Incident) int {
	worst := map[string]event.Severity{}
	for _, f := range inc.Findings {
		worst[f.Rule] = max(worst[f.Rule], f.Severity)
	}
	doubt := 1.0
	for _, rule := range slices.Sorted(maps.Keys(worst)) { // a product of floats depends on its order
		doubt *= 1 - weight[worst[rule]]/100
	}
	progress := 6 * min(max(tactics(inc)-1, 0), 5)
	return min(100, int(math.Round(100*(1-doubt)))+progress)
}

func tactics(inc *event.Incident) int {
	seen := map[string]bool{}
	for _, t := range inc.Techniques {
		if t.Tactic != "" {
			seen[t.Tactic] = true
		}
	}
	return len(seen)
}

// severity is that of the worst finding, and at least high where an attack of medium signs has made
// progress through three tactics.
func severity(inc *event.Incident) event.Severity {
	worst := inc.Severity
	for _, f := range inc.Findings {
		worst = max(worst, f.Severity)
	}
	if worst == event.Medium && tactics(inc) >= 3 {
		worst = event.High
	}
	return worst
}
