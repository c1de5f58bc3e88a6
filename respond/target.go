package respond

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"picket/event"
	"picket/respond/action"
)

// maxTargets bounds what one command is done to. More than that is no containment any more.
const maxTargets = 32

// resolve finds what a word for an entity means in an incident:
//
//	process    the processes that acted
//	lineage    those of them that no other one started, each with all that it started
//	container  the containers that they ran in
//	workload   the containers, and the lineages of processes outside of any
//	address    the workloads, with each outside address that the incident names
//	pod        the pods of Kubernetes that the containers are of
//	node       the nodes of Kubernetes that bear the names of the incident's hosts
//	incident   the incident itself, for acts that touch no host
func resolve(inc *event.Incident, entity string) ([]action.Target, error) {
	var out []action.Target
	switch entity {
	case "incident":
		return []action.Target{{}}, nil
	case "process":
		out = processes(inc, false)
	case "lineage":
		out = processes(inc, true)
	case "container":
		out = containers(inc)
	case "workload":
		out = workloads(inc)
	case "address":
		for _, t := range workloads(inc) {
			for _, e := range inc.Entities {
				if a, err := netip.ParseAddr(e.ID); e.Kind == event.EntityAddress && err == nil {
					t.Address = a.String()
					out = append(out, t)
				}
			}
		}
	case "pod":
		for _, c := range containers(inc) {
			out = append(out, action.Target{Object: &action.ObjectPin{Of: action.Kubernetes, Kind: "pod", Container: c.Container}})
		}
	case "node":
		for _, h := range inc.Hosts {
			out = append(out, action.Target{Object: &action.ObjectPin{Of: action.Kubernetes, Kind: "node", Name: strings.ToLower(h)}})
		}
	default:
		return nil, fmt.Errorf("%q is none of process, lineage, container, workload, address, pod, node, incident", entity)
	}
	switch {
	case len(out) == 0:
		return nil, fmt.Errorf("the incident has no %s that could be acted on", entity)
	case len(out) > maxTargets:
		return nil, fmt.Errorf("the incident has %d: at most %d are acted on by one command; act by hand, or on wider targets", len(out), maxTargets)
	}
	return out, nil
}

// actor is a process that acted, where it did.
type actor struct {
	event.ProcessNode
	host string
}

// actors returns the processes that the findings of an incident are about, by when they started.
func actors(inc *event.Incident) []actor {
	nodes := map[string]event.ProcessNode{}
	for _, p := range inc.Processes {
		nodes[p.UID] = p
	}
	var out []actor
	seen := map[string]bool{}
	for _, f := range inc.Findings {
		if p, known := nodes[f.Process]; known && !seen[p.UID] {
			seen[p.UID] = true
			out = append(out, actor{p, f.Host})
		}
	}
	slices.SortFunc(out, func(a, b actor) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.UID, b.UID)) })
	return out
}

// life is one life of a process of a host.
type life struct {
	host, boot string
	pid        uint32
	start      uint64
}

// processes returns the actors as targets; as lineages only those that no other actor started.
func processes(inc *event.Incident, lineage bool) []action.Target {
	parents := map[string]string{}
	for _, p := range inc.Processes {
		parents[p.UID] = p.ParentUID
	}
	all := actors(inc)
	acted := map[string]bool{}
	for _, a := range all {
		acted[a.UID] = true
	}
	below := func(uid string) bool {
		for n := 0; n < 64 && parents[uid] != ""; n++ {
			if uid = parents[uid]; acted[uid] {
				return true
			}
		}
		return false
	}
	var out []action.Target
	seen := map[life]bool{}
	for _, a := range all {
		pin := action.ProcessPin{BootID: a.Boot, PID: int(a.PID), Start: action.Ticks(a.StartBoot), Exe: a.Exe}
		life := life{a.host, a.Boot, a.PID, a.StartBoot} // whatever programs it ran
		if lineage && below(a.UID) || a.PID <= 1 || seen[life] {
			continue
		}
		seen[life] = true
		out = append(out, action.Target{Host: a.host, Process: &pin, Lineage: lineage})
	}
	return out
}

func containers(inc *event.Incident) []action.Target {
	var out []action.Target
	for _, a := range actors(inc) {
		t := action.Target{Host: a.host, Container: a.Container}
		if a.Container != "" && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

func workloads(inc *event.Incident) []action.Target {
	out := containers(inc)
	bare := *inc
	outside := map[string]bool{}
	for _, p := range inc.Processes {
		outside[p.UID] = p.Container == ""
	}
	bare.Findings = slices.DeleteFunc(slices.Clone(inc.Findings), func(f event.FindingRef) bool { return !outside[f.Process] })
	return append(out, processes(&bare, true)...)
}
