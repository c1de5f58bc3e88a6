package artifact

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hdf5Writer writes the blocks of an HDF5 file, with addresses and lengths of eight bytes.
type hdf5Writer struct{ b []byte }

// put adds a block of fields: texts as they are, ints by their size in bytes after them.
func (w *hdf5Writer) put(fields ...any) uint64 {
	for len(w.b)%8 != 0 {
		w.b = append(w.b, 0)
	}
	at := uint64(len(w.b))
	w.b = append(w.b, le(fields...)...)
	return at
}

// sized is a number of some bytes.
type sized struct {
	n     uint64
	bytes int
}

func u1(n int) sized    { return sized{uint64(n), 1} }
func u2(n int) sized    { return sized{uint64(n), 2} }
func u4(n int) sized    { return sized{uint64(n), 4} }
func u8(n uint64) sized { return sized{n, 8} }

const nowhere = ^uint64(0)

func le(fields ...any) []byte {
	var b []byte
	for _, f := range fields {
		switch f := f.(type) {
		case string:
			b = append(b, f...)
		case []byte:
			b = append(b, f...)
		case sized:
			for i := range f.bytes {
				b = append(b, byte(f.n>>(8*i)))
			}
		}
	}
	return b
}

func padded(b []byte) []byte {
	return append(b, make([]byte, (8-len(b)%8)%8)...)
}

// fixedText is the type of a text of n bytes; one value of it.
func fixedText(n int) []byte { return le(u1(0x13), u1(0), u2(0), u4(n)) }

var (
	variableText = le(u1(0x19), u1(1), u2(0), u4(16), fixedText(1))
	oneValue     = le(u1(1), u1(0), u2(0), u4(0))
)

// attributeV1 is what h5py writes by default, attributeV3 what it writes where the newest form is asked for.
func attributeV1(name string, kind, value []byte) []byte {
	return le(u1(1), u1(0), u2(len(name)+1), u2(len(kind)), u2(8), padded([]byte(name+"\x00")), padded(kind), oneValue, value)
}

func attributeV3(name string, kind, value []byte) []byte {
	return le(u1(3), u1(0), u2(len(name)+1), u2(len(kind)), u2(8), u1(0), name+"\x00", kind, oneValue, value)
}

// inHeap puts a text into a global heap, and returns the value that refers to it.
func (w *hdf5Writer) inHeap(text string) []byte {
	body := le(u2(1), u2(1), u4(0), u8(2), "{}\x00\x00\x00\x00\x00\x00", u2(7), u2(1), u4(0), u8(uint64(len(text))), padded([]byte(text)))
	at := w.put("GCOL", u4(1), u8(uint64(16+len(body)+16)), body, u8(0), u8(0))
	return le(u4(len(text)), u8(at), u4(7))
}

// object1 and object2 write an object's header of the older and of the newer form: a kind and a message, by turns.
func (w *hdf5Writer) object1(messages ...any) uint64 {
	var b []byte
	for i := 0; i < len(messages); i += 2 {
		m := padded(messages[i+1].([]byte))
		b = append(b, le(u2(messages[i].(int)), u2(len(m)), u4(0), m)...)
	}
	return w.put(u1(1), u1(0), u2(len(messages)/2), u4(1), u4(len(b)), u4(0), b)
}

func (w *hdf5Writer) object2(messages ...any) uint64 {
	var b []byte
	for i := 0; i < len(messages); i += 2 {
		m := messages[i+1].([]byte)
		b = append(b, le(u1(messages[i].(int)), u2(len(m)), u1(0), m)...)
	}
	return w.put("OHDR", u1(2), u1(2), u4(len(b)), b, u4(0))
}

// group1 is a group of the older form with one member.
func (w *hdf5Writer) group1(member uint64) []byte {
	data := w.put("\x00\x00\x00\x00\x00\x00\x00\x00member\x00\x00")
	heap := w.put("HEAP", u4(0), u8(16), u8(nowhere), u8(data))
	table := w.put("SNOD", u1(1), u1(0), u2(1), u8(8), u8(member), u4(0), u4(0), u8(0), u8(0))
	tree := w.put("TREE", u1(0), u1(0), u2(1), u8(nowhere), u8(nowhere), u8(0), u8(table), u8(8))
	return le(u8(tree), u8(heap))
}

// inFractal puts a message into a heap of the newer form, behind others, and returns the message of an object that
// leads there.
func (w *hdf5Writer) inFractal(message []byte) []byte {
	const start = 4096
	head := uint64(len(w.b)+7) &^ 7
	w.put(make([]byte, 142))
	block := w.put("FHDB", u1(0), u8(head), u4(0), message)
	empty := nowhere
	rows := []any{u8(empty), u8(empty), u8(block)}
	root := w.put("FHIB", u1(0), u8(head), u4(0), rows[0], rows[1], rows[2], u8(empty), u4(0))
	copy(w.b[head:], le("FRHP", u1(0), u2(8), u2(0), u1(0), u4(start), u8(0), u8(nowhere), u8(0), u8(nowhere), make([]byte, 64),
		u2(4), u8(start), u8(65536), u2(32), u2(1), u8(root), u2(1), u4(0)))
	id := le(u1(0), u4(2*start+17), u2(len(message)), u1(0))
	leaf := w.put("BTLF", u1(0), u1(8), id, u1(0), u4(0), u4(0), u4(0))
	tree := w.put("BTHD", u1(0), u1(8), u4(512), u2(17), u2(0), u1(100), u1(40), u8(leaf), u2(1), u8(1), u4(0))
	return le(u1(0), u1(0), u8(head), u8(tree))
}

// hdf5V0 and hdf5V2 write a file whose root what make returns.
func hdf5V0(fill func(w *hdf5Writer) uint64) []byte {
	w := &hdf5Writer{b: le(hdf5Magic, u4(0), u1(0), u1(8), u1(8), u1(0), u2(4), u2(16), u4(0), u8(0), u8(nowhere), u8(0), u8(nowhere), u8(0), u8(0), u4(0), u4(0), u8(0), u8(0))}
	root := fill(w)
	binary.LittleEndian.PutUint64(w.b[64:], root)
	return w.b
}

func hdf5V2(fill func(w *hdf5Writer) uint64) []byte {
	w := &hdf5Writer{b: le(hdf5Magic, u1(2), u1(8), u1(8), u1(0), u8(0), u8(nowhere), u8(0), u8(0), u4(0))}
	root := fill(w)
	binary.LittleEndian.PutUint64(w.b[36:], root)
	return w.b
}

const (
	kerasPlain  = `{"class_name":"Sequential","config":{"name":"m","layers":[{"class_name":"Dense","config":{"units":4,"activation":"relu"}}]}}`
	kerasLambda = `{"class_name":"Sequential","config":{"name":"m","layers":[{"class_name":"Lambda","config":{"function":["4wEAAAA=",null,null],"function_type":"lambda"}}]}}`
)

func hdf5Cases() []fileCase {
	c := func(about string, b []byte, want Verdict, rule, says string) fileCase {
		return fileCase{"model.h5 " + about, b, want, rule, says}
	}
	fixed := func(name, text string) []byte { return attributeV1(name, fixedText(len(text)), []byte(text)) }
	fixed3 := func(name, text string) []byte { return attributeV3(name, fixedText(len(text)), []byte(text)) }
	hard := func(name string, to uint64) []byte { return le(u1(1), u1(0), u1(len(name)), name, u8(to)) }
	leads := func(file string) []byte {
		return le(u1(1), u1(8), u1(64), u1(1), "x", u2(len(file)+4), u1(0), file+"\x00/d\x00")
	}
	external := func(file string) []byte {
		return hdf5V0(func(w *hdf5Writer) uint64 {
			data := w.put(padded([]byte("\x00\x00\x00\x00\x00\x00\x00\x00" + file + "\x00")))
			heap := w.put("HEAP", u4(0), u8(uint64(len(w.b))-data), u8(nowhere), u8(data))
			return w.object1(0x11, w.group1(w.object1(0x07, le(u1(1), u1(0), u2(0), u2(1), u2(1), u8(heap), u8(8), u8(0), u8(16)))))
		})
	}
	in := func(kind int, message func(w *hdf5Writer) []byte) []byte {
		return hdf5V2(func(w *hdf5Writer) uint64 { return w.object2(kind, message(w)) })
	}
	attr := func(m []byte) []byte { return in(0x0c, func(*hdf5Writer) []byte { return m }) }
	lambda := attr(fixed3("model_config", kerasLambda))
	return []fileCase{
		c("plain", hdf5V0(func(w *hdf5Writer) uint64 {
			return w.object1(0x0c, fixed("keras_version", "2.11.0"), 0x0c, fixed("model_config", kerasPlain), 0x11, w.group1(w.object1(0x0c, fixed("layer_names", "dense"))))
		}), Clean, "", ""),
		c("plain, newest form", in(0x0c, func(*hdf5Writer) []byte { return fixed3("model_config", kerasPlain+"\x00\x00") }), Clean, "", ""),
		c("Lambda, oldest form", hdf5V0(func(w *hdf5Writer) uint64 { return w.object1(0x0c, fixed("model_config", kerasLambda)) }), Malicious, "keras-object", "Lambda"),
		c("Lambda, newest form", lambda, Malicious, "keras-object", "Lambda"),
		c("Lambda in a heap", hdf5V0(func(w *hdf5Writer) uint64 {
			return w.object1(0x0c, attributeV1("model_config", variableText, w.inHeap(kerasLambda)))
		}), Malicious, "keras-object", "Lambda"),
		c("Lambda among dense attributes", in(0x15, func(w *hdf5Writer) []byte { return w.inFractal(fixed3("model_config", kerasLambda)) }), Malicious, "keras-object", "Lambda"),
		c("Lambda in a chunk that follows", hdf5V0(func(w *hdf5Writer) uint64 {
			m := padded(fixed("model_config", kerasLambda))
			more := w.put(u2(0x0c), u2(len(m)), u4(0), m)
			return w.object1(0x10, le(u8(more), u8(uint64(8+len(m)))))
		}), Malicious, "keras-object", "Lambda"),
		c("function of the system", attr(fixed3("model_config", `{"class_name":"Functional","config":{"layers":[{"module":"os","class_name":"function","config":"system"}]}}`)), Malicious, "keras-object", "os"),
		c("behind a user's block", append(append([]byte{'x'}, make([]byte, 511)...), lambda...), Malicious, "keras-object", "Lambda"),
		c("dense links in a loop", hdf5V2(func(w *hdf5Writer) uint64 {
			inner := w.object2(0x0c, fixed3("model_config", kerasPlain))
			return w.object2(0x06, hard("a", inner), 0x06, hard("b", inner))
		}), Clean, "", ""),
		c("data elsewhere", external("/etc/shadow"), Malicious, "hdf5-external", "shadow"),
		c("data beside it", external("weights.bin"), Suspicious, "hdf5-external", "weights"),
		c("link elsewhere", in(0x06, func(*hdf5Writer) []byte { return leads("../../x.h5") }), Malicious, "hdf5-external", "x.h5"),
		c("link beside it", in(0x06, func(*hdf5Writer) []byte { return leads("part2.h5") }), Suspicious, "hdf5-external", "part2"),
		c("virtual", in(0x08, func(w *hdf5Writer) []byte {
			w.inHeap("\x00\x01\x00\x00\x00\x00\x00\x00\x00/etc/x.h5\x00d\x00")
			return le(u1(4), u1(3), u8(uint64(48)), u4(7))
		}), Malicious, "hdf5-external", "x.h5"),
		c("virtual, of two files", in(0x08, func(w *hdf5Writer) []byte {
			w.inHeap("\x00\x02\x00\x00\x00\x00\x00\x00\x00.\x00d\x00")
			return le(u1(4), u1(3), u8(uint64(48)), u4(7))
		}), Failed, "hdf5-unread", "only the first"),
		c("Lambda behind blanks", attr(fixed3("model_config", strings.Repeat(" \n", 40_000/2)+kerasLambda)), Malicious, "keras-object", "Lambda"),
		c("chunks without end", hdf5V0(func(w *hdf5Writer) uint64 {
			m := le(u2(0x10), u2(16), u4(0), u8(uint64(len(w.b))), u8(24*2000))
			return w.put(u1(1), u1(0), u2(2000), u4(1), u4(24*2000), u4(0), bytes.Repeat(m, 2000))
		}), Failed, "malformed", "chunks"),
		c("cut", lambda[:60], Failed, "malformed", "hdf5"),
		c("address behind the file", in(0x06, func(*hdf5Writer) []byte { return hard("a", 1<<40) }), Failed, "malformed", "hdf5"),
		c("broken configuration", attr(fixed3("model_config", `{"class_name":`)), Failed, "malformed", "json"),
		c("superblock of the future", []byte(hdf5Magic+"\x09\x08\x08\x00\x00\x00"), Failed, "malformed", "version 9"),
	}
}

func TestHDF5(t *testing.T) { judge(t, "hdf5", hdf5Cases()) }

// TestHDF5OfItsLibrary judges files that h5py 3.7 wrote, in the older and the newest form.
func TestHDF5OfItsLibrary(t *testing.T) {
	files, err := filepath.Glob("testdata/hdf5/*.h5.gz")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		want, _, _ := strings.Cut(filepath.Base(f), "-")
		if r := scanBytes(f, b, Options{}); r.Verdict.String() != want {
			t.Errorf("%s: %v %v %+v", f, r.Verdict, r.Formats, r.Issues)
		}
	}
}

func FuzzHDF5(f *testing.F) { fuzzScan(f, "model.h5", hdf5Cases()) }
