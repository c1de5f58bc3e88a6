package incident

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"picket/event"
)

// Bounds of one incident. What goes beyond is counted in FindingN, and still raises risk and
// severity. What is kept is the same whatever came first: the lowest or highest in some order.
const (
	maxFindings   = 500 // of which, when there are more: the worst of each rule, the first and the last
	ruleFindings  = 100
	firstFindings = 100
	maxPassages   = 200 // of which, when there are more: the worst, the first and the last
	worstPassages = 40
	firstPassages = 60
	maxProcesses  = 200 // the first half, with the ancestors of all, and the last half
	maxEntities   = 200 // wide ones first
	maxTechniques = 100
	maxHosts      = 100

	maxOffered = 1000 // of each list of one finding
	maxID      = 8 << 10
	maxText    = 4 << 10
	maxName    = 300
)

// alone returns an incident made of nothing but f.
func alone(f event.Finding) event.Incident {
	inc := event.Incident{
		ID: event.HashID("incident", f.ID), Status: event.IncidentOpen, Severity: f.Severity, FirstSeen: f.Time, LastSeen: f.Time,
		Hosts: []string{}, Techniques: []event.Technique{}, Entities: []event.Entity{}, Processes: []event.ProcessNode{},
		FindingN: 1, Log: []event.Change{{Time: f.Time, Who: self, What: "opened"}},
	}
	host := cut(f.Host, maxName)
	if host != "" {
		inc.Hosts = append(inc.Hosts, host)
	}
	for _, t := range f.Techniques[:min(len(f.Techniques), maxOffered)] {
		t.Framework, t.ID, t.Name, t.Tactic = cut(t.Framework, maxName), cut(t.ID, maxName), cut(t.Name, maxName), cut(t.Tactic, maxName)
		inc.Techniques = unite(inc.Techniques, t, sameTechnique, betterTechnique)
	}
	for _, e := range f.Entities[:min(len(f.Entities), maxOffered)] {
		if e.ID != "" && len(e.ID) <= maxID {
			e.Name = cut(e.Name, maxName)
			inc.Entities = unite(inc.Entities, e, sameEntity, betterEntity)
		}
	}
	for _, p := range f.Processes[:min(len(f.Processes), maxOffered)] {
		if p.UID != "" && len(p.UID) <= maxID {
			p.Name, p.Exe, p.Cmdline, p.User = cut(p.Name, maxName), cut(p.Exe, maxText), cut(p.Cmdline, maxText), cut(p.User, maxName)
			inc.Processes = unite(inc.Processes, p, sameProcess, betterProcess)
		}
	}
	rule := cut(cmp.Or(f.Rule.Name, f.Rule.ID), maxName)
	ref := event.FindingRef{
		ID: f.ID, Time: f.Time, Rule: rule, Title: cut(cmp.Or(f.Rule.Title, rule), maxName), Severity: f.Severity,
		Host: host, Count: max(f.Count, 1),
	}
	if len(f.Processes) > 0 {
		ref.Process = f.Processes[0].UID
	}
	passage := event.Passage{Time: f.Time, Text: cut(cmp.Or(f.Summary, ref.Title), maxText), Finding: f.ID, Severity: f.Severity}
	if len(f.Techniques) > 0 {
		passage.Tactic = f.Techniques[0].Tactic
	}
	inc.Findings, inc.Story = []event.FindingRef{ref}, []event.Passage{passage}
	arrange(&inc)
	return inc
}

// merge puts what other holds into inc, and returns the ids of findings that inc no longer names.
func merge(inc, other *event.Incident) (dropped []string) {
	if other.FirstSeen.Before(inc.FirstSeen) {
		inc.FirstSeen = other.FirstSeen
	}
	if other.LastSeen.After(inc.LastSeen) {
		inc.LastSeen = other.LastSeen
	}
	inc.FindingN += other.FindingN
	inc.Severity = max(inc.Severity, other.Severity)
	inc.Hosts = uniteAll(inc.Hosts, other.Hosts, func(a, b string) bool { return a == b }, strings.Compare)
	inc.Techniques = uniteAll(inc.Techniques, other.Techniques, sameTechnique, betterTechnique)
	inc.Entities = uniteAll(inc.Entities, other.Entities, sameEntity, betterEntity)
	inc.Processes = uniteAll(inc.Processes, other.Processes, sameProcess, betterProcess)
	inc.Findings = append(inc.Findings, other.Findings...)
	inc.Story = append(inc.Story, other.Story...)
	return arrange(inc)
}

// arrange sorts the lists and cuts them to their bounds.
func arrange(inc *event.Incident) (dropped []string) {
	slices.Sort(inc.Hosts)
	slices.SortFunc(inc.Techniques, func(a, b event.Technique) int {
		return cmp.Or(stage(a.Tactic)-stage(b.Tactic), cmp.Compare(a.Framework, b.Framework), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Tactic, b.Tactic))
	})
	slices.SortFunc(inc.Entities, func(a, b event.Entity) int {
		return cmp.Or(breadth(a.Kind)-breadth(b.Kind), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(inc.Processes, func(a, b event.ProcessNode) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.UID, b.UID))
	})
	// A conclusion has the time of its last cause, and comes after it.
	slices.SortFunc(inc.Findings, func(a, b event.FindingRef) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(inc.Story, func(a, b event.Passage) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Finding, b.Finding))
	})
	both := len(inc.Findings)
	inc.Findings = slices.CompactFunc(inc.Findings, func(a, b event.FindingRef) bool { return a.ID == b.ID })
	inc.Story = slices.CompactFunc(inc.Story, func(a, b event.Passage) bool { return a.Finding == b.Finding })
	inc.FindingN -= both - len(inc.Findings) // counted by both

	inc.Hosts = inc.Hosts[:min(len(inc.Hosts), maxHosts)]
	inc.Techniques = inc.Techniques[:min(len(inc.Techniques), maxTechniques)]
	inc.Entities = inc.Entities[:min(len(inc.Entities), maxEntities)]
	inc.Processes = ends(inc.Processes, maxProcesses/2, maxProcesses/2, nil)
	if inc.FindingN > maxPassages {
		inc.Story = ends(inc.Story, firstPassages, maxPassages-worstPassages-firstPassages, worst(inc.Story, worstPassages))
	}
	if inc.FindingN > maxFindings {
		all := inc.Findings
		inc.Findings = ends(all, firstFindings, maxFindings-ruleFindings-firstFindings, worstOfRules(all))
		dropped = missing(all, inc.Findings)
	}
	return dropped
}

// ends keeps the first, the last and those whose index is in keep.
func ends[T any](s []T, first, last int, keep map[int]bool) []T {
	if len(s) <= first+last {
		return s
	}
	out := make([]T, 0, first+last+len(keep))
	for i, v := range s {
		if i < first || i >= len(s)-last || keep[i] {
			out = append(out, v)
		}
	}
	return out
}

// worst returns the indices of the n worst passages, of equals the first.
func worst(s []event.Passage, n int) map[int]bool {
	order := make([]int, len(s))
	for i := range s {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Or(cmp.Compare(s[j].Severity, s[i].Severity), i-j) })
	return set(order[:min(n, len(order))])
}

// worstOfRules returns the indices of the worst finding of each rule, of the rules with the worst.
func worstOfRules(s []event.FindingRef) map[int]bool {
	best := map[string]int{}
	for i, f := range s {
		if j, ok := best[f.Rule]; !ok || f.Severity > s[j].Severity {
			best[f.Rule] = i
		}
	}
	order := make([]int, 0, len(best))
	for _, i := range best {
		order = append(order, i)
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Or(-cmp.Compare(s[i].Severity, s[j].Severity), i-j) })
	return set(order[:min(len(order), ruleFindings)])
}

func set(indices []int) map[int]bool {
	out := make(map[int]bool, len(indices))
	for _, i := range indices {
		out[i] = true
	}
	return out
}

// missing returns the ids of those of all that are not in kept; both are in the same order.
func missing(all, kept []event.FindingRef) []string {
	var out []string
	for _, f := range all {
		if len(kept) > 0 && kept[0].ID == f.ID {
			kept = kept[1:]
			continue
		}
		out = append(out, f.ID)
	}
	return out
}

func uniteAll[T any](to, from []T, same func(a, b T) bool, better func(a, b T) int) []T {
	for _, v := range from {
		to = unite(to, v, same, better)
	}
	return to
}

// unite adds v, or where the same is there already keeps the better one: what was known first
// does not matter.
func unite[T any](to []T, v T, same func(a, b T) bool, better func(a, b T) int) []T {
	i := slices.IndexFunc(to, func(have T) bool { return same(have, v) })
	switch {
	case i < 0:
		return append(to, v)
	case better(v, to[i]) > 0:
		to[i] = v
	}
	return to
}

func sameTechnique(a, b event.Technique) bool {
	return a.ID == b.ID && a.Framework == b.Framework && a.Tactic == b.Tactic
}

func betterTechnique(a, b event.Technique) int { return longer(a.Name, b.Name) }

func sameEntity(a, b event.Entity) bool { return a.ID == b.ID && a.Kind == b.Kind }

func betterEntity(a, b event.Entity) int { return longer(a.Name, b.Name) }

func sameProcess(a, b event.ProcessNode) bool { return a.UID == b.UID }

func betterProcess(a, b event.ProcessNode) int {
	return cmp.Or(longer(a.ParentUID, b.ParentUID), longer(a.Container, b.Container), longer(a.Cmdline, b.Cmdline), longer(a.User, b.User),
		longer(a.Name, b.Name), longer(a.Exe, b.Exe), a.Start.Compare(b.Start), cmp.Compare(a.PID, b.PID))
}

func longer(a, b string) int { return cmp.Or(len(a)-len(b), cmp.Compare(a, b)) }

// breadth orders entities from wide to narrow.
func breadth(k event.EntityKind) int {
	if i := slices.Index(kinds, k); i >= 0 {
		return i
	}
	return len(kinds)
}

var kinds = []event.EntityKind{
	event.EntityHost, event.EntityWorkload, event.EntityContainer, event.EntityModel, event.EntityUser, event.EntityAddress, event.EntityProcess,
}

// cut shortens s to at most limit bytes and a mark.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}
