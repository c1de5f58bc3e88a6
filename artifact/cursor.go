package artifact

import (
	"bufio"
	"encoding/binary"
	"io"
)

// cursor reads little-endian fields of a part forward. Its first error stays, and all reads after it yield zero.
type cursor struct {
	p   *part
	r   *bufio.Reader
	at  int64 // offset of the next byte
	err error
}

func newCursor(p *part, at int64) *cursor {
	return &cursor{p: p, r: bufio.NewReaderSize(p.stream(at), 16<<10), at: at}
}

// uint reads a number of n bytes, at most eight.
func (c *cursor) uint(n int) uint64 {
	var b [8]byte
	c.fill(b[:n])
	return binary.LittleEndian.Uint64(b[:])
}

// text reads n bytes, of which at most keep are kept.
func (c *cursor) text(n, keep uint64) string {
	if !c.has(n) {
		return ""
	}
	b := make([]byte, min(n, keep))
	c.fill(b)
	c.skip(n - uint64(len(b)))
	return string(b)
}

func (c *cursor) fill(b []byte) {
	if c.err != nil {
		return
	}
	n, err := io.ReadFull(c.r, b)
	c.at += int64(n)
	if err != nil {
		clear(b)
		c.fail(err)
	}
}

func (c *cursor) fail(err error) {
	if err == io.EOF { //nolint:errorlint // ReadFull returns it as it is
		err = io.ErrUnexpectedEOF
	}
	if c.err == nil {
		c.err = err
	}
}

// has reports whether n more bytes are there, and fails where they are not.
func (c *cursor) has(n uint64) bool {
	if c.err == nil && (n > 1<<59 || !c.p.reaches(c.at+int64(n))) {
		c.fail(io.ErrUnexpectedEOF)
	}
	return c.err == nil
}

// skip passes over n bytes without reading them.
func (c *cursor) skip(n uint64) {
	if n == 0 || !c.has(n) {
		return
	}
	if n <= uint64(c.r.Buffered()) {
		_, _ = c.r.Discard(int(n)) // they are there
	} else {
		c.r.Reset(c.p.stream(c.at + int64(n)))
	}
	c.at += int64(n)
}

// reaches reports whether a part has n bytes or more.
func (p *part) reaches(n int64) bool {
	if p.size >= 0 || n <= 0 {
		return n <= p.size || n <= 0
	}
	var b [1]byte
	k, _ := p.ReadAt(b[:], n-1)
	return k == 1
}
