package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"picket/event"
	"picket/inventory"
	"picket/policy"
	"picket/sensor/enforce"
)

const (
	policiesEvery = 2 * time.Second  // files are looked at
	programsEvery = 10 * time.Second // where the paths of programs lead
	namesEvery    = time.Minute      // what names stand for
	nameKept      = time.Hour        // an address, after it was last given for a name
	maxSubjects   = 16 << 10
)

// policies binds the cgroups of workloads to the policies that select them.
type policies struct {
	cfg *Config
	log *slog.Logger

	opening  sync.Mutex
	mu       sync.Mutex
	enforcer *enforce.Enforcer // nil until there is a policy, or something is cut off
	top      uint64            // id of the root of cgroup v2
	lacks    []event.Capability
	loaded   map[string]*policy.Policy
	applied  map[string]enforce.Rules
	subjects map[policy.Subject]string // to the root of its file system
	bound    map[uint64]placed         // by cgroup id
	scanner  *inventory.Scanner        // says what model files are; nil where nobody asks
	foreseen sync.WaitGroup            // looks at directories of models
	wrong    []string                  // what was refused, for people
	told     map[string]bool           // refusals that were logged
	seen     string                    // fingerprint of the files
	names    map[string]map[netip.Addr]time.Time
}

// placed is a cgroup and the policy that it is under.
type placed struct{ name, cgroup, root string }

func newPolicies(cfg *Config, log *slog.Logger) *policies {
	return &policies{
		cfg: cfg, log: log, loaded: map[string]*policy.Policy{}, applied: map[string]enforce.Rules{}, subjects: map[policy.Subject]string{},
		bound: map[uint64]placed{}, told: map[string]bool{}, names: map[string]map[netip.Addr]time.Time{},
	}
}

// reload reads the policies where their files changed. A mistake keeps those in use that were.
func (p *policies) reload(ctx context.Context) {
	seen := policyFingerprint(p.cfg)
	if seen == p.seen {
		return
	}
	p.seen = seen
	list, err := policy.Load(p.cfg.Policy.Files...)
	if err == nil && (len(list) > 0 || p.cfg.Policy.Protect) {
		err = p.open()
	}
	if err == nil && len(list) > 0 && p.lacks == nil {
		lacks := enforce.Probe()
		p.mu.Lock()
		p.lacks = lacks
		p.mu.Unlock()
	}
	if err == nil {
		err = p.enforceable(list)
	}
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.wrong = nil
		for _, e := range Unjoin(err) {
			p.wrong = append(p.wrong, e.Error())
		}
		p.log.Error("policies were not taken over: those that were stay in use", "mistakes", len(p.wrong), "first", p.wrong[0])
		p.writeStatus()
		return
	}
	p.lookUp(ctx, list)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrong, p.told = nil, map[string]bool{}
	loaded := map[string]*policy.Policy{}
	for _, pol := range list {
		loaded[pol.Name] = pol
	}
	p.loaded = loaded
	p.apply()
	if len(list) > 0 {
		p.log.Info("policies loaded", "policies", len(list), "bound", len(p.bound))
	}
}

// open makes the enforcer, where there is none yet.
func (p *policies) open() error {
	p.opening.Lock()
	defer p.opening.Unlock()
	if p.opened() != nil {
		return nil
	}
	e, err := enforce.Open(enforce.Options{Log: p.log, Host: p.cfg.Host, Judge: p.mayLoad})
	if err != nil {
		return err
	}
	top, err := e.ID("")
	if err != nil {
		return errors.Join(err, e.Close())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.enforcer, p.top = e, top
	return nil
}

// opened returns the enforcer, nil where there is none yet.
func (p *policies) opened() *enforce.Enforcer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.enforcer
}

// needed returns the enforcer, for acts beside policies.
func (p *policies) needed() (*enforce.Enforcer, error) {
	if err := p.open(); err != nil {
		return nil, err
	}
	return p.opened(), nil
}

// enforceable says what of the policies this kernel cannot enforce, before any of them is used.
func (p *policies) enforceable(list []*policy.Policy) error {
	var errs []error
	for _, pol := range list {
		if err := Enforceable(pol, p.lacks); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Enforceable says what of a policy in mode enforce a kernel with these capabilities cannot enforce.
func Enforceable(pol *policy.Policy, caps []event.Capability) error {
	if pol.Mode != policy.Enforce {
		return nil
	}
	what := enforce.Lacks(caps, rulesOf(pol, policy.Set{}))
	if what == "" {
		return nil
	}
	return &policy.Error{
		File: pol.File, Line: pol.Line, Col: 1, Msg: "policy " + pol.Name + " cannot be enforced on this kernel: " + what,
		Hint: "put that part into a policy with mode: observe",
	}
}

// Means says by what each part of a policy is enforced on a kernel with these capabilities, and what of
// it does nothing.
func Means(pol *policy.Policy, caps []event.Capability) []string {
	if pol.Over(time.Now()) {
		return []string{expired(pol)}
	}
	out := enforce.Means(caps, rulesOf(pol, policy.Set{}))
	if absent := absentGPUs(pol); absent != "" {
		out = append(out, absent)
	}
	if m := pol.Models; m != nil && m.Signed && (len(m.Paths) == 0 || pol.Mode != policy.Enforce) {
		out = append(out, "models.require told only, seconds after the file was opened: to refuse it takes mode: enforce and models.paths")
	}
	return out
}

func expired(pol *policy.Policy) string {
	return fmt.Sprintf("expired on %s and does nothing more", pol.Expires.AddDate(0, 0, -1).Format(time.DateOnly))
}

// absentGPUs names the GPUs of a policy that this host does not have, "" where it has all.
func absentGPUs(pol *policy.Policy) string {
	if pol.Devices == nil {
		return ""
	}
	_, missing := enforce.DevicesOf(pol.Devices.Allow)
	if len(missing) == 0 {
		return ""
	}
	return strings.Join(missing, ", ") + ": no such GPU is here now: nothing is allowed by it"
}

// rulesOf is what a policy asks of the kernel.
func rulesOf(pol *policy.Policy, set policy.Set) enforce.Rules {
	r := enforce.Rules{Enforce: pol.Mode == policy.Enforce, Until: pol.Expires, Sysctl: pol.Sysctl == "deny"}
	if pol.Exec != nil {
		r.Exec = pol.Exec.Allow
	}
	if pol.Egress != nil {
		r.Egress = &enforce.Egress{Open: set.Open}
		for _, x := range set.Prefixes {
			r.Egress.Prefixes = append(r.Egress.Prefixes, enforce.Prefix(x))
		}
	}
	if pol.Devices != nil {
		r.Devices, _ = enforce.DevicesOf(pol.Devices.Allow) // what is missing apply says
	}
	if pol.Models != nil && pol.Models.ReadOnly {
		r.Models = pol.Models.Paths
	}
	if pol.Models != nil && pol.Models.Private {
		r.Private = pol.Models.Paths
	}
	if m := pol.Models; m != nil && m.Signed && len(m.Paths) > 0 {
		r.Signed = &enforce.Signed{Dirs: m.Paths, By: m.By, Hold: m.Hold}
	}
	return r
}

// apply brings the kernel's sets, and then the bindings, to what the policies say now.
func (p *policies) apply() {
	if p.enforcer == nil {
		return
	}
	over, now := readOverrides(p.cfg), time.Now()
	for name := range p.applied {
		if pol := p.loaded[name]; pol == nil || pol.Over(now) {
			p.enforcer.Remove(name)
			delete(p.applied, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.loaded)) {
		pol := p.loaded[name]
		if pol.Over(now) {
			p.refuse("policy " + name + " " + expired(pol))
			continue
		}
		rules, err := p.rules(pol, over, now)
		if absent := absentGPUs(pol); absent != "" {
			p.refuse("policy " + name + ": " + absent)
		}
		if err == nil {
			if was, ok := p.applied[name]; ok && reflect.DeepEqual(was, rules) {
				continue
			}
			err = p.enforcer.Apply(name, rules)
		}
		if err != nil {
			p.refuse(err.Error())
			continue
		}
		p.applied[name] = rules
		for _, to := range p.bound {
			if to.name == name {
				p.foresee(to)
			}
		}
	}
	p.place()
	if err := p.enforcer.Guard(p.cfg.Policy.Protect && !over.Off); err != nil {
		p.refuse("policy.protect: " + err.Error())
	}
	p.writeStatus()
}

// rules is what a policy asks of the kernel, with what its names stand for and what people said of
// its mode.
func (p *policies) rules(pol *policy.Policy, over overrides, now time.Time) (enforce.Rules, error) {
	var set policy.Set
	if pol.Egress != nil {
		addrs := map[string][]netip.Addr{}
		for _, name := range pol.Egress.Names() {
			addrs[name] = slices.SortedFunc(maps.Keys(p.names[name]), netip.Addr.Compare)
		}
		var err error
		if set, err = pol.Egress.Compile(addrs); err != nil {
			return enforce.Rules{}, fmt.Errorf("policy %s: %w", pol.Name, err)
		}
	}
	r := rulesOf(pol, set)
	if o, ok := over.Modes[pol.Name]; ok && now.Before(o.Until) {
		forced := *pol
		forced.Mode = policy.Enforce
		if o.Mode == string(policy.Enforce) {
			if err := Enforceable(&forced, p.lacks); err != nil {
				return r, err
			}
		}
		r.Enforce = o.Mode == string(policy.Enforce)
	}
	if over.Off || p.cfg.Policy.Mode == string(policy.Observe) {
		r.Enforce = false
	}
	return r, nil
}

// refuse says once what could not be done.
func (p *policies) refuse(why string) {
	if p.told[why] {
		return
	}
	p.told[why] = true
	if len(p.wrong) < maxRuleErrors {
		p.wrong = append(p.wrong, why)
	}
	p.log.Warn("policy", "refused", why)
}
