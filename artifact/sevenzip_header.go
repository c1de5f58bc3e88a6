package artifact

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"unicode/utf16"
)

// header reads the streams and the names of the members.
func (z *seven) header(r *sevenReader) error {
	for last := uint64(0); ; {
		id := r.number()
		if r.err == nil && id != 0 && id <= last {
			return fmt.Errorf("%w: a field %d stands behind %d", errSeven, id, last)
		}
		last = id
		switch {
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
	for last := uint64(0); ; { // each is there once, in their order: what is read again grows with the square
		id := r.number()
		if r.err == nil && id != 0 && id <= last {
			return fmt.Errorf("%w: a field %d of its streams stands behind %d", errSeven, id, last)
		}
		last = id
		var err error
		switch {
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
	if err := z.few(n, "streams"); err != nil {
		return err
	}
	for r.err == nil {
		switch r.number() {
		case 0:
			return r.err
		case 9:
			if len(z.packed) > 0 {
				return errSeven
			}
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
	if err := z.few(n, "folders"); err != nil {
		return err
	}
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

// few refuses more of something than a scan looks at: what is kept of each is far larger than what says that it is
// there.
func (z *seven) few(n uint64, what string) error {
	if most := z.s.o.Limits.Members; n > uint64(most) {
		return fmt.Errorf("%w: it claims %d %s, and %d are the most", errSeven, n, what, most)
	}
	return nil
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
	if err := z.few(n, "members"); err != nil {
		return err
	}
	var names []string
	empty := make([]bool, n)
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
			for i := range min(len(empty), 8*len(in.b)) {
				if in.b[i/8]&(0x80>>(i%8)) != 0 {
					empty[i] = true
				}
			}
		case 0x11:
			if in.byte() != 0 {
				continue
			}
			names = in.names(n)
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

func (r *sevenReader) names(most uint64) []string {
	var names []string
	var units []uint16
	for r.at+1 < len(r.b) && uint64(len(names)) < most {
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
