package artifact

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"io"
	"slices"
	"testing"

	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// joblibArray is what joblib writes for an array: the bytes stand in the pickle.
func joblibArray(dtype, shape string, body []byte) []byte {
	return pickled(proto4, stackGlobal("joblib.numpy_pickle", "NumpyArrayWrapper"), ")\x81}(",
		str("subclass"), imported("numpy", "ndarray"), str("shape"), shape, str("order"), str("C"),
		str("dtype"), calling(stackGlobal("numpy", "dtype"), str(dtype), "\x89", "\x88"),
		"(K\x03"+str("<")+"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
		str("allow_mmap"), "\x88", str("numpy_array_alignment_bytes"), "K\x10", "ub", "\x03\xff\xff\xff", string(body),
		calling(stackGlobal("os", "system"), str("id")), ".")
}

func TestArchives(t *testing.T) {
	none := string(pickled(proto4, "N."))
	bad := string(system)
	torch := zipped(t, "m/data.pkl", none, "m/data/0", "\x80\x04cos\nsystem\n(tR.", "m/version", "3\n")
	packed := func(open func(io.Writer) io.WriteCloser) []byte {
		var z bytes.Buffer
		w := open(&z)
		w.Write(joblibArray("f8", "K\x02\x85", make([]byte, 16)))
		w.Close()
		return z.Bytes()
	}
	flagged := zipped(t, "m/data.pkl", bad)
	flagged[6] |= flagEncrypted
	checksum := zipped(t, "m/data.pkl", none)
	at := bytes.Index(checksum, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(checksum[at+16:], 1)
	hidden := zipped(t, "m/data.pkl", none)
	inner := zipped(t, "evil.pkl", bad)
	inner = inner[:bytes.Index(inner, []byte("PK\x01\x02"))]
	at = bytes.Index(hidden, []byte("PK\x01\x02"))
	hidden = slices.Insert(hidden, at, inner...)
	end := bytes.LastIndex(hidden, []byte("PK\x05\x06"))
	binary.LittleEndian.PutUint32(hidden[end+16:], uint32(at+len(inner)))

	for _, c := range []struct {
		what    string
		file    []byte
		verdict Verdict
		format  string
		rule    string
	}{
		{"torch", torch, Clean, "torch", ""},
		{"torch with a payload", zipped(t, "m/data.pkl", bad, "m/version", "3\n"), Malicious, "torch", "pickle-call"},
		{"first of two is bad", zipped(t, "m/data.pkl", bad, "m/data.pkl", none), Malicious, "torch", "zip-duplicate"},
		{"last of two is bad", zipped(t, "m/data.pkl", none, "m/data.pkl", bad), Malicious, "torch", "zip-duplicate"},
		{"encrypted flag lies", flagged, Malicious, "torch", "zip-headers"},
		{"wrong checksum", checksum, Suspicious, "torch", "zip-checksum"},
		{"pickle, then archive", append(slices.Clone(system), torch...), Malicious, "pickle", "zip-leading"},
		{"archive, then bytes", append(slices.Clone(torch), bad...), Suspicious, "torch", "zip-trailing"},
		{"member outside the directory", hidden, Malicious, "zip", "zip-hidden"},
		{"cut directory", torch[:len(torch)-30], Failed, "zip", "malformed"},
		{"traversal", zipped(t, "../../etc/cron.d/x", "text"), Suspicious, "zip", "archive-traversal"},
		{"TorchScript", zipped(t, "m/data.pkl", none, "m/code/__torch__.py", "def f(x):\n  return torch.add(x, ops.aten.mul(x))\n"), Clean, "torchscript", ""},
		{"TorchScript that reads files", zipped(t, "m/data.pkl", none, "m/code/__torch__.py", "def f(x):\n  return torch.from_file(x)\n"), Suspicious, "torchscript", "torchscript-call"},
		{"TorchScript with an operator of its own", zipped(t, "m/data.pkl", none, "m/code/a.py", "def f(x):\n  return ops.evil.run(x)\n"), Unknown, "torchscript", "torchscript-call"},
		{"torch legacy", append(slices.Clone(torchMagic), pickled("\x80\x02M\xe9\x03.", "\x80\x02}.", bad, "\x80\x02].", "\x01\x00\x00\x00raw")...), Malicious, "torch-legacy", "pickle-call"},
		{"torch tar", tarred(t, "pickle", bad, "storages", none), Malicious, "torch-tar", "pickle-call"},
		{"npy", npy("'<f8'", make([]byte, 16)), Clean, "npy", ""},
		{"npy of objects", npy("'|O'", system), Malicious, "npy", "pickle-call"},
		{"npy of objects that are no pickle", npy("'|O'", []byte("   ctypes")), Failed, "npy", "malformed"},
		{"npy of objects, cut", npy("'|O'", nil), Failed, "npy", "malformed"},
		{"joblib's old compression", zfile(" ", system), Malicious, "zfile", "pickle-call"},
		{"joblib's older compression", zfile("", system), Malicious, "zfile", "pickle-call"},
		{"joblib's old compression, cut", zfile(" ", system)[:24], Failed, "zfile", "malformed"},
		{"npy with a field of objects", npy("[('a', '<f4'), ('b', 'O')]", system), Malicious, "npy", "pickle-call"},
		{"npz", zipped(t, "a.npy", string(npy("'|O'", system))), Malicious, "npy", "pickle-call"},
		{"joblib", joblibArray("f8", "K\x02\x85", make([]byte, 16)), Malicious, "joblib", "pickle-call"},
		{"joblib, array of objects", joblibObjects(), Malicious, "joblib", "pickle-call"},
		{"joblib in gzip", packed(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }), Malicious, "gzip", "pickle-call"},
		{"joblib in zlib", packed(func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }), Malicious, "zlib", "pickle-call"},
		{"joblib in xz", packed(func(w io.Writer) io.WriteCloser { z, _ := xz.NewWriter(w); return z }), Malicious, "xz", "pickle-call"},
		{"joblib in lzma", packed(func(w io.Writer) io.WriteCloser { z, _ := lzma.NewWriter(w); return z }), Malicious, "lzma", "pickle-call"},
		{"tar in zip", zipped(t, "a", string(tarred(t, "b", bad))), Malicious, "tar", "pickle-call"},
	} {
		t.Run(c.what, func(t *testing.T) {
			r := scanBytes("m.bin", c.file, Options{})
			if r.Verdict != c.verdict || c.rule != "" && !has(r, c.rule, "") || !slices.Contains(r.Formats, c.format) {
				t.Errorf("got %v %v, want %v %s with %s: %+v", r.Verdict, r.Formats, c.verdict, c.format, c.rule, r.Issues)
			}
		})
	}
	if r := scanBytes("m.safetensors", torch, Options{}); !has(r, "name-belied", "") {
		t.Errorf("a ZIP may call itself safetensors: %+v", r.Issues)
	}
}

// joblibObjects is an array of objects: a pickle within the pickle.
func joblibObjects() []byte {
	b := joblibArray("O8", "K\x02\x85", nil)
	return bytes.Replace(b, []byte("\x03\xff\xff\xff"), system, 1)
}

func FuzzArchive(f *testing.F) {
	f.Add(zipped(f, "m/data.pkl", string(system), "m/data.pkl", "x"))
	f.Add(tarred(f, "pickle", string(system)))
	f.Add(npy("'|O'", system))
	f.Fuzz(func(_ *testing.T, b []byte) {
		scanBytes("f", b, Options{Limits: Limits{Opcodes: 1e5, Bytes: 8 << 20, Members: 200}})
	})
}

// What is searched no further must not pass: a payload may stand behind it.
func TestWhatIsNotSearchedFails(t *testing.T) {
	none := string(pickled(proto4, "N."))
	shift := func(at int) []byte { // the directory, and with it a gap before it
		z := zipped(t, "m/data.pkl", none)
		dir := bytes.Index(z, []byte("PK\x01\x02"))
		z = slices.Insert(z, dir, make([]byte, at)...)
		end := bytes.LastIndex(z, []byte("PK\x05\x06"))
		binary.LittleEndian.PutUint32(z[end+16:], uint32(dir+at))
		return z
	}
	crowd := zipped(t, "m/data.pkl", none)
	dir := bytes.Index(crowd, []byte("PK\x01\x02"))
	one := zipped(t, "x", "")
	one = one[:bytes.Index(one, []byte("PK\x01\x02"))]
	many := bytes.Repeat(one, hiddenMost+1)
	crowd = slices.Insert(crowd, dir, many...)
	end := bytes.LastIndex(crowd, []byte("PK\x05\x06"))
	binary.LittleEndian.PutUint32(crowd[end+16:], uint32(dir+len(many)))
	for _, c := range []struct {
		what string
		file []byte
		want bool
	}{
		{"a pickle, then little", append([]byte(none), make([]byte, 1<<20)...), false},
		{"a pickle, then much", append([]byte(none), make([]byte, trailingMost+1<<20)...), true},
		{"a small gap", shift(1 << 20), false},
		{"a large gap", shift(gapMost + 1<<20), true},
		{"many members outside the directory", crowd, true},
	} {
		if r := scanBytes("m.bin", c.file, Options{}); has(r, "limit", "") != c.want || c.want && r.Verdict < Failed {
			t.Errorf("%s: %v %+v", c.what, r.Verdict, r.Issues[:min(3, len(r.Issues))])
		}
	}
}
