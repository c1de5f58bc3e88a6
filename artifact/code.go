package artifact

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"path"
	"regexp"
	"strings"

	"golang.org/x/text/encoding/charmap"
)

// codeFormats are files beside a model that are code as a whole, or that name code without our reading it.
func codeFormats() []format {
	return []format{
		{name: "python-path", sniff: sniffPath, scan: scanPath},
		{name: "python", sniff: sniffPython, scan: scanPython},
		{name: "shared-object", sniff: sniffNative, scan: func(s *scan, p *part) {
			s.issue(p, Issue{Rule: "native-code", Verdict: Suspicious, Text: "It is native code: a program, or a library that loaders of custom operators take."})
		}},
		tensorRTFormat(),
		{name: "xml", sniff: sniffXML, scan: scanXML},
	}
}

func sniffNative(head []byte, _ *part) bool {
	for _, magic := range []string{"\x7fELF", "\xcf\xfa\xed\xfe", "\xfe\xed\xfa\xcf"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return len(head) > 0x40 && bytes.HasPrefix(head, []byte("MZ")) && bytes.Contains(head, []byte("PE\x00\x00"))
}

const codeLimit = 4 << 20 // bytes of a Python file that are looked at

var (
	pythonLine = regexp.MustCompile(`(?m)^[ \t]*(import[ \t]+[\w.]+(?:[ \t]+as[ \t]+\w+)?[ \t\r]*(?:[#,].*|;[ \t]*\w.*)?$|from[ \t]+[\w.]+[ \t]+import\b|def[ \t]+\w+[ \t]*\(|class[ \t]+\w+[ \t]*[(:])`)
	pythonActs = regexp.MustCompile(`\b(os\.(system|popen|exec\w+|spawn\w+|fork)|subprocess\.\w+|pty\.spawn|socket\.socket|marshal\.loads|ctypes\.CDLL|(?:b64|a85|b85)decode|urllib\.request|requests\.(get|post)|__import__)\b|(?:^|[^\w.])(exec|eval)\s*\(`)
)

// prose are the names of texts that show code, and that nothing runs.
var prose = words(".md .markdown .rst .txt .html .htm .tex .pyi")

// sniffPython knows Python by its lines, or by its name where the bytes are text.
func sniffPython(head []byte, p *part) bool {
	name := strings.ToLower(p.base())
	if !printable(head) || prose[path.Ext(name)] || strings.Contains(p.name, "!") && strings.Contains(p.name, "/code/__torch__") {
		return false // TorchScript has a language of its own, which Python does not run
	}
	return strings.HasSuffix(name, ".py") ||
		len(pythonLine.FindAllIndex(head, 2)) == 2 && !strings.Contains("{[<", string(bytes.TrimSpace(head)[:1]))
}

func scanPython(s *scan, p *part) {
	text, whole := p.text(codeLimit)
	if !whole {
		s.issue(p, Issue{Rule: "limit", Verdict: Failed, Offset: codeLimit, Text: "The file of Python is too long; the rest was not judged."})
	}
	if at := pythonActs.FindStringIndex(text); at != nil {
		s.issue(p, Issue{
			Rule: "python-code", Verdict: Suspicious, Offset: int64(at[0]), Name: clip(strings.Trim(text[at[0]:at[1]], " \n(=:")),
			Text: "It is Python code that starts programs, runs what it unpacks, or talks to the network.",
		})
		return
	}
	s.issue(p, Issue{Rule: "python-code", Verdict: Unknown, Text: "It is Python code, which loaders that trust remote code run."})
}

func sniffXML(head []byte, _ *part) bool {
	t := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n")
	for _, root := range []string{"<?xml", "<PMML", "<net ", "<!DOCTYPE", "<!--"} {
		if bytes.HasPrefix(t, []byte(root)) {
			return true
		}
	}
	return false
}

const xmlLimit = 64 << 20 // bytes of XML; weights lie beside it

var (
	xmlEntity = regexp.MustCompile(`(?s)ENTITY\s+(%\s+)?\S+\s+(SYSTEM|PUBLIC)\b`)
	xmlType   = regexp.MustCompile(`(?s)^DOCTYPE\s+\S+\s+(SYSTEM|PUBLIC)\b`)
)

// xmlScan is a document under way: entities that readers fetch, and layers of a library. What is no model
// may be written as it likes, as pages are, and name the type of its document where that lies.
type xmlScan struct {
	s         *scan
	p         *part
	root      string
	elsewhere int64 // where a type of document is named that lies elsewhere; 0 for none
}

func (x *xmlScan) model() bool { return x.root == "net" || x.root == "PMML" }

// scanXML judges PMML and OpenVINO.
func scanXML(s *scan, p *part) {
	x := &xmlScan{s: s, p: p}
	r := &io.LimitedReader{R: p.stream(0), N: xmlLimit}
	d := xml.NewDecoder(r)
	d.Strict = false // an entity of its own is no error
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return charmap.ISO8859_1.NewDecoder().Reader(r), nil }
	for !s.over {
		at := d.InputOffset()
		t, err := d.RawToken()
		switch {
		case errors.Is(err, io.EOF) && r.N > 0:
			return
		case err != nil && r.N == 0:
			s.issue(p, Issue{Rule: "limit", Verdict: Failed, Offset: at, Text: "The XML is too long; the rest was not judged."})
			return
		case err != nil && (x.root == "" || x.model()):
			s.broken(p, at, "xml", err)
			return
		case err != nil:
			return
		}
		x.token(at, t)
	}
}

func (x *xmlScan) token(at int64, t xml.Token) {
	switch t := t.(type) {
	case xml.Directive:
		x.directive(at, string(t))
	case xml.StartElement:
		if t.Name.Local == "net" || t.Name.Local == "PMML" || x.root == "" {
			x.begin(t.Name.Local)
		}
		if x.root == "net" && t.Name.Local == "layer" {
			xmlLayer(x.s, x.p, at, t.Attr)
		}
	}
}

func (x *xmlScan) begin(name string) {
	x.root = name
	if !x.model() {
		return
	}
	x.s.is(map[bool]string{true: "openvino", false: "pmml"}[name == "net"])
	if x.elsewhere > 0 {
		x.fetches(x.elsewhere)
	}
}

func (x *xmlScan) fetches(at int64) {
	x.s.issue(x.p, Issue{Rule: "xml-entity", Verdict: Malicious, Offset: at, Text: "It has its reader fetch a file or an address."})
}

func (x *xmlScan) directive(at int64, text string) {
	if xmlType.MatchString(text) {
		x.elsewhere = max(1, at)
	}
	switch {
	case xmlEntity.MatchString(text):
		x.fetches(at)
	case strings.Contains(text, "ENTITY"):
		x.s.issue(x.p, Issue{Rule: "xml-entity", Verdict: Suspicious, Offset: at, Text: "It defines entities, which grow as they are read."})
	}
}

func xmlLayer(s *scan, p *part, at int64, attrs []xml.Attr) {
	for _, a := range attrs {
		if a.Name.Local == "version" && !strings.HasPrefix(a.Value, "opset") && a.Value != "experimental" && a.Value != "ie_internal_opset" {
			s.issue(p, Issue{
				Rule: "openvino-layer", Verdict: Unknown, Offset: at, Name: clip(a.Value),
				Text: "It uses layers of " + clip(a.Value) + ", which a library of native code must bring.",
			})
		}
	}
}
