package detect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"picket/event"
	"picket/sigma"
)

// Sequence is a Sigma correlation of type temporal_ordered: rules that fire one after another in
// one group within a time span.
//
// A group is the tuple of values of the group-by fields; an event that lacks one is not counted,
// with one exception: where an event has no container.id, its lineage stands for it. The lineage is
// the process below which all belongs together: the oldest ancestor below init, a login, a
// container's shim or a scheduler.
type Sequence struct {
	ID, Name, Title, Status, Description string
	Author, Level                        string
	Tags, References, FalsePositives     []string
	Rules                                []string // ids or names, in order
	GroupBy                              []string
	Timespan                             time.Duration
	Custom                               map[string]*yaml.Node
	SourceFile                           string
	Line                                 int

	at map[string]int // lines of the keys
}

// containerField is the group-by field that a lineage may stand for.
const containerField = "container.id"

// parseSequences reads the correlation documents of a rule file, and says which lines they take.
func parseSequences(file string, src []byte) (list []*Sequence, lines []span, faults sigma.Errors) {
	if !bytes.Contains(src, []byte("correlation")) {
		return nil, nil, nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(src))
	others := 0
	for {
		var doc yaml.Node
		if err := dec.Decode(&doc); err != nil {
			if !errors.Is(err, io.EOF) && others == 0 {
				others++ // not YAML: the rule parser says where
			}
			break
		}
		if len(lines) > 0 && lines[len(lines)-1].to == 0 {
			lines[len(lines)-1].to = doc.Line - 1
		}
		if len(doc.Content) != 1 || child(doc.Content[0], "correlation") == nil {
			others++
			continue
		}
		lines = append(lines, span{from: doc.Line})
		s, errs := parseSequence(file, doc.Content[0])
		faults = append(faults, errs...)
		if len(errs) == 0 {
			list = append(list, s)
		}
	}
	for i := range lines {
		lines[i].only = others == 0
		if lines[i].to == 0 {
			lines[i].to = countLines(src)
		}
	}
	return list, lines, faults
}

func parseSequence(file string, doc *yaml.Node) (*Sequence, sigma.Errors) {
	s := &Sequence{SourceFile: file, Line: doc.Line, Custom: map[string]*yaml.Node{}, at: map[string]int{}}
	var faults sigma.Errors
	report := func(n *yaml.Node, msg, hint string) {
		faults = append(faults, fault(file, n.Line, n.Column, msg, hint))
	}
	texts := map[string]*string{
		"id": &s.ID, "name": &s.Name, "title": &s.Title, "status": &s.Status, "description": &s.Description, "author": &s.Author, "level": &s.Level,
	}
	lists := map[string]*[]string{"tags": &s.Tags, "references": &s.References, "falsepositives": &s.FalsePositives}
	for i := 0; i+1 < len(doc.Content); i += 2 {
		key, val := doc.Content[i], doc.Content[i+1]
		s.at[key.Value] = key.Line
		switch {
		case key.Value == "correlation":
			s.correlation(val, report)
		case texts[key.Value] != nil:
			if val.Kind != yaml.ScalarNode {
				report(val, key.Value+" is not text", "")
			}
			*texts[key.Value] = val.Value
		case lists[key.Value] != nil:
			*lists[key.Value] = scalars(val)
		case slices.Contains([]string{"date", "modified", "related", "license", "taxonomy", "generate"}, key.Value):
		default:
			s.Custom[key.Value] = val
		}
	}
	if s.Name == "" {
		s.Name = fileName(file)
	}
	if s.ID == "" {
		report(doc, "a correlation needs an id", "add id: with a fresh UUID")
	}
	if s.Title == "" {
		report(doc, "a correlation needs a title", "")
	}
	if event.ParseSeverity(s.Level).String() != s.Level {
		report(doc, fmt.Sprintf("level %q is not known", s.Level), "informational, low, medium, high or critical")
	}
	if _, _, err := summaryOf(s.Custom); err != nil {
		faults = append(faults, fault(file, err.line, err.col, err.msg, err.hint))
	}
	return s, faults
}

func (s *Sequence) correlation(n *yaml.Node, report func(*yaml.Node, string, string)) {
	if n.Kind != yaml.MappingNode {
		report(n, "correlation is not a mapping", "it needs type, rules, group-by and timespan")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		s.at[key.Value] = val.Line
		switch key.Value {
		case "type":
			if val.Value != "temporal_ordered" {
				report(val, fmt.Sprintf("correlation type %q is not evaluated by this version", val.Value), "use temporal_ordered")
			}
		case "rules":
			s.Rules = scalars(val)
			if len(s.Rules) < 2 || len(s.Rules) > maxSteps {
				report(val, fmt.Sprintf("a sequence has 2 to %d rules, this one %d", maxSteps, len(s.Rules)), "")
			}
		case "group-by":
			s.GroupBy = scalars(val)
			for _, f := range s.GroupBy {
				if _, ok := event.Lookup(f); !ok {
					report(val, fmt.Sprintf("there is no field %q to group by", f), "such as container.id or process.user")
				}
			}
		case "timespan":
			d, err := parseTimespan(val.Value)
			if err != nil {
				report(val, err.Error(), "write a number and s, m, h or d, such as 10m")
			}
			s.Timespan = d
		case "generate":
		default:
			report(key, fmt.Sprintf("%q is not evaluated for temporal_ordered by this version", key.Value), "remove it")
		}
	}
	for _, need := range []string{"type", "rules", "group-by", "timespan"} {
		if child(n, need) == nil {
			report(n, "correlation has no "+need, "")
		}
	}
}

// maxSteps bounds the rules of one sequence, and with them the memory of a group.
const maxSteps = 8

// maxTimespan bounds how long a half-seen sequence is kept.
const maxTimespan = 7 * 24 * time.Hour

func parseTimespan(s string) (time.Duration, error) {
	if s == "" {
		return 0, errors.New("timespan is empty")
	}
	unit, ok := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[s[len(s)-1]]
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 31)
	if !ok || err != nil || n == 0 {
		return 0, fmt.Errorf("timespan %q is not a length of time", s)
	}
	if n > uint64(maxTimespan/unit) {
		return 0, fmt.Errorf("timespan %q is longer than 7 days", s)
	}
	return time.Duration(n) * unit, nil
}

// child returns the value of a key of a mapping, nil if it has none.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// scalars returns the texts of a list, or of a single scalar.
func scalars(n *yaml.Node) []string {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		return []string{n.Value}
	}
	var out []string
	for _, c := range n.Content {
		if n.Kind == yaml.SequenceNode && c.Kind == yaml.ScalarNode {
			out = append(out, c.Value)
		}
	}
	return out
}

// groupKey appends the group that e falls into, and reports false if it lacks a field.
func (s *Sequence) groupKey(dst []byte, fields []event.Field, e *event.Event) ([]byte, bool) {
	for i, f := range fields {
		v := e.Value(f)
		switch {
		case v.Kind != event.Absent:
			start := len(dst)
			dst = v.Append(dst)
			dst = append(dst[:start], strings.ToLower(string(dst[start:]))...)
		case s.GroupBy[i] == containerField && e.Process != nil:
			dst = append(dst, "lineage "...)
			dst = append(dst, lineage(e.Process)...)
		default:
			return dst, false
		}
		dst = append(dst, 0)
	}
	return dst, true
}

// starters are the programs that start what does not belong together.
var starters = []string{
	"systemd", "init", "sshd", "login", "cron", "crond", "atd", "tmux: server", "tmux", "screen", "containerd-shim", "containerd-shim-runc-v2",
	"containerd", "dockerd", "conmon", "crio", "runc", "crun", "kubelet", "slurmstepd", "slurmd", "supervisord", "kthreadd",
}

// lineage returns the identity of the process under which p and its kin belong together.
func lineage(p *event.Process) string {
	root := p
	for a := range p.Ancestors {
		if a.PID == 1 || slices.Contains(starters, a.Name()) {
			break
		}
		root = a
	}
	return root.UID
}
