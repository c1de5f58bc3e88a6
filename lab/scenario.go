package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Scenario is one document of an attack.yml: how to play a threat for real and what must come of it.
type Scenario struct {
	ID       string          `yaml:"id"`    // stable: threat, dot, variant
	Title    string          `yaml:"title"` // one plain sentence
	Atlas    []string        `yaml:"atlas"`
	Attack   ScenarioAttack  `yaml:"attack"`
	Tier     string          `yaml:"tier"` // alert, signal, telemetry or benign
	Needs    ScenarioNeeds   `yaml:"needs"`
	Sandbox  ScenarioSandbox `yaml:"sandbox"`
	Seeded   []string        `yaml:"seeded"` // names of Seeds that the steps use
	Steps    []Step          `yaml:"steps"`
	Verify   []Verify        `yaml:"verify"`
	Expect   Expect          `yaml:"expect"`
	Cleanup  []Step          `yaml:"cleanup"`
	Variants []string        `yaml:"variants"`
	Twin     string          `yaml:"twin"`
	threat   string          // folder it was read from
}

// ScenarioAttack names the ATT&CK techniques that the scenario plays.
type ScenarioAttack struct {
	Version    string   `yaml:"version"`
	Techniques []string `yaml:"techniques"`
}

// ScenarioNeeds says what the host must offer.
type ScenarioNeeds struct {
	Root     bool     `yaml:"root"`
	Features []string `yaml:"features"`
}

// ScenarioSandbox says what the container holds.
type ScenarioSandbox struct {
	Image   string   `yaml:"image"`   // inference
	Server  string   `yaml:"server"`  // command line of what it poses as; llama-server where it is not given
	Assets  []string `yaml:"assets"`  // see assetNames
	Policy  string   `yaml:"policy"`  // what Picket holds the container to; ${container} is its name, ${tomorrow} a date
	Profile string   `yaml:"profile"` // frozen: what it did until the first step is all that is usual
}

// Step is one command that the attacker gives the server.
type Step struct {
	ID      string            `yaml:"id"`
	Title   string            `yaml:"title"`   // what it is for, in a few words
	Run     string            `yaml:"run"`     // shell text; ${name} takes a seed or a fact
	Facts   map[string]string `yaml:"facts"`   // name → stdout: what the step printed, for later steps
	Timeout string            `yaml:"timeout"` // 30s where it is not given
	Fails   bool              `yaml:"fails"`   // a status other than 0 is what the attacker gets
}

// Verify is one effect that must have come about. Exactly one of its fields is set.
type Verify struct {
	Received *Received `yaml:"received"` // bytes arrived at an address outside
	Login    *Login    `yaml:"login"`    // a miner signed in at a pool
	Changed  string    `yaml:"changed"`  // a file is not what it was at the start
	Exists   string    `yaml:"exists"`   // a file is there that was not at the start
	Missing  string    `yaml:"missing"`  // a file is not there: what would have made it was stopped
	Silent   string    `yaml:"silent"`   // nothing arrived at an address outside: what would have called it was stopped
}

// Received is what must have arrived outside.
type Received struct {
	Host     string `yaml:"host"`
	BytesMin int64  `yaml:"bytes_min"`
}

// Login is a stratum login that must have arrived outside.
type Login struct {
	Host string `yaml:"host"`
}

// Expect is what Picket must say of the attack.
type Expect struct {
	Observables []map[string]string `yaml:"observables"`
	Findings    []ExpectFinding     `yaml:"findings"`
	Incident    ExpectIncident      `yaml:"incident"`
}

// ExpectFinding names a rule that must fire, by file name without its ending.
type ExpectFinding struct {
	Rule       string  `yaml:"rule"`
	MaxSeconds float64 `yaml:"max_seconds"` // counted from the end of the last step; 0 means the run's own patience
}

// ExpectIncident says how the findings must have been joined.
type ExpectIncident struct {
	One bool `yaml:"one"` // all of them in a single incident
}

// Load reads an attack from a file system of threat folders, by its id, or the first one of a threat by the
// folder's name.
func Load(threats fs.FS, name string) (*Scenario, error) {
	threat, variant, _ := strings.Cut(name, ".")
	if !fs.ValidPath(threat) || strings.ContainsRune(name, '/') {
		return nil, fmt.Errorf("threat %q: want the name of a folder below threats/, such as steal-weights, or the id of an attack", name)
	}
	file := path.Join(threat, "attack.yml")
	src, err := fs.ReadFile(threats, file)
	if errors.Is(err, fs.ErrNotExist) {
		have, _ := fs.Glob(threats, "*/attack.yml")
		for i := range have {
			have[i] = path.Dir(have[i])
		}
		return nil, fmt.Errorf("threat %s has no attack.yml; there are attacks for: %s", threat, strings.Join(have, ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("read attack: %w", err)
	}
	list, err := Parse(file, src)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, s := range list {
		s.threat = threat
		if variant == "" || s.ID == name {
			return s, nil
		}
		ids = append(ids, s.ID)
	}
	return nil, fmt.Errorf("threat %s has no attack %s, but %s: %w", threat, name, strings.Join(ids, ", "), fs.ErrNotExist)
}

// Parse reads an attack.yml: one attack a document. The error names file, line and column of the first mistake.
func Parse(file string, src []byte) ([]*Scenario, error) {
	nodes, docs := yaml.NewDecoder(bytes.NewReader(src)), yaml.NewDecoder(bytes.NewReader(src))
	docs.KnownFields(true)
	var list []*Scenario
	for {
		var doc yaml.Node
		s := &Scenario{}
		err := nodes.Decode(&doc)
		if err == nil {
			err = docs.Decode(s)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, located(file, err)
		}
		c := check{file: file, doc: &doc}
		c.scenario(s)
		if slices.ContainsFunc(list, func(o *Scenario) bool { return o.ID == s.ID }) {
			c.fail([]any{"id"}, "id %s is taken by an attack above", s.ID)
		}
		if c.err != nil {
			return nil, c.err
		}
		list = append(list, s)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s:1:1: the file is empty; want an attack with id, title, steps, verify and expect", file)
	}
	return list, nil
}

var lineOf = regexp.MustCompile(`line (\d+): (.*)`)

// located turns the YAML reader's words into file:line: what.
func located(file string, err error) error {
	if m := lineOf.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("%s:%s: %s", file, m[1], m[2])
	}
	return fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
}

// check finds the first mistake in a scenario and where it stands.
type check struct {
	file string
	doc  *yaml.Node
	err  error
}

func (c *check) fail(where []any, format string, args ...any) {
	if c.err != nil {
		return
	}
	n := c.doc
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	for _, w := range where {
		next := child(n, w)
		if next == nil {
			break
		}
		n = next
	}
	c.err = fmt.Errorf("%s:%d:%d: %s", c.file, max(n.Line, 1), max(n.Column, 1), fmt.Sprintf(format, args...))
}

func child(n *yaml.Node, at any) *yaml.Node {
	switch at := at.(type) {
	case string:
		for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
			if n.Content[i].Value == at {
				return n.Content[i+1]
			}
		}
	case int:
		if n.Kind == yaml.SequenceNode && at < len(n.Content) {
			return n.Content[at]
		}
	}
	return nil
}

var (
	idShape  = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)
	varShape = regexp.MustCompile(`\$\{([a-z_][a-z0-9_]*)\}`)
)

func (c *check) scenario(s *Scenario) {
	if !idShape.MatchString(s.ID) {
		c.fail([]any{"id"}, "id %q: want lower-case letters, digits, dot, dash, such as steal-weights.http-post", s.ID)
	}
	if s.Title == "" {
		c.fail([]any{"title"}, "title is missing: one sentence on what the attacker does")
	}
	if s.Tier == "" {
		s.Tier = "alert"
	}
	if !slices.Contains([]string{"alert", "signal", "telemetry", "benign"}, s.Tier) {
		c.fail([]any{"tier"}, "tier %q: want alert, signal, telemetry or benign", s.Tier)
	}
	if s.Sandbox.Image != "" && s.Sandbox.Image != "inference" {
		c.fail([]any{"sandbox", "image"}, "sandbox image %q: want inference", s.Sandbox.Image)
	}
	for i, name := range s.Sandbox.Assets {
		if !slices.Contains(assetNames, name) {
			c.fail([]any{"sandbox", "assets", i}, "asset %q is not known: want one of %s", name, strings.Join(assetNames, ", "))
		}
	}
	if s.Sandbox.Profile != "" && s.Sandbox.Profile != "frozen" {
		c.fail([]any{"sandbox", "profile"}, "profile %q: want frozen, or none", s.Sandbox.Profile)
	}
	if _, err := poseOf(s.Sandbox.Server); err != nil {
		c.fail([]any{"sandbox", "server"}, "%v", err)
	}
	known := map[string]bool{"container": true}
	c.vars([]any{"sandbox", "policy"}, s.Sandbox.Policy, map[string]bool{"container": true, "tomorrow": true})
	for i, name := range s.Seeded {
		if !slices.Contains(seedNames, name) {
			c.fail([]any{"seeded", i}, "seed %q is not known: want one of %s", name, strings.Join(seedNames, ", "))
		}
		known[name] = true
	}
	if len(s.Steps) == 0 {
		c.fail([]any{"steps"}, "steps is empty: an attack without a step plays nothing")
	}
	c.steps("steps", s.Steps, known)
	for i, v := range s.Verify {
		c.verify(i, v, known)
	}
	for i, f := range s.Expect.Findings {
		if f.Rule == "" {
			c.fail([]any{"expect", "findings", i}, "rule is missing: the rule's file name without .yml")
		}
		if f.MaxSeconds < 0 {
			c.fail([]any{"expect", "findings", i, "max_seconds"}, "max_seconds is below zero")
		}
	}
	for i, o := range s.Expect.Observables {
		for what, value := range o {
			if _, ok := observables[what]; !ok {
				c.fail([]any{"expect", "observables", i}, "observable %q is not known: want one of %s", what, strings.Join(slices.Sorted(maps.Keys(observables)), ", "))
			}
			c.vars([]any{"expect", "observables", i, what}, value, known)
		}
	}
	if len(s.Verify) == 0 && s.Tier != "benign" {
		c.fail([]any{"verify"}, "verify is empty: say which effect proves that the attack worked (received, login, changed, exists, missing, silent)")
	}
	c.steps("cleanup", s.Cleanup, known)
}

// steps checks the steps in order; a step's facts are known to the ones after it.
func (c *check) steps(key string, steps []Step, known map[string]bool) {
	seen := map[string]bool{}
	for i, st := range steps {
		if !idShape.MatchString(st.ID) || seen[st.ID] {
			c.fail([]any{key, i, "id"}, "step id %q: want a name of its own in lower-case letters, digits, dash", st.ID)
		}
		seen[st.ID] = true
		if strings.TrimSpace(st.Run) == "" {
			c.fail([]any{key, i, "run"}, "step %s has nothing to run", st.ID)
		}
		c.vars([]any{key, i, "run"}, st.Run, known)
		if _, err := st.timeout(); err != nil {
			c.fail([]any{key, i, "timeout"}, "timeout %q: want a duration such as 10s, up to 10m", st.Timeout)
		}
		for name, from := range st.Facts {
			if from != "stdout" || !varShape.MatchString("${"+name+"}") {
				c.fail([]any{key, i, "facts", name}, "fact %s: %s: want a lower-case name and the word stdout", name, from)
			}
			known[name] = true
		}
	}
}

func (c *check) verify(i int, v Verify, known map[string]bool) {
	set := 0
	text := v.Changed + v.Exists + v.Missing + v.Silent
	for _, on := range []bool{v.Received != nil, v.Login != nil, v.Changed != "", v.Exists != "", v.Missing != "", v.Silent != ""} {
		if on {
			set++
		}
	}
	if set != 1 {
		c.fail([]any{"verify", i}, "want exactly one of received, login, changed, exists, missing, silent")
		return
	}
	if v.Received != nil {
		text += v.Received.Host
		if v.Received.BytesMin <= 0 {
			c.fail([]any{"verify", i, "received"}, "bytes_min is missing: how much must have arrived at least")
		}
	}
	if v.Login != nil {
		text += v.Login.Host
	}
	c.vars([]any{"verify", i}, text, known)
}

func (c *check) vars(where []any, text string, known map[string]bool) {
	for _, m := range varShape.FindAllStringSubmatch(text, -1) {
		if !known[m[1]] {
			c.fail(where, "${%s} is neither seeded nor a fact of an earlier step", m[1])
		}
	}
}

func (st Step) timeout() (time.Duration, error) {
	if st.Timeout == "" {
		return 30 * time.Second, nil
	}
	d, err := time.ParseDuration(st.Timeout)
	if err != nil {
		return 0, err
	}
	if d <= 0 || d > 10*time.Minute {
		return 0, errors.New("out of range")
	}
	return d, nil
}

// expand puts seeds and facts in the place of ${name}. A ${name} that is neither stays: it is the shell's.
func expand(text string, facts map[string]string) string {
	return varShape.ReplaceAllStringFunc(text, func(m string) string {
		if v, ok := facts[m[2:len(m)-1]]; ok {
			return v
		}
		return m
	})
}
