package artifact

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"
)

// dictionaryMost is the most memory that lzma may ask for to unpack: what its strongest preset needs.
const dictionaryMost = 64 << 20

func looksBzip2(head []byte, _ *part) bool {
	return len(head) >= 10 && string(head[:3]) == "BZh" && head[3] >= '1' && head[3] <= '9' && bytes.Equal(head[4:10], []byte("1AY&SY"))
}

// looksLZMA tells a legacy LZMA file, that has no magic bytes, by a header as programs write it.
func looksLZMA(head []byte, _ *part) bool {
	return len(head) > 13 && lzma.ValidHeader(head[:13]) && head[0] == 0x5d && head[1] == 0 && head[2] == 0 && head[13] == 0
}

func looksZlib(head []byte, _ *part) bool {
	if len(head) < 8 || head[0] != 0x78 || (int(head[0])<<8|int(head[1]))%31 != 0 {
		return false
	}
	r, err := zlib.NewReader(bytes.NewReader(head))
	if err != nil {
		return false
	}
	_, err = io.CopyN(io.Discard, r, 1024)
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func scanGzip(s *scan, p *part) {
	s.compressed(p, "gzip", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) })
}

func scanBzip2(s *scan, p *part) {
	s.compressed(p, "bzip2", func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil })
}

func scanZlib(s *scan, p *part) {
	s.compressed(p, "zlib", func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) })
}

// scanZFile is what joblib wrote before 0.10, and reads today: a length of 19 characters, a blank unless the
// writer was very old, and zlib.
func scanZFile(s *scan, p *part) {
	var head [22]byte
	_, _ = p.ReadAt(head[:], 0) // zlib meets the same error
	at := int64(21)
	if head[at] == ' ' {
		at++
	}
	s.compressedAt(p, at, "zfile", func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) })
}

func scanLZMA(s *scan, p *part) {
	s.compressed(p, "lzma", func(r io.Reader) (io.Reader, error) { return lzma.ReaderConfig{DictCap: dictionaryMost}.NewReader(r) })
}

func scanZstd(s *scan, p *part) { s.compressed(p, "zstd", unzstd) }

func scanLZ4(s *scan, p *part) {
	s.compressed(p, "lz4", func(r io.Reader) (io.Reader, error) { return lz4.NewReader(r), nil })
}

// framed tells a format whose frames begin with a magic number, maybe behind others that readers pass over.
func framed(magics ...string) func([]byte, *part) bool {
	return func(head []byte, p *part) bool {
		at := int64(0)
		for range 8 {
			var b [8]byte
			if n, _ := p.ReadAt(b[:], at); n < 4 {
				return false
			}
			if slices.Contains(magics, string(b[:4])) {
				return true
			}
			if b[0]&0xf0 != 0x50 || string(b[1:4]) != "\x2a\x4d\x18" {
				return false
			}
			at += 8 + int64(binary.LittleEndian.Uint32(b[4:]))
		}
		return len(head) > 0 // whoever writes eight of them hides what follows: its reader says what that is
	}
}

func scanXZ(s *scan, p *part) {
	s.compressed(p, "xz", unxz)
}

// compressed scans what open unpacks of p.
func (s *scan) compressed(p *part, format string, open func(io.Reader) (io.Reader, error)) {
	s.compressedAt(p, 0, format, open)
}

// compressedAt scans what open unpacks of p from a byte on.
func (s *scan) compressedAt(p *part, off int64, format string, open func(io.Reader) (io.Reader, error)) {
	in := p.stream(off)
	r, err := open(in)
	if err != nil {
		s.broken(p, 0, format, err)
		return
	}
	name := p.base()
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		name = name[:i]
	}
	m := s.unpack(p, name, r, func() int64 { at, _ := in.Seek(0, io.SeekCurrent); return at })
	z := m.ReaderAt.(*spool) //nolint:forcetypeassert // made by unpack
	s.nested(m)
	if z.err != nil && !errors.Is(z.err, io.EOF) {
		s.broken(p, -1, format, fmt.Errorf("after %d bytes: %w", z.size, z.err))
	}
}
