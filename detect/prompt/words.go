package prompt

import (
	"iter"
	"strings"
	"unicode"
)

const (
	maxWords = 20_000
	maxWord  = 40 // bytes; of a longer one the rest is left out
)

// split returns the words of a text in lower case, without what stands between them. An apostrophe
// is left out of its word: don't is dont.
func split(text string) []string {
	var words []string
	var b strings.Builder
	end := func() {
		if b.Len() > 0 {
			words = append(words, b.String())
			b.Reset()
		}
	}
	for _, r := range text {
		switch {
		case r == '\'' || r == '’':
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			if b.Len() < maxWord {
				b.WriteRune(unicode.ToLower(plain(r)))
			}
		default:
			end()
			if len(words) >= maxWords {
				return words
			}
		}
	}
	end()
	return words
}

// plain returns the Latin letter that another one looks like, or is a wide form of.
func plain(r rune) rune {
	switch {
	case r < 0x80:
		return r
	case r >= 0xFF21 && r <= 0xFF3A || r >= 0xFF41 && r <= 0xFF5A: // fullwidth
		return r - 0xFEE0
	case r >= 0x1D400 && r <= 0x1D6A3: // mathematical: thirteen alphabets of 52 letters
		n := (r - 0x1D400) % 52
		return 'A' + n%26 + n/26*32
	}
	if i := strings.IndexRune(looksLike, r); i >= 0 {
		return rune(looksAs[len([]rune(looksLike[:i]))])
	}
	return r
}

// Letters of Cyrillic and Greek that are drawn like Latin ones, and those.
const (
	looksLike = "аеорсухіјѕԁһ" + "АВЕКМНОРСТХ" + "ονκ"
	looksAs   = "aeopcyxijsdh" + "ABEKMHOPCTX" + "ovk"
)

// FNV-1a, which is the same everywhere.
const (
	fnvStart = 14695981039346656037
	fnvPrime = 1099511628211
)

func hash(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return (h ^ 0x1F) * fnvPrime // the end of a word
}

// shingles yields a hash of each run of n words.
func shingles(words []string, n int) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for i := 0; i+n <= len(words); i++ {
			h := uint64(fnvStart)
			for _, w := range words[i : i+n] {
				h = hash(h, w)
			}
			if !yield(h) {
				return
			}
		}
	}
}
