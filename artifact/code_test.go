package artifact

import "testing"

func pythonCases() []fileCase {
	return []fileCase{
		{"modeling_x.py model", []byte("import torch\n\nclass Model(torch.nn.Module):\n    pass\n"), Unknown, "python-code", ""},
		{"weights without a name", []byte("from torch import nn\ndef f(x):\n    return x\n"), Unknown, "python-code", ""},
		{"a.py acts", []byte("import os\nos.system('id')\n"), Suspicious, "python-code", "os.system"},
		{"a.py unpacks", []byte("exec(zlib.decompress(x))\n"), Suspicious, "python-code", "exec"},
		{"a.py method", []byte("model.eval()\nx = retrieval(y)\n"), Unknown, "python-code", ""},
		{"site.pth hook", []byte("./lib\nimport os; os.system('id')\n"), Malicious, "python-hook", "import os"},
	}
}

func TestPython(t *testing.T) { judge(t, "python", pythonCases()) }

func TestNativeCode(t *testing.T) {
	judge(t, "shared-object", []fileCase{
		{"op.so", append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 64)...), Suspicious, "native-code", ""},
		{"op.pyd", append([]byte("MZ"), append(make([]byte, 126), "PE\x00\x00"...)...), Suspicious, "native-code", ""},
	})
	judge(t, "tensorrt", []fileCase{{"x.engine", []byte("ftrt\x00\x00\x00\x00"), Unsupported, "unsupported", "TensorRT"}})
}

func xmlCases() []fileCase {
	pmml := func(about, prolog string, want Verdict, rule string) fileCase {
		return fileCase{"x.pmml " + about, []byte(`<?xml version="1.0"?>` + prolog + `<PMML version="4.4"><Header/></PMML>`), want, rule, ""}
	}
	layer := func(about, version string, want Verdict, rule string) fileCase {
		return fileCase{"x.xml " + about, []byte(`<net name="m" version="11"><layers><layer id="0" name="a" type="Parameter" version="` + version + `"/></layers></net>`), want, rule, ""}
	}
	return []fileCase{
		pmml("plain", "", Clean, ""),
		pmml("entity of a file", `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>`, Malicious, "xml-entity"),
		pmml("entity of parameters", `<!DOCTYPE x [<!ENTITY % e SYSTEM "http://x/"> %e;]>`, Malicious, "xml-entity"),
		pmml("document type elsewhere", `<!DOCTYPE x PUBLIC "a" "http://x/">`, Malicious, "xml-entity"),
		pmml("entities that grow", `<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>`, Suspicious, "xml-entity"),
		layer("plain", "opset1", Clean, ""),
		layer("library", "extension", Unknown, "openvino-layer"),
		{"x.xml broken", []byte(`<?xml version="1.0"?><a b=<`), Failed, "malformed", "xml"},
	}
}

func TestXML(t *testing.T) { judge(t, "xml", xmlCases()) }

func FuzzCode(f *testing.F) { fuzzScan(f, "x.py", append(pythonCases(), xmlCases()...)) }
