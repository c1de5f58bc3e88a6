package artifact

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"
)

// pickled joins the opcodes of a pickle.
func pickled(parts ...string) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

const proto4 = "\x80\x04"

func imported(module, name string) string { return "c" + module + "\n" + name + "\n" }

func str(s string) string {
	if len(s) < 256 {
		return string([]byte{opShortBinUnicode, byte(len(s))}) + s
	}
	return string(binary.LittleEndian.AppendUint32([]byte{opBinUnicode}, uint32(len(s)))) + s
}

func data4(b []byte) string {
	return string(binary.LittleEndian.AppendUint32([]byte{opBinBytes}, uint32(len(b)))) + string(b)
}

func stackGlobal(module, name string) string { return str(module) + str(name) + "\x93" }

// calling is a call of fn with arguments.
func calling(fn string, args ...string) string {
	s := fn + "("
	for _, a := range args {
		s += a
	}
	return s + "tR"
}

var system = pickled(proto4, calling(imported("os", "system"), str("id")), ".")

// zipped makes a ZIP of stored members; names may repeat.
func zipped(t testing.TB, members ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		f, err := w.CreateRaw(&zip.FileHeader{
			Name: members[i], CRC32: crc32.ChecksumIEEE([]byte(members[i+1])),
			CompressedSize64: uint64(len(members[i+1])), UncompressedSize64: uint64(len(members[i+1])),
		})
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(members[i+1]))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarred(t testing.TB, members ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: members[i], Size: int64(len(members[i+1])), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(members[i+1]))
	}
	w.Close()
	return b.Bytes()
}

// zfile packs b as joblib did before 0.10.
func zfile(blank string, b []byte) []byte {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(b)
	w.Close()
	return append(fmt.Appendf(nil, "ZF%-19s%s", fmt.Sprintf("%#x", len(b)), blank), z.Bytes()...)
}

// npy makes an npy file of a data type, in front of body.
func npy(descr string, body []byte) []byte {
	head := fmt.Sprintf("{'descr': %s, 'fortran_order': False, 'shape': (2,), }\n", descr)
	b := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(head)))
	return append(append(b, head...), body...)
}
