package artifact

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/bits"
	"slices"
	"strconv"
)

const safetensorsHeader = 100_000_000 // bytes; the reference refuses more

// safetensorsBits are the types of numbers and their sizes.
var safetensorsBits = map[string]uint64{
	"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8,
	"U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
	"C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}

// safetensorsFormat is a JSON header with the places of tensors, and the tensors. Nothing in it can run;
// what does not add up is there to confuse readers.
func safetensorsFormat() format {
	return format{name: "safetensors", sniff: sniffSafetensors, scan: func(s *scan, p *part) {
		t := &safetensors{s: s, p: p, names: map[uint64]bool{}}
		if err := t.header(); err != nil {
			s.broken(p, 8, "safetensors", err)
		}
	}}
}

func sniffSafetensors(head []byte, _ *part) bool {
	if len(head) < 10 || head[8] != '{' {
		return false
	}
	n := binary.LittleEndian.Uint64(head)
	return n >= 2 && n < 1<<40 // a longer one is a text that happens to have a bracket there
}

type safetensors struct {
	s      *scan
	p      *part
	j      *jsonReader
	names  map[uint64]bool // hashes of them: an attacker makes them long
	ranges [][2]uint64
}

func (t *safetensors) header() error {
	c := newCursor(t.p, 0)
	n := c.uint(8)
	if n > safetensorsHeader {
		return fmt.Errorf("its header of %d bytes is longer than the %d that are allowed", n, safetensorsHeader)
	}
	if !c.has(n) {
		return fmt.Errorf("its header of %d bytes ends behind the file", n)
	}
	t.j = newJSON(io.NewSectionReader(t.p, 8, int64(n)), 8)
	if _, err := t.want('{'); err != nil {
		return err
	}
	for {
		k, err := t.want('k')
		if err != nil {
			return err
		}
		if k.kind == '}' {
			break
		}
		if err := t.entry(k); err != nil {
			return fmt.Errorf("%s: %w", strconv.Quote(clip(k.text)), err)
		}
	}
	if _, err := t.j.next(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object in the header")
	}
	return t.layout(int64(8 + n))
}

// want reads a token of a kind; the end of an object may stand where a key may.
func (t *safetensors) want(kind byte) (token, error) {
	k, err := t.j.next()
	if err == nil && k.kind != kind && (kind != 'k' || k.kind != '}') {
		err = fmt.Errorf("%q at byte %d is out of place", k.kind, k.at)
	}
	return k, err
}

// once reports whether a name is new.
func (t *safetensors) once(k token) error {
	h := hashOf(k.text)
	if t.names[h] {
		return errors.New("it is there twice, and readers take either")
	}
	t.names[h] = true
	if k.cut {
		return errors.New("its name is too long")
	}
	return nil
}

func (t *safetensors) entry(k token) error {
	if err := t.once(k); err != nil {
		return err
	}
	if _, err := t.want('{'); err != nil {
		return err
	}
	if k.text == "__metadata__" {
		return t.metadata()
	}
	var size uint64
	var shape, span []uint64
	for n := 0; ; n++ {
		k, err := t.want('k')
		switch {
		case err != nil:
			return err
		case k.kind == '}' && n == 3 && size > 0 && shape != nil && span != nil:
			return t.tensor(size, shape, span)
		case k.kind == '}':
			return errors.New("it must have a dtype, a shape and data_offsets, each once")
		}
		switch k.text {
		case "dtype":
			var d token
			if d, err = t.want('s'); err == nil {
				if size = safetensorsBits[d.text]; size == 0 {
					err = fmt.Errorf("unknown dtype %q", clip(d.text))
				}
			}
		case "shape":
			shape, err = t.numbers(64)
		case "data_offsets":
			span, err = t.numbers(2)
		default:
			err = fmt.Errorf("unknown field %q", clip(k.text))
		}
		if err != nil {
			return err
		}
	}
}

func (t *safetensors) metadata() error {
	seen := map[uint64]bool{}
	for {
		k, err := t.want('k')
		if err != nil || k.kind == '}' {
			return err
		}
		h := hashOf(k.text)
		if seen[h] {
			return fmt.Errorf("%q is there twice", clip(k.text))
		}
		seen[h] = true
		if _, err := t.want('s'); err != nil {
			return err
		}
	}
}

func (t *safetensors) numbers(most int) ([]uint64, error) {
	if _, err := t.want('['); err != nil {
		return nil, err
	}
	list := []uint64{}
	for {
		k, err := t.j.next()
		if err != nil || k.kind == ']' {
			return list, err
		}
		n, err := strconv.ParseUint(k.text, 10, 64)
		if err != nil || k.kind != 'n' || len(list) == most {
			return nil, fmt.Errorf("at byte %d at most %d whole numbers must stand", k.at, most)
		}
		list = append(list, n)
	}
}

// tensor checks that a tensor fills its range.
func (t *safetensors) tensor(size uint64, shape, span []uint64) error {
	for _, n := range shape {
		hi, lo := bits.Mul64(size, n)
		if hi > 0 {
			return errors.New("its size overflows")
		}
		size = lo
	}
	if len(span) != 2 || span[0] > span[1] || size%8 != 0 || span[1]-span[0] != size/8 {
		return fmt.Errorf("its %d bits do not fill data_offsets %v", size, span)
	}
	t.ranges = append(t.ranges, [2]uint64(span))
	return nil
}

// layout checks that the tensors fill the file, without holes and none in another.
func (t *safetensors) layout(data int64) error {
	slices.SortFunc(t.ranges, func(a, b [2]uint64) int { return slices.Compare(a[:], b[:]) })
	var end uint64
	for _, r := range t.ranges {
		if r[0] != end {
			return fmt.Errorf("between data bytes %d and %d tensors overlap or leave a hole", min(end, r[0]), max(end, r[0]))
		}
		end = r[1]
	}
	switch {
	case end > 1<<59 || !t.p.reaches(data+int64(end)):
		return fmt.Errorf("the %d bytes of its tensors end behind the file", end)
	case t.p.reaches(data + int64(end) + 1):
		t.s.issue(t.p, Issue{
			Rule: "trailing-data", Verdict: Suspicious, Offset: data + int64(end),
			Text: "Bytes follow the last tensor; no reader of safetensors looks at them.",
		})
	}
	return nil
}

// clip shortens a text for a message.
func clip(t string) string {
	if len(t) > 80 {
		return t[:80] + "…"
	}
	return t
}

// hashOf stands for a name of any length. Who makes two names collide makes the file fail, and hides nothing.
func hashOf(name string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, name) // it cannot fail
	return h.Sum64()
}
