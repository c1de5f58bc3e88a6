package prompt

import (
	"strings"
	"unicode"
)

const (
	opening    = 6  // parts of a line, between blanks, by which it is known for prose
	noiseParts = 24 // at its end that are looked at
	noiseFrom  = 8  // fewer tell nothing
)

// NoiseFrom is how much, of 100, a text must look like noise for a rule to name it.
const NoiseFrom = 20

// Noise is how much, of 100, the end of a line that begins as prose looks like what is appended to a prompt
// by one who tries characters until the model gives in: pieces of words and signs glued together, as no
// language writes them, with brackets and quotes that do not match. A line of code does not begin so.
func Noise(text string) (most int64) {
	text = text[:min(len(text), MaxText)]
	for line := range strings.Lines(text) {
		parts := strings.Fields(line)
		if len(parts) < opening+noiseFrom || !prose(parts[:opening]) {
			continue
		}
		most = max(most, noiseOf(parts[max(opening, len(parts)-noiseParts):]))
	}
	return most
}

// prose reports whether all but one of some parts are plain words.
func prose(parts []string) bool {
	n := 0
	for _, p := range parts {
		if _, word := glued(p); word {
			n++
		}
	}
	return n >= len(parts)-1
}

// noiseOf judges the parts of one line. A part counts that is glued; where all brackets and quotes of the
// line match it takes twice as many.
func noiseOf(parts []string) int64 {
	odd, open, quotes := 0, 0, 0
	wrong := false
	for _, p := range parts {
		if g, _ := glued(p); g {
			odd++
		}
		for _, r := range p {
			switch r {
			case '(', '[', '{':
				open++
			case ')', ']', '}':
				if open--; open < 0 {
					wrong, open = true, 0
				}
			case '"', '`':
				quotes++
			}
		}
	}
	n := int64(100 * odd / len(parts))
	if !wrong && open == 0 && quotes%2 == 0 {
		n /= 2
	}
	return n
}

// glued reports whether a part between blanks is put together as no language writes it, and whether it
// is a plain word.
func glued(p string) (odd, word bool) {
	inner := strings.Trim(p, `.,;:!?"'()`)
	if strings.Contains(inner, "://") || strings.HasPrefix(inner, "/") || strings.ContainsAny(inner, "=") || strings.Contains(inner, "](") && strings.HasSuffix(p, ")") {
		return false, false // addresses, paths, settings, links
	}
	var before rune
	turns, signs, letters, rise := 0, 0, 0, 0
	for _, r := range inner {
		letter := unicode.IsLetter(r) || unicode.IsDigit(r)
		if letter {
			letters++
			if unicode.IsUpper(r) && unicode.IsLower(before) {
				rise++
			}
		} else if r != '-' && r != '_' && r != '.' && r != '/' && r != '\'' && r != '’' && r != ',' && r != ':' && r != '@' && r != '&' {
			signs++
		}
		if before != 0 && letter != (unicode.IsLetter(before) || unicode.IsDigit(before)) {
			turns++
		}
		before = r
	}
	switch {
	case letters == 0 && len(p) > 0:
		return strings.ContainsAny(p, `\{}[]|<>^~$%+*`) || len(p) > 3 && p != "...", false
	case signs > 0:
		return turns >= 1, false
	case rise > 0:
		return letters >= 6, false
	}
	return false, turns == 0
}
