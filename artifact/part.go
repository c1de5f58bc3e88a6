package artifact

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// part is one thing that is scanned: the file, or a member of an archive in it.
type part struct {
	io.ReaderAt        // bytes of the part; what is compressed is unpacked as far as it is read
	size        int64  // -1 where only reading to the end tells
	name        string // for messages: the members from the outside in, joined by !
	depth       int
	pickle      bool // its reader takes it for a pickle, whatever it looks like
}

// base returns the part's own name, the last of name.
func (p *part) base() string {
	for i := len(p.name) - 1; i >= 0; i-- {
		if p.name[i] == '/' || p.name[i] == '!' {
			return p.name[i+1:]
		}
	}
	return p.name
}

// member makes a part that lies in p, of n bytes or, for -1, of as many as r has.
func (p *part) member(name string, r io.ReaderAt, n int64) *part {
	return &part{ReaderAt: r, size: n, name: p.name + "!" + name, depth: p.depth + 1}
}

// section makes a member of n bytes at off, that lies in p as it is.
func (p *part) section(name string, off, n int64) *part {
	return p.member(name, io.NewSectionReader(p, off, n), n)
}

// stream reads p from off to its end.
func (p *part) stream(off int64) *io.SectionReader {
	return io.NewSectionReader(p, off, math.MaxInt64-off)
}

// unpack makes a member of what r unpacks, of which packed tells how much it read so far.
func (s *scan) unpack(p *part, name string, r io.Reader, packed func() int64) *part {
	m := p.member(name, nil, -1)
	m.ReaderAt = &spool{s: s, p: m, r: r, packed: packed}
	return m
}

const (
	spoolMemory = 1 << 20  // unpacked bytes kept in memory; more go to a file
	againMost   = 4 << 20  // bytes that are read of what is unpacked before the time is looked at
	ratioAfter  = 16 << 20 // unpacked bytes from which on Limits.Ratio counts
)

// spool unpacks as far as it is read, and keeps what it unpacked.
type spool struct {
	s      *scan
	p      *part
	r      io.Reader
	packed func() int64
	mem    []byte
	file   *os.File // without a name, from spoolMemory on
	size   int64
	again  int64 // read since the time was looked at
	err    error // what ended r
}

// ReadAt implements io.ReaderAt.
func (z *spool) ReadAt(b []byte, off int64) (int, error) {
	if z.s.over {
		return 0, errOver
	}
	if off < 0 || off > math.MaxInt64-int64(len(b)) {
		return 0, fmt.Errorf("offset %d", off)
	}
	for z.err == nil && z.size < off+int64(len(b)) {
		z.more()
	}
	if off >= z.size {
		return 0, z.err
	}
	if z.again += int64(len(b)); z.again > againMost {
		z.again = 0
		if z.s.timely(z.p); z.s.over {
			return 0, errOver
		}
	}
	n := 0
	if off < int64(len(z.mem)) {
		n = copy(b, z.mem[off:])
	}
	if n < len(b) && z.file != nil {
		k, err := z.file.ReadAt(b[n:], off+int64(n-len(z.mem)))
		n += k
		if err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
	}
	if n < len(b) {
		return n, z.err
	}
	return n, nil
}

// more unpacks a piece, within the limits.
func (z *spool) more() {
	var piece [32 << 10]byte
	n, err := z.r.Read(piece[:])
	if kept := z.keep(piece[:n]); kept != nil {
		err = kept
	}
	z.size += int64(n)
	z.s.unpacked += int64(n)
	limits := z.s.o.Limits
	switch {
	case z.s.unpacked > limits.Bytes:
		z.s.stop(z.p, z.size, fmt.Sprintf("More than %d bytes were unpacked.", limits.Bytes))
	case z.size > ratioAfter && z.size/max(1, z.packed()) > limits.Ratio:
		z.s.stop(z.p, z.size, fmt.Sprintf("It unpacks to more than %d times its size.", limits.Ratio))
	case z.size>>20 != (z.size-int64(n))>>20:
		z.s.timely(z.p)
	}
	if z.s.over {
		err = errOver
	}
	z.err = err
}

func (z *spool) keep(b []byte) error {
	if z.file == nil && len(z.mem)+len(b) <= spoolMemory {
		z.mem = append(z.mem, b...)
		return nil
	}
	if z.file == nil {
		f, err := os.CreateTemp("", "picket-scan-")
		if err != nil {
			return fmt.Errorf("nowhere to unpack to: %w", err)
		}
		_ = os.Remove(f.Name()) // at worst it stays until somebody clears the directory
		z.file = f
	}
	_, err := z.file.Write(b)
	return err
}

// Close gives the file back.
func (z *spool) Close() error {
	if z.file == nil {
		return nil
	}
	return z.file.Close()
}
