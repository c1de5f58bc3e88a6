package detect

import (
	"fmt"
	"slices"
	"strings"

	"picket/event"
	"picket/sigma"
)

// Lint tells what is missing from a threat or probably not meant: what the rule language allows
// but a rule of ours must have. It finds nothing where a threat is complete.
func Lint(t Threat) []*sigma.Error {
	var out sigma.Errors
	for _, p := range t.Lint(Schema()) {
		out = append(out, fault(p.Meta.SourceFile, p.Line, 1, p.Msg, p.Hint))
	}
	for _, r := range t.Rules {
		out = append(out, lintFields(r)...)
	}
	if t.Brought {
		return out // its rules are as their authors wrote them
	}
	for _, r := range t.Rules {
		out = append(out, lintRule(&t, &r.Meta)...)
	}
	for _, c := range t.Correlations {
		out = append(out, lintRule(&t, &c.Meta)...)
	}
	if len(t.Rules)+len(t.Correlations)+len(t.Filters) == 0 {
		out = append(out, fault(t.Source, 1, 1, "has no rule", ""))
	}
	for _, a := range t.Attacks {
		out = append(out, a.check(&t)...)
	}
	if len(t.Attacks) == 0 && !t.admits("attack") {
		out = append(out, fault(t.Source, 1, 1, "has no attack.yml", "write one, or say under \"Known gaps\" in README.md why there is no attack"))
	}
	return out
}

// lintFields tells which fields are of another kind of event than the rule is about.
func lintFields(r *sigma.Rule) (out sigma.Errors) {
	kinds := KindsOf(r.Logsource)
	if len(kinds) == 0 {
		return append(out, fault(r.SourceFile, r.LineOf("logsource"), 1, "no event here is of "+logsourceText(r.Logsource)+", so the rule can never fire", "such as product: linux and category: process_creation"))
	}
	vain := ""
	if !r.CanFire(func(field string) bool { return !carried(kinds, field) }) {
		vain = ", so the rule can never fire"
	}
	for _, name := range missing(r) {
		if _, ok := event.Lookup(name); ok || vain != "" {
			out = append(out, fault(r.SourceFile, r.LineOf("detection"), 1, fmt.Sprintf("no event of %s carries %s%s", logsourceText(r.Logsource), name, vain), "the package documentation of detect says which events a log source has"))
		}
	}
	return out
}

func lintRule(t *Threat, m *sigma.Meta) (out sigma.Errors) {
	add := func(part, msg, hint string) {
		out = append(out, fault(m.SourceFile, m.LineOf(part), 1, msg, hint))
	}
	name := ruleName(m)
	if name != fileName(m.SourceFile) {
		add("name", fmt.Sprintf("the rule is called %q, its file %q", name, fileName(m.SourceFile)), "give both one name: findings, samples and attacks use it")
	}
	if m.ID == "" {
		add("id", "has no id", "add a fresh UUID, so that findings keep their identity when the file moves")
	}
	if m.Level == "" {
		add("level", "has no level", "informational, low, medium, high or critical")
	}
	if m.Description == "" {
		add("description", "has no description", "say what it sees and why that is bad")
	}
	if len(m.FalsePositives) == 0 {
		add("falsepositives", "has no falsepositives", "say what harmless things fire it")
	}
	if len(Techniques(m.Tags)) == 0 {
		add("tags", "has no tag of ATT&CK or ATLAS", "such as attack.t1041 or atlas.aml.t0025")
	}
	for _, tag := range m.Tags {
		if msg := lintTag(tag); msg != "" {
			add("tags", msg, "such as attack.exfiltration, attack.t1041 or atlas.aml.t0025")
		}
	}
	hit := slices.ContainsFunc(t.Samples, func(s Sample) bool { return s.Rule == name && s.Hit })
	miss := slices.ContainsFunc(t.Samples, func(s Sample) bool { return s.Rule == name && !s.Hit })
	if (!hit || !miss) && !t.admits(name) {
		add("title", "has no sample event that hits, or none that misses", "write both into "+name+".events, or name the rule under \"Known gaps\" in README.md")
	}
	return out
}

// lintTag tells what is wrong with a tag of the frameworks that we know.
func lintTag(tag string) string {
	space, id, _ := strings.Cut(strings.ToLower(tag), ".")
	if space != "attack" && space != "atlas" {
		return ""
	}
	if _, ok := techniqueID(space, id); ok || tacticName(id) != "" || space == "attack" && softwareOrGroup(id) {
		return ""
	}
	return fmt.Sprintf("tag %q is neither a technique nor a tactic", tag)
}

// softwareOrGroup reports whether a tag names software (s0154) or a group (g0032) of ATT&CK.
func softwareOrGroup(id string) bool {
	return len(id) == 5 && (id[0] == 's' || id[0] == 'g') && allDigits(id[1:])
}

// admits reports whether the README's known gaps name something.
func (t *Threat) admits(what string) bool {
	return strings.Contains(strings.ToLower(t.Gaps), strings.ToLower(what))
}
