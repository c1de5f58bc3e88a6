package prompt

import (
	"strings"
	"unicode"
)

const (
	noiseParts = 24 // of a line, between blanks, that are looked at together
	noiseFrom  = 10 // fewer tell nothing
)

// NoiseFrom is how much, of 100, a text must look like noise for a rule to name it.
const NoiseFrom = 30

// Noise is how much, of 100, the worst part of a text looks like what is appended to a prompt by one who
// tries characters until the model gives in, and like neither language nor code: pieces of words and
// signs glued together, as none of these does it, with brackets and quotes that do not match.
func Noise(text string) (most int64) {
	text = text[:min(len(text), MaxText)]
	for line := range strings.Lines(text) {
		parts := strings.Fields(line)
		for i := 0; i+noiseFrom <= len(parts); i += noiseParts / 2 {
			most = max(most, noiseOf(parts[i:min(i+noiseParts, len(parts))]))
		}
	}
	return most
}

// noiseOf judges the parts of one line. A part counts that is glued; where all brackets of the line
// match, as in code, it takes more than twice as many.
func noiseOf(parts []string) int64 {
	odd, words, open, quotes := 0, 0, 0, 0
	var wrong bool
	for _, p := range parts {
		g, w := glued(p)
		if g {
			odd++
		}
		if w {
			words++
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
	wrong = wrong || open > 0 || quotes%2 == 1
	n := int64(100 * odd / len(parts))
	if !wrong || words*4 < len(parts) { // code that was cut has few words of a language
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
