package artifact

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
)

// objectCode finds the data type of Python objects, alone or as a field, in an npy header.
var objectCode = regexp.MustCompile(`['"][<>|=]?O\d*['"]|['"]object_?['"]`)

const npyHeaderMost = 1 << 20

// scanNumpy scans an npy file: behind the header of an array of objects stands a pickle.
func scanNumpy(s *scan, p *part) {
	var fixed [12]byte
	n, err := p.ReadAt(fixed[:], 0)
	if n < len(fixed) {
		s.broken(p, 0, "npy", cutShort(err))
		return
	}
	start, size := int64(10), int64(binary.LittleEndian.Uint16(fixed[8:]))
	switch fixed[6] {
	case 1:
	case 2, 3:
		start, size = 12, int64(binary.LittleEndian.Uint32(fixed[8:]))
	default:
		s.broken(p, 6, "npy", fmt.Errorf("version %d is not known", fixed[6]))
		return
	}
	if size > npyHeaderMost {
		s.broken(p, 8, "npy", fmt.Errorf("its header claims %d bytes", size))
		return
	}
	head := make([]byte, size)
	if n, err := p.ReadAt(head, start); n < len(head) {
		s.broken(p, start, "npy", cutShort(err))
		return
	}
	if len(head) == 0 || head[0] != '{' {
		s.broken(p, start, "npy", errors.New("its header is no dictionary"))
		return
	}
	if !objectCode.Match(head) {
		return
	}
	s.issue(p, Issue{Rule: "npy-objects", Verdict: Clean, Offset: start, Text: "Its elements are Python objects, in a pickle that numpy loads where allow_pickle is set.", Reader: "numpy.load"})
	left := p.size
	if left >= 0 {
		left -= start + size
	} else {
		left = 1 << 60
	}
	objects := p.section("objects", start+size, left)
	objects.pickle = true
	s.nested(objects)
}
