package sigma

import "go.yaml.in/yaml/v3"

// ParseDetection reads a detection section that stands in a document of another kind, where the
// file src has it at n. What it returns is a rule about events of any log source, to be compiled
// and matched as others are. Faults are located in the file.
func ParseDetection(file string, src []byte, n *yaml.Node) (*Rule, error) {
	r := &reader{file: file, src: src}
	rule := &Rule{Meta: Meta{SourceFile: file, Line: n.Line, at: map[string]position{}, lines: r.sourceLines()}}
	left := maxNodes
	if root := r.plain(n, maxDepth, &left); root != nil {
		r.detection(rule, root)
	}
	if err := r.errs.asError(); err != nil {
		return nil, err
	}
	return rule, nil
}
