package node

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"picket/api"
	"picket/detect"
	"picket/event"
	"picket/sensor/kernel"
	"picket/threats"
)

// Coverage says what loaded rules see of the catalogue of threats, on hosts that can do what hosts says:
// by their names, and by row of picket doctor. A host of which nothing is known lacks nothing.
func Coverage(loaded []detect.Threat, hosts map[string]map[string]bool) ([]api.Covered, error) {
	entries, err := threats.Catalogue()
	if err != nil {
		return nil, err
	}
	needs := needsOf(loaded)
	out := make([]api.Covered, 0, len(entries))
	for _, e := range entries {
		c := api.Covered{Entry: e, Coverage: e.Coverage(), Techniques: techniquesOf(&e)}
		kinds := map[event.Kind]bool{}
		for _, name := range e.Rules {
			if of, ok := needs[name]; ok {
				maps.Copy(kinds, of)
			} else {
				c.Unloaded = append(c.Unloaded, name)
			}
		}
		for _, h := range kernel.Hooks(slices.Sorted(maps.Keys(kinds))...) {
			if !slices.Contains(c.Needs, h.Feature) {
				c.Needs = append(c.Needs, h.Feature)
			}
		}
		for _, host := range slices.Sorted(maps.Keys(hosts)) {
			for _, n := range c.Needs {
				if ok, known := hosts[host][n]; known && !ok {
					if c.Missing == nil {
						c.Missing = map[string][]string{}
					}
					c.Missing[n] = append(c.Missing[n], host)
				}
			}
		}
		out = append(out, c)
	}
	return out, nil
}

func techniquesOf(e *threats.Entry) []event.Technique {
	var tags []string
	for _, id := range e.Attack {
		tags = append(tags, "attack."+strings.ToLower(id))
	}
	for _, id := range e.Atlas {
		tags = append(tags, "atlas."+strings.ToLower(id))
	}
	return detect.Techniques(tags)
}

// needsOf returns the kinds of event that each rule rests on; a correlation rests on those of its rules.
func needsOf(loaded []detect.Threat) map[string]map[event.Kind]bool {
	out, ids := map[string]map[event.Kind]bool{}, map[string]string{}
	for _, t := range loaded {
		for _, r := range t.Rules {
			kinds := map[event.Kind]bool{}
			for _, k := range detect.KindsOf(r.Logsource) {
				kinds[k] = true
			}
			out[r.Name], ids[r.ID] = kinds, r.Name
		}
	}
	for range 2 { // correlations may be of correlations
		for _, t := range loaded {
			for _, c := range t.Correlations {
				kinds := map[event.Kind]bool{}
				for _, part := range c.Rules {
					maps.Copy(kinds, out[cmp.Or(ids[part], part)])
				}
				out[c.Name], ids[c.ID] = kinds, c.Name
			}
		}
	}
	return out
}

// Coverage implements api.Rules: with the rules of this host's files, on the hosts that report.
func (l *ruleList) Coverage(ctx context.Context) ([]api.Covered, error) {
	agents, err := l.fleet.Agents(ctx)
	if err != nil {
		return nil, err
	}
	hosts := map[string]map[string]bool{}
	for _, a := range agents {
		if a.Heartbeat == nil || a.Status != api.AgentOK {
			continue
		}
		hosts[a.Host] = map[string]bool{}
		for _, c := range a.Heartbeat.Capabilities {
			hosts[a.Host][c.Name] = c.OK
		}
	}
	l.mu.Lock()
	loaded := l.threats
	l.mu.Unlock()
	return Coverage(loaded, hosts)
}
