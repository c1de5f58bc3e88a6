package artifact

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Classes of HDF5 data types.
const (
	hdf5String   = 3
	hdf5Variable = 9
)

// hdf5Type is what is known of a data type.
type hdf5Type struct {
	class, bits, size uint64
}

// attribute judges one: a text that holds JSON is a configuration.
func (h *hdf5) attribute(c *cursor) error {
	version, flags := c.uint(1), c.uint(1)
	nameSize, typeSize, spaceSize := c.uint(2), c.uint(2), c.uint(2)
	if version == 3 {
		c.skip(1)
	}
	if c.err == nil && (version < 1 || version > 3) {
		return fmt.Errorf("%w: an attribute of version %d", errHDF5, version)
	}
	whole := func(n uint64) uint64 {
		if version == 1 {
			return (n + 7) &^ 7
		}
		return n
	}
	name := strings.TrimRight(c.text(nameSize, 256), "\x00")
	c.skip(whole(nameSize) - nameSize)
	kind, err := h.typeOf(c, whole(typeSize), version > 1 && flags&1 != 0)
	if err != nil {
		return err
	}
	n := h.elements(c, whole(spaceSize), version > 1 && flags&2 != 0)
	if c.err != nil {
		return c.err
	}
	switch {
	case kind.class == hdf5String:
		h.value(name, c, kind.size, n)
	case kind.class == hdf5Variable && kind.bits&15 == 1:
		return h.values(name, c, n)
	}
	return c.err
}

// typeOf reads the head of a data type of n bytes, or, of one that is shared, of where it lies.
func (h *hdf5) typeOf(c *cursor, n uint64, shared bool) (t hdf5Type, err error) {
	end := c.at + int64(n)
	if !shared {
		t.class, t.bits = c.uint(1)&15, c.uint(3)
		t.size = c.uint(4)
		c.skip(uint64(max(0, end-c.at)))
		return t, c.err
	}
	version, kind := c.uint(1), c.uint(1)
	if version == 1 {
		c.skip(6)
	}
	if version == 3 && kind == 1 {
		h.unread("The type of an attribute is kept in a heap of shared ones, which is not read.", c.at)
		c.skip(uint64(max(0, end-c.at)))
		return t, c.err
	}
	a := c.uint(h.offsets)
	c.skip(uint64(max(0, end-c.at)))
	if c.err != nil {
		return t, c.err
	}
	err = h.object(a, func(m hdf5Message) error {
		if m.kind != 3 {
			return nil
		}
		in := newCursor(h.p, m.at)
		t.class, t.bits, t.size = in.uint(1)&15, in.uint(3), in.uint(4)
		return in.err
	})
	return t, err
}

// elements reads how many values a data space of n bytes has.
func (h *hdf5) elements(c *cursor, n uint64, shared bool) uint64 {
	end := c.at + int64(n)
	count := uint64(1)
	if !shared {
		version, rank := c.uint(1), c.uint(1)
		c.skip(map[bool]uint64{true: 6, false: 2}[version == 1])
		for range min(rank, 32) {
			count = min(count*min(c.uint(h.lengths), 1<<20), 1<<20)
		}
	}
	if at := min(c.at, end); c.err == nil && at < end {
		c.skip(uint64(end - at))
	}
	return count
}

// value judges texts of a size that stand in the attribute itself.
func (h *hdf5) value(name string, c *cursor, size, n uint64) {
	for range n {
		if h.s.over || c.err != nil || size == 0 || !c.has(size) {
			return
		}
		h.text(name, io.NewSectionReader(c.p, c.at, int64(min(size, hdf5Text))), c.at)
		c.skip(size)
	}
}

// values judges texts that stand in global heaps.
func (h *hdf5) values(name string, c *cursor, n uint64) error {
	for range n {
		size, heap, index := c.uint(4), c.uint(h.offsets), c.uint(4)
		if c.err != nil || h.s.over {
			return c.err
		}
		if size == 0 || h.nowhere(heap) || heap == 0 {
			continue
		}
		b, at, err := h.global(heap, index, min(size, hdf5Text))
		if err != nil {
			return err
		}
		h.text(name, bytes.NewReader(b), at)
	}
	return nil
}

// text judges a text, where it is JSON. Keras reads model_config, and takes no other for it.
func (h *hdf5) text(name string, r io.ReaderAt, at int64) {
	if b := firstOf(r); b != '{' && b != '[' {
		return
	}
	if name == "model_config" {
		h.s.is("keras-hdf5")
	}
	judgeConfig(h.s, h.p, &terminated{r: io.NewSectionReader(r, 0, hdf5Text)}, at)
}

// firstOf returns the first byte of a JSON text: its readers pass over blanks, however many there are.
func firstOf(r io.ReaderAt) byte {
	var b [512]byte
	for at := int64(0); at < hdf5Text; at += int64(len(b)) {
		n, err := r.ReadAt(b[:], at)
		if t := bytes.TrimLeft(b[:n], " \t\r\n"); len(t) > 0 {
			return t[0]
		}
		if err != nil {
			break
		}
	}
	return 0
}

// terminated ends where the zeros that fill up a text begin.
type terminated struct {
	r    io.Reader
	done bool
}

// Read implements io.Reader.
func (t *terminated) Read(b []byte) (int, error) {
	if t.done {
		return 0, io.EOF
	}
	n, err := t.r.Read(b)
	if i := bytes.IndexByte(b[:n], 0); i >= 0 {
		t.done = true
		return i, nil
	}
	return n, err
}
