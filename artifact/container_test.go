package artifact

import (
	"archive/zip"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"
)

func zstded(b []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	return w.EncodeAll(b, nil)
}

func lz4ed(b []byte) []byte {
	var z bytes.Buffer
	w := lz4.NewWriter(&z)
	w.Write(b)
	w.Close()
	return z.Bytes()
}

// skippable is a frame that readers of zstd and lz4 pass over.
func skippable(b []byte) []byte { return le("\x50\x2a\x4d\x18", u4(len(b)), b) }

// sevened is a 7z archive of members that stand one behind the other, packed by LZMA2 into one folder.
func sevened(members ...string) []byte {
	var z bytes.Buffer
	w, _ := lzma.Writer2Config{DictCap: 1 << 16}.NewWriter2(&z)
	total, sizes, names := 0, []byte(nil), []byte{0}
	number := func(n int) []byte { return le(u1(0xc0|n>>16), u2(n)) }
	for i := 0; i < len(members); i += 2 {
		io.WriteString(w, members[i+1])
		total += len(members[i+1])
		if i+2 < len(members) {
			sizes = append(sizes, number(len(members[i+1]))...)
		}
		for _, c := range members[i] + "\x00" {
			names = append(names, byte(c), 0)
		}
	}
	w.Close()
	n := len(members) / 2
	head := le(u1(1), u1(4),
		u1(6), u1(0), u1(1), u1(9), number(z.Len()), u1(0),
		u1(7), u1(11), u1(1), u1(0), u1(1), u1(0x21), u1(0x21), u1(1), u1(8), u1(12), number(total), u1(0),
		u1(8), u1(13), u1(n), u1(9), sizes, u1(0), u1(0),
		u1(5), u1(n), u1(0x11), number(len(names)), names, u1(0), u1(0))
	first := le(u8(uint64(z.Len())), u8(uint64(len(head))), sized{uint64(crc32.ChecksumIEEE(head)), 4})
	return le("7z\xbc\xaf\x27\x1c\x00\x04", sized{uint64(crc32.ChecksumIEEE(first)), 4}, first, z.Bytes(), head)
}

func containerCases() []fileCase {
	none := string(pickled(proto4, "N."))
	c := func(about string, b []byte, want Verdict, rule, says string) fileCase {
		return fileCase{"model.bin " + about, b, want, rule, says}
	}
	broken := []byte("\x80\x02cos\nsystem\n(S'id'\ntR\xff\xff") // runs before its reader fails
	damaged := sevened("a", none)
	damaged[len(damaged)-1]++
	return []fileCase{
		c("zstd", zstded([]byte(none)), Clean, "", ""),
		c("zstd, call", zstded(system), Malicious, "pickle-call", "os.system"),
		c("zstd behind a frame to pass over", append(skippable([]byte("xyz")), zstded(system)...), Malicious, "pickle-call", "os.system"),
		c("zstd, second frame", append(zstded([]byte("\x80\x04")), zstded(system[2:])...), Malicious, "pickle-call", "os.system"),
		c("lz4", lz4ed([]byte(none)), Clean, "", ""),
		c("lz4, call", lz4ed(system), Malicious, "pickle-call", "os.system"),
		c("lz4 behind a frame to pass over", append(skippable(nil), lz4ed(system)...), Malicious, "pickle-call", "os.system"),
		c("7z", sevened("a.pkl", none, "b.pkl", none), Clean, "", ""),
		c("7z, broken pickle", sevened("data.pkl", string(broken)), Malicious, "pickle-call", "os.system"),
		c("7z, second member", sevened("a.pkl", none+strings.Repeat("x", 70000), "b.pkl", string(system)), Malicious, "pickle-call", "os.system"),
		c("7z that leads out", sevened("../../a.pkl", none), Suspicious, "archive-traversal", ""),
		c("7z in zstd in lz4", lz4ed(zstded(sevened("a", string(system)))), Malicious, "pickle-call", "os.system"),
		c("7z, header damaged", damaged, Failed, "malformed", "checksum"),
		c("7z, cut", sevened("a", none)[:40], Failed, "malformed", "7z"),
	}
}

func TestContainers(t *testing.T) {
	for _, c := range containerCases() {
		format := strings.Trim(strings.Fields(strings.TrimPrefix(c.name, "model.bin "))[0], ",")
		t.Run(c.name, func(t *testing.T) {
			r := scanBytes("model.bin", c.data, Options{})
			if r.Verdict != c.want || !slices.Contains(r.Formats, format) || c.rule != "" && !slices.ContainsFunc(r.Issues, func(i Issue) bool {
				return i.Rule == c.rule && strings.Contains(i.Text+i.Name, c.says)
			}) {
				t.Errorf("got %v %v %+v; want %v, %s about %q", r.Verdict, r.Formats, r.Issues, c.want, c.rule, c.says)
			}
		})
	}
}

// TestSevenOfItsProgram judges archives that 7z 26.02 wrote, by each method that it has for one stream.
func TestSevenOfItsProgram(t *testing.T) {
	files, err := filepath.Glob("testdata/7z/*.7z")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		want, _, _ := strings.Cut(filepath.Base(f), "-")
		r := scanBytes(f, b, Options{})
		if r.Verdict.String() != want || want == "failed" && !has(r, "7z-method", "") {
			t.Errorf("%s: %v %v %+v", f, r.Verdict, r.Formats, r.Issues)
		}
	}
}

// TestSevenUndoesTheFilterForX86: 40,000 bytes of calls and near calls come back as they were.
func TestSevenUndoesTheFilterForX86(t *testing.T) {
	b, err := os.ReadFile("testdata/7z/malicious-bcj.7z")
	if err != nil {
		t.Fatal(err)
	}
	s := &scan{o: Options{Limits: defaults}}
	z := &seven{s: s, p: &part{ReaderAt: bytes.NewReader(b), size: int64(len(b))}}
	if err := z.open(); err != nil {
		t.Fatal(err)
	}
	var sums []uint32
	input := 0
	for i, f := range z.folders {
		r, _, err := z.unpack(i, input)
		if err != nil {
			t.Fatal(err)
		}
		input += f.inputs
		for _, size := range f.members {
			sum := crc32.NewIEEE()
			if _, err := io.CopyN(sum, r, size); err != nil {
				t.Fatal(err)
			}
			sums = append(sums, sum.Sum32())
		}
	}
	if !slices.Contains(sums, 0x73396473) {
		t.Errorf("checksums %x", sums)
	}
}

// TestZipMethods: what Python's zipfile unpacks and torch does not.
func TestZipMethods(t *testing.T) {
	packs := map[uint16]func([]byte) []byte{
		93: zstded,
		14: func(b []byte) []byte {
			var z bytes.Buffer
			w, _ := lzma.WriterConfig{SizeInHeader: true, Size: int64(len(b))}.NewWriter(&z)
			w.Write(b)
			w.Close()
			return le("\x09\x04", u2(5), z.Bytes()[:5], z.Bytes()[13:])
		},
		12: func([]byte) []byte { return bzipped },
	}
	for method, pack := range packs {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		packed := pack(system)
		f, err := w.CreateRaw(&zip.FileHeader{Name: "config.pkl", Method: method, CRC32: crc32.ChecksumIEEE(system), CompressedSize64: uint64(len(packed)), UncompressedSize64: uint64(len(system))})
		if err != nil {
			t.Fatal(err)
		}
		f.Write(packed)
		w.Close()
		if r := scanBytes("m.keras", b.Bytes(), Options{}); r.Verdict != Malicious || !has(r, "pickle-call", "os.system") || has(r, "zip-checksum", "") {
			t.Errorf("method %d: %v %+v", method, r.Verdict, r.Issues)
		}
	}
}

// bzipped is the pickle that calls os.system in bzip2, for which the standard library has no writer.
var bzipped = []byte("\x42\x5a\x68\x39\x31\x41\x59\x26\x53\x59\x53\x6b\x61\xbe\x00\x00\x09\xd3\xc0\x14\x10\x00\x41\x10\x00\x0e\x22\x8c\x20\x40\x04\x20\x00\x31\x43\x4d\x30\x00\x50\x34\x34\x1e\x9e\xa8\x1d\x58\x78\xd2\xab\xaf\x40\xe7\x24\x1f\x17\x72\x45\x38\x50\x90\x53\x6b\x61\xbe")

func TestBzippedIsTheSame(t *testing.T) {
	b, err := io.ReadAll(bzip2.NewReader(bytes.NewReader(bzipped)))
	if err != nil || !bytes.Equal(b, system) {
		t.Errorf("%q, %v", b, err)
	}
}

// TestSevenClaimsAreNotBelieved: a window of four gigabytes is refused before it is made.
func TestSevenClaimsAreNotBelieved(t *testing.T) {
	b := sevened("a", "x")
	at := bytes.LastIndex(b, []byte("\x21\x21\x01\x08"))
	b[at+3] = 40
	head := b[32+binary.LittleEndian.Uint64(b[12:]):]
	binary.LittleEndian.PutUint32(b[28:], crc32.ChecksumIEEE(head))
	if r := scanBytes("m", b, Options{}); r.Verdict != Failed || !strings.Contains(r.Issues[0].Text, "asks for") {
		t.Errorf("%v %+v", r.Verdict, r.Issues)
	}
}

func FuzzContainer(f *testing.F) { fuzzScan(f, "model.bin", containerCases()) }

// TestSevenThatRepeats: a header of a few bytes, told again and again, must not take time by the square of its size.
func TestSevenThatRepeats(t *testing.T) {
	archive := func(head []byte) []byte {
		first := le(u8(0), u8(uint64(len(head))), sized{uint64(crc32.ChecksumIEEE(head)), 4})
		return le("7z\xbc\xaf\x27\x1c\x00\x04", sized{uint64(crc32.ChecksumIEEE(first)), 4}, first, head)
	}
	many := 50_000
	three := le(u1(0xc0|many>>16), u2(many))
	folders := le(u1(1), u1(4), u1(7), u1(11), three, u1(0), bytes.Repeat(le(u1(1), u1(1), u1(0)), many), u1(12), bytes.Repeat(le(u1(1)), many), u1(0))
	for name, head := range map[string][]byte{
		"streams":     le(folders, bytes.Repeat(le(u1(8), u1(0)), many)),
		"all streams": le(folders, u1(0), bytes.Repeat(le(u1(4), u1(8), u1(0), u1(0)), many)),
		"many":        le(u1(1), u1(5), u1(0xe0), u4(200_000), bytes.Repeat(le(u1(0)), 200_000)),
	} {
		at := time.Now()
		r := scanBytes("x.7z", archive(head), Options{})
		if r.Verdict != Failed || time.Since(at) > 10*time.Second {
			t.Errorf("%s: %v in %v: %+v", name, r.Verdict, time.Since(at), r.Issues)
		}
	}
	none := le(u1(1), u1(5), three, bytes.Repeat(le(u1(0x0e), u1(0)), many), u1(0))
	if r := scanBytes("x.7z", archive(none), Options{}); r.Verdict != Clean {
		t.Errorf("members without bytes: %v %+v", r.Verdict, r.Issues)
	}
}
