package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// call is a callable with the opcodes of its arguments, without MARK and TUPLE.
type call struct{ module, name, args string }

func text(s string) string {
	if len(s) < 256 {
		return "\x8c" + string([]byte{byte(len(s))}) + s
	}
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func blob(b string) string {
	return "B" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(b)))) + b
}

func global(c call) string { return "c" + c.module + "\n" + c.name + "\n" }

func stackGlobal(c call) string { return text(c.module) + text(c.name) + "\x93" }

// reduce calls what fn pushes.
func reduce(fn, args string) string { return fn + "(" + args + "tR" }

// packed is what a compressing writer makes of a text.
func packed(in string, open func(io.Writer) (io.WriteCloser, error)) string {
	var b bytes.Buffer
	w, err := open(&b)
	if err == nil {
		_, err = io.WriteString(w, in)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // nothing here writes to anything but memory
	}
	return b.String()
}

func gzipped(in string) string {
	return packed(in, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
}

func zlibbed(in string) string {
	return packed(in, func(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil })
}

func xzed(in string) string {
	return packed(in, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) })
}

func zstded(in string) string {
	return packed(in, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
}

func lz4ed(in string) string {
	return packed(in, func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil })
}

// zipped writes stored members, a name and its bytes by turns; names may repeat.
func zipped(members ...string) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		f, err := w.CreateRaw(&zip.FileHeader{
			Name: members[i], CRC32: crc32.ChecksumIEEE([]byte(members[i+1])),
			CompressedSize64: uint64(len(members[i+1])), UncompressedSize64: uint64(len(members[i+1])),
		})
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(f, members[i+1]) // a buffer takes all
	}
	_ = w.Close()
	return b.String()
}

func tarred(members ...string) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: members[i], Size: int64(len(members[i+1])), Mode: 0o600}); err != nil {
			panic(err)
		}
		_, _ = io.WriteString(w, members[i+1])
	}
	_ = w.Close()
	return b.String()
}

// torch is an archive as torch.save writes it.
func torch(pickle string) string {
	return zipped("m/data.pkl", pickle, "m/byteorder", "little", "m/data/0", string(make([]byte, 64)), "m/version", "3\n")
}

// legacy is what torch.save wrote before.
func legacy(pickle string) string {
	return "\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}(X\x10\x00\x00\x00protocol_versionM\xe9\x03u." + pickle + "\x80\x02]q\x00.\x01\x00\x00\x00\x00\x00\x00\x00rawraw!!"
}

func npy(descr, body string) string {
	head := fmt.Sprintf("{'descr': %s, 'fortran_order': False, 'shape': (2,), }\n", descr)
	return "\x93NUMPY\x01\x00" + string(binary.LittleEndian.AppendUint16(nil, uint16(len(head)))) + head + body
}

// joblibArray is an array as joblib writes it into a pickle: the bytes of numbers, or the pickle of objects.
func joblibArray(dtype, body string) string {
	flags := "K\x00"
	if dtype == "O8" {
		flags = "K\x3f"
	}
	s := text("joblib.numpy_pickle") + text("NumpyArrayWrapper") + "\x93)\x81}(" +
		text("subclass") + "cnumpy\nndarray\n" + text("shape") + "K\x02\x85" + text("order") + text("C") +
		text("dtype") + reduce("cnumpy\ndtype\n", text(dtype)+"\x89\x88") + "(K\x03" + text("|") + "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff" + flags + "tb" +
		text("allow_mmap") + "\x88"
	if dtype == "O8" {
		return s + "ub" + body
	}
	return s + text("numpy_array_alignment_bytes") + "K\x10ub\x03\xff\xff\xff" + body
}
