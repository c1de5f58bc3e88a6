package artifact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// What a pickle holds as data may be a pickle for whoever loads it next: a second stage, which the first
// loader does not run.

// mayCarry reports whether the next bytes are those of a pickle: 0x80 and its protocol, of a text in base64 or
// hexadecimal.
func (w *window) mayCarry(kind uint64) bool {
	if kind == isBytes {
		return w.begins("\x80")
	}
	return w.begins("gA") || w.begins("800")
}

const (
	carriedLeast = 12 // bytes: a shorter one calls nothing
	carriedMost  = 64 // that are looked into, of one pickle
)

// carry tells of a pickle in a text or bytes that would run what no model needs.
func (m *machine) carry(v value) {
	if m.carried++; m.carried > carriedMost || m.p.depth >= m.s.o.Limits.Depth {
		return
	}
	c := m.content(v, "data")
	if c == nil {
		return
	}
	if v.kind() == isText {
		text, ok := c.all(blobMost)
		decode := plain64
		if bytes.HasPrefix(text, []byte("80")) {
			decode = plain16
		}
		r, _ := decode(text) // neither refuses
		raw, err := io.ReadAll(r)
		if !ok || err != nil {
			return
		}
		c = m.p.member("data", bytes.NewReader(raw), int64(len(raw)))
	}
	head := make([]byte, 4096)
	n, err := c.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) || !looksPickled(head[:n], c) {
		return
	}
	limits := m.s.o.Limits
	limits.Opcodes = max(1, limits.Opcodes-m.s.opcodes-m.steps)
	in := &scan{o: Options{Limits: limits, Allow: m.s.o.Allow}}
	scanPickles(in, c)
	m.s.opcodes += in.opcodes
	for _, i := range in.report.Issues {
		if i.Verdict == Malicious || i.Rule == "pickle-carried" {
			m.tell(Issue{
				Rule: "pickle-carried", Verdict: Suspicious, Name: i.Name,
				Text: fmt.Sprintf("It carries a pickle as data that runs %s for whoever loads it.", orSome(i.Name)),
			})
			return
		}
	}
}
