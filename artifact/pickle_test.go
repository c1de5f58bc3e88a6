package artifact

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

func has(r Report, rule, name string) bool {
	for _, i := range r.Issues {
		if i.Rule == rule && (name == "" || i.Name == name) {
			return true
		}
	}
	return false
}

func TestPickles(t *testing.T) {
	arr := calling(imported("numpy.core.multiarray", "_reconstruct"), imported("numpy", "ndarray"), "K\x00\x85", "C\x01b")
	deflate := func(b []byte) []byte {
		var z bytes.Buffer
		w := zlib.NewWriter(&z)
		w.Write(b)
		w.Close()
		return z.Bytes()
	}
	for _, c := range []struct {
		what    string
		pickle  []byte
		verdict Verdict
		rule    string
		name    string
	}{
		{"none", pickled(proto4, "N."), Clean, "", ""},
		{"list of numbers", pickled(proto4, "](K\x01K\x02M\x01\x02e."), Clean, "", ""},
		{"protocol 0", pickled("(lp0\nI1\naS'x'\np1\na."), Clean, "", ""},
		{"array", pickled(proto4, arr, "."), Clean, "", ""},
		{"ordered dict", pickled("\x80\x02", calling(imported("collections", "OrderedDict")), "."), Clean, "", ""},
		{"Python 2 built-in", pickled("\x80\x02", calling(imported("__builtin__", "set"), "]"), "."), Clean, "", ""},
		{"bytes of protocol 2", pickled("\x80\x02", calling(imported("_codecs", "encode"), "X\x01\x00\x00\x00a", str("latin1")), "."), Clean, "", ""},
		{"old-style object of a layer", pickled("\x80\x02", calling(imported("copy_reg", "_reconstructor"), imported("torch.nn.modules.linear", "Linear"), imported("__builtin__", "object"), "N"), "."), Clean, "", ""},
		{"a module of torch before ZIP", pickled("\x80\x02(", str("module"), imported("torch.nn.modules.linear", "Linear"), str("linear.py"), str("class Linear"), "tQ)\x81."), Clean, "", ""},
		{"a module that is a call", pickled("\x80\x02(", str("module"), imported("os", "system"), str("x.py"), str("x"), "tQ(", str("id"), "tR."), Malicious, "pickle-call", "os.system"},
		{"a class of TorchScript", pickled("\x80\x02", imported("__torch__.torch.nn.modules.linear", "Linear"), ")\x81."), Clean, "", ""},
		{"enum member", pickled(proto4, calling(stackGlobal("builtins", "getattr"), stackGlobal("mylib", "Color"), str("RED")), "."), Clean, "", ""},
		{"date", pickled(proto4, calling(stackGlobal("datetime", "datetime"), "C\x01x"), "."), Clean, "", ""},
		{"a class of somebody's", pickled(proto4, stackGlobal("mylib.models", "Net"), ")\x81}b."), Unknown, "pickle-call", "mylib.models.Net"},
		{"a function of somebody's", pickled(proto4, calling(stackGlobal("mylib.models", "make_net")), "."), Suspicious, "pickle-call", "mylib.models.make_net"},

		{"os.system", system, Malicious, "pickle-call", "os.system"},
		{"protocol 0", []byte("cos\nsystem\n(S'id'\ntR."), Malicious, "pickle-call", "os.system"},
		{"INST", []byte("(S'id'\nios\nsystem\n."), Malicious, "pickle-call", "os.system"},
		{"OBJ", pickled("(", imported("os", "system"), "S'id'\no."), Malicious, "pickle-call", "os.system"},
		{"NEWOBJ", pickled(proto4, stackGlobal("subprocess", "Popen"), str("id"), "\x85\x81."), Malicious, "pickle-call", "subprocess.Popen"},
		{"NEWOBJ_EX", pickled(proto4, stackGlobal("subprocess", "Popen"), str("id"), "\x85}\x92."), Malicious, "pickle-call", "subprocess.Popen"},
		{"result popped at once", pickled(proto4, calling(imported("os", "system"), str("id")), "0N."), Malicious, "pickle-call", "os.system"},
		{"broken after the call", []byte("cos\nsystem\n(S'id'\ntR\xff\xff"), Malicious, "malformed", ""},
		{"renamed in Python 2", []byte("ccommands\ngetoutput\n(S'id'\ntR."), Malicious, "pickle-call", "subprocess.getoutput"},
		{"frame that ends within an opcode", pickled(proto4, "\x95\x03\x00\x00\x00\x00\x00\x00\x00", calling(stackGlobal("os", "system"), str("id")), "."), Malicious, "pickle-call", "os.system"},
		{"memo: MEMOIZE goes to the number of slots", pickled(proto4, str("os"), "q\x05", str("system"), "\x94", "00h\x05h\x01\x93", str("id"), "\x85R."), Malicious, "pickle-call", "os.system"},
		{"memo: put again before use", pickled(proto4, str("math"), "q\x00", "0", str("os"), "q\x00", "0h\x00", str("system"), "\x93", str("id"), "\x85R."), Malicious, "pickle-call", "os.system"},
		{"strings between that are dropped", pickled(proto4, str("os"), str("system"), str("builtins"), "0", str("int"), "0", "\x93", str("id"), "\x85R."), Malicious, "pickle-call", "os.system"},
		{"mark dropped by POP", pickled(proto4, "(0", calling(stackGlobal("os", "system"), str("id")), "."), Malicious, "pickle-call", "os.system"},
		{"name made while loading", pickled(proto4, calling(imported("mylib", "name")), str("system"), "\x93", str("id"), "\x85R."), Suspicious, "pickle-dynamic-import", ""},
		{"dotted to the globals", pickled(proto4, calling(stackGlobal("torch", "Tensor.__init__.__globals__"), str("os")), "."), Malicious, "pickle-call", ""},
		{"module of another module", pickled(proto4, calling(stackGlobal("torch.serialization", "os.system"), str("id")), "."), Malicious, "pickle-call", ""},
		{"getattr of a module", pickled(proto4, calling(stackGlobal("builtins", "getattr"), calling(imported("builtins", "__import__"), str("os")), str("system")), "."), Malicious, "pickle-call", "builtins.__import__"},
		{"getattr, then called", pickled(proto4, calling(calling(stackGlobal("builtins", "getattr"), stackGlobal("mylib", "Color"), str("run"))), "."), Suspicious, "pickle-call", "mylib.Color.run"},
		{"partial of os.system", pickled(proto4, calling(stackGlobal("functools", "partial"), stackGlobal("os", "system"), str("id")), "."), Malicious, "pickle-call", "functools.partial"},
		{"handed to map", pickled(proto4, calling(stackGlobal("builtins", "map"), stackGlobal("os", "system"), "]"), "."), Malicious, "pickle-call", "builtins.map"},
		{"handed to a class of somebody's", pickled(proto4, calling(stackGlobal("mylib", "Net"), stackGlobal("os", "system")), "."), Malicious, "pickle-call", "mylib.Net"},
		{"operator's helper called", pickled(proto4, calling(calling(stackGlobal("operator", "attrgetter"), str("system")), str("x")), "."), Malicious, "pickle-call", ""},
		{"attribute of a class", pickled(proto4, stackGlobal("torch", "Tensor"), "}", str("x"), "K\x01sb."), Malicious, "pickle-write", "torch.Tensor"},
		{"set as __setstate__", pickled(proto4, stackGlobal("mylib", "Net"), ")\x81}", str("__setstate__"), stackGlobal("os", "system"), "sb", str("id"), "b."), Malicious, "pickle-import", "os.system"},
		{"set as __setstate__, of a loader", pickled(proto4, stackGlobal("mylib", "Net"), ")\x81}", str("__setstate__"), stackGlobal("torch.hub", "load"), "sb", str("a/b"), "b."), Malicious, "pickle-hook", "torch.hub.load"},
		{"set as __setstate__, of a stranger, in a batch", pickled(proto4, stackGlobal("mylib", "Net"), ")\x81}(", str("x"), "N", str("__setstate__"), stackGlobal("mylib", "go"), "ub."), Suspicious, "pickle-hook", "mylib.go"},
		{"a loader as a step's function", pickled(proto4, stackGlobal("sklearn.preprocessing._function_transformer", "FunctionTransformer"), ")\x81}", str("func"), stackGlobal("numpy", "load"), "sb."), Suspicious, "pickle-hook", "numpy.load"},
		{"a loader as a step's function, then called", pickled(proto4, stackGlobal("torch.nn", "Linear"), ")\x81}", str("func"), stackGlobal("torch.hub", "load"), "sb0", calling(stackGlobal("torch.hub", "load"), str("x")), "."), Malicious, "pickle-call", "torch.hub.load"},
		{"numbers' function as a step's function", pickled(proto4, stackGlobal("sklearn.preprocessing._function_transformer", "FunctionTransformer"), ")\x81}", str("func"), stackGlobal("numpy", "log1p"), "sb."), Clean, "", ""},
		{"an evaluator of pandas", pickled(proto4, calling(stackGlobal("pandas.core.computation.expr", "Expr"), str("x")), "."), Malicious, "pickle-call", "pandas.core.computation.expr.Expr"},
		{"a class's name as an attribute", pickled(proto4, "}", str("activation"), stackGlobal("torch.nn.modules.activation", "ReLU"), "s."), Clean, "", ""},
		{"extension registry", pickled(proto4, "\x82\x01."), Suspicious, "pickle-extension", ""},
		{"torch's own loader", pickled(proto4, calling(imported("torch", "load"), str("/tmp/x")), "."), Malicious, "pickle-call", "torch.load"},
		{"hub", pickled(proto4, calling(imported("torch.hub", "load"), str("a/b")), "."), Malicious, "pickle-call", "torch.hub.load"},
		{"numpy's runstring", pickled(proto4, calling(imported("numpy.testing._private.utils", "runstring"), str("x"), "}"), "."), Malicious, "pickle-call", ""},
		{"second stream", pickled(proto4, "N.", string(system)), Malicious, "pickle-call", "os.system"},
		{"third stream behind noise", pickled(proto4, "N.", "noise noise\x00\x01", string(system)), Malicious, "pickle-call", "os.system"},
		{"ends before the call", pickled(imported("builtins", "exec"), "(X\xff\x00\x00\x00f"), Malicious, "pickle-import", "builtins.exec"},
		{"a connection of Python 2", pickled(calling(imported("httplib", "HTTPSConnection"), "S'x'\n"), "."), Malicious, "pickle-call", "http.client.HTTPSConnection"},
		{"carried as data", pickled(proto4, "}", str("weights"), data4(system), "s."), Suspicious, "pickle-carried", "os.system"},
		{"carried as data in base64", pickled(proto4, "}", str("weights"), str(base64.StdEncoding.EncodeToString(system)), "s."), Suspicious, "pickle-carried", "os.system"},
		{"carried as data in hexadecimal", pickled(proto4, "}", str("weights"), str(hex.EncodeToString(system)), "s."), Suspicious, "pickle-carried", "os.system"},
		{"carried by data that is carried", pickled(proto4, "}", str("a"), data4(pickled(proto4, "}", str("b"), data4(system), "s.")), "s."), Suspicious, "pickle-carried", "os.system"},
		{"carried in what is carried", pickled(proto4, "}", str("a"), data4(pickled(proto4, calling(imported("pickle", "loads"), data4(system)), ".")), "s."), Suspicious, "pickle-carried", ""},
		{"harmless data that is a pickle", pickled(proto4, "}", str("a"), data4(pickled(proto4, str("only data here"), ".")), "s."), Clean, "", ""},
		{"a class of TorchScript's main module", pickled("\x80\x02", imported("__torch__", "Net"), ")\x81."), Clean, "", ""},
		{"a matrix", pickled(proto4, calling(imported("numpy.core.multiarray", "_reconstruct"), imported("numpy.matrixlib.defmatrix", "matrix"), "K\x00\x85", "C\x01b"), "."), Clean, "", ""},
		{"a data type of records", pickled(proto4, calling(imported("numpy", "dtype"), imported("numpy.core.records", "record"), "K\x00", "K\x01"), "."), Clean, "", ""},
		{"an array of Python 2", pickled("\x80\x02", calling(imported("numpy.core._internal", "_reconstruct"), imported("numpy", "ndarray"), "K\x00\x85", "U\x01b"), "."), Clean, "", ""},
		{"within bytes for torch", pickled(proto4, calling(imported("torch.storage", "_load_from_bytes"), data4(system)), "."), Malicious, "pickle-call", "os.system"},
		{"bytes for torch are harmless", pickled(proto4, calling(imported("torch.storage", "_load_from_bytes"), data4(pickled(proto4, "N."))), "."), Clean, "", ""},
		{"within base64 and zlib", pickled(proto4, calling(imported("pickle", "loads"), calling(imported("zlib", "decompress"), calling(imported("base64", "b64decode"), str(base64.StdEncoding.EncodeToString(deflate(system)))))), "."), Malicious, "pickle-call", "os.system"},
		{"within BytesIO", pickled(proto4, calling(imported("torch", "load"), calling(imported("io", "BytesIO"), data4(system))), "."), Malicious, "pickle-call", "os.system"},
	} {
		t.Run(c.what, func(t *testing.T) {
			r := scanBytes("m.pkl", c.pickle, Options{})
			if r.Verdict != c.verdict || c.rule != "" && !has(r, c.rule, c.name) {
				t.Errorf("got %v, want %v with %s %s: %+v", r.Verdict, c.verdict, c.rule, c.name, r.Issues)
			}
			if len(r.Formats) == 0 || r.Formats[0] != "pickle" {
				t.Errorf("formats %v", r.Formats)
			}
			var z bytes.Buffer // the same packed, without a telling name
			w := gzip.NewWriter(&z)
			w.Write(c.pickle)
			w.Close()
			if got := scanBytes("x", z.Bytes(), Options{}); got.Verdict != c.verdict {
				t.Errorf("packed: got %v: %+v", got.Verdict, got.Issues)
			}
		})
	}
}

func TestTextsAreNoPickles(t *testing.T) {
	for _, text := range []string{
		"hello, this is a text\n", "cat\ndog\nmouse\n", "import os\nos.system('id')\n", "(a b)\n", "I am a line\n.", "N", "class A:\n    pass\n",
		strings.Repeat("S008/S008R06.edf 149997f77af08c9d6a\n", 200), "Format: https://a/b\n(a) to\n", "\x8f\x88\x82\x7d\x92\x90\x87\x99",
		strings.Repeat("the\nof\nand\n", 1000), "]\n", "0.25\n0.5\n",
	} {
		if r := scanBytes("t", []byte(text), Options{}); r.Verdict != Unsupported {
			t.Errorf("%q: %v %v", short(text), r.Verdict, r.Formats)
		}
	}
}

func TestAllowedNamesAreClean(t *testing.T) {
	p := pickled(proto4, stackGlobal("mylib.models", "Net"), ")\x81}b.")
	for allow, want := range map[string]Verdict{"mylib.models.Net": Clean, "mylib.models.*": Clean, "mylib.models.Ne": Unknown, "mylib.*": Unknown} {
		if r := scanBytes("m", p, Options{Allow: []string{allow}}); r.Verdict != want {
			t.Errorf("%s: %v", allow, r.Verdict)
		}
	}
	for _, bad := range []string{"", "os", "*", "*.x", "a b.c"} {
		if CheckAllow(bad) == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestLimitsAreFindings(t *testing.T) {
	many := pickled(proto4, strings.Repeat("N0", 1000), "N.")
	if r := scanBytes("m", many, Options{Limits: Limits{Opcodes: 100}}); r.Verdict != Failed || !has(r, "limit", "") {
		t.Errorf("opcodes: %v %+v", r.Verdict, r.Issues)
	}
	deep := system
	for range 6 {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		w.Write(deep)
		w.Close()
		deep = z.Bytes()
	}
	if r := scanBytes("m", deep, Options{}); r.Verdict != Failed || !has(r, "limit", "") {
		t.Errorf("depth: %v %+v", r.Verdict, r.Issues)
	}
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	w.Write([]byte("\x80\x04N0N0N0B\xff\xff\xff\x7f"))
	w.Write(make([]byte, 40<<20))
	w.Close()
	if r := scanBytes("m", bomb.Bytes(), Options{Limits: Limits{Ratio: 100}}); !has(r, "limit", "") {
		t.Errorf("ratio: %v %+v", r.Verdict, r.Issues)
	}
	if r := scanBytes("m", bomb.Bytes(), Options{Limits: Limits{Bytes: 20 << 20}}); !has(r, "limit", "") {
		t.Errorf("bytes: %v %+v", r.Verdict, r.Issues)
	}
	if r := scanBytes("m", pickled(proto4, string(system[2:len(system)-1]), strings.Repeat(calling(imported("a", "b"))+"0", 3), calling(imported("x", "y")), "."), Options{Limits: Limits{Issues: 1}}); r.Cut == 0 || r.Verdict != Malicious {
		t.Errorf("issues: %v %d", r.Verdict, r.Cut)
	}
}

func FuzzPickle(f *testing.F) {
	f.Add(system)
	f.Add(pickled(proto4, "](K\x01K\x02M\x01\x02e."))
	f.Add([]byte("(S'id'\nios\nsystem\n."))
	f.Add(joblibArray("f8", "K\x02\x85", make([]byte, 16)))
	f.Fuzz(func(_ *testing.T, b []byte) {
		scanBytes("f", b, Options{Limits: Limits{Opcodes: 1e5, Bytes: 8 << 20, Members: 200}})
	})
}
