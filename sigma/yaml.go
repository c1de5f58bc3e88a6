package sigma

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

// Bounds on one document. Aliases count as often as they are used, so that a small file cannot
// stand for a large one.
const (
	maxDepth = 64
	maxNodes = 200_000
)

// reader turns a file into YAML trees without aliases and collects faults on the way.
type reader struct {
	file  string
	src   []byte
	lines []string
	errs  Errors
}

// fault notes an error at pos.
func (r *reader) fault(pos position, hint, format string, args ...any) {
	e := &Error{File: r.file, Line: pos.line, Col: pos.col, Msg: fmt.Sprintf(format, args...), Hint: hint}
	e.Source = r.line(pos.line)
	r.errs = append(r.errs, e)
}

func (r *reader) line(n int) string {
	lines := r.sourceLines()
	if n < 1 || n > len(lines) {
		return ""
	}
	return shorten(lines[n-1])
}

func (r *reader) sourceLines() []string {
	if r.lines == nil {
		r.lines = strings.Split(strings.ReplaceAll(string(r.src), "\r\n", "\n"), "\n")
	}
	return r.lines
}

// shorten cuts what is too long to show.
func shorten(s string) string {
	const most = 160
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// documents returns the root of each document that can be read.
func (r *reader) documents() []*yaml.Node {
	var docs []*yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(r.src))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			r.syntax(err)
			return docs
		}
		if len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null" {
			continue
		}
		left := maxNodes
		if root := r.plain(doc.Content[0], maxDepth, &left); root != nil {
			docs = append(docs, root)
		}
	}
}

func (r *reader) syntax(err error) {
	msg, pos := strings.TrimPrefix(err.Error(), "yaml: "), position{1, 1}
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		pos.line, _ = strconv.Atoi(m[1])
		msg = strings.Replace(msg, m[0], "", 1)
	}
	r.fault(pos, "quote values that begin with a special character, and indent with spaces", "not YAML: %s", msg)
}

// plain returns a copy of n without aliases and merges, or nil after a fault.
func (r *reader) plain(n *yaml.Node, depth int, left *int) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	*left--
	if depth == 0 || *left < 0 {
		r.fault(at(n), "write the values out instead of nesting aliases", "the document is too deep or too large")
		return nil
	}
	c := *n
	c.Anchor, c.Content = "", nil
	if n.Kind == yaml.MappingNode {
		return r.plainMap(n, &c, depth, left)
	}
	for _, kid := range n.Content {
		k := r.plain(kid, depth-1, left)
		if k == nil {
			return nil
		}
		c.Content = append(c.Content, k)
	}
	return &c
}

func (r *reader) plainMap(n, c *yaml.Node, depth int, left *int) *yaml.Node {
	seen := map[string]position{}
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := r.plain(n.Content[i], depth-1, left), r.plain(n.Content[i+1], depth-1, left)
		if key == nil || value == nil {
			return nil
		}
		if key.Kind != yaml.ScalarNode {
			r.fault(at(key), "", "a key must be a plain name")
			return nil
		}
		if key.ShortTag() == "!!merge" {
			merges = append(merges, value)
			continue
		}
		if first, ok := seen[key.Value]; ok {
			r.fault(at(key), "give one key a list of values, or write a list of maps", "%q is given twice, first in line %d", key.Value, first.line)
			return nil
		}
		seen[key.Value] = at(key)
		c.Content = append(c.Content, key, value)
	}
	for _, m := range merges {
		sources := []*yaml.Node{m}
		if m.Kind == yaml.SequenceNode {
			sources = m.Content
		}
		for _, s := range sources {
			mergeInto(c, s, false)
		}
	}
	return c
}

// mergeInto adds the entries of src to dst. With over, they replace entries of the same name,
// maps entry by entry.
func mergeInto(dst, src *yaml.Node, over bool) {
	if src.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(src.Content); i += 2 {
		key, value := src.Content[i], src.Content[i+1]
		have := valueIndex(dst, key.Value)
		switch {
		case have < 0:
			dst.Content = append(dst.Content, key, value)
		case over && dst.Content[have].Kind == yaml.MappingNode && value.Kind == yaml.MappingNode:
			dst.Content[have] = copyMap(dst.Content[have])
			mergeInto(dst.Content[have], value, true)
		case over:
			dst.Content[have-1], dst.Content[have] = key, value
		}
	}
}

func copyMap(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = append([]*yaml.Node(nil), n.Content...)
	return &c
}

// valueIndex returns where the value of key stands in the mapping m, or -1.
func valueIndex(m *yaml.Node, key string) int {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return i + 1
		}
	}
	return -1
}

// lookup returns the value of key in the mapping m, or nil.
func lookup(m *yaml.Node, key string) *yaml.Node {
	if i := valueIndex(m, key); i >= 0 {
		return m.Content[i]
	}
	return nil
}

func at(n *yaml.Node) position { return position{n.Line, n.Column} }
