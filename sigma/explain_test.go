package sigma_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"picket/sigma"

	"github.com/google/go-cmp/cmp"
)

func TestExplain(t *testing.T) {
	r := ruleOf(t, `
a:
  CommandLine|contains: [wget, 'cu?l*-O']
  Image|endswith: /sh
b: {User|cased: root}
c: {ProcessId|gte: 100}
d: {DestinationIp|cidr: 10.0.0.0/8, Initiated|exists: true}
e: {ParentImage: null}
condition: a and not b or c and d and not e
`)
	e, err := sigma.Compile([]*sigma.Rule{r}, schema)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := e.Explain(r)
	if !ok {
		t.Fatal("the rule is not known")
	}
	want := `any of
  all of
    Initiated is there
    not ParentImage is absent or null
    ProcessId ≥ 100
    DestinationIp is in 10.0.0.0/8
  all of
    Image ends with "/sh"
    not User is "root" in this case
    any of
      CommandLine contains "wget"
      CommandLine is like *"cu"?"l"*"-o"*`
	if diff := cmp.Diff(want, p.Condition.String()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"CommandLine", "DestinationIp", "Image", "Initiated", "ParentImage", "ProcessId", "User"}, p.Fields); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]sigma.Witness{{Field: "Initiated", Any: true}, {Field: "Image", Text: "/sh"}}, p.Witnesses); diff != "" || p.Cost <= 0 {
		t.Errorf("cost %d: %s", p.Cost, diff)
	}
	if _, ok := e.Explain(ruleOf(t, "a: {User: x}\ncondition: a")); ok {
		t.Error("a rule of no engine is explained")
	}
}

func TestExplainWitnesses(t *testing.T) {
	r := ruleOf(t, "a: {User|contains: r}\nb: {CommandLine|contains: NCAT}\ncondition: a and b")
	e, _ := sigma.Compile([]*sigma.Rule{r}, schema)
	p, _ := e.Explain(r)
	if diff := cmp.Diff([]sigma.Witness{{Field: "CommandLine", Text: "ncat"}}, p.Witnesses); diff != "" {
		t.Error(diff)
	}
}

func TestBeginnings(t *testing.T) {
	for _, c := range []struct {
		detection string
		want      []string
	}{
		{"a: {Image|startswith: [/Etc/, /usr/]}\ncondition: a", []string{"/etc/", "/usr/"}},
		{"a: {Image: /etc/passwd}\ncondition: a", []string{"/etc/passwd"}},
		{"a: {Image: '/etc/*.d/x?'}\ncondition: a", []string{"/etc/"}},
		{"a: {ParentImage|startswith: /etc/}\ncondition: a", []string{"/etc/"}}, // the other of the two fields
		{"a: {Image|cased: /ETC/x}\ncondition: a", []string{"/etc/x"}},
		{"a: {Image|startswith: /etc/}\nb: {Image|endswith: x, User: y}\ncondition: a and b", []string{"/etc/"}},
		{"a: {Image|startswith: /etc/}\nb: {Image|startswith: /etc/ssh}\ncondition: a and b", []string{"/etc/ssh"}},
		{"a: {Image|startswith: /etc/}\nb: {User: y}\ncondition: a or b", nil},
		{"a: {Image|startswith: /etc/}\ncondition: not a", nil},
		{"a: {Image|neq: /etc/x}\ncondition: a", nil},
		{"a: {Image|startswith: /etc/}\nb: {Image|startswith: /var/}\ncondition: a or b", []string{"/etc/", "/var/"}},
		{"a: {Image|contains: /etc/}\ncondition: a", nil},
		{"a: {Image|re: '^/etc/'}\ncondition: a", nil},
		{"a: {Image: ''}\ncondition: a", nil},
		{"a: [word]\ncondition: a", nil},
	} {
		r := ruleOf(t, c.detection)
		e, err := sigma.Compile([]*sigma.Rule{r}, schema)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, e.Beginnings(r, "Image", "ParentImage")); diff != "" {
			t.Errorf("%s\n%s", c.detection, diff)
		}
	}
}

// What is told of a rule must be true of every event that it fires on.
func TestPlansOfPublicRulesHold(t *testing.T) {
	files := publicFiles(t)
	rules, _ := loadPublic(t)
	e, _ := sigma.Compile(rules, schema)
	r := rand.New(rand.NewPCG(3, 4))
	fired, begin := 0, 0
	for i, rule := range e.Rules() {
		if raceEnabled && i%20 > 0 {
			continue
		}
		n := newNaive(files[rule.SourceFile])
		for range 5 {
			ev := derive(r, n, rule)
			hit := false
			e.Match(ev, func(h *sigma.Rule) { hit = hit || h == rule })
			if !hit {
				continue
			}
			fired++
			if !rule.CanFire(func(f string) bool { return ev.fields[f].Kind == sigma.Absent }) {
				t.Fatalf("%s fired, and could not, on %v", rule.SourceFile, ev.fields)
			}
			for _, name := range rule.Fields() {
				texts := e.Beginnings(rule, name)
				if len(texts) == 0 {
					continue
				}
				begin++
				value := strings.ToLower(ev.fields[name].Str)
				if !slices.ContainsFunc(texts, func(s string) bool { return strings.HasPrefix(value, s) }) {
					t.Fatalf("%s: %s is %q and begins with none of %q", rule.SourceFile, name, value, texts)
				}
			}
		}
	}
	if fired == 0 || begin == 0 {
		t.Errorf("%d rules fired, %d beginnings", fired, begin)
	}
}

// A witness may be a run of byte classes, or stand at one end of the field only.
func TestCandidatesHaveTheWholeWitness(t *testing.T) {
	run := ruleOf(t, `a: {CommandLine|re: '-(W|R)\d{2}'}`+"\ncondition: a")
	end := ruleOf(t, "a: {Image|endswith: /ncat}\ncondition: a")
	for _, c := range []struct {
		rule    *sigma.Rule
		event   map[string]any
		witness sigma.Witness
		want    bool
	}{
		{run, map[string]any{"CommandLine": "x -W12"}, sigma.Witness{Field: "CommandLine", Text: "[-][rw][0123456789][0123456789]"}, true},
		{run, map[string]any{"CommandLine": "x -W 12"}, sigma.Witness{Field: "CommandLine", Text: "[-][rw][0123456789][0123456789]"}, false},
		{end, map[string]any{"Image": "/bin/NCAT"}, sigma.Witness{Field: "Image", Text: "/ncat"}, true},
		{end, map[string]any{"Image": "/ncat/x"}, sigma.Witness{Field: "Image", Text: "/ncat"}, false},
	} {
		e, err := sigma.Compile([]*sigma.Rule{c.rule}, schema)
		if err != nil {
			t.Fatal(err)
		}
		p, _ := e.Explain(c.rule)
		if diff := cmp.Diff([]sigma.Witness{c.witness}, p.Witnesses); diff != "" {
			t.Error(diff)
		}
		if got := e.Candidate(c.rule, event(c.event)); got != c.want {
			t.Errorf("%v: candidate %t, want %t", c.event, got, c.want)
		}
	}
}
