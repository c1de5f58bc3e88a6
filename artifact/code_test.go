package artifact

import (
	"strings"
	"testing"
)

func pythonCases() []fileCase {
	return []fileCase{
		{"modeling_x.py model", []byte("import torch\n\nclass Model(torch.nn.Module):\n    pass\n"), Unknown, "python-code", ""},
		{"weights without a name", []byte("from torch import nn\ndef f(x):\n    return x\n"), Unknown, "python-code", ""},
		{"a.py acts", []byte("import os\nos.system('id')\n"), Suspicious, "python-code", "os.system"},
		{"a.py unpacks", []byte("exec(zlib.decompress(x))\n"), Suspicious, "python-code", "exec"},
		{"a.py method", []byte("model.eval()\nx = retrieval(y)\n"), Unknown, "python-code", ""},
	}
}

// pathCases are lines that Python runs when it starts, as packages have them, and as thieves do.
func pathCases() []fileCase {
	line := func(about, text string, want Verdict) fileCase {
		return fileCase{"site.pth " + about, []byte(text), want, "python-hook", ""}
	}
	long := strings.Repeat("# padding\n", 1000)
	return []fileCase{
		line("an import", "import _virtualenv\n", Unknown),
		line("two imports", "./lib\nimport a, b.c;\n", Unknown),
		line("a finder of an editable install", "import __editable___x_finder; __editable___x_finder.install()", Unknown),
		line("a shim", "import os; enabled = os.environ.get('A', 'local') == 'local'; enabled and __import__('_hack').add_shim(); ", Unknown),
		line("a package that shares its name", "import sys, types, os;p = os.path.join(sys._getframe(1).f_locals['sitedir'], *('a',));importlib = __import__('importlib.util');m = sys.modules.setdefault('a', importlib.util.module_from_spec(p))\n", Unknown),
		line("a command", "./lib\nimport os; os.system('id')\n", Malicious),
		line("a program", "import subprocess\n", Malicious),
		line("a program, by a name that is built", "import os; getattr(os, 'sys' + 'tem')('id')\n", Suspicious),
		line("code that stands in it", `import os, sys;exec('if \'COV\' in os.environ:\n from cov import init\n init()')`, Unknown),
		line("code that stands in it and acts", `import sys;exec("import subprocess\nsubprocess.run('id')")`, Malicious),
		line("a message about programs", `import a; a.log("no subprocess here")`, Unknown),
		line("a module from the table of all", "import sys; sys.modules['o' + 's'].x\n", Suspicious),
		line("a module by importlib", "import importlib; importlib.import_module('subprocess').run('id')\n", Malicious),
		line("code that is made", "import sys; exec(sys.a)\n", Malicious),
		line("code that is joined", "import sys; exec('a' + sys.a)\n", Malicious),
		line("code in code", `import sys; exec('exec(sys.a)')`, Malicious),
		line("code with its letters hidden", `import sys; exec('\x69mport o\163')`, Suspicious),
		line("a module that decodes", "import a, base64\n", Malicious),
		line("a module that decodes, by another way", "import a; __import__('base64').b64decode('x')\n", Malicious),
		line("a module by a made name", "import a; __import__(a.b)\n", Malicious),
		line("a file", "import a; open('/tmp/x').read()\n", Malicious),
		line("far behind", long+"import os; os.system('id')\n", Malicious),
		line("behind bytes that are no text", "\x01\xff\x00\nimport os; os.system('id')\n", Malicious),
		line("behind a mark of order", "\ufeffimport os; os.system('id')\n", Malicious),
		line("behind a line end of another sort", "# x\rimport os; os.system('id')", Malicious),
		line("behind a separator of lines", "# x\u2028import os; os.system('id')", Malicious),
	}
}

func TestPythonPaths(t *testing.T) { judge(t, "python-path", pathCases()) }

func TestWhatLooksLikePythonIsNone(t *testing.T) {
	for name, text := range map[string]string{
		"Main.java": "import java.util.List;\nimport java.io.File;\nRuntime.exec(x);\n",
		"a.ts":      "import fs from 'fs'\nimport os from 'os'\nexec('id')\n",
		"README.md": "# Use\n\nimport requests\nfrom a import b\nrequests.get(x)\n",
		"site.pth":  "./lib\n/opt/x\n",
	} {
		if r := scanBytes(name, []byte(text), Options{}); r.Verdict != Unsupported {
			t.Errorf("%s: %v %+v", name, r.Verdict, r.Issues)
		}
	}
}

func FuzzPythonPaths(f *testing.F) { fuzzScan(f, "site.pth", pathCases()) }

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
		{"x.pmml in another alphabet", []byte("<?xml version=\"1.0\" encoding=\"iso-8859-1\"?><PMML version=\"4.4\"><Header description=\"\xe9\"/></PMML>"), Clean, "", ""},
		{"x.xml no model, of a type that lies elsewhere", []byte(`<?xml version="1.0"?><!DOCTYPE GIFTI SYSTEM "http://x/gifti.dtd"><GIFTI/>`), Clean, "", ""},
		{"x.xml no model, with an entity of a file", []byte(`<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a/>`), Malicious, "xml-entity", ""},
		{"x.html a page", []byte("<!DOCTYPE html>\n<html><p a='<'><br></p>"), Clean, "", ""},
		{"x.xml a model far behind", []byte("<!--" + strings.Repeat(" ", 8000) + `--><!DOCTYPE x SYSTEM "http://x/"><PMML version="4.4"/>`), Malicious, "xml-entity", ""},
		layer("plain", "opset1", Clean, ""),
		layer("library", "extension", Unknown, "openvino-layer"),
		{"x.xml broken", []byte(`<?xml version="1.0"?><a b=<`), Failed, "malformed", "xml"},
	}
}

func TestXML(t *testing.T) { judge(t, "xml", xmlCases()) }

func FuzzCode(f *testing.F) { fuzzScan(f, "x.py", append(pythonCases(), xmlCases()...)) }
