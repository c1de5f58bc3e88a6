package artifact

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"
)

// printable reports whether the first bytes of a part are UTF-8 without control characters.
func printable(head []byte) bool {
	if len(head) == 0 || bytes.ContainsAny(head, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x7f") {
		return false
	}
	for n := 0; n < utf8.UTFMax && n < len(head); n++ { // the last character may be cut
		if utf8.Valid(head[:len(head)-n]) {
			return true
		}
	}
	return false
}

// text returns up to n bytes of a part, and whether that is all of it.
func (p *part) text(n int64) (text string, whole bool) {
	var b bytes.Buffer
	_, err := io.CopyN(&b, p.stream(0), n+1)
	return string(b.Bytes()[:min(n, int64(b.Len()))]), errors.Is(err, io.EOF)
}
