package artifact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

func pickleFormat() format { return format{"pickle", looksPickled, scanPickles} }

// looksPickled tries the head: what a pickle machine takes to its end, or as far as a call, is a pickle.
func looksPickled(head []byte, p *part) bool {
	if p.pickle {
		return true
	}
	if len(head) < 2 || isImage(head) {
		return false
	}
	m := newMachine(&scan{o: Options{Limits: defaults}}, &part{ReaderAt: bytes.NewReader(head), size: int64(len(head))}, 4096)
	m.trial = true
	err := m.run()
	if head[0] == opProto && head[1] >= 2 && head[1] <= 5 {
		return err == nil || m.steps > 3 || m.imports > 0 || p.depth == 0
	}
	switch {
	case err == nil:
		return m.steps > 2 || m.w.at() == int64(len(head))
	case m.calls > 0 && m.imports > 0 || m.lethal: // a reader that ends before the call says nothing of the next one
		return true
	}
	return len(head) == 4096 && errors.Is(err, io.ErrUnexpectedEOF) && m.steps > 8
}

// isImage spares other formats the trial: their magic bytes are no opcodes that begin a pickle.
func isImage(head []byte) bool {
	return bytes.HasPrefix(head, []byte("PK\x03\x04")) || bytes.HasPrefix(head, []byte("\x93NUMPY")) || bytes.HasPrefix(head, []byte("\x89HDF"))
}

// torchMagic is the number that torch.save wrote first before it used ZIP.
var torchMagic = []byte{opProto, 2, opLong1, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, opStop}

// scanPickles reads the pickles that stand one behind the other from the start of p.
func scanPickles(s *scan, p *part) {
	head := make([]byte, len(torchMagic))
	_, _ = p.ReadAt(head, 0) // the machine meets the same error
	legacy := bytes.Equal(head, torchMagic)
	if legacy {
		s.is("torch-legacy")
	}
	var off int64
	for n := 0; !s.over; n++ {
		if legacy && n == 5 { // raw storages follow, and torch reads no pickle behind them
			return
		}
		m := newMachine(s, p, windowSize)
		m.w.seek(off)
		err := m.run()
		if err != nil {
			if n > 0 && m.imports == 0 { // what follows the last pickle is none
				s.trailing(p, off)
				return
			}
			if p.depth == 0 || p.pickle || m.imports > 0 || m.steps > 64 {
				s.broken(p, m.w.at(), "a pickle", err)
			}
			return
		}
		off = m.w.at()
		var next [1]byte
		if k, err := p.ReadAt(next[:], off); k == 0 && errors.Is(err, io.EOF) {
			return
		}
	}
}

const trailingMost = 16 << 20 // bytes behind the last pickle that are searched

// trailing looks through what follows the last pickle for one that a reader who knows where it is would load.
func (s *scan) trailing(p *part, off int64) {
	w := newWindow(p, off, windowSize)
	begins, steps := 0, 0
	for ; steps < trailingMost; steps++ {
		c, err := w.byte()
		if err != nil {
			break
		}
		if c != opProto {
			continue
		}
		at := w.at() - 1
		head := make([]byte, 4096)
		n, _ := p.ReadAt(head, at)
		if n < 2 || head[1] < 2 || head[1] > 5 || !looksPickled(head[:n], &part{depth: 1}) {
			continue
		}
		if begins++; begins > 64 {
			s.issue(p, Issue{Rule: "limit", Verdict: Failed, Offset: at, Text: "More than 64 pickles lie between other bytes; the rest was not judged."})
			return
		}
		m := newMachine(s, p, windowSize)
		m.w.seek(at)
		if err := m.run(); err == nil {
			w.seek(m.w.at())
		}
	}
	if steps == trailingMost {
		s.issue(p, Issue{Rule: "limit", Verdict: Failed, Offset: w.at(), Text: fmt.Sprintf("More than %d bytes follow the last pickle; the rest was not judged.", trailingMost)})
	}
	s.issue(p, Issue{Rule: "trailing", Verdict: Clean, Offset: off, Text: fmt.Sprintf("Bytes that are no pickle follow at %d; what reads one pickle ignores them.", off)})
}
