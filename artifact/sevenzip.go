package artifact

import (
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz/lzma"
)

// A 7z archive is read here by its own reader, as the libraries for it take what a header claims for what there is.
// Archives that are spread over coders with several inputs (BCJ2), or encrypted, are not read.

const (
	sevenHeadMost   = 16 << 20 // bytes of a header, unpacked
	sevenCoders     = 8        // of one folder
	sevenCoderBytes = 16
)

var errSeven = errors.New("its header does not hold together")

// methodError is what nobody here unpacks.
type methodError string

// Error implements error.
func (e methodError) Error() string { return fmt.Sprintf("the method %s is not known", string(e)) }

func scanSeven(s *scan, p *part) {
	z := &seven{s: s, p: p}
	if err := z.open(); err != nil {
		if m, ok := errors.AsType[methodError](err); ok {
			s.issue(p, Issue{Rule: "7z-method", Verdict: Failed, Offset: 32, Name: string(m), Text: fmt.Sprintf("The directory cannot be read: %v.", m)})
			return
		}
		s.broken(p, -1, "7z", err)
	}
}

// seven is an archive under way.
type seven struct {
	s       *scan
	p       *part
	packed  []sevenSpan // in the part
	folders []sevenFolder
	names   []string // of the members that have bytes, in order
}

type sevenSpan struct{ at, size int64 }

// sevenFolder is a run of members that were packed together.
type sevenFolder struct {
	coders  []sevenCoder
	inputs  int
	order   []int   // of the coders, from the bytes in the file to those of the members
	sizes   []int64 // of each coder's output
	members []int64 // sizes
	simple  bool    // each coder takes the output of another, or the bytes in the file
	summed  bool    // has a checksum of its own
}

type sevenCoder struct{ id, props string }

// open reads the header, which may be packed itself, and scans the members.
func (z *seven) open() error {
	var first [32]byte
	if n, err := z.p.ReadAt(first[:], 0); n < len(first) {
		return cutShort(err)
	}
	off, size := binary.LittleEndian.Uint64(first[12:]), binary.LittleEndian.Uint64(first[20:])
	if size == 0 {
		return nil // an archive of nothing
	}
	if off > 1<<59 || size > sevenHeadMost {
		return fmt.Errorf("%w: it claims %d bytes at %d", errSeven, size, off)
	}
	head := make([]byte, size)
	if n, err := z.p.ReadAt(head, 32+int64(off)); n < len(head) {
		return cutShort(err)
	}
	if crc32.ChecksumIEEE(head) != binary.LittleEndian.Uint32(first[28:]) {
		return errors.New("the checksum of its header is wrong")
	}
	for range 4 { // a packed header may be packed again
		r := &sevenReader{b: head}
		switch r.byte() {
		case 0x01:
			if err := z.header(r); err != nil {
				return err
			}
			return z.scan()
		case 0x17:
			in := &seven{s: z.s, p: z.p}
			if err := in.streams(r); err != nil {
				return err
			}
			if len(in.folders) != 1 || len(in.folders[0].members) != 1 || in.folders[0].members[0] > sevenHeadMost {
				return errSeven
			}
			u, _, err := in.unpack(0, 0)
			if err != nil {
				return err
			}
			head = make([]byte, in.folders[0].members[0])
			if _, err := io.ReadFull(u, head); err != nil {
				return cutShort(err)
			}
		default:
			return errSeven
		}
	}
	return errSeven
}

// scan reads the members, folder after folder.
func (z *seven) scan() error {
	name, input := 0, 0
	for i, f := range z.folders {
		if z.s.timely(z.p); z.s.over { // one without members asks for memory too
			return nil
		}
		r, packed, err := z.unpack(i, input)
		input += f.inputs
		if m, ok := errors.AsType[methodError](err); ok {
			z.s.issue(z.p, Issue{Rule: "7z-method", Verdict: Failed, Offset: -1, Name: string(m), Text: fmt.Sprintf("%d members were not judged: %v.", len(f.members), m)})
			name += len(f.members)
			continue
		}
		if err != nil {
			return err
		}
		for _, size := range f.members {
			called := fmt.Sprintf("%d", name)
			if name < len(z.names) {
				called = z.names[name]
			}
			name++
			z.s.outside(z.p, -1, called, "member")
			m := z.s.unpack(z.p, called, io.LimitReader(r, size), packed)
			sp := m.ReaderAt.(*spool) //nolint:forcetypeassert // made by unpack
			m.ReaderAt = solid{sp}
			if !z.s.nested(m) {
				return nil
			}
			if sp.err != nil && !errors.Is(sp.err, io.EOF) || sp.size < size {
				z.s.broken(m, sp.size, "a member of a 7z archive", cutShort(sp.err))
				break
			}
		}
	}
	return nil
}

// solid unpacks what nobody read before the next member is read.
type solid struct{ *spool }

// Close implements io.Closer.
func (x solid) Close() error {
	for x.err == nil && !x.s.over {
		x.more()
	}
	return x.spool.Close()
}

// unpack returns what a folder's coders make of the bytes in the file, and how many of those were read.
func (z *seven) unpack(i, input int) (io.Reader, func() int64, error) {
	f := z.folders[i]
	if !f.simple || f.inputs != 1 || input >= len(z.packed) {
		return nil, nil, methodError("of several streams")
	}
	span := z.packed[input]
	if !z.p.reaches(span.at + span.size) {
		return nil, nil, io.ErrUnexpectedEOF
	}
	in := io.NewSectionReader(z.p, span.at, span.size)
	r := io.Reader(in)
	for _, k := range f.order {
		var err error
		if r, err = decoder(f.coders[k].id, f.coders[k].props, r, f.sizes[k]); err != nil {
			return nil, nil, err
		}
		r = io.LimitReader(r, f.sizes[k])
	}
	return r, func() int64 { at, _ := in.Seek(0, io.SeekCurrent); return at }, nil
}

// decoder returns what a method of 7z unpacks from r: size bytes.
func decoder(id, props string, r io.Reader, size int64) (io.Reader, error) {
	switch id {
	case "\x00":
		return r, nil
	case "\x03\x01\x01":
		return rawLZMA(r, props, size)
	case "\x21":
		if len(props) != 1 || props[0] > 40 {
			return nil, errSeven
		}
		n := (2 | int64(props[0]&1)) << (props[0]/2 + 11)
		if n > dictionaryMost {
			return nil, fmt.Errorf("it asks for %d bytes to unpack", n)
		}
		return lzma.Reader2Config{DictCap: int(max(n, lzma.MinDictCap))}.NewReader2(r)
	case "\x04\x01\x08":
		return flate.NewReader(r), nil
	case "\x04\x02\x02":
		return bzip2.NewReader(r), nil
	case "\x04\xf7\x11\x01":
		return unzstd(r)
	case "\x03":
		if len(props) != 1 {
			return nil, errSeven
		}
		return &delta{r: r, by: int(props[0]) + 1}, nil
	case "\x03\x03\x01\x03":
		return &bcj{r: r, prev: ^uint32(4)}, nil // five bytes before the first
	case "\x06\xf1\x07\x01":
		return nil, methodError("of a password")
	}
	return nil, methodError(fmt.Sprintf("%x", id))
}

// rawLZMA reads LZMA whose header stands elsewhere.
func rawLZMA(r io.Reader, props string, size int64) (io.Reader, error) {
	if len(props) != 5 {
		return nil, errSeven
	}
	head := binary.LittleEndian.AppendUint64([]byte(props), uint64(size))
	return lzma.ReaderConfig{DictCap: dictionaryMost}.NewReader(io.MultiReader(bytes.NewReader(head), r))
}

// unzstd bounds what a frame may ask for: the window of its strongest preset.
func unzstd(r io.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(128<<20))
}
