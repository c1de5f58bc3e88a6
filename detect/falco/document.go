package falco

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds on what is read.
const (
	maxFile  = 10 << 20
	maxItems = 10_000 // values of a list, with those of the lists it names
	maxEntry = 20_000 // entries of a file
)

// segment is the text of a condition as one entry gave it. An append adds a segment.
type segment struct {
	text string
	file string
	node *yaml.Node
}

type macroDef struct {
	name  string
	cond  []segment
	place position
	tree  *node // expanded; nil where it has a fault
	state state
}

type listDef struct {
	name  string
	items []value
	place position
	flat  []value
	state state
}

// state guards against definitions that use themselves.
type state uint8

const (
	fresh state = iota
	busy
	done
)

type ruleDef struct {
	name, desc, output, priority, source string
	tags                                 []string
	cond                                 []segment
	exceptions                           []*exception
	disabled                             bool
	place                                position
	tree                                 *node  // expanded; nil where it has a fault
	problem                              string // why tree is nil
}

// read adds the entries of one file.
func (rs *Ruleset) read(f File) {
	rs.lines[f.Name] = strings.Split(strings.ReplaceAll(string(f.Data[:min(len(f.Data), maxFile)]), "\r\n", "\n"), "\n")
	if len(f.Data) > maxFile {
		rs.fault(position{f.Name, 1, 1}, "split it", fmt.Sprintf("the file is larger than %d bytes", maxFile))
		return
	}
	dec := yaml.NewDecoder(bytes.NewReader(f.Data))
	left := maxEntry
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			rs.syntax(f.Name, err)
			return
		}
		root := real(&doc)
		if root.Kind == yaml.DocumentNode && len(root.Content) > 0 {
			root = real(root.Content[0])
		}
		if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
			continue
		}
		if root.Kind != yaml.SequenceNode {
			rs.fault(at(f.Name, root), "a Falco file is a list of - rule:, - macro: and - list: entries", "the document is not a list of entries")
			continue
		}
		for _, n := range root.Content {
			if left--; left < 0 {
				rs.fault(at(f.Name, n), "split the file", fmt.Sprintf("the file has more than %d entries", maxEntry))
				return
			}
			rs.entry(f.Name, real(n))
		}
	}
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

func (rs *Ruleset) syntax(file string, err error) {
	msg, pos := strings.TrimPrefix(err.Error(), "yaml: "), position{file, 1, 1}
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		pos.line, _ = strconv.Atoi(m[1]) // digits by the expression
		msg = strings.Replace(msg, m[0], "", 1)
	}
	rs.fault(pos, "quote values that begin with a special character, and indent with spaces", "not YAML: "+msg)
}

func at(file string, n *yaml.Node) position { return position{file, n.Line, n.Column} }

// real follows an alias to what it stands for. It goes no deeper, so that a bomb stays small.
func real(n *yaml.Node) *yaml.Node {
	for range 8 {
		if n.Kind != yaml.AliasNode || n.Alias == nil {
			break
		}
		n = n.Alias
	}
	return n
}

// joined returns the whole text of a condition.
func joined(cond []segment) string {
	texts := make([]string, len(cond))
	for i, s := range cond {
		texts[i] = s.text
	}
	return strings.Join(texts, " ")
}

// locate returns where an offset into the joined text stands in its file. YAML folds lines, so
// it counts what is not blank.
func (rs *Ruleset) locate(cond []segment, offset int) position {
	i := 0
	for i < len(cond)-1 && offset > len(cond[i].text) {
		offset -= len(cond[i].text) + 1
		i++
	}
	s := cond[i]
	solid := 0
	for _, c := range []byte(s.text[:min(max(offset, 0), len(s.text))]) {
		if !isBlank(c) {
			solid++
		}
	}
	line, col := s.node.Line, s.node.Column
	switch s.node.Style {
	case yaml.FoldedStyle, yaml.LiteralStyle:
		line, col = line+1, 1
	case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
		col++
	}
	lines := rs.lines[s.file]
	for ; line >= 1 && line <= len(lines); line, col = line+1, 1 {
		for text := lines[line-1]; col <= len(text); col++ {
			if isBlank(text[col-1]) {
				continue
			}
			if solid == 0 {
				return position{s.file, line, col}
			}
			solid--
		}
	}
	return at(s.file, s.node)
}
