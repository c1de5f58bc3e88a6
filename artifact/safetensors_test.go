package artifact

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// safetensorsFile writes a file of a header and n bytes of data.
func safetensorsFile(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

func safetensorsEntry(name, dtype, shape string, from, to uint64) string {
	return fmt.Sprintf(`%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, name, dtype, shape, from, to)
}

func safetensorsCases() []fileCase {
	a, b := safetensorsEntry("a", "F32", "[2,3]", 0, 24), safetensorsEntry("b", "BF16", "[4]", 24, 32)
	bad := func(about, header string, n int, says string) fileCase {
		return fileCase{"x.safetensors " + about, safetensorsFile(header, n), Failed, "malformed", says}
	}
	return []fileCase{
		{"x.safetensors two tensors", safetensorsFile("{"+a+","+b+"}", 32), Clean, "", ""},
		{"x any order, padded", safetensorsFile(`{"__metadata__":{"format":"pt"},`+b+","+a+"}   ", 32), Clean, "", ""},
		{"x scalar and empty", safetensorsFile("{"+safetensorsEntry("a", "U8", "[]", 0, 1)+","+safetensorsEntry("b", "U8", "[0,9]", 1, 1)+"}", 1), Clean, "", ""},
		{"x half bytes", safetensorsFile("{"+safetensorsEntry("a", "F4", "[4]", 0, 2)+"}", 2), Clean, "", ""},
		{"x none", safetensorsFile("{}", 0), Clean, "", ""},
		{"x trailing", safetensorsFile("{"+a+"}", 25), Suspicious, "trailing-data", "last tensor"},
		bad("twice", "{"+a+","+a+"}", 24, "twice"),
		bad("twice by escape", "{"+a+","+strings.Replace(a, `"a"`, `"\u0061"`, 1)+"}", 24, "twice"),
		bad("overlap", "{"+a+","+safetensorsEntry("b", "BF16", "[4]", 16, 24)+"}", 32, "overlap"),
		bad("hole", "{"+a+","+safetensorsEntry("b", "BF16", "[4]", 26, 34)+"}", 34, "hole"),
		bad("not from 0", "{"+safetensorsEntry("a", "U8", "[1]", 1, 2)+"}", 2, "hole"),
		bad("behind the file", "{"+a+"}", 23, "behind the file"),
		bad("shape overflows", "{"+safetensorsEntry("a", "F32", "[4294967296,4294967296]", 0, 0)+"}", 0, "overflows"),
		bad("shape wrong", "{"+safetensorsEntry("a", "F32", "[2]", 0, 4)+"}", 4, "do not fill"),
		bad("dtype", "{"+safetensorsEntry("a", "F33", "[]", 0, 4)+"}", 4, "unknown dtype"),
		bad("field", `{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1],"x":1}}`, 1, "unknown field"),
		bad("field twice", `{"a":{"dtype":"U8","dtype":"I8","shape":[],"data_offsets":[0,1]}}`, 1, "each once"),
		bad("negative", `{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, 1, "whole numbers"),
		bad("metadata of numbers", `{"__metadata__":{"a":1}}`, 0, "out of place"),
		bad("metadata twice", `{"__metadata__":{"a":"1","a":"2"}}`, 0, "twice"),
		bad("two objects", "{}{}", 0, "follows"),
		bad("no JSON", "{a}", 0, "out of place"),
		{"x.safetensors header behind the file", append(binary.LittleEndian.AppendUint64(nil, 1000), "{}"...), Failed, "malformed", "behind the file"},
		{"x.safetensors header too long", append(binary.LittleEndian.AppendUint64(nil, 1<<30), "{}"...), Failed, "malformed", "longer"},
	}
}

func TestSafetensors(t *testing.T) { judge(t, "safetensors", safetensorsCases()) }

// giant is a file that is mostly hole, and knows how much of it was read.
type giant struct {
	head []byte
	size int64
	read int
}

func (g *giant) Size() int64 { return g.size }

func (g *giant) ReadAt(b []byte, off int64) (int, error) {
	n := min(int64(len(b)), g.size-off)
	clear(b[:n])
	if off < int64(len(g.head)) {
		copy(b[:n], g.head[off:])
	}
	g.read += int(n)
	return int(n), nil
}

// TestSafetensorsReadsTheHeaderOnly: ten gigabytes are judged by the header and what the formats sniff at.
func TestSafetensorsReadsTheHeaderOnly(t *testing.T) {
	const size = 10 << 30
	head := safetensorsFile("{"+safetensorsEntry("a", "U8", fmt.Sprintf("[%d]", size), 0, size)+"}", 0)
	g := &giant{head: head, size: size + int64(len(head))}
	r := Scan("x", g, Options{})
	if r.Verdict != Clean || !cmp.Equal(r.Formats, []string{"safetensors"}) || g.read > 1<<20 {
		t.Errorf("got %v %v, %d bytes read", r.Verdict, r.Issues, g.read)
	}
}

func FuzzSafetensors(f *testing.F) { fuzzScan(f, "x.safetensors", safetensorsCases()) }
