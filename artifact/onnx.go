package artifact

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// onnxFields are those of ModelProto.
var onnxFields = map[protowire.Number]byte{
	1: 'v', 2: 'b', 3: 'b', 4: 'b', 5: 'v', 6: 'b', 7: 'b', 8: 'b', 14: 'b', 20: 'b', 25: 'b', 26: 'b',
}

// onnxDomains are those of operators that runtimes bring.
var onnxDomains = words("ai.onnx ai.onnx.ml ai.onnx.training ai.onnx.preview ai.onnx.preview.training com.microsoft com.microsoft.nchwc com.microsoft.experimental com.ms.internal.nhwc org.pytorch.aten pkg.onnxscript.torch_lib pkg.onnxscript.torch_lib.common")

// onnxFormat is a graph of operators. It runs code only by operators of a library that the program brings,
// and reads files only by the places of data outside it.
func onnxFormat() format {
	return format{
		name: "onnx",
		sniff: func(head []byte, p *part) bool {
			return len(head) > 0 && head[0] < 0xd3 && looksLike(p, onnxFields, 1, 7)
		},
		scan: func(s *scan, p *part) {
			o := &onnx{s: s, p: p, domains: map[string]bool{}}
			if err := newMessage(p).each(o.model); err != nil {
				s.broken(p, -1, "onnx", err)
			}
		},
	}
}

type onnx struct {
	s       *scan
	p       *part
	domains map[string]bool // told of
}

func (o *onnx) model(f field) error {
	switch {
	case f.in == nil:
		return nil
	case f.num == 7:
		return f.in.each(o.graph)
	case f.num == 25: // functions
		return f.in.each(func(f field) error {
			if f.num == 7 && f.in != nil {
				return f.in.each(o.node)
			}
			return nil
		})
	case f.num == 20: // training_info: initialization, algorithm
		return f.in.each(func(f field) error {
			if (f.num == 1 || f.num == 2) && f.in != nil {
				return f.in.each(o.graph)
			}
			return nil
		})
	}
	return nil
}

func (o *onnx) graph(f field) error {
	switch {
	case f.in == nil:
	case f.num == 1:
		return f.in.each(o.node)
	case f.num == 5:
		return f.in.each(o.tensor)
	case f.num == 15: // sparse: values, indices
		return o.sparse(f)
	}
	return nil
}

func (o *onnx) sparse(f field) error {
	return f.in.each(func(f field) error {
		if (f.num == 1 || f.num == 2) && f.in != nil {
			return f.in.each(o.tensor)
		}
		return nil
	})
}

func (o *onnx) node(f field) error {
	switch {
	case f.in == nil:
	case f.num == 7:
		if d := f.in.text(); d != "" && !onnxDomains[d] && !o.domains[d] && len(o.domains) < 1000 {
			o.domains[d] = true
			o.s.issue(o.p, Issue{
				Rule: "onnx-domain", Verdict: Unknown, Offset: f.in.at, Name: clip(d),
				Text: "It uses operators of the domain " + clip(d) + ", which a library of native code must bring.",
			})
		}
	case f.num == 5:
		return f.in.each(o.attribute)
	}
	return nil
}

// attribute goes into tensors and graphs that a node carries.
func (o *onnx) attribute(f field) error {
	switch {
	case f.in == nil:
	case f.num == 5 || f.num == 10:
		return f.in.each(o.tensor)
	case f.num == 6 || f.num == 11:
		return f.in.each(o.graph)
	case f.num == 22 || f.num == 23:
		return o.sparse(f)
	}
	return nil
}

// tensor looks where the data of one lies.
func (o *onnx) tensor(f field) error {
	if f.num != 13 || f.in == nil {
		return nil
	}
	var key, value string
	at := f.in.at
	err := f.in.each(func(f field) error {
		switch {
		case f.in == nil:
		case f.num == 1:
			key = f.in.text()
		case f.num == 2:
			value = f.in.text()
		}
		return nil
	})
	if key == "location" && outside(value) {
		o.s.issue(o.p, Issue{
			Rule: "onnx-external-data", Verdict: Malicious, Offset: at, Name: clip(value),
			Text: fmt.Sprintf("A tensor takes its data from %q, outside the model's directory.", clip(value)),
		})
	}
	return err
}

// outside reports whether a path leads out of the directory that it starts in, on any system.
func outside(name string) bool {
	name = strings.ReplaceAll(name, `\`, "/")
	if strings.HasPrefix(name, "/") || len(name) > 1 && name[1] == ':' || strings.Contains(name, "://") || strings.Contains(name, "\x00") {
		return true
	}
	for step := range strings.SplitSeq(name, "/") {
		if step == ".." {
			return true
		}
	}
	return false
}
