package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"picket/policy"
	"picket/sensor/enforce"
)

// frozenFile holds the cgroups that this agent froze. The next one thaws them if it was killed
// together with what should have done so.
func frozenFile(cfg *Config) string { return filepath.Join(cfg.dir("agent"), "frozen.json") }

// thawLeftovers thaws what an agent left frozen that ended without a word.
func (p *policies) thawLeftovers() {
	b, err := os.ReadFile(frozenFile(p.cfg))
	if err != nil {
		return // none was left
	}
	var left []string
	err = json.Unmarshal(b, &left)
	groups, opened := enforce.OpenCgroups()
	if err = errors.Join(err, opened); err == nil {
		for _, cgroup := range left {
			p.log.Warn("a cgroup that an earlier run froze goes on", "cgroup", cgroup)
			err = errors.Join(err, groups.ThawLeft(cgroup))
		}
	}
	if err != nil {
		p.log.Error("cgroups may be frozen still", "file", frozenFile(p.cfg), "error", err)
		return
	}
	_ = os.Remove(frozenFile(p.cfg)) // to thaw twice harms nothing
}

// freeze holds the cgroups still that people named, and lets the others go on.
func (p *policies) freeze(want map[string]time.Time, now time.Time) {
	for cgroup := range p.frozen {
		if until, ok := want[cgroup]; ok && now.Before(until) {
			continue
		}
		if _, err := p.enforcer.Thaw(cgroup); err != nil {
			p.refuse(err.Error())
			continue
		}
		delete(p.frozen, cgroup)
		p.log.Info("a cgroup goes on", "cgroup", cgroup)
	}
	for cgroup, until := range want {
		if !now.Before(until) || p.frozen[cgroup].Equal(until) {
			continue
		}
		var err error
		if policy.Guarded(cgroup) {
			err = fmt.Errorf("cgroup %s holds the host together: it is not frozen", cgroup)
		}
		if err == nil {
			err = p.keepFrozen(append(slices.Collect(maps.Keys(p.frozen)), cgroup))
		}
		if err == nil {
			err = p.enforcer.Freeze(cgroup)
		}
		if err != nil {
			p.refuse(err.Error())
			continue
		}
		p.frozen[cgroup] = until
		p.log.Warn("a cgroup is frozen", "cgroup", cgroup, "until", until)
	}
	if len(p.frozen) == 0 {
		_ = os.Remove(frozenFile(p.cfg)) // to thaw what is not frozen harms nothing
	}
}

// keepFrozen writes down what is frozen before it is.
func (p *policies) keepFrozen(cgroups []string) error {
	b, err := json.Marshal(cgroups)
	if err == nil {
		err = replaceFile(frozenFile(p.cfg), append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write down what is frozen: %w", err)
	}
	return nil
}
