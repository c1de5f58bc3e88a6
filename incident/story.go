package incident

import (
	"fmt"
	"slices"
	"strings"

	"picket/event"
)

// add puts a finding into an incident.
func add(inc *event.Incident, f event.Finding) {
	if f.Time.Before(inc.FirstSeen) {
		inc.FirstSeen = f.Time
	}
	if f.Time.After(inc.LastSeen) {
		inc.LastSeen = f.Time
	}
	ref := event.FindingRef{ID: f.ID, Time: f.Time, Rule: f.Rule.Name, Title: f.Rule.Title, Severity: f.Severity, Host: f.Host, Count: max(f.Count, 1)}
	if len(f.Processes) > 0 {
		ref.Process = f.Processes[0].UID
	}
	passage := event.Passage{Time: f.Time, Text: f.Summary, Finding: f.ID, Severity: f.Severity}
	if len(f.Techniques) > 0 {
		passage.Tactic = f.Techniques[0].Tactic
	}
	merge(inc, &event.Incident{
		FirstSeen: f.Time, LastSeen: f.Time, Severity: f.Severity, Hosts: []string{f.Host}, Techniques: f.Techniques, Entities: f.Entities,
		Processes: f.Processes, Findings: []event.FindingRef{ref}, FindingN: 1, Story: []event.Passage{passage},
	})
}

// merge puts what other holds into inc.
func merge(inc, other *event.Incident) {
	if other.FirstSeen.Before(inc.FirstSeen) {
		inc.FirstSeen = other.FirstSeen
	}
	if other.LastSeen.After(inc.LastSeen) {
		inc.LastSeen = other.LastSeen
	}
	inc.Severity = max(inc.Severity, other.Severity)
	inc.FindingN += other.FindingN
	inc.Hosts = union(inc.Hosts, other.Hosts, 100, func(h string) string { return h })
	inc.Techniques = union(inc.Techniques, other.Techniques, 100, func(t event.Technique) string { return t.Framework + t.ID + t.Tactic })
	inc.Entities = union(inc.Entities, other.Entities, maxEntities, func(e event.Entity) string { return string(e.Kind) + e.ID })
	inc.Processes = union(inc.Processes, other.Processes, maxProcesses, func(p event.ProcessNode) string { return p.UID })
	inc.Findings = union(inc.Findings, other.Findings, maxFindings, func(f event.FindingRef) string { return f.ID })
	inc.Story = union(inc.Story, other.Story, maxPassages, func(p event.Passage) string { return p.Finding })
	slices.Sort(inc.Hosts)
	slices.SortStableFunc(inc.Techniques, func(a, b event.Technique) int {
		if d := stage(a.Tactic) - stage(b.Tactic); d != 0 {
			return d
		}
		return strings.Compare(a.Framework+a.ID, b.Framework+b.ID)
	})
	slices.SortStableFunc(inc.Entities, func(a, b event.Entity) int {
		return strings.Compare(string(a.Kind)+"\x00"+a.ID, string(b.Kind)+"\x00"+b.ID)
	})
	slices.SortStableFunc(inc.Processes, func(a, b event.ProcessNode) int {
		if d := a.Start.Compare(b.Start); d != 0 {
			return d
		}
		return strings.Compare(a.UID, b.UID)
	})
	slices.SortStableFunc(inc.Findings, func(a, b event.FindingRef) int {
		if d := a.Time.Compare(b.Time); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	slices.SortStableFunc(inc.Story, func(a, b event.Passage) int {
		if d := a.Time.Compare(b.Time); d != 0 {
			return d
		}
		return strings.Compare(a.Finding, b.Finding)
	})
}

// union adds to a what b has and a lacks, up to n elements. It does not change b.
func union[T any](a, b []T, n int, key func(T) string) []T {
	seen := make(map[string]bool, len(a))
	for _, v := range a {
		seen[key(v)] = true
	}
	for _, v := range b {
		if k := key(v); !seen[k] && len(a) < n {
			seen[k] = true
			a = append(a, v)
		}
	}
	return a
}

// tell derives risk, severity, title and summary from what the incident holds.
func tell(inc *event.Incident) {
	inc.Severity = severity(inc)
	inc.Risk = risk(inc)
	worst := inc.Findings[0]
	for _, f := range inc.Findings {
		if f.Severity > worst.Severity {
			worst = f
		}
	}
	where := place(inc)
	inc.Title = worst.Title
	if where != "" {
		inc.Title += " in " + where
	}
	inc.Summary = summary(inc, where)
}

// place says where it happened: the workload, else the container, else the host.
func place(inc *event.Incident) string {
	if w := named(inc, event.EntityWorkload); w != "" {
		return w
	}
	if c := named(inc, event.EntityContainer); c != "" {
		return "container " + c
	}
	return strings.Join(inc.Hosts, ", ")
}

func named(inc *event.Incident, k event.EntityKind) string {
	for _, e := range inc.Entities {
		if e.Kind == k {
			if e.Name != "" {
				return e.Name
			}
			return e.ID
		}
	}
	return ""
}

// summary tells in two sentences how much there is and what it touches.
func summary(inc *event.Incident, where string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s in %s", plural(inc.FindingN, "finding"), plural(rules(inc), "rule"), where)
	if d := inc.LastSeen.Sub(inc.FirstSeen); d >= 1e9 {
		fmt.Fprintf(&b, " within %s", d.Round(1e9))
	}
	if t := tacticList(inc); len(t) > 0 {
		fmt.Fprintf(&b, " show %s", sentenceList(t))
	}
	b.WriteString(".")
	var touched []string
	for _, k := range []event.EntityKind{event.EntityModel, event.EntityContainer, event.EntityAddress} {
		if n := named(inc, k); n != "" {
			touched = append(touched, string(k)+" "+n)
		}
	}
	if len(touched) > 0 {
		fmt.Fprintf(&b, " Involved: %s on host %s.", strings.Join(touched, ", "), strings.Join(inc.Hosts, ", "))
	}
	return b.String()
}

func rules(inc *event.Incident) int {
	seen := map[string]bool{}
	for _, f := range inc.Findings {
		seen[f.Rule] = true
	}
	return len(seen)
}

// tacticList returns the tactics in the order of the kill chain, in words.
func tacticList(inc *event.Incident) []string {
	var out []string
	for _, t := range inc.Techniques { // sorted by stage
		if w := strings.ReplaceAll(t.Tactic, "-", " "); w != "" && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

func sentenceList(s []string) string {
	if len(s) == 1 {
		return s[0]
	}
	return strings.Join(s[:len(s)-1], ", ") + " and " + s[len(s)-1]
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
