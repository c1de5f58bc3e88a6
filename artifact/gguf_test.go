package artifact

import (
	"encoding/binary"
	"math"
	"testing"
)

// ggufWriter writes a file as far as a test wants it right.
type ggufWriter struct {
	b             []byte
	tensors, keys uint64
}

func (w *ggufWriter) u32(n uint32) *ggufWriter {
	w.b = binary.LittleEndian.AppendUint32(w.b, n)
	return w
}

func (w *ggufWriter) u64(n uint64) *ggufWriter {
	w.b = binary.LittleEndian.AppendUint64(w.b, n)
	return w
}

func (w *ggufWriter) text(t string) *ggufWriter {
	w.u64(uint64(len(t)))
	w.b = append(w.b, t...)
	return w
}

// key begins a pair; the value follows.
func (w *ggufWriter) key(name string, kind uint32) *ggufWriter {
	w.keys++
	return w.text(name).u32(kind)
}

func (w *ggufWriter) tensor(name string, kind uint32, off uint64, dims ...uint64) *ggufWriter {
	w.tensors++
	w.text(name).u32(uint32(len(dims)))
	for _, d := range dims {
		w.u64(d)
	}
	return w.u32(kind).u64(off)
}

// file ends the header, aligned to 32, and appends n bytes of data.
func (w *ggufWriter) file(version uint32, n int) []byte {
	h := &ggufWriter{b: []byte("GGUF")}
	b := append(h.u32(version).u64(w.tensors).u64(w.keys).b, w.b...)
	if w.tensors > 0 {
		b = append(b, make([]byte, -len(b)&31)...)
	}
	return append(b, make([]byte, n)...)
}

func gg() *ggufWriter { return &ggufWriter{} }

func ggufCases() []fileCase {
	whole := func(template string) []byte {
		w := gg().key("general.architecture", 8).text("llama").key("general.alignment", 4).u32(32)
		w.key("tokenizer.ggml.tokens", 9).u32(8).u64(2).text("a").text("b").key("scores", 9).u32(6).u64(2).u32(0).u32(0)
		w.key("nested", 9).u32(9).u64(1).u32(4).u64(1).u32(7).key("tokenizer.chat_template", 8).text(template)
		return w.tensor("a", 0, 0, 8).tensor("b", 2, 32, 32, 2).file(3, 32+36)
	}
	bad := func(about string, b []byte, says string) fileCase {
		return fileCase{"x.gguf " + about, b, Failed, "malformed", says}
	}
	return []fileCase{
		{"x.gguf whole", whole(chatTemplate), Clean, "", ""},
		{"x version 2", gg().key("a", 7).file(2, 1), Clean, "", ""},
		{"x.gguf hostile template", whole("{{ x.__class__ }}"), Malicious, "template-inner", "__class__"},
		{"x.gguf hostile second template", gg().key("tokenizer.chat_template.tool_use", 8).text("{{ x|attr(y) }}").file(3, 0), Malicious, "template-attr", ""},
		bad("version", gg().file(1, 0), "version 1"),
		bad("big-endian", gg().file(3<<24, 0), "big-endian"),
		bad("keys beyond the file", (&ggufWriter{keys: 1 << 19}).file(3, 0), "cannot hold"),
		bad("count overflows", (&ggufWriter{keys: math.MaxUint64}).file(3, 0), "more than"),
		bad("alignment 0", gg().key("general.alignment", 4).u32(0).file(3, 0), "power of two"),
		bad("alignment 24", gg().key("general.alignment", 4).u32(24).file(3, 0), "power of two"),
		bad("key twice", gg().key("a", 4).u32(0).key("a", 4).u32(1).file(3, 0), "twice"),
		bad("key of a giant length", (&ggufWriter{keys: 1}).u64(1<<40).u64(0).file(3, 0), "name of"),
		bad("text behind the file", gg().key("a", 8).u64(1<<62).file(3, 0), "unexpected EOF"),
		bad("array overflows", gg().key("a", 9).u32(10).u64(1<<61).file(3, 0), "an array of"),
		bad("array of texts behind the file", gg().key("a", 9).u32(8).u64(1<<40).file(3, 0), "can hold"),
		bad("arrays in each other", gg().key("a", 9).u32(9).u64(1).u32(9).u64(1).u32(9).u64(1).u32(9).u64(1).u32(4).u64(0).file(3, 99), "each other"),
		bad("type of value", gg().key("a", 13).u64(0).file(3, 0), "unknown type"),
		bad("five dimensions", gg().tensor("a", 0, 0, 1, 1, 1, 1, 1).file(3, 32), "dimensions"),
		bad("dimensions overflow", gg().tensor("a", 0, 0, 1<<32, 1<<32).file(3, 32), "overflow"),
		bad("type of tensor", gg().tensor("a", 4, 0, 32).file(3, 32), "unknown type"),
		bad("row in blocks", gg().tensor("a", 2, 0, 31).file(3, 32), "blocks"),
		bad("off the grid", gg().tensor("a", 0, 4, 1).file(3, 32), "multiple"),
		bad("tensor behind the file", gg().tensor("a", 0, 32, 8).file(3, 63), "behind the file"),
		bad("tensor twice", gg().tensor("a", 0, 0, 8).tensor("a", 0, 0, 8).file(3, 32), "twice"),
	}
}

func TestGGUF(t *testing.T) { judge(t, "gguf", ggufCases()) }

func FuzzGGUF(f *testing.F) { fuzzScan(f, "x.gguf", ggufCases()) }
