package artifact

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// value is what the machine knows of a Python object: a kind, and a number that the kind gives a meaning.
// Nothing of the object is kept: texts are read again from the file where they matter.
type value uint64

const (
	isOther  = iota // anything that no decision hangs on
	isInt           // the number itself
	isText          // offset of the opcode that pushes it
	isBytes         // the same
	isLatin         // the same; the bytes of a text, as protocol 2 writes them
	isGlobal        // index into machine.globals
	isResult        // of a call of that global
	isTuple         // number of the tuple, of which the newest are kept
	isDict          // the same for dictionaries, where they matter
	isBlob          // index into machine.blobs: bytes that were decoded
	isDtype         // index into machine.dtypes
	kindBits = 59   // of the number; the bit above the kind is the memo's
)

func pack(kind uint64, n uint64) value { return value(kind<<kindBits | n&(1<<kindBits-1)) }

func (v value) kind() uint64 { return uint64(v) >> kindBits & 15 }
func (v value) num() uint64  { return uint64(v) & (1<<kindBits - 1) }
func (v value) int() int64   { return int64(v.num()<<5) >> 5 }

const (
	tupleKeeps = 8       // elements
	tuplesKept = 1 << 13 // a call follows its arguments at once
)

// tuple is one of the newest tuples.
type tuple struct {
	id   uint64
	n    int // elements in truth
	elem [tupleKeeps]value
}

// newTuple keeps the elements' head.
func (m *machine) newTuple(elems []value) value {
	if m.tuples == nil {
		m.tuples = make([]tuple, 64)
	}
	if m.tupleID+1 == uint64(len(m.tuples)) && len(m.tuples) < tuplesKept {
		m.tuples = append(m.tuples, make([]tuple, len(m.tuples))...)
	}
	m.tupleID++
	t := &m.tuples[m.tupleID%uint64(len(m.tuples))]
	t.id, t.n = m.tupleID, len(elems)
	copy(t.elem[:], elems)
	return pack(isTuple, m.tupleID)
}

// args returns the elements of a tuple as far as they are known, and how many there are.
func (m *machine) args(v value) (elems []value, n int, ok bool) {
	if v.kind() != isTuple {
		return nil, 0, false
	}
	t := &m.tuples[v.num()%uint64(len(m.tuples))]
	if t.id != v.num() {
		return nil, 0, false
	}
	return t.elem[:min(t.n, tupleKeeps)], t.n, true
}

const longestName = 512 // bytes of a text that may name something

// text returns a short text that was pushed before.
func (m *machine) text(v value) (string, bool) {
	if v.kind() != isText && v.kind() != isBytes {
		return "", false
	}
	if t, ok := m.texts[v]; ok {
		return t, true
	}
	b, raw, ok := m.payload(v, longestName)
	if !ok {
		return "", false
	}
	t := string(b)
	if raw {
		t = unescape(t)
	}
	if len(m.texts) >= 4096 {
		clear(m.texts)
	}
	m.texts[v] = t
	return t, true
}

// payload reads again what the opcode at v's offset pushed, unless it is longer than most; raw tells that
// it is written as a line, with escapes.
func (m *machine) payload(v value, most int64) (b []byte, raw, ok bool) {
	at, n, raw, ok := m.extent(v)
	if !ok || n > most {
		return nil, raw, false
	}
	b = make([]byte, n)
	if k, _ := m.p.ReadAt(b, at); int64(k) < n {
		return nil, raw, false
	}
	if raw {
		b, _, _ = bytes.Cut(b, []byte("\n"))
	}
	return b, raw, true
}

// extent returns where in the part the payload of the opcode at v's offset lies.
func (m *machine) extent(v value) (at, n int64, raw, ok bool) {
	var head [9]byte
	off := int64(v.num())
	k, _ := m.p.ReadAt(head[:], off)
	if k < 2 {
		return 0, 0, false, false
	}
	width := 0
	switch head[0] {
	case opString, opUnicode:
		line := make([]byte, longestName+2)
		k, _ := m.p.ReadAt(line, off+1)
		end := bytes.IndexByte(line[:k], '\n')
		return off + 1, int64(end), true, end >= 0
	case opShortBinString, opShortBinUnicode, opShortBinBytes:
		width = 1
	case opBinString, opBinUnicode, opBinBytes:
		width = 4
	case opBinUnicode8, opBinBytes8, opByteArray8:
		width = 8
	default:
		return 0, 0, false, false
	}
	var size uint64
	for i := width; i > 0; i-- {
		size = size<<8 | uint64(head[i])
	}
	return off + 1 + int64(width), int64(size), false, size < 1<<59
}

// unescape undoes what protocol 0 does to a text, with its quotes where it has them.
func unescape(t string) string {
	if len(t) >= 2 && (t[0] == '\'' || t[0] == '"') && t[len(t)-1] == t[0] {
		t = t[1 : len(t)-1]
	}
	if !strings.Contains(t, `\`) {
		return t
	}
	var b strings.Builder
	for t != "" {
		r, multi, rest, err := strconv.UnquoteChar(t, 0)
		switch {
		case err != nil && len(t) > 1 && (t[1] == '\'' || t[1] == '"'):
			b.WriteByte(t[1])
			t = t[2:]
			continue
		case err != nil:
			b.WriteByte(t[0])
			t = t[1:]
			continue
		case multi || r >= 0x80:
			b.WriteRune(r)
		default:
			b.WriteByte(byte(r))
		}
		t = rest
	}
	return b.String()
}

// show writes a value for a person.
func (m *machine) show(v value) string {
	switch v.kind() {
	case isInt:
		return strconv.FormatInt(v.int(), 10)
	case isText, isBytes:
		if t, ok := m.text(v); ok {
			if len(t) > 80 {
				t = t[:80] + "…"
			}
			return strconv.Quote(t)
		}
	case isGlobal:
		return m.globals[v.num()].full
	case isResult:
		return m.globals[v.num()].full + "(…)"
	case isTuple:
		if elems, n, ok := m.args(v); ok && n <= 3 {
			return "(" + m.showAll(elems, n) + ")"
		}
	}
	return "…"
}

func (m *machine) showAll(elems []value, n int) string {
	var b strings.Builder
	for i, e := range elems[:min(len(elems), 3)] {
		if i > 0 {
			b.WriteString(", ")
		}
		if e.kind() == isTuple {
			b.WriteString("(…)") // no deeper, and so no loops
			continue
		}
		b.WriteString(m.show(e))
	}
	if n > 3 {
		fmt.Fprintf(&b, ", … (%d)", n)
	}
	return b.String()
}

// content returns a part with the bytes that v stands for, if they are known.
func (m *machine) content(v value, name string) *part {
	switch v.kind() {
	case isBlob:
		b := m.blobs[v.num()]
		return m.p.member(name, bytes.NewReader(b), int64(len(b)))
	case isText, isBytes:
		at, n, raw, ok := m.extent(v)
		if ok && !raw {
			return m.p.section(name, at, n)
		}
		if t, known := m.text(v); known {
			return m.p.member(name, strings.NewReader(t), int64(len(t)))
		}
	case isLatin:
		if b, ok := m.latin(v); ok {
			return m.p.member(name, bytes.NewReader(b), int64(len(b)))
		}
	}
	return nil
}

// latin undoes the UTF-8 of bytes that were written as a text.
func (m *machine) latin(v value) ([]byte, bool) {
	b, raw, ok := m.payload(pack(isText, v.num()), blobMost)
	if !ok {
		return nil, false
	}
	t := string(b)
	if raw {
		t = unescape(t)
	}
	out := make([]byte, 0, len(t))
	for _, r := range t {
		out = append(out, byte(r))
	}
	return out, true
}

// all reads a part that is not too large.
func (p *part) all(most int64) ([]byte, bool) {
	b, err := io.ReadAll(io.LimitReader(p.stream(0), most+1))
	return b, err == nil && int64(len(b)) <= most
}
