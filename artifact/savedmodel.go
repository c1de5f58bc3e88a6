package artifact

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// What operators of TensorFlow do to the machine that no model needs.
var tensorflowOps = map[string]struct {
	verdict Verdict
	does    string
}{
	"ReadFile":          {Malicious, "reads a file"},
	"WriteFile":         {Malicious, "writes a file"},
	"PyFunc":            {Malicious, "calls Python"},
	"EagerPyFunc":       {Malicious, "calls Python"},
	"PyFuncStateless":   {Malicious, "calls Python"},
	"MatchingFiles":     {Suspicious, "lists files"},
	"WholeFileReader":   {Suspicious, "reads files"},
	"WholeFileReaderV2": {Suspicious, "reads files"},
	"TextLineReader":    {Suspicious, "reads files"},
	"TextLineReaderV2":  {Suspicious, "reads files"},
	"TextLineDataset":   {Suspicious, "reads files"},
	"CopyHost":          {Unknown, "serves the debugger"},
	"DebugIdentity":     {Suspicious, "sends values to a debugger"},
	"DebugIdentityV2":   {Suspicious, "sends values to a debugger"},
	"DebugIdentityV3":   {Suspicious, "sends values to a debugger"},
	"RpcClient":         {Malicious, "talks to another machine"},
	"RpcCall":           {Malicious, "talks to another machine"},
	"RpcServer":         {Malicious, "opens a port"},
	"DataServiceDataset": {
		Suspicious, "takes data from another machine",
	},
	"DataServiceDatasetV2": {Suspicious, "takes data from another machine"},
	"SqlDataset":           {Suspicious, "reads a database"},
	"LMDBReader":           {Suspicious, "reads files"},
	"BigQueryReader":       {Suspicious, "takes data from another machine"},
}

// savedModelFormat is a graph with a library of functions, as TensorFlow saves it.
func savedModelFormat() format {
	fields := map[protowire.Number]byte{1: 'v', 2: 'b'}
	return format{
		name: "savedmodel",
		sniff: func(head []byte, p *part) bool {
			return len(head) > 3 && (head[0] == 8 && looksLike(p, fields, 1, 2) || head[0] == 18 && looksLike(p, fields, 2) && holdsGraph(p))
		},
		scan: func(s *scan, p *part) {
			g := &tensorflow{s: s, p: p, told: map[string]bool{}}
			err := newMessage(p).each(g.within(2, g.within(2, g.graph)))
			if err != nil {
				s.broken(p, -1, "savedmodel", err)
			}
		},
	}
}

// frozenFormat is a graph alone, as older programs save it.
func frozenFormat() format {
	fields := map[protowire.Number]byte{1: 'b', 2: 'b', 3: 'v', 4: 'b', 5: 'b'}
	return format{
		name: "tensorflow-graph",
		sniff: func(head []byte, p *part) bool {
			return len(head) > 8 && head[0] == 10 && looksLike(p, fields, 1) && holdsNodes(newMessage(p))
		},
		scan: func(s *scan, p *part) {
			g := &tensorflow{s: s, p: p, told: map[string]bool{}}
			if err := newMessage(p).each(g.graph); err != nil {
				s.broken(p, -1, "a TensorFlow graph", err)
			}
		},
	}
}

// holdsGraph reports whether the first field of a message holds a graph of nodes: a model that leaves out the
// version, which readers do not ask for.
func holdsGraph(p *part) bool {
	f, err := newMessage(p).next()
	for err == nil && f.in != nil {
		var in field
		if in, err = f.in.next(); err == nil && in.num == 2 && in.in != nil {
			return holdsNodes(in.in)
		}
	}
	return false
}

// holdsNodes reports whether the first field of a message is a node: a name and an operator.
func holdsNodes(m *message) bool {
	f, err := m.next()
	if err != nil || f.in == nil {
		return false
	}
	seen := map[protowire.Number]bool{}
	err = f.in.each(func(f field) error {
		if f.in == nil || f.num < 1 || f.num > 7 || f.num <= 4 && !printable([]byte(f.in.text()+" ")) {
			return errProto
		}
		seen[f.num] = true
		return nil
	})
	return err == nil && seen[1] && seen[2]
}

type tensorflow struct {
	s    *scan
	p    *part
	told map[string]bool
}

// within calls f for what is in the fields of a number.
func (g *tensorflow) within(num protowire.Number, f func(field) error) func(field) error {
	return func(x field) error {
		if x.num != num || x.in == nil {
			return nil
		}
		return x.in.each(f)
	}
}

// graph takes nodes, and those of the functions in the library.
func (g *tensorflow) graph(f field) error {
	switch {
	case f.in == nil:
	case f.num == 1:
		return f.in.each(g.node)
	case f.num == 2:
		return f.in.each(g.within(1, g.within(3, g.node)))
	}
	return nil
}

func (g *tensorflow) node(f field) error {
	if f.num != 2 || f.in == nil {
		return nil
	}
	name := f.in.text()
	op, ok := tensorflowOps[name]
	if !ok || g.told[name] {
		return nil
	}
	g.told[name] = true
	g.s.issue(g.p, Issue{
		Rule: "tensorflow-op", Verdict: op.verdict, Offset: f.in.at, Name: name,
		Text: fmt.Sprintf("The graph holds the operator %s, which %s when it runs.", name, op.does),
	})
	return nil
}
