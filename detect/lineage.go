package detect

import (
	"slices"

	"picket/event"
	"picket/sigma"
)

// containerField is the group-by field that a lineage may stand for.
const containerField = "container.id"

// groupView shows an event to correlations. Where it has no container.id, its lineage stands for it:
// the process below which all belongs together, the oldest ancestor below init, a login, a
// container's shim or a scheduler.
type groupView struct{ *view }

// Value implements sigma.Event.
func (v groupView) Value(id uint16) sigma.Value {
	val := v.view.Value(id)
	if val.Kind != sigma.Absent || v.e.Process == nil {
		return val
	}
	if f, ok := event.Lookup(containerField); ok && uint16(f.Field) == id {
		return sigma.Value{Kind: sigma.Text, Str: "lineage " + Lineage(v.e.Process)}
	}
	return val
}

// starters are the programs that start what does not belong together.
var starters = []string{
	"systemd", "init", "sshd", "login", "cron", "crond", "atd", "tmux: server", "tmux", "screen", "containerd-shim", "containerd-shim-runc-v2",
	"containerd", "dockerd", "conmon", "crio", "runc", "crun", "kubelet", "slurmstepd", "slurmd", "supervisord", "kthreadd",
}

// Lineage returns the identity of the process under which p and its kin belong together.
func Lineage(p *event.Process) string {
	root := p
	for a := range p.Ancestors {
		if a.PID == 1 || slices.Contains(starters, a.Name()) {
			break
		}
		root = a
	}
	return root.UID
}
