package falco

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"picket/event"
	"picket/sigma"
)

// Translate returns what became of each rule, in the order of the files.
func (rs *Ruleset) Translate() []Result {
	out := make([]Result, len(rs.rules))
	taken := map[string]bool{}
	for i, r := range rs.rules {
		out[i] = r.translate(free(slug(r.name), taken))
		for j := range out[i].Rules {
			taken[out[i].Rules[j].Name] = true
		}
	}
	return out
}

// free returns name, with a number behind it where it is taken, and takes it.
func free(name string, taken map[string]bool) string {
	if name == "" {
		name = "rule"
	}
	for n, base := 2, name; taken[name]; n++ {
		name = fmt.Sprintf("%s_%d", base, n)
	}
	taken[name] = true
	return name
}

// part is the translation of a rule for one log source.
type part struct {
	sources []*source
	cond    *cond
}

// losses are the comparisons that a rule lost, by what that does to it.
type losses struct {
	noisier, narrower, required, inactive []string
}

func (r *ruleDef) translate(name string) Result {
	res := Result{Rule: r.name, Name: name, File: r.place.file, Line: r.place.line, Disabled: r.disabled}
	refuse := func(format string, args ...any) Result {
		res.Status, res.Rules = Refused, nil
		res.Reasons = append(res.Reasons, fmt.Sprintf(format, args...))
		return res
	}
	switch {
	case r.source != "syscall" && r.source != "":
		return refuse("source %s: events of that plugin are not known here", shorten(r.source, 40))
	case r.tree == nil:
		return refuse("%s", r.problem)
	}
	sources := sourcesOf(r.tree)
	if len(sources) == 0 {
		return refuse("it names no evt.type, so it would run on every event: add one")
	}
	parts, lost := r.parts(sources, &res)
	if other := (&source{family: foreign, types: []string{"another"}}); other.translate(r.tree, false, map[memoKey]*cond{}).op != isFalse {
		if len(parts) == 0 {
			return refuse("it is about events of types that it does not name: add evt.type")
		}
		res.Reasons = append(res.Reasons, "events of types that it does not name are left out (narrower)")
	}
	if len(parts) == 0 {
		if len(lost.required) > 0 {
			return refuse("requires %s", strings.Join(lost.required, "; "))
		}
		return refuse("its condition is never true as it stands")
	}
	for _, p := range parts {
		t, err := r.write(p, name, len(parts) > 1, &lost)
		if err != nil {
			return refuse("the Sigma rule made of it is faulty: %s", shorten(err.Error(), 200))
		}
		res.Rules = append(res.Rules, t)
	}
	res.judge(&lost)
	return res
}

// judge says how much was carried.
func (res *Result) judge(lost *losses) {
	add := func(what, effect string, list []string) {
		if len(list) > 0 {
			res.Reasons = append(res.Reasons, what+": "+strings.Join(list, "; ")+effect)
		}
	}
	if len(lost.inactive) > 0 {
		res.Reasons = append(res.Reasons, "no event source here: "+strings.Join(lost.inactive, ", "))
	}
	add("exclusions lost", " (noisier)", lost.noisier)
	add("alternatives lost", " (narrower)", lost.narrower)
	add("events lost, which require", " (narrower)", lost.required)
	active := slices.ContainsFunc(res.Rules, func(t Translation) bool { return !t.Inactive })
	switch {
	case !active:
		res.Status = Inactive
	case len(res.Reasons) > 0:
		res.Status = Partly
	default:
		res.Status = Carried
	}
}

// parts translates the rule for each source, and joins those that ask the same.
func (r *ruleDef) parts(sources []*source, res *Result) (parts []*part, lost losses) {
	for _, s := range sources {
		whole := s.translate(r.tree, false, map[memoKey]*cond{})
		if whole.op == isFalse {
			continue // about other events
		}
		c := whole.without()
		if c.op == isFalse {
			for _, l := range whole.losses() {
				if !l.neg {
					lost.required = note(lost.required, l)
				}
			}
			continue
		}
		for _, l := range whole.losses() {
			if l.neg {
				lost.noisier = note(lost.noisier, l)
			} else {
				lost.narrower = note(lost.narrower, l)
			}
		}
		if s.family == foreign {
			lost.inactive = append(lost.inactive, s.types...)
		}
		res.remark(s, c)
		i := slices.IndexFunc(parts, func(p *part) bool {
			return p.sources[0].category == s.category && p.cond.id() == c.id()
		})
		if i >= 0 {
			parts[i].sources = append(parts[i].sources, s)
		} else {
			parts = append(parts, &part{[]*source{s}, c})
		}
	}
	return parts, lost
}

// note adds a loss to a list, once for each field and reason.
func note(list []string, l *loss) []string {
	s := l.check.field + " (" + l.why + ")"
	if !slices.Contains(list, s) {
		list = append(list, s)
	}
	return list
}

// remark notes what differs though nothing was lost.
func (res *Result) remark(s *source, c *cond) {
	add := func(text string) {
		if text != "" && !slices.Contains(res.Remarks, text) {
			res.Remarks = append(res.Remarks, text)
		}
	}
	for _, text := range s.remarks {
		add(text)
	}
	if s.name == "write" && c.tests("event.kind") {
		add("only an open that made the file counts as one that creates")
	}
}

// levels are Sigma's levels by Falco's priority.
var levels = map[string]string{
	"emergency": "critical", "alert": "critical", "critical": "critical", "error": "high", "warning": "medium",
	"notice": "low", "info": "informational", "informational": "informational", "debug": "informational",
}

// statuses are Sigma's by Falco's tags of maturity.
var statuses = map[string]string{"maturity_stable": "stable", "maturity_incubating": "test", "maturity_sandbox": "experimental", "maturity_deprecated": "deprecated"}

// write makes the Sigma rule of one part and checks that it can be read.
func (r *ruleDef) write(p *part, name string, several bool, lost *losses) (Translation, error) {
	s := p.sources[0]
	var suffixes []string
	whole := s.whole
	var kinds []string
	for _, other := range p.sources {
		suffixes = append(suffixes, other.name)
		if s.called {
			kinds = append(kinds, other.types...)
		} else {
			kinds = append(kinds, other.kindNames()...)
		}
	}
	whole = whole || s.category == "network_connection" && len(p.sources) == 2
	suffix := strings.Join(suffixes, "_")
	t := Translation{Name: name, ID: ruleID(r.name, suffix), Category: s.category, Inactive: s.family == foreign}
	title := r.name
	if several {
		t.Name, title = t.Name+"_"+suffix, title+" ("+strings.Join(suffixes, ", ")+")"
	}
	c := p.cond
	if !whole && !c.saysKind() || c.op == isTrue {
		c = both(&cond{op: isLeaf, leaf: s.selector(kinds)}, c)
	}
	doc := &yaml.Node{Kind: yaml.MappingNode}
	add := func(key string, n *yaml.Node) { doc.Content = append(doc.Content, plain(key), n) }
	add("title", plain(title))
	add("id", plain(t.ID))
	add("name", plain(t.Name))
	status := "test"
	for _, tag := range r.tags {
		if st := statuses[strings.ToLower(tag)]; st != "" {
			status = st
		}
	}
	add("status", plain(status))
	if r.desc != "" {
		add("description", wrapped(r.desc))
	}
	if tags := sigmaTags(r.tags); len(tags) > 0 {
		add("tags", sequence(tags))
	}
	add("logsource", mapping("product", "linux", "category", s.category))
	add("detection", detectionOf(c))
	add("falsepositives", sequence(lost.falsePositives()))
	level := levels[strings.ToLower(r.priority)]
	if level == "" {
		level = "medium"
	}
	add("level", plain(level))
	if text := s.summary(r.output); text != "" && !t.Inactive {
		add("picket", mapping("summary", text))
	}
	add("falco", r.origin())
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(doc); err != nil {
		return t, fmt.Errorf("rule %s: %w", r.name, err)
	}
	t.YAML = b.String()
	return t, verify(t)
}

// verify reads a rule back, so that what cannot be loaded is never handed out.
func verify(t Translation) error {
	parsed, err := sigma.Parse(t.Name, []byte(t.YAML))
	if err == nil {
		_, err = sigma.Compile(parsed.Rules, nil)
	}
	return err
}

// selector is the test that picks the events of a source among those of its category.
func (s *source) selector(kinds []string) *leaf {
	if s.family == foreign {
		return &leaf{field: "evt.type", values: s.types}
	}
	if s.called {
		return &leaf{field: "call.name", values: kinds}
	}
	return &leaf{field: "event.kind", values: kinds}
}

// tests reports whether the condition reads a field.
func (c *cond) tests(field string) bool {
	return c.op == isLeaf && c.leaf.field == field || slices.ContainsFunc(c.kids, func(k *cond) bool { return k.tests(field) })
}

// saysKind reports whether the condition asks for one kind of event already.
func (c *cond) saysKind() bool {
	return c.op == isLeaf && c.leaf.field == "event.kind" || c.op == isAnd && slices.ContainsFunc(c.kids, (*cond).saysKind)
}

// ruleID derives the id of a Sigma rule from the Falco rule and the log source, so that importing
// again gives the same.
func ruleID(name, source string) string {
	h := []byte(event.HashID("falco", name, source))
	h[12], h[16] = '8', "89ab"[h[16]%4] // a UUID of the version that is left to its maker
	return string(h[:8]) + "-" + string(h[8:12]) + "-" + string(h[12:16]) + "-" + string(h[16:20]) + "-" + string(h[20:32])
}

// falsePositives says what the rule lost that kept it quiet.
func (l *losses) falsePositives() []string {
	list := []string{"what the Falco rule fires on without harm"}
	for _, x := range l.noisier {
		list = append(list, "what the Falco rule excludes by "+x)
	}
	return list
}

// origin keeps what Sigma has no word for.
func (r *ruleDef) origin() *yaml.Node {
	n := mapping("rule", r.name, "priority", strings.ToUpper(r.priority))
	var rest []string
	for _, tag := range r.tags {
		if sigmaTag(tag) == "" {
			rest = append(rest, tag)
		}
	}
	if len(rest) > 0 {
		tags := sequence(rest)
		tags.Style = yaml.FlowStyle
		n.Content = append(n.Content, plain("tags"), tags)
	}
	if r.output != "" {
		n.Content = append(n.Content, plain("output"), wrapped(r.output))
	}
	return n
}

func mapping(pairs ...string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, p := range pairs {
		n.Content = append(n.Content, plain(p))
	}
	return n
}

func sequence(list []string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for _, s := range list {
		n.Content = append(n.Content, plain(s))
	}
	return n
}

// wrapped writes a long text over several lines.
func wrapped(s string) *yaml.Node {
	n := plain(strings.Join(strings.Fields(s), " "))
	if len(n.Value) > 100 {
		n.Style = yaml.FoldedStyle
	}
	return n
}

// sigmaTags returns the tags of ATT&CK in Sigma's spelling.
func sigmaTags(tags []string) (out []string) {
	for _, tag := range tags {
		if t := sigmaTag(tag); t != "" && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// sigmaTag returns a Falco tag in Sigma's spelling, "" where it is not one of ATT&CK.
func sigmaTag(tag string) string {
	tag = strings.ToLower(tag)
	if tactic, ok := strings.CutPrefix(tag, "mitre_"); ok {
		return "attack." + strings.ReplaceAll(tactic, "_", "-")
	}
	id := strings.TrimPrefix(strings.TrimPrefix(tag, "t"), "a")
	if id != tag && len(id) >= 4 && strings.Trim(id, "0123456789.") == "" {
		if tactic := tactics[tag]; tactic != "" {
			return "attack." + tactic
		}
		return "attack." + tag
	}
	return ""
}

// tactics are ATT&CK's by their number.
var tactics = map[string]string{
	"ta0001": "initial-access", "ta0002": "execution", "ta0003": "persistence", "ta0004": "privilege-escalation", "ta0005": "defense-evasion",
	"ta0006": "credential-access", "ta0007": "discovery", "ta0008": "lateral-movement", "ta0009": "collection", "ta0010": "exfiltration",
	"ta0011": "command-and-control", "ta0040": "impact", "ta0042": "resource-development", "ta0043": "reconnaissance",
}
