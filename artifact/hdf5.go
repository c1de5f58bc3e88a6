package artifact

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// hdf5Format is HDF5, in which Keras keeps a model's configuration as an attribute, and where a data set may
// lie in another file.
func hdf5Format() format {
	return format{
		name:  "hdf5",
		sniff: func(head []byte, p *part) bool { return hdf5Begin(head, p) >= 0 },
		scan: func(s *scan, p *part) {
			head := make([]byte, 4096)
			n, _ := p.ReadAt(head, 0) // it was read to sniff
			h := &hdf5{s: s, p: p, seen: map[uint64]bool{}, told: map[string]bool{}}
			if err := h.open(hdf5Begin(head[:n], p)); err != nil {
				s.broken(p, h.at, "hdf5", err)
			}
		},
	}
}

const hdf5Magic = "\x89HDF\r\n\x1a\n"

// hdf5Begin returns where the file's superblock is, or -1: at the start, or behind a user's block of a power of
// two that is 512 bytes or more.
func hdf5Begin(head []byte, p *part) int64 {
	if bytes.HasPrefix(head, []byte(hdf5Magic)) {
		return 0
	}
	for at := int64(512); at+8 <= max(p.size, int64(len(head))); at *= 2 { // of what is unpacked, only the head
		var b [8]byte
		if at+8 <= int64(len(head)) {
			copy(b[:], head[at:])
		} else if n, _ := p.ReadAt(b[:], at); n < len(b) {
			return -1
		}
		if string(b[:]) == hdf5Magic {
			return at
		}
	}
	return -1
}

const (
	hdf5Steps = 2_000_000 // blocks that are read: more than the largest of models has
	hdf5Deep  = 32        // of trees and heaps in each other
	hdf5Text  = 64 << 20  // bytes of an attribute
)

var errHDF5 = errors.New("its structure does not hold together")

// hdf5 walks the groups of a file: their attributes, and where their data lies. It follows the HDF5 File
// Format Specification, version 3.0.
type hdf5 struct {
	s       *scan
	p       *part
	base    int64 // that addresses count from
	offsets int   // bytes of an address
	lengths int
	seen    map[uint64]bool // objects
	told    map[string]bool
	todo    []uint64 // objects that are linked and not read yet
	steps   int
	at      int64 // of the block under way, for messages
}

// open reads the superblock, and then every object.
func (h *hdf5) open(begin int64) error {
	c := newCursor(h.p, begin+8)
	version := c.uint(1)
	var base, root uint64
	h.at = begin
	switch version {
	case 0, 1:
		c.skip(4)
		h.offsets, h.lengths = int(c.uint(1)), int(c.uint(1))
		c.skip(9)
		if version == 1 {
			c.skip(4)
		}
		if err := h.widths(c); err != nil {
			return err
		}
		base = c.uint(h.offsets)
		c.skip(uint64(4 * h.offsets)) // free space, end, driver, name of the root
		root = c.uint(h.offsets)
	case 2, 3:
		h.offsets, h.lengths = int(c.uint(1)), int(c.uint(1))
		c.skip(1)
		if err := h.widths(c); err != nil {
			return err
		}
		base = c.uint(h.offsets)
		c.skip(uint64(2 * h.offsets)) // extension, end
		root = c.uint(h.offsets)
	default:
		return fmt.Errorf("a superblock of version %d", version)
	}
	if c.err != nil {
		return c.err
	}
	if base > 1<<59 {
		return fmt.Errorf("%w: its base is %#x", errHDF5, base)
	}
	if h.base = int64(base); base == 0 {
		h.base = begin // as the library does where a block was put before a file
	}
	h.link(root)
	for len(h.todo) > 0 && !h.s.over {
		next := h.todo[len(h.todo)-1]
		h.todo = h.todo[:len(h.todo)-1]
		if err := h.object(next, h.message); err != nil {
			return err
		}
	}
	return nil
}

func (h *hdf5) widths(c *cursor) error {
	for _, n := range []int{h.offsets, h.lengths} {
		if c.err == nil && n != 2 && n != 4 && n != 8 {
			return fmt.Errorf("addresses of %d bytes", n)
		}
	}
	return c.err
}

// nowhere tells an address that leads to nothing.
func (h *hdf5) nowhere(a uint64) bool { return a == 1<<(8*h.offsets)-1 }

// block begins to read what lies at an address, and counts it.
func (h *hdf5) block(a uint64) (*cursor, error) {
	if h.steps++; h.steps > hdf5Steps {
		h.s.stop(h.p, h.at, fmt.Sprintf("It has more than %d blocks.", hdf5Steps))
		return nil, errOver
	}
	if a > 1<<59 || h.nowhere(a) {
		return nil, fmt.Errorf("%w: an address is %#x", errHDF5, a)
	}
	h.at = h.base + int64(a)
	return newCursor(h.p, h.at), nil
}

// signed begins to read a block that starts with four letters.
func (h *hdf5) signed(a uint64, letters string) (*cursor, error) {
	c, err := h.block(a)
	if err != nil {
		return nil, err
	}
	if got := c.text(4, 4); got != letters {
		return nil, fmt.Errorf("%w: at %d stands %q, not %s", errHDF5, h.at, got, letters)
	}
	return c, c.err
}

func (h *hdf5) link(a uint64) {
	if !h.seen[a] && len(h.seen) < hdf5Steps {
		h.seen[a] = true
		h.todo = append(h.todo, a)
	}
}

// hdf5Message is a message of an object's header.
type hdf5Message struct {
	kind, flags uint64
	at          int64 // in the part
	size        uint64
}

// object calls f for each message in the header of an object.
func (h *hdf5) object(a uint64, f func(hdf5Message) error) error {
	c, err := h.block(a)
	if err != nil {
		return err
	}
	if head, _ := c.r.Peek(4); string(head) == "OHDR" {
		return h.objectV2(c, f)
	}
	if v := c.uint(1); c.err == nil && v != 1 {
		return fmt.Errorf("%w: an object's header of version %d", errHDF5, v)
	}
	c.skip(7)
	size := c.uint(4)
	c.skip(4)
	return h.chunks(c, size, 0, false, f)
}

func (h *hdf5) objectV2(c *cursor, f func(hdf5Message) error) error {
	c.skip(5)
	flags := c.uint(1)
	if flags&0x20 != 0 {
		c.skip(16)
	}
	if flags&0x10 != 0 {
		c.skip(4)
	}
	return h.chunks(c, c.uint(1<<(flags&3)), flags, true, f)
}

// chunks reads the messages of a header's first chunk, and of those that it goes on in.
func (h *hdf5) chunks(c *cursor, size, flags uint64, v2 bool, f func(hdf5Message) error) error {
	type chunk struct{ a, size uint64 }
	var more []chunk
	for n := 0; ; n++ {
		if err := h.messages(c, size, flags, v2, func(m hdf5Message) error {
			if m.kind != 0x10 {
				return f(m)
			}
			in := newCursor(h.p, m.at)
			more = append(more, chunk{in.uint(h.offsets), in.uint(h.lengths)})
			return in.err
		}); err != nil {
			return err
		}
		if len(more) == 0 {
			return nil
		}
		if n+len(more) > hdf5Steps/100 {
			return fmt.Errorf("%w: a header of more than %d chunks", errHDF5, hdf5Steps/100)
		}
		next := more[0]
		more = more[1:]
		size = next.size
		var err error
		if v2 {
			c, err = h.signed(next.a, "OCHK")
			size -= min(size, 8) // its letters and checksum
		} else {
			c, err = h.block(next.a)
		}
		if err != nil {
			return err
		}
	}
}

// messages calls f for those in size bytes.
func (h *hdf5) messages(c *cursor, size, flags uint64, v2 bool, f func(hdf5Message) error) error {
	head, end := int64(8), c.at+int64(min(size, 1<<40))
	if v2 {
		head = 4
		if flags&4 != 0 {
			head = 6
		}
	}
	for c.err == nil && c.at+head <= end {
		var m hdf5Message
		if v2 {
			m.kind, m.size, m.flags = c.uint(1), c.uint(2), c.uint(1)
			c.skip(uint64(head - 4))
		} else {
			m.kind, m.size, m.flags = c.uint(2), c.uint(2), c.uint(1)
			c.skip(3)
		}
		m.at = c.at
		c.skip(m.size)
		if c.err != nil {
			return c.err
		}
		if err := f(m); err != nil {
			return err
		}
		if h.steps++; h.steps > 10*hdf5Steps {
			h.s.stop(h.p, c.at, "It has too many messages.")
		}
		if h.s.over {
			return errOver
		}
	}
	return c.err
}

// message judges one of an object that is part of the file.
func (h *hdf5) message(m hdf5Message) error {
	if m.flags&2 != 0 && (m.kind == 0x07 || m.kind == 0x08 || m.kind == 0x0c) {
		h.unread("A message of an object is kept in a heap of shared ones, which is not read.", m.at)
		return nil
	}
	c := newCursor(h.p, m.at)
	switch m.kind {
	case 0x02: // links, that a heap may hold
		c.skip(1)
		if c.uint(1)&1 != 0 {
			c.skip(8)
		}
		return h.dense(c, 5, 4, func(b []byte, at int64) error {
			return h.linkMessage(h.within(b, at), at)
		})
	case 0x06:
		return h.linkMessage(c, m.at)
	case 0x07:
		return h.external(c, m.at)
	case 0x08:
		if v, class := c.uint(1), c.uint(1); v == 4 && class == 3 {
			return h.virtual(c.uint(h.offsets), m.at)
		}
		return c.err
	case 0x0c:
		return h.attribute(c)
	case 0x11:
		tree := c.uint(h.offsets)
		c.skip(uint64(h.offsets)) // the heap of names
		if c.err != nil || h.nowhere(tree) {
			return c.err
		}
		return h.symbols(tree, 0)
	case 0x15: // attributes, that a heap may hold
		c.skip(1)
		if c.uint(1)&1 != 0 {
			c.skip(2)
		}
		return h.dense(c, 8, 0, func(b []byte, at int64) error {
			return h.attribute(h.within(b, at))
		})
	}
	return nil
}

// within reads bytes that were copied from a heap, by the offsets that they had there.
func (h *hdf5) within(b []byte, at int64) *cursor {
	p := &part{ReaderAt: io.NewSectionReader(shifted{bytes.NewReader(b), at}, 0, at+int64(len(b))), size: at + int64(len(b)), name: h.p.name, depth: h.p.depth}
	return newCursor(p, at)
}

// shifted has bytes at an offset of its own.
type shifted struct {
	r  io.ReaderAt
	by int64
}

// ReadAt implements io.ReaderAt.
func (x shifted) ReadAt(b []byte, off int64) (int, error) { return x.r.ReadAt(b, off-x.by) }

func (h *hdf5) unread(text string, at int64) {
	if !h.told[text] {
		h.told[text] = true
		h.s.issue(h.p, Issue{Rule: "hdf5-unread", Verdict: Failed, Offset: at, Text: text})
	}
}

// linkMessage follows a link to an object, and tells of one into another file.
func (h *hdf5) linkMessage(c *cursor, at int64) error {
	c.skip(1)
	flags, kind := c.uint(1), uint64(0)
	if flags&8 != 0 {
		kind = c.uint(1)
	}
	if flags&4 != 0 {
		c.skip(8)
	}
	if flags&16 != 0 {
		c.skip(1)
	}
	name := c.text(c.uint(1<<(flags&3)), 256)
	switch {
	case c.err != nil:
	case kind == 0:
		if a := c.uint(h.offsets); c.err == nil {
			h.link(a)
		}
	case kind == 64:
		n := c.uint(2)
		to := c.text(n, 4096)
		file, _, _ := strings.Cut(strings.TrimLeft(to, "\x00"), "\x00")
		h.elsewhere(at, "link "+clip(name), file)
	case kind != 1:
		h.s.issue(h.p, Issue{Rule: "hdf5-link", Verdict: Suspicious, Offset: at, Name: clip(name), Text: "A link is of a kind that a program must bring."})
	}
	return c.err
}

// elsewhere tells of a data set or group that lies in another file: one beside the model is unusual, any
// other is a way to read what the model's user may.
func (h *hdf5) elsewhere(at int64, what, file string) {
	v, where := Suspicious, "a file beside it"
	if outside(file) {
		v, where = Malicious, "a file outside the model's directory"
	}
	if key := what + file; !h.told[key] && len(h.told) < 1000 {
		h.told[key] = true
		h.s.issue(h.p, Issue{Rule: "hdf5-external", Verdict: v, Offset: at, Name: clip(file), Text: fmt.Sprintf("A %s leads into %s, %q.", what, where, clip(file))})
	}
}

// external reads which files a data set's bytes lie in.
func (h *hdf5) external(c *cursor, at int64) error {
	c.skip(6)
	used := c.uint(2)
	heap := c.uint(h.offsets)
	for range used {
		name := c.uint(h.lengths)
		c.skip(uint64(2 * h.lengths))
		if c.err != nil {
			return c.err
		}
		file, err := h.name(heap, name)
		if err != nil {
			return err
		}
		h.elsewhere(at, "data set", file)
	}
	return c.err
}

// virtual reads which files a virtual data set is put together from.
func (h *hdf5) virtual(heap uint64, at int64) error {
	c := newCursor(h.p, at+2+int64(h.offsets))
	index := c.uint(4)
	if c.err != nil || h.nowhere(heap) {
		return c.err
	}
	b, _, err := h.global(heap, index, 1<<20)
	if err != nil || len(b) < 1+h.lengths {
		return err
	}
	// The selections between the names are not read: each entry begins with a file's name, so only the first is
	// sure.
	var sources [8]byte
	copy(sources[:], b[1:1+h.lengths])
	if b[0] != 0 || binary.LittleEndian.Uint64(sources[:]) > 1 {
		h.unread("A virtual data set is put together from several sources, of which only the first is read.", at)
	}
	file, _, _ := strings.Cut(string(b[1+h.lengths:]), "\x00")
	if file != "." {
		h.elsewhere(at, "virtual data set", file)
	}
	return nil
}
