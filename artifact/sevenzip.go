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
	"slices"
	"unicode/utf16"

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

// delta undoes the filter of that name: each byte is what it adds to the one some bytes before.
type delta struct {
	r    io.Reader
	by   int
	last [256]byte
	at   int
}

// Read implements io.Reader.
func (d *delta) Read(b []byte) (int, error) {
	n, err := d.r.Read(b)
	for i := range b[:n] {
		d.last[d.at] += b[i]
		b[i] = d.last[d.at]
		d.at = (d.at + 1) % d.by
	}
	return n, err
}

// bcj undoes the filter for x86: the targets of calls and jumps were made absolute. It is put before all data by
// some programs, and so it stands between us and pickles.
type bcj struct {
	r    io.Reader
	buf  []byte
	done int // bytes of buf that are undone
	pos  uint32
	mask uint32
	prev uint32 // where the last call stood
	err  error
}

// Read implements io.Reader.
func (x *bcj) Read(b []byte) (int, error) {
	for x.done == 0 {
		if x.err != nil {
			if len(x.buf) == 0 {
				return 0, x.err
			}
			x.done = len(x.buf) // the last bytes are as they are
			break
		}
		piece := make([]byte, 32<<10)
		n, err := io.ReadAtLeast(x.r, piece, 5)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.EOF
		}
		x.err = err
		x.buf = append(x.buf, piece[:n]...)
		x.done = x.undo()
	}
	n := copy(b, x.buf[:x.done])
	x.buf, x.done = x.buf[n:], x.done-n
	return n, nil
}

// undo converts what of buf can be, and returns how much that is. A byte E8 or E9 begins a target of four bytes, whose last is 00 or FF, unless the bytes before look like
// another's.
func (x *bcj) undo() int {
	b := x.buf
	if len(b) < 5 {
		return 0
	}
	plausible := func(c byte) bool { return c == 0 || c == 0xff }
	i := 0
	for i+5 <= len(b) {
		if b[i]&0xfe != 0xe8 {
			i++
			continue
		}
		at := x.pos + uint32(i)
		if gap := at - x.prev; gap > 5 {
			x.mask = 0
		} else {
			for range gap {
				x.mask = x.mask & 0x77 << 1
			}
		}
		x.prev = at
		if !plausible(b[i+4]) || !bcjTakes[x.mask>>1&7] || x.mask>>1 >= 0x10 {
			x.mask |= 1
			if plausible(b[i+4]) {
				x.mask |= 0x10
			}
			i++
			continue
		}
		src := binary.LittleEndian.Uint32(b[i+1:])
		var dst uint32
		for {
			dst = src - (at + 5)
			if x.mask == 0 {
				break
			}
			n := bcjBit[x.mask>>1&7]
			if !plausible(byte(dst >> (24 - n*8))) {
				break
			}
			src = dst ^ (1<<(32-n*8) - 1)
		}
		binary.LittleEndian.PutUint32(b[i+1:], dst&0xffffff|^(dst>>24&1-1)<<24)
		i += 5
		x.mask = 0
	}
	x.pos += uint32(i)
	return i
}

var (
	bcjTakes = [8]bool{true, true, true, false, true, false, false, false}
	bcjBit   = [8]uint32{0, 1, 2, 2, 3, 3, 3, 3}
)

// header reads the streams and the names of the members.
func (z *seven) header(r *sevenReader) error {
	for {
		switch id := r.number(); {
		case r.err != nil:
			return r.err
		case id == 0:
			return nil
		case id == 2: // properties of the archive
			for r.err == nil && r.number() != 0 {
				r.skip(r.number())
			}
		case id == 4:
			if err := z.streams(r); err != nil {
				return err
			}
		case id == 5:
			return z.files(r)
		default:
			return fmt.Errorf("%w: a field %d", errSeven, id)
		}
	}
}

// streams reads where the packed bytes are and how they are unpacked.
func (z *seven) streams(r *sevenReader) error {
	for {
		var err error
		switch id := r.number(); {
		case r.err != nil:
			return r.err
		case id == 0:
			return nil
		case id == 6:
			err = z.packInfo(r)
		case id == 7:
			err = z.folderInfo(r)
		case id == 8:
			err = z.memberInfo(r)
		default:
			err = fmt.Errorf("%w: a field %d of its streams", errSeven, id)
		}
		if err != nil {
			return err
		}
	}
}

func (z *seven) packInfo(r *sevenReader) error {
	at := int64(r.number()) + 32
	n := r.count()
	for r.err == nil {
		switch r.number() {
		case 0:
			return r.err
		case 9:
			for range n {
				size := r.number()
				if size > 1<<59 || at > 1<<59 || at < 0 {
					return errSeven
				}
				z.packed = append(z.packed, sevenSpan{at, int64(size)})
				at += int64(size)
			}
		case 10:
			r.digests(n)
		default:
			return errSeven
		}
	}
	return r.err
}

func (z *seven) folderInfo(r *sevenReader) error {
	if r.number() != 11 {
		return errSeven
	}
	n := r.count()
	if r.byte() != 0 {
		return methodError("of a header elsewhere")
	}
	for range n {
		f, err := r.folder()
		if err != nil {
			return err
		}
		z.folders = append(z.folders, f)
	}
	if r.number() != 12 {
		return errSeven
	}
	for i := range z.folders {
		f := &z.folders[i]
		for range f.coders {
			f.sizes = append(f.sizes, int64(r.number()&(1<<62-1)))
		}
		f.members = []int64{f.size()}
	}
	for r.err == nil {
		switch r.number() {
		case 0:
			return r.err
		case 10:
			for i, defined := range r.digests(n) {
				z.folders[i].summed = defined
			}
		default:
			return errSeven
		}
	}
	return r.err
}

// size returns how many bytes the members of a folder have together.
func (f *sevenFolder) size() int64 {
	if n := len(f.order); n > 0 && len(f.sizes) == len(f.coders) {
		return f.sizes[f.order[n-1]]
	}
	return 0
}

func (z *seven) memberInfo(r *sevenReader) error {
	counts, total := make([]uint64, len(z.folders)), 0
	for i := range counts {
		counts[i] = 1
	}
	id := r.number()
	if id == 13 {
		for i := range counts {
			counts[i] = r.count()
		}
		id = r.number()
	}
	for i := range z.folders {
		f := &z.folders[i]
		if total += int(counts[i]); total > z.s.o.Limits.Members || r.err != nil {
			return fmt.Errorf("%w: it claims %d members", errSeven, total)
		}
		f.members = nil
		if counts[i] == 0 {
			continue
		}
		rest := f.size()
		for range counts[i] - 1 {
			size := int64(0)
			if id == 9 {
				size = int64(r.number())
			}
			if size < 0 || size > rest {
				return fmt.Errorf("%w: a member is larger than what it lies in", errSeven)
			}
			rest -= size
			f.members = append(f.members, size)
		}
		f.members = append(f.members, rest)
	}
	for ; id != 0 && r.err == nil; id = r.number() { // of checksums: the loader of a member tells of a wrong one, or takes it
		switch id {
		case 9:
		case 10:
			unknown := uint64(0)
			for i, f := range z.folders {
				if counts[i] != 1 || !f.summed {
					unknown += counts[i]
				}
			}
			r.digests(unknown)
		default:
			return errSeven
		}
	}
	return r.err
}

// files reads the names. Members without bytes have none in the streams.
func (z *seven) files(r *sevenReader) error {
	n := r.count()
	var names []string
	empty := map[int]bool{}
	for r.err == nil {
		kind := r.number()
		if kind == 0 {
			break
		}
		size := r.number()
		if r.err != nil || size > uint64(len(r.b)-r.at) {
			return errSeven
		}
		in := &sevenReader{b: r.b[r.at : r.at+int(size)]}
		r.at += int(size)
		switch kind {
		case 0x0e:
			for i := range int(n) {
				if i/8 < len(in.b) && in.b[i/8]&(0x80>>(i%8)) != 0 {
					empty[i] = true
				}
			}
		case 0x11:
			if in.byte() != 0 {
				continue
			}
			names = in.names()
		}
	}
	for i, name := range names {
		if !empty[i] {
			z.names = append(z.names, name)
		}
	}
	return r.err
}

// sevenReader reads a header, which is in memory. Its first error stays.
type sevenReader struct {
	b   []byte
	at  int
	err error
}

func (r *sevenReader) byte() byte {
	if r.err == nil && r.at >= len(r.b) {
		r.err = io.ErrUnexpectedEOF
	}
	if r.err != nil {
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

// number reads one whose first bits say how many bytes follow.
func (r *sevenReader) number() uint64 {
	first := r.byte()
	var v uint64
	for i := range 8 {
		if first&(0x80>>i) == 0 {
			return v | uint64(first&(0x7f>>i))<<(8*i)
		}
		v |= uint64(r.byte()) << (8 * i)
	}
	return v
}

// count reads a number of things, each of which takes a byte of the header or more.
func (r *sevenReader) count() uint64 {
	n := r.number()
	if r.err == nil && n > uint64(len(r.b)) {
		r.err = errSeven
	}
	if r.err != nil {
		return 0
	}
	return n
}

func (r *sevenReader) skip(n uint64) {
	if r.err == nil && n > uint64(len(r.b)-r.at) {
		r.err = io.ErrUnexpectedEOF
	}
	if r.err == nil {
		r.at += int(n)
	}
}

func (r *sevenReader) text(n uint64) string {
	at := r.at
	if r.skip(n); r.err != nil {
		return ""
	}
	return string(r.b[at:r.at])
}

// digests passes over checksums of n things, and returns which of them have one.
func (r *sevenReader) digests(n uint64) []bool {
	if r.err != nil || n > 8*uint64(len(r.b)) {
		r.err = errSeven
		return nil
	}
	defined, all := make([]bool, n), r.byte() != 0
	var mask byte
	for i := range defined {
		if !all && i%8 == 0 {
			mask = r.byte()
		}
		if defined[i] = all || mask&(0x80>>(i%8)) != 0; defined[i] {
			r.skip(4)
		}
	}
	return defined
}

func (r *sevenReader) names() []string {
	var names []string
	var units []uint16
	for r.at+1 < len(r.b) {
		u := binary.LittleEndian.Uint16(r.b[r.at:])
		r.at += 2
		if u == 0 {
			names = append(names, string(utf16.Decode(units)))
			units = units[:0]
			continue
		}
		units = append(units, u)
	}
	return names
}

// folder reads how a run of members is unpacked. The coders stand from the members to the file.
func (r *sevenReader) folder() (sevenFolder, error) {
	f := sevenFolder{simple: true, inputs: 1}
	n := r.number()
	if n == 0 || n > sevenCoders {
		return f, fmt.Errorf("%w: %d coders", errSeven, n)
	}
	in := uint64(0)
	for range n {
		flags := r.byte()
		c := sevenCoder{id: r.text(uint64(flags & 15 % sevenCoderBytes))}
		if flags&0x10 != 0 {
			f.simple = false
			in += r.count()
			if out := r.count(); out != 1 {
				return f, methodError("of several outputs")
			}
		} else {
			in++
		}
		if flags&0x20 != 0 {
			c.props = r.text(r.number())
		}
		f.coders = append(f.coders, c)
	}
	takes := make([]int, n) // what each coder takes: the output of another, or -1 for the bytes in the file
	for i := range takes {
		takes[i] = -1
	}
	for range n - 1 {
		a, b := r.number(), r.number()
		if r.err != nil || !f.simple {
			continue
		}
		if a >= n || b >= n || a == b {
			return f, errSeven
		}
		takes[a] = int(b)
	}
	if in < n-1 {
		return f, errSeven
	}
	if f.inputs = int(in - (n - 1)); f.inputs > 1 {
		for range f.inputs {
			r.number()
		}
	}
	if r.err != nil || !f.simple || f.inputs != 1 {
		return f, r.err
	}
	for from := -1; len(f.order) < int(n); from = f.order[len(f.order)-1] {
		next := slices.Index(takes, from)
		if next < 0 || slices.Contains(f.order, next) {
			return f, errSeven
		}
		f.order = append(f.order, next)
	}
	return f, nil
}
