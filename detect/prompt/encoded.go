package prompt

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	runFrom  = 40       // characters in a row that may be an encoding
	maxInner = 16 << 10 // bytes of what was encoded
)

// decode returns what parts of a text spell in Base64 or hexadecimal, where that is text again, and
// whether such parts are at least a third of the text and long.
func decode(text string) (inner string, most bool) {
	var out strings.Builder
	total := 0
	for run := range strings.FieldsFuncSeq(text, func(r rune) bool { return !encoding(r) }) {
		if len(run) < runFrom || !mixed(run) {
			continue
		}
		total += len(run)
		if out.Len() < maxInner {
			out.WriteString(spelled(run[:min(len(run), 2*maxInner)]))
			out.WriteByte(' ')
		}
	}
	return out.String(), total >= 2*runFrom && total*3 >= len(text)
}

func encoding(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '+' || r == '/' || r == '-' || r == '_' || r == '='
}

// mixed reports whether a run has digits and letters, as encodings have, and few signs, as paths have
// many.
func mixed(run string) bool {
	digits, letters, signs := 0, 0, 0
	for i := range len(run) {
		switch c := run[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c|0x20 >= 'a' && c|0x20 <= 'z':
			letters++
		case c != '=':
			signs++
		}
	}
	return digits > 0 && letters > 0 && signs*12 <= len(run)
}

// spelled decodes a run, "" where that gives no text.
func spelled(run string) string {
	run = strings.TrimRight(run, "=")
	if b, err := hex.DecodeString(run[:len(run)&^1]); err == nil && readable(b) {
		return string(b)
	}
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		whole := run[:len(run)&^3]
		if len(run)%4 > 1 {
			whole = run
		}
		if b, err := e.DecodeString(whole); err == nil && readable(b) {
			return string(b)
		}
	}
	return ""
}

func readable(b []byte) bool {
	for len(b) > 0 && len(b) < maxInner*2 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n <= 1 || !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return false
		}
		b = b[n:]
	}
	return len(b) == 0
}
