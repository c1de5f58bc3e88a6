package artifact

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	yamlLimit    = 4 << 20 // bytes of a configuration
	commentsMost = 1 << 14 // comments: at each end of a list its reader may look through all of them
)

// yamlTelling finds what makes a text worth a look whatever its name is.
var yamlTelling = regexp.MustCompile(`(?m)(?:^|[\s\-{,])["']?(_target_|_component_|auto_map|chat_template)["']?[ \t]*:|!!python/|tag:yaml\.org,2002:python/`)

// yamlFormat is a configuration as NeMo and Hydra keep it, in an archive or beside weights. It names what the
// loader calls, and, for careless readers of YAML, Python objects.
func yamlFormat() format {
	return format{
		name: "yaml",
		sniff: func(head []byte, p *part) bool {
			return printable(head) && !strings.HasPrefix(strings.TrimLeft(string(head), " \t\r\n"), "{\"") &&
				(named(p, ".yaml", ".yml") || yamlTelling.Match(head) && !sniffPython(head, p))
		},
		scan: scanYAML,
	}
}

// named reports whether a part's name ends in one of some ways.
func named(p *part, ends ...string) bool {
	name := strings.ToLower(p.base())
	return slices.ContainsFunc(ends, func(e string) bool { return strings.HasSuffix(name, e) })
}

func scanYAML(s *scan, p *part) {
	text, whole := p.text(yamlLimit)
	if !whole {
		s.issue(p, Issue{Rule: "limit", Verdict: Failed, Offset: yamlLimit, Text: "The YAML is too long; the rest was not judged."})
	}
	if comments(text) > commentsMost {
		s.issue(p, Issue{Rule: "limit", Verdict: Failed, Offset: 0, Text: fmt.Sprintf("It holds more than %d comments; it was not judged.", commentsMost)})
		return
	}
	y := &yamlConfig{s: s, p: p, lines: []int{0}}
	for i, c := range []byte(text) {
		if c == '\n' {
			y.lines = append(y.lines, i+1)
		}
	}
	d := yaml.NewDecoder(strings.NewReader(text))
	for !s.over {
		var doc yaml.Node
		err := d.Decode(&doc)
		if err != nil {
			switch {
			case !whole || errors.Is(err, io.EOF):
			case named(p, ".yaml", ".yml") || s.report.Verdict > Unsupported:
				s.broken(p, -1, "yaml", err)
			default: // a text about one
				s.issue(p, Issue{Rule: "unsupported", Verdict: Unsupported, Offset: -1, Text: "It holds words of a configuration, and is no YAML; it was not judged."})
			}
			return
		}
		y.node("", &doc, 0)
	}
}

// comments counts what may be a comment. The last bytes of what YAML takes for the end of a line are four.
func comments(text string) (n int) {
	for i := range len(text) {
		if text[i] == '#' && (i == 0 || strings.IndexByte(" \t\r\n\x85\xa8\xa9", text[i-1]) >= 0) {
			n++
		}
	}
	return n
}

// yamlConfig judges YAML, node by node. Aliases of lists and mappings are not followed: what they stand for is judged
// where it stands. A scalar says another thing under another key.
type yamlConfig struct {
	s     *scan
	p     *part
	lines []int // where each begins
}

func (y *yamlConfig) tell(n *yaml.Node, rule string, v Verdict, name, text string) {
	y.s.issue(y.p, Issue{Rule: rule, Verdict: v, Offset: y.at(n), Name: clip(name), Text: text})
}

func (y *yamlConfig) at(n *yaml.Node) int64 {
	if n.Line < 1 || n.Line > len(y.lines) {
		return 0
	}
	return int64(y.lines[n.Line-1] + max(0, n.Column-1))
}

func (y *yamlConfig) node(key string, n *yaml.Node, deep int) {
	if deep > jsonDepth {
		y.tell(n, "limit", Failed, "", fmt.Sprintf("Its lists lie more than %d deep in each other; the rest was not judged.", jsonDepth))
		return
	}
	y.tag(n)
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			y.tag(n.Content[i])
			name := meant(n.Content[i]).Value
			if key == "auto_map" {
				name = key
			}
			y.node(name, n.Content[i+1], deep+1)
		}
	case yaml.SequenceNode, yaml.DocumentNode:
		for _, c := range n.Content {
			y.node(key, c, deep+1)
		}
	case yaml.ScalarNode:
		y.scalar(key, n)
	case yaml.AliasNode:
		if to := meant(n); to.Kind == yaml.ScalarNode || key == "auto_map" {
			y.scalar(key, to)
		}
	}
}

// meant returns what an alias stands for.
func meant(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func (y *yamlConfig) scalar(key string, n *yaml.Node) {
	switch key {
	case "_target_", "_component_":
		judgeTarget(y.s, y.p, y.at(n), n.Value)
	case "chat_template", "default_chat_template":
		judgeTemplate(y.s, y.p, y.at(n), key, n.Value, false)
	case "trust_remote_code":
		if strings.EqualFold(n.Value, "true") {
			y.tell(n, "remote-code", Suspicious, key, "It tells loaders to trust the code that comes with the model.")
		}
	case "auto_map":
		y.tell(n, "remote-code", Unknown, n.Value, "Loaders that trust remote code import a class from the model's own Python files.")
	}
}

// pythonData are the tags of Python that stand for values.
var pythonData = words("none bool str unicode bytes int long float complex list tuple dict")

// tag judges the type that a node claims: readers that are not safe make objects of Python's.
func (y *yamlConfig) tag(n *yaml.Node) {
	_, what, ok := strings.Cut(n.Tag, "python/")
	if !ok {
		return
	}
	kind, name, _ := strings.Cut(what, ":")
	if name == "" && pythonData[kind] {
		return
	}
	module, last := "", name
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		module, last = name[:i], name[i+1:]
	}
	v, why := y.s.judge(canonical(module), last)
	if v == Clean && kind != "object/apply" && kind != "object/new" {
		return
	}
	y.tell(n, "yaml-object", max(v, Unknown), name, fmt.Sprintf("A reader of YAML that is not safe makes %s, which %s.", clip(name), orPlain(why)))
}

func orPlain(why string) string {
	if why == "" {
		return "rebuilds data"
	}
	return why
}
