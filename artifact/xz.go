package artifact

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// debtMost is how much more memory the blocks of an XZ file may ask for than they unpack to: each has a
// dictionary of its own, and a block takes a few bytes.
const debtMost = 16 * dictionaryMost

// xzChecks are the sizes of a block's check, by its kind. No check is verified: whoever refuses a file
// by it has unpacked it before.
var xzChecks = [16]int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}

// unxz unpacks XZ, stream after stream. A dictionary is refused by its size before there is memory for it.
func unxz(r io.Reader) (io.Reader, error) {
	x := &xzReader{in: bufio.NewReader(r)}
	return x, x.stream()
}

type xzReader struct {
	in    *bufio.Reader
	at    int64     // bytes read of in
	block io.Reader // nil between blocks
	check int       // bytes behind each block
	debt  int64
	err   error
}

// ReadByte implements io.ByteReader: what unpacks a block takes not a byte more than that.
func (x *xzReader) ReadByte() (byte, error) {
	b, err := x.in.ReadByte()
	if err == nil {
		x.at++
	}
	return b, err
}

// packed reads what is packed.
type packed struct{ *xzReader }

// Read implements io.Reader.
func (p packed) Read(b []byte) (int, error) {
	n, err := p.in.Read(b)
	p.at += int64(n)
	return n, err
}

// Read implements io.Reader.
func (x *xzReader) Read(b []byte) (int, error) {
	for x.err == nil {
		if x.block == nil {
			x.err = x.next()
			continue
		}
		n, err := x.block.Read(b)
		x.debt = max(0, x.debt-int64(n))
		if errors.Is(err, io.EOF) {
			x.block, err = nil, nil
			x.err = x.skip(x.padding() + x.check)
		}
		if err != nil {
			x.err = cutShort(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, x.err
}

func (x *xzReader) padding() int { return int(-x.at & 3) }

func (x *xzReader) fill(b []byte) error {
	n, err := io.ReadFull(x.in, b)
	x.at += int64(n)
	return cutShort(err)
}

func (x *xzReader) skip(n int) error {
	k, err := x.in.Discard(n)
	x.at += int64(k)
	return cutShort(err)
}

// stream reads the header of a stream.
func (x *xzReader) stream() error {
	var h [12]byte
	if err := x.fill(h[:]); err != nil {
		return err
	}
	if string(h[:6]) != "\xfd7zXZ\x00" || h[6] != 0 || h[7]>>4 != 0 || crc32.ChecksumIEEE(h[6:8]) != binary.LittleEndian.Uint32(h[8:]) {
		return errors.New("the header of a stream is broken")
	}
	x.check = xzChecks[h[7]]
	return nil
}

// next reads up to the data of the next block. It returns io.EOF behind the last stream.
func (x *xzReader) next() error {
	size, err := x.ReadByte()
	if err != nil {
		return cutShort(err)
	}
	if size == 0 {
		return x.index()
	}
	h := make([]byte, 4*(int(size)+1))
	h[0] = size
	if err := x.fill(h[1:]); err != nil {
		return err
	}
	body := h[:len(h)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(h[len(body):]) {
		return errors.New("the header of a block is broken")
	}
	flags, rest := body[1], body[2:]
	for _, there := range []bool{flags&0x40 != 0, flags&0x80 != 0} { // sizes, packed and unpacked
		if there {
			_, n := binary.Uvarint(rest)
			rest = rest[max(0, n):]
		}
	}
	if flags&0x3f != 0 || len(rest) < 3 || rest[0] != 0x21 || rest[1] != 1 {
		return errors.New("a block is packed by filters other than LZMA2")
	}
	want, err := lzma.DecodeDictCap(rest[2])
	if err != nil {
		return err
	}
	if want > dictionaryMost {
		return fmt.Errorf("to unpack it takes a dictionary of %d MiB, more than %d", want>>20, dictionaryMost>>20)
	}
	if x.debt += want; x.debt > debtMost {
		return errors.New("its blocks ask for far more memory than they unpack to")
	}
	x.block, err = lzma.Reader2Config{DictCap: int(max(want, lzma.MinDictCap))}.NewReader2(packed{x})
	return err
}

// index passes over the index of a stream and what is behind it, up to the next stream.
func (x *xzReader) index() error {
	records, err := binary.ReadUvarint(x)
	for ; err == nil && records > 0; records-- {
		if _, err = binary.ReadUvarint(x); err == nil {
			_, err = binary.ReadUvarint(x)
		}
	}
	if err != nil {
		return cutShort(err)
	}
	if err := x.skip(x.padding() + 4 + 12); err != nil { // its checksum, and the stream's footer
		return err
	}
	for {
		b, err := x.in.Peek(4)
		switch {
		case len(b) == 0 && errors.Is(err, io.EOF):
			return io.EOF
		case err != nil:
			return cutShort(err)
		case binary.LittleEndian.Uint32(b) != 0:
			return x.stream()
		}
		if err := x.skip(4); err != nil {
			return err
		}
	}
}
