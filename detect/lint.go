package detect

import (
	"cmp"
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
	for _, p := range sigma.Lint(t.Rules, Schema()) {
		out = append(out, fault(p.Rule.SourceFile, p.Line, 1, p.Msg, p.Hint))
	}
	for _, r := range t.Rules {
		out = append(out, lintFields(r)...)
	}
	if t.Collection {
		return out // its rules are as their authors wrote them
	}
	for _, r := range t.Rules {
		out = append(out, lintRule(&t, lintable{
			file: r.SourceFile, name: ruleName(r), id: r.ID, level: r.Level, description: r.Description,
			tags: r.Tags, falsePositives: r.FalsePositives, lineOf: r.LineOf,
		})...)
	}
	for _, s := range t.Sequences {
		out = append(out, lintRule(&t, lintable{
			file: s.SourceFile, name: s.Name, id: s.ID, level: s.Level, description: s.Description,
			tags: s.Tags, falsePositives: s.FalsePositives, lineOf: func(part string) int { return cmp.Or(s.at[part], s.Line) },
		})...)
	}
	if len(t.Rules)+len(t.Sequences) == 0 {
		out = append(out, fault(t.Source, 1, 1, "has no rule", ""))
	}
	switch {
	case t.Attack != nil:
		out = append(out, t.Attack.check(&t)...)
	case !t.admits("attack"):
		out = append(out, fault(t.Source, 1, 1, "has no attack.yml", "write one, or say under \"Known gaps\" in README.md why there is no attack"))
	}
	return out
}

// lintFields tells which fields are of another kind of event than the rule is about.
func lintFields(r *sigma.Rule) (out sigma.Errors) {
	kinds := kindsOf(r.Logsource)
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

// lintable is what a rule and a sequence have in common.
type lintable struct {
	file, name, id, level, description string
	tags, falsePositives               []string
	lineOf                             func(string) int
}

func lintRule(t *Threat, r lintable) (out sigma.Errors) {
	add := func(part, msg, hint string) {
		out = append(out, fault(r.file, r.lineOf(part), 1, msg, hint))
	}
	if r.name != fileName(r.file) {
		add("name", fmt.Sprintf("the rule is called %q, its file %q", r.name, fileName(r.file)), "give both one name: findings, samples and attacks use it")
	}
	if r.id == "" {
		add("id", "has no id", "add a fresh UUID, so that findings keep their identity when the file moves")
	}
	if r.level == "" {
		add("level", "has no level", "informational, low, medium, high or critical")
	}
	if r.description == "" {
		add("description", "has no description", "say what it sees and why that is bad")
	}
	if len(r.falsePositives) == 0 {
		add("falsepositives", "has no falsepositives", "say what harmless things fire it")
	}
	if len(Techniques(r.tags)) == 0 {
		add("tags", "has no tag of ATT&CK or ATLAS", "such as attack.t1041 or atlas.aml.t0025")
	}
	for _, tag := range r.tags {
		if msg := lintTag(tag); msg != "" {
			add("tags", msg, "such as attack.exfiltration, attack.t1041 or atlas.aml.t0025")
		}
	}
	hit := slices.ContainsFunc(t.Samples, func(s Sample) bool { return s.Rule == r.name && s.Hit })
	miss := slices.ContainsFunc(t.Samples, func(s Sample) bool { return s.Rule == r.name && !s.Hit })
	if (!hit || !miss) && !t.admits(r.name) {
		add("title", "has no sample event that hits, or none that misses", "write both into "+r.name+".events, or name the rule under \"Known gaps\" in README.md")
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
