package incident

import (
	"cmp"
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
	room(inc, ref.Rule)
	merge(inc, &event.Incident{
		FirstSeen: f.Time, LastSeen: f.Time, Severity: f.Severity, Hosts: []string{f.Host}, Techniques: f.Techniques, Entities: f.Entities,
		Processes: f.Processes, Findings: []event.FindingRef{ref}, FindingN: 1, Story: []event.Passage{passage},
	})
}

// room drops one finding of the most frequent rule where there is no room for the first finding of
// another: risk and severity are told from the rules that fired.
func room(inc *event.Incident, rule string) {
	if len(inc.Findings) < maxFindings {
		return
	}
	n := map[string]int{}
	for _, f := range inc.Findings {
		n[f.Rule]++
	}
	if n[rule] > 0 {
		return
	}
	drop := -1
	for i, f := range inc.Findings {
		if drop < 0 || n[f.Rule] > n[inc.Findings[drop].Rule] || n[f.Rule] == n[inc.Findings[drop].Rule] && f.Rule == inc.Findings[drop].Rule {
			drop = i
		}
	}
	inc.Findings = slices.Delete(inc.Findings, drop, drop+1)
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
	inc.Hosts = join(inc.Hosts, other.Hosts, 100, func(h string) string { return h }, strings.Compare)
	inc.Techniques = join(inc.Techniques, other.Techniques, 100,
		func(t event.Technique) string { return t.Framework + t.ID + t.Tactic },
		func(a, b event.Technique) int {
			return cmp.Or(stage(a.Tactic)-stage(b.Tactic), strings.Compare(a.Framework+a.ID, b.Framework+b.ID))
		})
	inc.Entities = join(inc.Entities, other.Entities, maxEntities,
		func(e event.Entity) string { return string(e.Kind) + e.ID },
		func(a, b event.Entity) int {
			return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.ID, b.ID))
		})
	inc.Processes = join(inc.Processes, other.Processes, maxProcesses,
		func(p event.ProcessNode) string { return p.UID },
		func(a, b event.ProcessNode) int {
			return cmp.Or(a.Start.Compare(b.Start), strings.Compare(a.UID, b.UID))
		})
	inc.Findings = join(inc.Findings, other.Findings, maxFindings,
		func(f event.FindingRef) string { return f.ID },
		func(a, b event.FindingRef) int { return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.ID, b.ID)) })
	inc.Story = join(inc.Story, other.Story, maxPassages,
		func(p event.Passage) string { return p.Finding },
		func(a, b event.Passage) int {
			return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.Finding, b.Finding))
		})
}

// join adds to a what b has and a lacks, up to n elements, in order. It does not change b.
func join[T any](a, b []T, n int, key func(T) string, order func(a, b T) int) []T {
	if len(a) >= n {
		return a
	}
	seen := make(map[string]bool, len(a))
	for _, v := range a {
		seen[key(v)] = true
	}
	had := len(a)
	for _, v := range b {
		if k := key(v); !seen[k] && len(a) < n {
			seen[k] = true
			a = append(a, v)
		}
	}
	if len(a) > had {
		slices.SortStableFunc(a, order)
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
