package action

import (
	"strings"
	"unicode"
)

// oneLine is another's text fit for a sentence: without control characters, cut to some bytes.
func oneLine(s string, most int) string {
	return strings.Join(strings.Fields(plainText(s, most)), " ")
}

// plainText is another's text with its lines kept and all other control characters, and those that
// turn the direction of writing, made blanks; cut to some bytes.
func plainText(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len("…")], "") + "…"
}
