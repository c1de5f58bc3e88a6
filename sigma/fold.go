package sigma

import (
	"encoding/binary"
	"unicode"
	"unicode/utf8"
)

// Text is compared in simple lower case: rune by rune and without a locale, the same for rules
// and events. Bytes that are not UTF-8 stay as they are.

// foldText returns s in the case that texts are compared in.
func foldText(s string) string {
	if folded(s) {
		return s
	}
	return string(appendFold(nil, s))
}

// each has a 1 in each of eight bytes.
const each = 0x0101010101010101

// folded reports whether folding certainly leaves s as it is. It looks at eight bytes at once: of
// bytes below 128, adding 63 carries into the highest bit from 'A' on, adding 37 only behind 'Z'.
func folded(s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		w := binary.LittleEndian.Uint64([]byte(s[:8]))
		if (w|(w+63*each)&^(w+37*each))&(0x80*each) != 0 {
			return false
		}
	}
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}

// appendFold appends s folded.
func appendFold(dst []byte, s string) []byte {
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := binary.LittleEndian.Uint64([]byte(s[i : i+8]))
		if w&(0x80*each) != 0 {
			break
		}
		upper := (w + 63*each) &^ (w + 37*each) & (0x80 * each)
		dst = binary.LittleEndian.AppendUint64(dst, w|upper>>2) // 0x80>>2 is what tells 'a' from 'A'
	}
	for i < len(s) {
		c := s[i]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, c)
		} else {
			dst = utf8.AppendRune(dst, unicode.ToLower(r))
		}
		i += n
	}
	return dst
}
