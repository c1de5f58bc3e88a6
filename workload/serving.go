package workload

import "picket/event"

// Members returns the processes of the AI workloads that run, the root of each before its others. They
// are not to be changed.
func (t *Tracker) Members() (out []*event.Process) {
	groups, _ := t.groups()
	for _, g := range groups {
		out = append(out, g.members...)
	}
	return out
}
