package artifact

import (
	"errors"
	"io"
)

// window reads a part forward, a piece at a time, and passes over what nobody wants without reading it.
type window struct {
	src  io.ReaderAt
	base int64 // where buf begins in src
	buf  []byte
	pos  int // of the next byte in buf
	err  error
}

const windowSize = 256 << 10

func newWindow(src io.ReaderAt, at int64, size int) *window {
	return &window{src: src, base: at, buf: make([]byte, 0, size)}
}

// at returns the offset of the next byte.
func (w *window) at() int64 { return w.base + int64(w.pos) }

// fill makes n bytes stand in buf, n being no more than buf holds.
func (w *window) fill(n int) error {
	w.base += int64(w.pos)
	w.buf = w.buf[:copy(w.buf, w.buf[w.pos:])]
	w.pos = 0
	for len(w.buf) < n {
		if w.err != nil {
			return w.err
		}
		k, err := w.src.ReadAt(w.buf[len(w.buf):cap(w.buf)], w.base+int64(len(w.buf)))
		w.buf = w.buf[:len(w.buf)+k]
		if err == nil && k == 0 {
			err = io.ErrNoProgress
		}
		w.err = err
	}
	return nil
}

// byte returns the next byte.
func (w *window) byte() (byte, error) {
	if w.pos == len(w.buf) {
		if err := w.fill(1); err != nil {
			return 0, err
		}
	}
	w.pos++
	return w.buf[w.pos-1], nil
}

// take returns the next n bytes, at most 4,096. They are good until the next read.
func (w *window) take(n int) ([]byte, error) {
	if len(w.buf)-w.pos < n {
		if err := w.fill(n); err != nil {
			return nil, cutShort(err)
		}
	}
	w.pos += n
	return w.buf[w.pos-n : w.pos], nil
}

// number reads n bytes as a little-endian number.
func (w *window) number(n int) (uint64, error) {
	b, err := w.take(n)
	if err != nil {
		return 0, err
	}
	var v uint64
	for i := n - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v, nil
}

// begins reports whether the next bytes are those of a text.
func (w *window) begins(text string) bool {
	if len(w.buf)-w.pos < len(text) && w.fill(len(text)) != nil {
		return false
	}
	return string(w.buf[w.pos:w.pos+len(text)]) == text
}

// skip passes over n bytes. The last of them is read, so that a length beyond the end is seen.
func (w *window) skip(n uint64) error {
	if left := uint64(len(w.buf) - w.pos); n <= left {
		w.pos += int(n)
		return nil
	}
	if n > 1<<59 {
		return io.ErrUnexpectedEOF
	}
	if n <= uint64(cap(w.buf)) {
		if err := w.fill(int(n)); err != nil {
			return cutShort(err)
		}
		w.pos += int(n)
		return nil
	}
	w.seek(w.at() + int64(n) - 1)
	_, err := w.byte()
	return cutShort(err)
}

// seek goes on at off.
func (w *window) seek(off int64) { w.base, w.pos, w.buf, w.err = off, 0, w.buf[:0], nil }

// line reads to the end of a line and returns up to its first 512 bytes, without the end.
func (w *window) line() ([]byte, error) {
	var b []byte
	for {
		c, err := w.byte()
		if err != nil {
			return nil, cutShort(err)
		}
		if c == '\n' {
			return b, nil
		}
		if len(b) < 512 {
			b = append(b, c)
		}
	}
}

func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
