package artifact

import (
	"encoding/binary"
	"errors"
	"io"
)

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
