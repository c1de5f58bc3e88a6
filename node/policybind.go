package node

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"picket/event"
	"picket/policy"
	"picket/sensor/enforce"
)

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
		p.rejoin(s, proc)
		return
	}
	root := rootOf(proc)
	p.subjects[s] = root
	best, _ := policy.Choose(p.live(), s)
	if best == nil {
		return
	}
	id, err := p.idOf(s, root, best)
	if err != nil {
		return // it is gone, or idOf said why
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
		id, err := p.idOf(s, root, best)
		if has, ok := want[id]; err != nil || ok && !best.Before(p.loaded[has.name]) {
			continue
		}
		want[id] = placed{best.Name, s.Cgroup, root}
	}
	for id := range p.bound {
		if _, ok := want[id]; !ok {
			p.release(id)
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
	p.foresee(to)
	p.log.Info("a cgroup is under a policy", "policy", to.name, "cgroup", to.cgroup, "enforce", p.applied[to.name].Enforce)
}

// breach returns the violation that a change of a file is: where a policy observes, and through what
// was open before, writing in a model directory is seen. It returns nil for all others.
func (p *policies) breach(e *event.Event) *event.Event {
	switch e.Kind {
	case event.FileCreate, event.FileWrite, event.FileRename, event.FileDelete, event.FileChmod:
	case event.ModelSeen:
		return p.unsigned(e)
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

// unsigned returns the violation that loading a model file is where a policy wants it signed. What the
// enforcer did not refuse, as it was not judged yet or nobody was asked, is told after it was read.
func (p *policies) unsigned(e *event.Event) *event.Event {
	a := e.Artifact
	if p == nil || a == nil || a.Use != event.UseRead || a.Signature == "" || e.Process == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.bound {
		m := p.loaded[b.name].Models
		if m == nil || !m.Signed || !within(e.Process.CgroupPath, b.cgroup) || a.Signature == event.Signed && signedBy(a.Signer, m.By) {
			continue
		}
		if len(m.Paths) == 0 || slices.ContainsFunc(m.Paths, func(dir string) bool { return within(e.File.Path, dir) }) {
			v := e.Clone()
			v.Kind = event.PolicyViolation
			v.Policy = &event.Policy{Name: b.name, Rule: event.RuleModels, Action: event.ActionSeen, Rung: "model.seen"}
			return v
		}
	}
	return nil
}

// signedBy reports whether a signer is one of some identities, or whether none is asked for.
func signedBy(signer string, identities []string) bool {
	return len(identities) == 0 || slices.ContainsFunc(identities, func(x string) bool { return strings.HasPrefix(signer, "identity "+x+" (") })
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
	for s, root := range p.subjects {
		if _, err := p.enforcer.ID(s.Cgroup); err != nil && !inCgroup(root, s.Cgroup) {
			delete(p.subjects, s)
		}
	}
	for id, to := range p.bound {
		now, err := p.enforcer.ID(to.cgroup)
		if err == nil && p.enforcer.Enclosed(to.cgroup) {
			if err = p.enforcer.Enclose(to.cgroup); err != nil && p.enforcer.Enclosed(to.cgroup) { // else the container has ended
				p.refuse("policy " + to.name + ": " + err.Error())
				err = nil
			}
		}
		if err != nil || now != id {
			p.release(id)
		}
	}
	if err := p.enforcer.Refresh(); err != nil {
		p.refuse(err.Error())
	}
	p.apply() // a policy may have expired, and an override ended
}
