package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"picket/event"
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

	mu       sync.Mutex
	enforcer *enforce.Enforcer // nil until there is a policy
	lacks    []event.Capability
	loaded   map[string]*policy.Policy
	applied  map[string]enforce.Rules
	subjects map[policy.Subject]string // to the root of its file system
	bound    map[uint64]placed         // by cgroup id
	isolated map[string]isolation      // by cgroup
	wrong    []string                  // what was refused, for people
	told     map[string]bool           // refusals that were logged
	seen     string                    // fingerprint of the files
	names    map[string]map[netip.Addr]time.Time
}

// isolation is a cgroup that is cut off.
type isolation struct {
	id    uint64
	until time.Time
}

// placed is a cgroup and the policy that it is under.
type placed struct{ name, cgroup, root string }

func newPolicies(cfg *Config, log *slog.Logger) *policies {
	return &policies{
		cfg: cfg, log: log, loaded: map[string]*policy.Policy{}, applied: map[string]enforce.Rules{}, subjects: map[policy.Subject]string{},
		bound: map[uint64]placed{}, isolated: map[string]isolation{}, told: map[string]bool{}, names: map[string]map[netip.Addr]time.Time{},
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
	if err == nil {
		err = p.open(len(list) + len(readOverrides(p.cfg).Isolated))
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

// open makes the enforcer when the first policy is there.
func (p *policies) open(n int) error {
	if n == 0 || p.enforcer != nil {
		return nil
	}
	e, err := enforce.Open(enforce.Options{Log: p.log, Host: p.cfg.Host})
	if err != nil {
		return err
	}
	p.lacks = enforce.Probe()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.enforcer = e
	return nil
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
	if pol.Models != nil && pol.Models.ReadOnly {
		i := slices.IndexFunc(caps, func(c event.Capability) bool { return c.Name == "enforce-models" })
		if i >= 0 && !caps[i].OK {
			what = caps[i].Detail
		}
	}
	if what == "" {
		return nil
	}
	return &policy.Error{
		File: pol.File, Line: pol.Line, Col: 1, Msg: "policy " + pol.Name + " cannot be enforced on this kernel: " + what,
		Hint: "put that part into a policy with mode: observe",
	}
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
		r.Devices = enforce.DevicesOf(pol.Devices.Allow)
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
			p.refuse(fmt.Sprintf("policy %s expired on %s and does nothing more", name, pol.Expires.AddDate(0, 0, -1).Format(time.DateOnly)))
			continue
		}
		rules, err := p.rules(pol, over, now)
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
	}
	p.place()
	p.isolate(over.Isolated, now)
	p.writeStatus()
}

// isolate cuts off the cgroups that people named, and lets go of the others.
func (p *policies) isolate(want map[string]time.Time, now time.Time) {
	for cgroup, is := range p.isolated {
		if until, ok := want[cgroup]; !ok || !now.Before(until) {
			p.enforcer.Restore(is.id)
			delete(p.isolated, cgroup)
			p.log.Info("a cgroup is back on the network", "cgroup", cgroup)
		}
	}
	for cgroup, until := range want {
		if !now.Before(until) || p.isolated[cgroup].until.Equal(until) {
			continue
		}
		id, err := p.enforcer.ID(cgroup)
		if err == nil && policy.Guarded(cgroup) {
			err = fmt.Errorf("cgroup %s holds the host together: it is not cut off", cgroup)
		}
		if err == nil {
			err = p.enforcer.Isolate(cgroup, until)
		}
		if err != nil {
			p.refuse(err.Error())
			continue
		}
		p.isolated[cgroup] = isolation{id, until}
		p.log.Warn("a cgroup is cut off the network", "cgroup", cgroup, "until", until)
	}
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

// meet takes note of a process: its cgroup may be one that a policy is for. A cgroup that is under a
// policy goes over to a more particular one only: what a process calls itself must not free it.
func (p *policies) meet(proc *event.Process) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.enforcer == nil || proc == nil || proc.CgroupPath == "" {
		return
	}
	s := subjectOf(proc)
	if !p.byExe() {
		s.Exe = ""
	}
	if _, known := p.subjects[s]; known || len(p.subjects) >= maxSubjects {
		return
	}
	root := fmt.Sprintf("/proc/%d/root", proc.PID)
	p.subjects[s] = root
	best, _ := policy.Choose(p.live(), s)
	if best == nil {
		return
	}
	id, err := p.enforcer.ID(s.Cgroup)
	if err != nil {
		return // it is gone, or known to cgroup v1 only
	}
	if has, ok := p.bound[id]; ok && !best.Over(time.Now()) && !best.Narrower(p.loaded[has.name]) {
		return
	}
	p.bind(id, placed{best.Name, s.Cgroup, root})
	p.writeStatus()
}

// byExe reports whether a policy selects by executable.
func (p *policies) byExe() bool {
	for _, pol := range p.loaded {
		if pol.Select.Exe != nil {
			return true
		}
	}
	return false
}

// live returns the policies that the kernel has.
func (p *policies) live() []*policy.Policy {
	var out []*policy.Policy
	for name := range p.applied {
		out = append(out, p.loaded[name])
	}
	return out
}

// place puts each known cgroup under the policy that is for it now, and lets go of the others.
func (p *policies) place() {
	want, live := map[uint64]placed{}, p.live()
	for s, root := range p.subjects {
		best, _ := policy.Choose(live, s)
		if best == nil {
			continue
		}
		id, err := p.enforcer.ID(s.Cgroup)
		if has, ok := want[id]; err != nil || ok && !best.Before(p.loaded[has.name]) {
			continue
		}
		want[id] = placed{best.Name, s.Cgroup, root}
	}
	for id := range p.bound {
		if _, ok := want[id]; !ok {
			p.enforcer.Release(id)
			delete(p.bound, id)
		}
	}
	for id, to := range want {
		if has, ok := p.bound[id]; !ok || has.name != to.name {
			p.bind(id, to)
		}
	}
}

// bind puts a cgroup under a policy.
func (p *policies) bind(id uint64, to placed) {
	if policy.Guarded(to.cgroup) {
		p.refuse(fmt.Sprintf("policy %s selects cgroup %s, which holds the host together: a workload needs a cgroup of its own in cgroup v2", to.name, to.cgroup))
		return
	}
	t := enforce.Target{Cgroup: to.cgroup}
	if b, err := os.ReadFile(strings.TrimSuffix(to.root, "root") + "cgroup"); err == nil && strings.Contains(string(b), "\n0::"+to.cgroup+"\n") {
		t.Root = to.root // the process is there still, and no other has its number
	}
	if err := p.enforcer.Bind(t, to.name); err != nil {
		p.refuse(err.Error())
		return
	}
	p.bound[id] = to
	p.log.Info("a cgroup is under a policy", "policy", to.name, "cgroup", to.cgroup, "enforce", p.applied[to.name].Enforce)
}

// breach returns the violation that a change of a file is: writing in a model directory can only be
// seen. It returns nil for all others.
func (p *policies) breach(e *event.Event) *event.Event {
	switch e.Kind {
	case event.FileCreate, event.FileWrite, event.FileRename, event.FileDelete, event.FileChmod:
	default:
		return nil
	}
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.bound) == 0 || e.Process == nil {
		return nil
	}
	for _, b := range p.bound {
		m := p.loaded[b.name].Models
		if m == nil || !m.ReadOnly || !within(e.Process.CgroupPath, b.cgroup) {
			continue
		}
		if slices.ContainsFunc(m.Paths, func(dir string) bool { return within(e.File.Path, dir) || within(e.File.Old, dir) }) {
			v := e.Clone()
			v.Kind = event.PolicyViolation
			v.Policy = &event.Policy{Name: b.name, Rule: event.RuleModels, Action: event.ActionSeen, Rung: "sys_exit"}
			return v
		}
	}
	return nil
}

// models returns the model directories that policies protect.
func (p *policies) models() []string {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, pol := range p.loaded {
		if pol.Models != nil && pol.Models.ReadOnly {
			for _, dir := range pol.Models.Paths {
				out = append(out, strings.TrimSuffix(dir, "/")+"/")
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func subjectOf(proc *event.Process) policy.Subject {
	s := policy.Subject{Cgroup: proc.CgroupPath, Exe: proc.Exe}
	if c := proc.Container; c != nil {
		s.Container = c.ID
		if c.Cgroup != "" {
			s.Cgroup = c.Cgroup
		}
	}
	if w := proc.Workload; w != nil {
		s.Workload, s.Engine, s.Name = string(w.Kind), w.Engine, w.Name
	}
	return s
}

// prune lets go of cgroups that are gone.
func (p *policies) prune() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.enforcer == nil {
		return
	}
	for s := range p.subjects {
		if _, err := p.enforcer.ID(s.Cgroup); err != nil {
			delete(p.subjects, s)
		}
	}
	for id, to := range p.bound {
		if now, err := p.enforcer.ID(to.cgroup); err != nil || now != id {
			p.enforcer.Release(id)
			delete(p.bound, id)
		}
	}
	if err := p.enforcer.Refresh(); err != nil {
		p.refuse(err.Error())
	}
	p.apply() // a policy may have expired, and an override ended
}

// follow keeps policies as their files, names and programs are, until ctx ends.
// begin is called once there is an enforcer.
func (p *policies) follow(ctx context.Context, begin func()) {
	tick := time.NewTicker(policiesEvery)
	defer tick.Stop()
	programs, names := time.Now(), time.Now()
	for {
		if p.enforcer != nil {
			begin()
		}
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			p.reload(ctx)
			if now.Sub(programs) >= programsEvery {
				programs = now
				p.prune()
			}
			if now.Sub(names) >= namesEvery {
				names = now
				p.mu.Lock()
				list := slices.Collect(maps.Values(p.loaded))
				p.mu.Unlock()
				p.lookUp(ctx, list)
			}
		}
	}
}

// lookUp asks what the names of policies stand for. An address that is no longer given stays
// allowed for an hour: connections to it may be open.
func (p *policies) lookUp(ctx context.Context, list []*policy.Policy) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, pol := range list {
		if pol.Egress == nil {
			continue
		}
		for _, name := range pol.Egress.Names() {
			addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
			if err != nil {
				p.log.Warn("a name in a policy cannot be resolved: what it stood for stays allowed for an hour", "policy", pol.Name, "name", name, "error", err)
			}
			p.note(name, addrs, time.Now())
		}
	}
}

func (p *policies) note(name string, addrs []netip.Addr, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.names[name] == nil {
		p.names[name] = map[netip.Addr]time.Time{}
	}
	for _, a := range addrs {
		p.names[name][a.Unmap().WithZone("")] = now
	}
	maps.DeleteFunc(p.names[name], func(_ netip.Addr, last time.Time) bool { return now.Sub(last) > nameKept })
}

// followPolicies makes the sensor report what policies about models need.
func (a *agent) followPolicies() {
	if m := a.policies.models(); !slices.Equal(m, a.protected) {
		a.protected = m
		a.followDemand()
	}
}

// startPolicies follows the policies. What they see goes the way of all events. The
// channel it returns closes when all of it has ended.
func (a *agent) startPolicies(ctx context.Context, events chan struct{}) <-chan struct{} {
	p, ended := a.policies, make(chan struct{})
	go func() {
		defer close(ended)
		var telling sync.WaitGroup
		defer telling.Wait()
		p.follow(ctx, sync.OnceFunc(func() {
			telling.Go(func() {
				err := p.enforcer.Run(ctx, func(e *event.Event) {
					<-events
					a.handle(e)
					events <- struct{}{}
				})
				if err != nil {
					p.log.Error("violations of policies are not told any more", "error", err)
				}
			})
		}))
	}()
	return ended
}

func (p *policies) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = os.Remove(policyStatusFile(p.cfg)) // nothing is bound any more
	if p.enforcer == nil {
		return nil
	}
	return p.enforcer.Close()
}
