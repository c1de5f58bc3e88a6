package artifact

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// What a pickle holds as data may be a pickle for whoever loads it next: a second stage, which the first
// loader does not run. In base64 the first two bytes of one, 0x80 and its protocol, begin with gA.
var carriedMarks = [...]string{"gA", "\x80"} // of texts, of bytes

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
		raw, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(text)))
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
		if i.Verdict == Malicious {
			m.tell(Issue{
				Rule: "pickle-carried", Verdict: Suspicious, Name: i.Name,
				Text: fmt.Sprintf("It carries a pickle as data that runs %s for whoever loads it.", orSome(i.Name)),
			})
			return
		}
	}
}
