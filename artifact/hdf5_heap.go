package artifact

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
)

// symbols follows a group of the older form: a tree of tables of names.
func (h *hdf5) symbols(tree uint64, deep int) error {
	if deep > hdf5Deep {
		return fmt.Errorf("%w: a tree of more than %d levels", errHDF5, hdf5Deep)
	}
	c, err := h.signed(tree, "TREE")
	if err != nil {
		return err
	}
	kind, level, used := c.uint(1), c.uint(1), c.uint(2)
	if c.err == nil && kind != 0 {
		return fmt.Errorf("%w: a tree of kind %d in a group", errHDF5, kind)
	}
	c.skip(uint64(2*h.offsets + h.lengths))
	for range used {
		child := c.uint(h.offsets)
		c.skip(uint64(h.lengths))
		if c.err != nil {
			return c.err
		}
		if level > 0 {
			err = h.symbols(child, deep+1)
		} else {
			err = h.table(child)
		}
		if err != nil {
			return err
		}
	}
	return c.err
}

// table follows the entries of one table of names.
func (h *hdf5) table(a uint64) error {
	c, err := h.signed(a, "SNOD")
	if err != nil {
		return err
	}
	c.skip(2)
	for range c.uint(2) {
		c.skip(uint64(h.offsets))
		object, cached := c.uint(h.offsets), c.uint(4)
		c.skip(20)
		if c.err == nil && cached != 2 { // 2 is a soft link, which stays in the file
			h.link(object)
		}
	}
	return c.err
}

// name reads a name in a local heap.
func (h *hdf5) name(heap, off uint64) (string, error) {
	c, err := h.signed(heap, "HEAP")
	if err != nil {
		return "", err
	}
	c.skip(4)
	size := c.uint(h.lengths)
	c.skip(uint64(h.lengths))
	data := c.uint(h.offsets)
	if c.err == nil && off >= size {
		return "", fmt.Errorf("%w: a name lies behind its heap", errHDF5)
	}
	if c.err != nil {
		return "", c.err
	}
	if c, err = h.block(data); err != nil {
		return "", err
	}
	c.skip(off)
	n := min(size-off, 4096)
	t, _, _ := strings.Cut(c.text(n, n), "\x00")
	return t, c.err
}

// global reads up to most bytes of an object in a global heap, and returns where in the part they lie.
func (h *hdf5) global(heap, index, most uint64) ([]byte, int64, error) {
	c, err := h.signed(heap, "GCOL")
	if err != nil {
		return nil, 0, err
	}
	start := c.at - 4
	c.skip(4)
	end := start + int64(min(c.uint(h.lengths), 1<<40))
	for c.err == nil && c.at+8 < end {
		id := c.uint(2)
		c.skip(6)
		size := c.uint(h.lengths)
		if id == 0 || c.err != nil {
			break
		}
		if id != index {
			c.skip((size + 7) &^ 7)
			if h.steps++; h.steps > 10*hdf5Steps {
				h.s.stop(h.p, c.at, "Its heaps hold too many objects.")
				return nil, 0, errOver
			}
			continue
		}
		at, n := c.at, min(size, most)
		t := c.text(n, n)
		return []byte(t), at, c.err
	}
	if c.err != nil {
		return nil, 0, c.err
	}
	return nil, 0, fmt.Errorf("%w: a heap at %d has no object %d", errHDF5, start, index)
}

// dense calls f for each object that a heap keeps: c stands before the addresses of the heap and of the tree that
// names them, whose records of a kind have the object's id behind skip bytes.
func (h *hdf5) dense(c *cursor, kind uint64, skip int, f func(b []byte, at int64) error) error {
	heap, tree := c.uint(h.offsets), c.uint(h.offsets)
	if c.err != nil || h.nowhere(heap) || h.nowhere(tree) {
		return c.err
	}
	fh, err := h.fractal(heap)
	if err != nil || fh == nil {
		return err
	}
	return h.tree(tree, kind, func(rec []byte) error {
		if len(rec) < skip+fh.idSize {
			return fmt.Errorf("%w: a record of %d bytes", errHDF5, len(rec))
		}
		b, at, err := fh.object(rec[skip : skip+fh.idSize])
		if err != nil || b == nil {
			return err
		}
		return f(b, at)
	})
}

// width returns the bytes that a number up to limit takes.
func width(limit uint64) int { return (bits.Len64(max(limit, 1))-1)/8 + 1 }

// tree calls f for the records of a tree of the newer form.
func (h *hdf5) tree(a, kind uint64, f func(rec []byte) error) error {
	c, err := h.signed(a, "BTHD")
	if err != nil {
		return err
	}
	c.skip(1)
	is, node, record, depth := c.uint(1), c.uint(4), c.uint(2), c.uint(2)
	c.skip(2)
	root, n := c.uint(h.offsets), c.uint(2)
	switch {
	case c.err != nil || n == 0 || h.nowhere(root):
		return c.err
	case is != kind || record == 0 || node < 10+record || node > 1<<24 || depth > hdf5Deep:
		return fmt.Errorf("%w: a tree of kind %d, depth %d, with records of %d bytes", errHDF5, is, depth, record)
	}
	t := &hdf5Tree{h: h, record: record, f: f, cum: []uint64{(node - 10) / record}, sum: []int{0}}
	t.most = width(t.cum[0])
	for u := 1; u <= int(depth); u++ {
		pointer := uint64(h.offsets + t.most + t.sum[u-1])
		if node < 10+pointer+record {
			return fmt.Errorf("%w: a tree whose nodes are too small", errHDF5)
		}
		most := (node - (10 + pointer)) / (record + pointer)
		_, below := bits.Mul64(most+1, t.cum[u-1])
		t.cum = append(t.cum, below+most)
		t.sum = append(t.sum, width(below+most))
	}
	return t.node(root, n, int(depth))
}

// hdf5Tree is a tree of the newer form under way.
type hdf5Tree struct {
	h      *hdf5
	record uint64
	most   int // bytes of a child's number of records
	cum    []uint64
	sum    []int // bytes of the number of all records below, by depth
	f      func(rec []byte) error
}

func (t *hdf5Tree) node(a, n uint64, depth int) error {
	letters := map[bool]string{true: "BTLF", false: "BTIN"}[depth == 0]
	c, err := t.h.signed(a, letters)
	if err != nil {
		return err
	}
	c.skip(2)
	for range n {
		rec := c.text(t.record, 256)
		if c.err != nil {
			return c.err
		}
		if err := t.f([]byte(rec)); err != nil {
			return err
		}
	}
	if depth == 0 {
		return nil
	}
	for range n + 1 {
		child, count := c.uint(t.h.offsets), c.uint(t.most)
		if depth > 1 {
			c.skip(uint64(t.sum[depth-1]))
		}
		if c.err != nil {
			return c.err
		}
		if err := t.node(child, count, depth-1); err != nil {
			return err
		}
	}
	return nil
}

// fractal is a heap of the newer form, as its header has it.
type fractal struct {
	h                 *hdf5
	idSize            int
	offSize, lenSize  int
	width             uint64 // blocks in a row
	start, direct     uint64 // bytes of the first block, and of the largest that holds objects
	root, rows        uint64
	huge              uint64
	hugeAddr, hugeLen int
	filtered          bool
}

// fractal reads the header of a heap; nil for one that holds nothing.
func (h *hdf5) fractal(a uint64) (*fractal, error) {
	c, err := h.signed(a, "FRHP")
	if err != nil {
		return nil, err
	}
	c.skip(1)
	x := &fractal{h: h, idSize: int(c.uint(2)), filtered: c.uint(2) > 0}
	c.skip(1)
	managed := c.uint(4)
	c.skip(uint64(h.lengths))
	x.huge = c.uint(h.offsets)
	c.skip(uint64(h.lengths + h.offsets + 8*h.lengths)) // free space, and how much there is of each kind
	x.width, x.start, x.direct = c.uint(2), c.uint(h.lengths), c.uint(h.lengths)
	maxBits := c.uint(2)
	c.skip(2)
	x.root, x.rows = c.uint(h.offsets), c.uint(2)
	if c.err != nil {
		return nil, c.err
	}
	power := func(n uint64) bool { return n > 0 && n&(n-1) == 0 }
	if !power(x.width) || !power(x.start) || !power(x.direct) || x.direct < x.start || maxBits > 64 || x.rows > 64 || x.idSize < 1 || x.idSize > 64 {
		return nil, fmt.Errorf("%w: the header of a heap", errHDF5)
	}
	x.offSize = int(maxBits+7) / 8
	x.lenSize = min(width(x.direct), width(managed))
	x.hugeAddr, x.hugeLen = h.offsets, h.lengths
	if x.filtered {
		h.unread("The attributes or links of a group are packed, and are not read.", h.at)
		return nil, nil
	}
	return x, nil
}

// object returns an object by its id, and where in the part it lies.
func (x *fractal) object(id []byte) ([]byte, int64, error) {
	number := func(b []byte) uint64 {
		var v [8]byte
		copy(v[:], b)
		return binary.LittleEndian.Uint64(v[:])
	}
	switch id[0] >> 4 & 3 {
	case 0:
		if len(id) < 1+x.offSize+x.lenSize {
			return nil, 0, fmt.Errorf("%w: an id of %d bytes", errHDF5, len(id))
		}
		return x.managed(number(id[1:1+x.offSize]), number(id[1+x.offSize:1+x.offSize+x.lenSize]))
	case 1:
		if len(id) >= 1+x.hugeAddr+x.hugeLen {
			return x.read(number(id[1:1+x.hugeAddr]), 0, number(id[1+x.hugeAddr:1+x.hugeAddr+x.hugeLen]))
		}
		return x.hugeObject(number(id[1:min(len(id), 9)]))
	case 2:
		n := int(id[0]&15) + 1
		if len(id) < 1+n {
			return nil, 0, fmt.Errorf("%w: an id of %d bytes", errHDF5, len(id))
		}
		return id[1 : 1+n], x.h.at, nil
	}
	return nil, 0, fmt.Errorf("%w: an id of kind 3", errHDF5)
}

// read returns n bytes that lie off bytes behind an address.
func (x *fractal) read(a, off, n uint64) ([]byte, int64, error) {
	c, err := x.h.block(a)
	if err != nil {
		return nil, 0, err
	}
	c.skip(off)
	at := c.at
	if n > hdf5Text {
		x.h.unread("An attribute is larger than any that is judged.", at)
		return nil, 0, nil
	}
	t := c.text(n, n)
	return []byte(t), at, c.err
}

// hugeObject finds an object that has no place in the heap's blocks.
func (x *fractal) hugeObject(id uint64) (b []byte, at int64, err error) {
	if x.h.nowhere(x.huge) {
		return nil, 0, fmt.Errorf("%w: a heap without the object %d", errHDF5, id)
	}
	err = x.h.tree(x.huge, 1, func(rec []byte) error {
		o, l := x.h.offsets, x.h.lengths
		var v [3][8]byte
		if len(rec) < o+2*l {
			return fmt.Errorf("%w: a record of %d bytes", errHDF5, len(rec))
		}
		copy(v[0][:], rec[:o])
		copy(v[1][:], rec[o:o+l])
		copy(v[2][:], rec[o+l:o+2*l])
		if b != nil || binary.LittleEndian.Uint64(v[2][:]) != id {
			return nil
		}
		var e error
		b, at, e = x.read(binary.LittleEndian.Uint64(v[0][:]), 0, binary.LittleEndian.Uint64(v[1][:]))
		return e
	})
	return b, at, err
}

// managed finds an object by its offset in the heap: rows of blocks, each row's twice as large as those of the one
// before, of which the first two are alike.
func (x *fractal) managed(off, n uint64) ([]byte, int64, error) {
	a, rows, blocks := x.root, x.rows, uint64(0)
	for range hdf5Deep {
		if rows == 0 {
			return x.read(a, off, n)
		}
		row, size, first := uint64(0), x.start, uint64(0)
		for row < rows && off-first >= x.width*size {
			first += x.width * size
			if row > 0 {
				size *= 2
			}
			row++
			if size == 0 || size > 1<<48 {
				return nil, 0, fmt.Errorf("%w: an object behind its heap", errHDF5)
			}
		}
		if row >= rows {
			return nil, 0, fmt.Errorf("%w: an object behind its heap", errHDF5)
		}
		c, err := x.h.signed(a, "FHIB")
		if err != nil {
			return nil, 0, err
		}
		column := (off - first) / size
		blocks = row*x.width + column
		c.skip(uint64(1+x.h.offsets+x.offSize) + blocks*uint64(x.h.offsets))
		a = c.uint(x.h.offsets)
		if c.err != nil {
			return nil, 0, c.err
		}
		off -= first + column*size
		rows = 0
		if size > x.direct { // an indirect block with rows of its own
			rows = uint64(bits.Len64(size)-bits.Len64(x.start*x.width)) + 1
		}
	}
	return nil, 0, fmt.Errorf("%w: a heap of more than %d levels", errHDF5, hdf5Deep)
}
