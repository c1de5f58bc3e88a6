package artifact

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

// xzOf packs bytes as a stream of XZ, and, with a dictionary other than 0, says that it takes that one.
func xzOf(t testing.TB, b []byte, dictionary byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.WriterConfig{CheckSum: xz.CRC64, BlockSize: 1 << 16}.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := out.Bytes()
	if dictionary != 0 {
		head := file[12 : 12+4*(int(file[12])+1)]
		at := bytes.Index(head, []byte{0x21, 1})
		if at < 0 {
			t.Fatal("the writer names no LZMA2")
		}
		head[at+2] = dictionary
		binary.LittleEndian.PutUint32(head[len(head)-4:], crc32.ChecksumIEEE(head[:len(head)-4]))
	}
	return file
}

func TestXZ(t *testing.T) {
	long := bytes.Repeat([]byte("weights, "), 50_000) // several blocks
	two := append(xzOf(t, long, 0), append(make([]byte, 8), xzOf(t, []byte("end"), 0)...)...)
	for what, c := range map[string]struct{ file, want []byte }{
		"blocks": {xzOf(t, long, 0), long}, "two streams with padding between": {two, append(bytes.Clone(long), "end"...)}, "nothing": {xzOf(t, nil, 0), nil},
	} {
		r, err := unxz(bytes.NewReader(c.file))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %d bytes of %d, %v", what, len(got), len(c.want), err)
		}
		for cut := range len(c.file) - 8 {
			if r, err := unxz(bytes.NewReader(c.file[:cut])); err == nil && what != "two streams with padding between" {
				if _, err := io.Copy(io.Discard, r); err == nil {
					t.Fatalf("%s: cut to %d of %d bytes it is whole", what, cut, len(c.file))
				}
			}
		}
	}
}

// A header of a few bytes may ask for 4 GiB. It gets none of it, in whatever holds it.
func TestXZAsksForMemory(t *testing.T) {
	const all, preset9 = 40, 28 // as the format numbers 4 GiB and 64 MiB
	greedy := xzOf(t, system, all)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := scanBytes("m.joblib", greedy, Options{})
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
		t.Errorf("it took %d MiB", got>>20)
	}
	if r.Verdict != Failed || len(r.Issues) == 0 || !strings.Contains(r.Issues[0].Text, "dictionary of 4095 MiB, more than 64") {
		t.Errorf("%v %+v", r.Verdict, r.Issues)
	}
	if r := scanBytes("m.joblib", xzOf(t, system, preset9), Options{}); r.Verdict != Malicious {
		t.Errorf("what the strongest preset packs: %v %+v", r.Verdict, r.Issues)
	}
	crowd := bytes.Repeat(xzOf(t, []byte("x"), preset9), 40)
	u, err := unxz(bytes.NewReader(crowd))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, u); err == nil || !strings.Contains(err.Error(), "far more memory") || n > 20 {
		t.Errorf("forty streams of a byte each: %d, %v", n, err)
	}
}

// Its comments cost a reader of YAML what their number times the depth of its lists is.
func TestYAMLOfManyComments(t *testing.T) {
	text := strings.Repeat("- ", 9000) + "a\n" + strings.Repeat("# x\n  # x\n", 4<<20/10)
	for _, end := range []string{"\n", "\r", "\u2028"} {
		r := scanBytes("model_config.yaml", []byte(strings.ReplaceAll(text, "\n", end)[:yamlLimit]), Options{})
		if r.Verdict != Failed || !has(r, "limit", "") {
			t.Errorf("%q: %v %+v", end, r.Verdict, r.Issues)
		}
	}
	few := strings.Repeat("# licence\n", 2000) + "_target_: os.system\n"
	if r := scanBytes("model_config.yaml", []byte(few), Options{}); r.Verdict != Malicious {
		t.Errorf("%v %+v", r.Verdict, r.Issues)
	}
}
