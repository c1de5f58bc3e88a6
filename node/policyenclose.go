package node

import (
	"fmt"
	"os"
	"strings"

	"picket/event"
	"picket/policy"
)

// idOf returns the cgroup of v2 that a workload is bound by. A container that only v1 tells apart,
// and that is in the root of v2, gets one of its own there, under the path that it has in v1.
func (p *policies) idOf(s policy.Subject, root string, best *policy.Policy) (uint64, error) {
	id, err := p.enforcer.ID(s.Cgroup)
	if s.Container == "" || err == nil && !p.enforcer.Enclosed(s.Cgroup) || policy.Guarded(s.Cgroup) || !inCgroup(root, "/") {
		return id, err
	}
	if err := p.enforcer.Enclose(s.Cgroup); err != nil {
		p.refuse("policy " + best.Name + ": " + err.Error())
		return 0, err
	}
	p.log.Info("a container got a cgroup of its own", "policy", best.Name, "cgroup", s.Cgroup)
	return p.enforcer.ID(s.Cgroup)
}

// rejoin takes a process in that came into a container by the root of v2, as what a runtime starts
// there does.
func (p *policies) rejoin(s policy.Subject, proc *event.Process) {
	if s.Container == "" || proc.CgroupID != p.top {
		return
	}
	if best, _ := policy.Choose(p.live(), s); best != nil {
		_, _ = p.idOf(s, rootOf(proc), best) // it says what fails
	}
}

// rootOf is where a process sees its file system.
func rootOf(proc *event.Process) string { return fmt.Sprintf("/proc/%d/root", proc.PID) }

// release lets go of a cgroup. A container that got one by us is back in the root.
func (p *policies) release(id uint64) {
	p.enforcer.Release(id)
	if err := p.enforcer.Disclose(p.bound[id].cgroup); err != nil {
		p.refuse(err.Error())
	}
	delete(p.bound, id)
}

// inCgroup reports whether the process behind a root has a cgroup's path in v2, or in v1.
func inCgroup(root, cgroup string) bool {
	b, _ := os.ReadFile(strings.TrimSuffix(root, "root") + "cgroup") // one that is gone is nowhere
	for line := range strings.Lines(string(b)) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, at, _ := strings.Cut(rest, ":")
		if at == cgroup && (cgroup != "/" || controllers == "") {
			return true
		}
	}
	return false
}
