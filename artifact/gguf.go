package artifact

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
)

const (
	ggufItems    = 1 << 20 // keys, and tensors, that are read
	ggufKey      = 65535   // bytes of a key
	ggufTemplate = 1 << 20 // bytes of a chat template
)

// ggufSizes are the sizes of metadata values by type; 0 for texts (8) and arrays (9).
var ggufSizes = [...]uint64{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8}

// ggufBlocks are the numbers and bytes of a block, by type of tensor.
var ggufBlocks = map[uint64][2]uint64{
	0: {1, 4}, 1: {1, 2}, 2: {32, 18}, 3: {32, 20}, 6: {32, 22}, 7: {32, 24}, 8: {32, 34}, 9: {32, 36},
	10: {256, 84}, 11: {256, 110}, 12: {256, 144}, 13: {256, 176}, 14: {256, 210}, 15: {256, 292},
	16: {256, 66}, 17: {256, 74}, 18: {256, 98}, 19: {256, 50}, 20: {32, 18}, 21: {256, 110}, 22: {256, 82}, 23: {256, 136},
	24: {1, 1}, 25: {1, 2}, 26: {1, 4}, 27: {1, 8}, 28: {1, 8}, 29: {256, 56}, 30: {1, 2}, 34: {256, 54}, 35: {256, 66}, 39: {32, 17},
}

// ggufFormat is metadata, the places of tensors, and the tensors. Its chat templates are programs.
func ggufFormat() format {
	return format{
		name:  "gguf",
		sniff: func(head []byte, _ *part) bool { return strings.HasPrefix(string(head), "GGUF") },
		scan: func(s *scan, p *part) {
			g := &gguf{s: s, p: p, c: newCursor(p, 4), align: 32}
			if err := g.read(); err != nil {
				s.broken(p, g.c.at, "gguf", err)
			}
		},
	}
}

type gguf struct {
	s     *scan
	p     *part
	c     *cursor
	align uint64
}

func (g *gguf) read() error {
	switch version := g.c.uint(4); version {
	case 2, 3:
	case 2 << 24, 3 << 24:
		return errors.New("it is big-endian, which is not known here")
	default:
		return fmt.Errorf("version %d is not known", version)
	}
	tensors, keys := g.c.uint(8), g.c.uint(8)
	if tensors > ggufItems || keys > ggufItems {
		return fmt.Errorf("%d keys and %d tensors are more than the %d that are read", keys, tensors, ggufItems)
	}
	// No array is made by these counts, and yet a count that cannot be is known before a long read.
	if g.c.err == nil && !g.c.has(24*tensors+13*keys) {
		return fmt.Errorf("the file cannot hold %d keys and %d tensors", keys, tensors)
	}
	seen := map[uint64]bool{}
	for range keys {
		if err := g.pair(seen); err != nil {
			return err
		}
	}
	return g.tensors(tensors)
}

// name reads a text that must be new to seen.
func (g *gguf) name(seen map[uint64]bool) (string, error) {
	n := g.c.uint(8)
	if n > ggufKey {
		return "", fmt.Errorf("a name of %d bytes", n)
	}
	name := g.c.text(n, n)
	if g.c.err != nil {
		return "", g.c.err
	}
	h := hashOf(name)
	if seen[h] {
		return "", fmt.Errorf("%q is there twice, and readers take either", clip(name))
	}
	seen[h] = true
	return name, nil
}

func (g *gguf) pair(seen map[uint64]bool) error {
	key, err := g.name(seen)
	if err != nil {
		return err
	}
	kind, at := g.c.uint(4), g.c.at
	switch {
	case key == "general.alignment":
		if g.align = g.c.uint(4); kind != 4 || g.align == 0 || bits.OnesCount64(g.align) != 1 {
			return fmt.Errorf("general.alignment is %d of type %d; it must be a power of two of type 4", g.align, kind)
		}
	case isTemplateKey(key) && kind == 8:
		n := g.c.uint(8)
		text := g.c.text(n, ggufTemplate)
		if g.c.err == nil {
			judgeTemplate(g.s, g.p, at+8, key, text, n > ggufTemplate)
		}
	default:
		if err := g.value(kind, 0); err != nil {
			return fmt.Errorf("%q: %w", clip(key), err)
		}
	}
	return g.c.err
}

func isTemplateKey(key string) bool {
	return key == "tokenizer.chat_template" || strings.HasPrefix(key, "tokenizer.chat_template.")
}

// value passes over a value.
func (g *gguf) value(kind uint64, depth int) error {
	switch {
	case kind >= uint64(len(ggufSizes)):
		return fmt.Errorf("unknown type %d", kind)
	case kind == 8:
		g.c.skip(g.c.uint(8))
	case kind == 9:
		return g.array(depth)
	default:
		g.c.skip(ggufSizes[kind])
	}
	return g.c.err
}

func (g *gguf) array(depth int) error {
	kind, n := g.c.uint(4), g.c.uint(8)
	switch {
	case g.c.err != nil:
		return g.c.err
	case kind >= uint64(len(ggufSizes)):
		return fmt.Errorf("an array of unknown type %d", kind)
	case kind == 9 && depth == 3:
		return errors.New("arrays in each other")
	case ggufSizes[kind] > 0:
		hi, size := bits.Mul64(n, ggufSizes[kind])
		if hi > 0 {
			return fmt.Errorf("an array of %d values", n)
		}
		g.c.skip(size)
		return g.c.err
	case n > 1<<59 || !g.c.has(8*n):
		return fmt.Errorf("an array of %d values, more than the file can hold", n)
	}
	for range n {
		if err := g.value(kind, depth+1); err != nil {
			return err
		}
		if g.c.err != nil || g.s.over {
			return errOver
		}
	}
	return nil
}

// tensors reads where the tensors lie, and checks that it is in the file.
func (g *gguf) tensors(n uint64) error {
	seen := map[uint64]bool{}
	var end uint64
	for range n {
		name, err := g.name(seen)
		if err != nil {
			return err
		}
		last, err := g.tensor()
		if err != nil {
			return fmt.Errorf("tensor %q: %w", clip(name), err)
		}
		end = max(end, last)
	}
	if g.c.err != nil || n == 0 {
		return g.c.err
	}
	start := (uint64(g.c.at) + g.align - 1) &^ (g.align - 1)
	if end > 1<<59 || !g.p.reaches(int64(start+end)) {
		return fmt.Errorf("its tensors end at byte %d, behind the file", start+end)
	}
	return nil
}

// tensor returns where the bytes of one end.
func (g *gguf) tensor() (end uint64, err error) {
	dims := g.c.uint(4)
	if dims > 4 {
		return 0, fmt.Errorf("%d dimensions, of which there may be 4", dims)
	}
	n, row := uint64(1), uint64(1)
	for i := range dims {
		d := g.c.uint(8)
		hi, lo := bits.Mul64(n, d)
		if hi > 0 || lo > 1<<59 {
			return 0, errors.New("its dimensions overflow")
		}
		if n = lo; i == 0 {
			row = d
		}
	}
	kind, off := g.c.uint(4), g.c.uint(8)
	block, ok := ggufBlocks[kind]
	if g.c.err != nil {
		return 0, g.c.err
	}
	if !ok {
		return 0, fmt.Errorf("unknown type %d", kind)
	}
	if row%block[0] != 0 {
		return 0, fmt.Errorf("rows of %d numbers in blocks of %d", row, block[0])
	}
	hi, size := bits.Mul64(n/block[0], block[1])
	if hi > 0 || size > 1<<59 || off > 1<<59 {
		return 0, fmt.Errorf("offset %d, size %d", off, size)
	}
	if off%g.align != 0 {
		return 0, fmt.Errorf("offset %d is no multiple of %d", off, g.align)
	}
	return off + size, nil
}
