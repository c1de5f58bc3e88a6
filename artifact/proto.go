package artifact

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

const protoDepth = 64 // messages in each other

// message is a protobuf message that lies in a part, read a field at a time. Nothing of a length in it is
// believed before the part is seen to have it.
type message struct {
	p       *part
	at, end int64 // end is -1 for a whole part of unknown size
	depth   int
	c       *cursor
}

// field is one of a message.
type field struct {
	num  protowire.Number
	kind protowire.Type
	n    uint64   // of a number: its value
	in   *message // of what has a length: where it lies
}

var errProto = errors.New("not a protobuf message")

func newMessage(p *part) *message { return &message{p: p, end: p.size} }

// next returns the next field, io.EOF after the last.
func (m *message) next() (field, error) {
	if m.c == nil {
		m.c = newCursor(m.p, m.at)
	}
	m.c.skip(uint64(m.at - m.c.at))
	if m.end >= 0 && m.at >= m.end || m.end < 0 && !m.p.reaches(m.at+1) {
		return field{}, io.EOF
	}
	tag := m.varint()
	num, kind := protowire.DecodeTag(tag)
	f := field{num: num, kind: kind}
	if m.c.err == nil && num < protowire.MinValidNumber {
		return f, errProto
	}
	switch kind {
	case protowire.VarintType:
		f.n = m.varint()
	case protowire.Fixed64Type:
		f.n = m.c.uint(8)
	case protowire.Fixed32Type:
		f.n = m.c.uint(4)
	case protowire.BytesType:
		n := m.varint()
		if n > 1<<59 || m.end >= 0 && int64(n) > m.end-m.c.at || !m.c.has(n) {
			return f, fmt.Errorf("%w: field %d at byte %d ends behind it", errProto, num, m.at)
		}
		f.in = &message{p: m.p, at: m.c.at, end: m.c.at + int64(n), depth: m.depth + 1}
		m.at = f.in.end
		return f, m.c.err
	default:
		return f, errProto
	}
	m.at = m.c.at
	if m.c.err == nil && m.end >= 0 && m.at > m.end {
		return f, errProto
	}
	return f, m.c.err
}

func (m *message) varint() uint64 {
	var n uint64
	for i := range 10 {
		b := m.c.uint(1)
		n |= b & 0x7f << (7 * i)
		if b < 0x80 {
			return n
		}
	}
	m.c.fail(errProto)
	return 0
}

// text returns the bytes of the message as a text, up to 4 KiB of them.
func (m *message) text() string {
	b := make([]byte, min(m.end-m.at, 4096))
	n, _ := m.p.ReadAt(b, m.at)
	return string(b[:n])
}

// each calls f for each field, until it fails.
func (m *message) each(f func(field) error) error {
	if m.depth > protoDepth {
		return fmt.Errorf("more than %d messages in each other", protoDepth)
	}
	for {
		x, err := m.next()
		if err == io.EOF { //nolint:errorlint // next returns it as it is
			return nil
		}
		if err == nil {
			err = f(x)
		}
		if err != nil {
			return err
		}
	}
}

// looksLike reports whether the part is a message with fields as known says, v for a number and b for what has a
// length, and has all that it must have.
func looksLike(p *part, known map[protowire.Number]byte, must ...protowire.Number) bool {
	seen := map[protowire.Number]bool{}
	fields := 0
	err := newMessage(p).each(func(f field) error {
		want := map[byte]protowire.Type{'v': protowire.VarintType, 'b': protowire.BytesType}
		if kind, ok := known[f.num]; !ok || want[kind] != f.kind {
			return errProto
		}
		seen[f.num] = true
		if fields++; fields > 100_000 {
			return errProto
		}
		return nil
	})
	for _, n := range must {
		if !seen[n] {
			return false
		}
	}
	return err == nil
}
