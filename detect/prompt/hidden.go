package prompt

import (
	"strings"
	"unicode"
)

// concealed is what a text holds that a person does not see.
type concealed struct {
	text     string // spelled in tags
	between  int    // characters without width between two Latin letters
	override int    // marks that turn the direction of what follows
	selector int    // the longest run of variation selectors, of which one is usual
}

func (c *concealed) any() bool {
	return len(c.text) > 0 || c.between >= 2 || c.override > 0 || c.selector >= 4
}

// reveal returns the text without characters that are not seen, and what they were. The flags of
// Scotland, England and Wales are spelled in tags, too, and are left as they are.
func reveal(text string) (string, concealed) {
	var c concealed
	var seen, tags strings.Builder
	before, run, flag, waiting := rune(0), 0, false, 0
	for _, r := range text {
		switch {
		case r >= 0xE0000 && r <= 0xE007F:
			if !flag && r >= 0xE0020 && r < 0xE007F {
				tags.WriteByte(byte(r - 0xE0000))
			}
			continue
		case r == 0x200B || r == 0x200C || r == 0x200D || r == 0x2060 || r == 0xFEFF || r == 0x00AD || r == 0x180E:
			if latin(before) {
				waiting++
			}
			continue
		case r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069:
			if r == 0x202D || r == 0x202E {
				c.override++
			}
			continue
		case r >= 0xFE00 && r <= 0xFE0F || r >= 0xE0100 && r <= 0xE01EF:
			run++
			c.selector = max(c.selector, run)
			continue
		}
		if latin(r) {
			c.between += waiting
		}
		before, run, flag, waiting = r, 0, r == 0x1F3F4, 0
		seen.WriteRune(r)
	}
	c.text = tags.String()
	return seen.String(), c
}

func latin(r rune) bool { return r < 0x250 && unicode.IsLetter(r) }
