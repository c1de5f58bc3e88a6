package sigma_test

import (
	"encoding/base64"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf16"

	"picket/sigma"

	"go.yaml.in/yaml/v3"
)

// naive evaluates a rule straight from its YAML: slowly, with a regular expression for each
// text, and with no code in common with the engine. It knows what public rules use.
type naive struct {
	parts     map[string]*yaml.Node
	names     []string
	condition []string
}

func newNaive(src []byte) *naive {
	var doc struct {
		Detection yaml.Node
	}
	if err := yaml.Unmarshal(src, &doc); err != nil {
		panic(err)
	}
	n := &naive{parts: map[string]*yaml.Node{}}
	for i := 0; i < len(doc.Detection.Content); i += 2 {
		name, v := doc.Detection.Content[i].Value, doc.Detection.Content[i+1]
		if name == "condition" {
			n.condition = words.FindAllString(v.Value, -1)
			continue
		}
		n.names = append(n.names, name)
		n.parts[name] = v
	}
	return n
}

var words = regexp.MustCompile(`[()]|[^\s()]+`)

func (n *naive) match(ev *record) bool {
	rest := slices.Clone(n.condition)
	next := func() string {
		if len(rest) == 0 {
			return ""
		}
		return strings.ToLower(rest[0])
	}
	pop := func() string { w := rest[0]; rest = rest[1:]; return w }
	var or func() bool
	operand := func() bool {
		negate := false
		for next() == "not" {
			pop()
			negate = !negate
		}
		var result bool
		switch w := pop(); {
		case w == "(":
			result = or()
			pop()
		case next() == "of":
			pop()
			result = n.of(strings.ToLower(w) == "all", pop(), ev)
		default:
			result = search(n.parts[w], ev)
		}
		return result != negate
	}
	and := func() bool {
		result := operand()
		for next() == "and" {
			pop()
			right := operand()
			result = result && right
		}
		return result
	}
	or = func() bool {
		result := and()
		for next() == "or" {
			pop()
			right := and()
			result = result || right
		}
		return result
	}
	return or()
}

func (n *naive) of(all bool, what string, ev *record) bool {
	count, yes := 0, 0
	for _, name := range n.names {
		re := "^" + strings.ReplaceAll(regexp.QuoteMeta(what), `\*`, ".*") + "$"
		if strings.HasPrefix(name, "_") || what != "them" && !regexp.MustCompile(re).MatchString(name) {
			continue
		}
		if count++; search(n.parts[name], ev) {
			yes++
		}
	}
	return yes > 0 && (!all || yes == count)
}

func search(v *yaml.Node, ev *record) bool {
	switch v.Kind {
	case yaml.MappingNode:
		for i := 0; i < len(v.Content); i += 2 {
			if !field(v.Content[i].Value, v.Content[i+1], ev) {
				return false
			}
		}
		return true
	case yaml.SequenceNode:
		for _, kid := range v.Content {
			if search(kid, ev) {
				return true
			}
		}
		return false
	}
	return field("", v, ev)
}

func field(key string, v *yaml.Node, ev *record) bool {
	name, chain, _ := strings.Cut(key, "|")
	mods := strings.Split(chain, "|")
	texts, present := ev.texts, true
	if name != "" {
		texts, present = nil, false
		switch have := ev.fields[name]; have.Kind {
		case sigma.Text:
			texts, present = []string{have.Str}, true
		case sigma.List:
			texts, present = have.List, true
		}
	}
	values := []*yaml.Node{v}
	if v.Kind == yaml.SequenceNode {
		values = v.Content
	}
	yes := 0
	for _, v := range values {
		ok := v.ShortTag() == "!!null" && !present || v.Value == "*" && present
		for _, text := range texts {
			ok = ok || v.ShortTag() != "!!null" && one(text, v.Value, name, mods, ev)
		}
		if ok {
			yes++
		}
	}
	return yes > 0 && (!slices.Contains(mods, "all") || yes == len(values))
}

func one(text, want, name string, mods []string, ev *record) bool {
	has := func(m string) bool { return slices.Contains(mods, m) }
	switch {
	case has("re"):
		if has("i") {
			want = "(?i)" + want
		}
		return cached(want).MatchString(text)
	case has("cidr"):
		net := netip.MustParsePrefix(want)
		addr, err := netip.ParseAddr(text)
		return err == nil && net.Masked().Contains(addr.Unmap())
	case has("fieldref"):
		other := ev.fields[want]
		want = regexp.QuoteMeta(lower(other.Str))
		return other.Kind == sigma.Text && cached("(?s)^"+around(want, mods)+"$").MatchString(lower(text))
	}
	if has("wide") {
		var b []byte
		for _, u := range utf16.Encode([]rune(want)) {
			b = append(b, byte(u), byte(u>>8))
		}
		want = string(b)
	}
	if has("base64") {
		want = base64.StdEncoding.EncodeToString([]byte(want))
	}
	alternatives := []string{want}
	if has("base64offset") {
		alternatives = nil
		for shift := range 3 { // what stays the same whatever stands around
			a := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + want + "\x00\x00\x00"))
			b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\xff", shift) + want + "\xff\xff\xff"))
			from, to := 0, 0
			for from < len(a) && a[from] != b[from] {
				from++
			}
			for to = from; to < len(a) && a[to] == b[to]; {
				to++
			}
			alternatives = append(alternatives, a[from:to])
		}
	}
	if name == "" {
		mods = append(mods, "contains")
		has = func(m string) bool { return slices.Contains(mods, m) }
	}
	for _, a := range alternatives {
		if cached("(?s)^" + around(expression(lower(a), has("windash")), mods) + "$").MatchString(lower(text)) {
			return true
		}
	}
	return false
}

func around(re string, mods []string) string {
	if slices.Contains(mods, "contains") || slices.Contains(mods, "endswith") {
		re = ".*" + re
	}
	if slices.Contains(mods, "contains") || slices.Contains(mods, "startswith") {
		re += ".*"
	}
	return re
}

var dashes = regexp.MustCompile(`\B[-/]\b`)

// expression writes a text with wildcards as a regular expression.
func expression(s string, windash bool) string {
	open := map[int]bool{}
	if windash {
		for _, at := range dashes.FindAllStringIndex(s, -1) {
			open[at[0]] = true
		}
	}
	re := ""
	for i, runes := 0, []byte(s); i < len(runes); i++ {
		c := runes[i]
		switch {
		case open[i]:
			re += "[-/–—―]"
		case c == '\\' && i+1 < len(runes) && strings.ContainsRune(`*?\`, rune(runes[i+1])):
			i++
			re += regexp.QuoteMeta(string(runes[i]))
		case c == '*':
			re += ".*"
		case c == '?':
			re += "."
		case c < 0x80:
			re += regexp.QuoteMeta(string(c))
		default:
			re += string([]byte{c})
		}
	}
	return re
}

func lower(s string) string { return strings.Map(unicode.ToLower, s) }

var compiled = map[string]*regexp.Regexp{}

func cached(s string) *regexp.Regexp {
	re, ok := compiled[s]
	if !ok {
		re = regexp.MustCompile(s)
		compiled[s] = re
	}
	return re
}

// derive makes an event out of what a rule looks for, with some of it left out or spoilt.
func derive(r *rand.Rand, n *naive, rule *sigma.Rule) *record {
	fields := map[string]any{}
	var texts []string
	add := func(key string, v *yaml.Node) {
		values := []*yaml.Node{v}
		if v.Kind == yaml.SequenceNode {
			values = v.Content
		}
		name, chain, _ := strings.Cut(key, "|")
		if len(values) == 0 || r.IntN(12) == 0 {
			return
		}
		if !strings.Contains(chain, "all") {
			values = values[r.IntN(len(values)):][:1]
		}
		text := ""
		for _, v := range values {
			text += spoil(r, strings.NewReplacer(`\\`, `\`, "*", "xy", "?", "é").Replace(v.Value), chain)
		}
		if old, ok := fields[name].(string); ok && r.IntN(3) > 0 {
			text = old + text
		}
		if fields[name] = text; name == "" {
			texts = append(texts, text)
			delete(fields, name)
		}
	}
	for _, name := range n.names {
		var visit func(v *yaml.Node)
		visit = func(v *yaml.Node) {
			switch v.Kind {
			case yaml.MappingNode:
				for i := 0; i < len(v.Content); i += 2 {
					add(v.Content[i].Value, v.Content[i+1])
				}
			case yaml.SequenceNode:
				visit(v.Content[r.IntN(len(v.Content))])
			default:
				add("", v)
			}
		}
		if r.IntN(4) > 0 && (!strings.HasPrefix(name, "filter") || r.IntN(3) <= 0) {
			visit(n.parts[name])
		}
	}
	ev := event(fields, texts...)
	ev.sources = []sigma.Logsource{rule.Logsource}
	return ev
}

func spoil(r *rand.Rand, s, chain string) string {
	switch {
	case strings.Contains(chain, "contains") && r.IntN(2) == 0:
		s = "a " + s + " b"
	case strings.Contains(chain, "endswith") && r.IntN(2) == 0:
		s = "/usr/bin" + s
	}
	switch r.IntN(12) {
	case 0:
		return strings.ToUpper(s)
	case 1:
		return strings.ReplaceAll(s, "-", "/")
	case 2:
		return s + "–x"
	case 3:
		if len(s) > 1 {
			return s[:len(s)-1]
		}
	}
	return s
}

func TestMatchAgreesWithNaive(t *testing.T) {
	files := publicFiles(t)
	rules, _ := loadPublic(t)
	e, _ := sigma.Compile(rules, schema)
	rules = e.Rules()
	r := rand.New(rand.NewPCG(1, 2))
	slow := map[*sigma.Rule]*naive{}
	for _, rule := range rules {
		slow[rule] = newNaive(files[rule.SourceFile])
	}
	checked, fired := 0, 0
	for i, rule := range rules {
		if raceEnabled && i%20 > 0 {
			continue
		}
		for range 3 {
			ev := derive(r, slow[rule], rule)
			hit := map[*sigma.Rule]bool{}
			e.Match(ev, func(r *sigma.Rule) { hit[r] = true })
			others := []*sigma.Rule{rule}
			for h := range hit {
				others = append(others, h)
			}
			for range 10 {
				if other := rules[r.IntN(len(rules))]; other.Logsource.Covers(rule.Logsource) {
					others = append(others, other)
				}
			}
			for _, other := range others {
				if want := slow[other].match(ev); want != hit[other] {
					t.Fatalf("%s: engine %t, naive %t on %v %q", other.SourceFile, hit[other], want, ev.fields, ev.texts)
				}
				checked++
			}
			fired += len(hit)
		}
	}
	t.Logf("%d comparisons, %d rules fired", checked, fired)
}
