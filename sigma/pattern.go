package sigma

import (
	"strings"
	"unicode/utf8"
)

// match reports whether s is what p describes. It takes time linear in s for each part of p
// between two runs.
func (p pattern) match(s string) bool {
	end := len(p)
	for end > 0 && p[end-1].wild != anyRun {
		end--
	}
	if end == 0 { // no run: p is all of s
		n, ok := p.matchHead(s)
		return ok && n == len(s)
	}
	start := 0
	for p[start].wild != anyRun {
		start++
	}
	head, ok := p[:start].matchHead(s)
	if !ok {
		return false
	}
	s = s[head:]
	tail, ok := p[end:].matchTail(s)
	if !ok {
		return false
	}
	s = s[:len(s)-tail]
	for start < end {
		start++ // the run
		next := start
		for next < end && p[next].wild != anyRun {
			next++
		}
		if next == start {
			continue
		}
		to, ok := p[start:next].find(s)
		if !ok {
			return false
		}
		s, start = s[to:], next
	}
	return true
}

// matchHead returns how much of the beginning of s p takes. p has no runs.
func (p pattern) matchHead(s string) (int, bool) {
	n := 0
	for i := range p {
		t := &p[i]
		if t.wild == literal {
			if !strings.HasPrefix(s[n:], t.text) {
				return 0, false
			}
			n += len(t.text)
			continue
		}
		r, size := utf8.DecodeRuneInString(s[n:])
		if size == 0 || t.wild == anyDash && !isDash(r) || t.wild == variable {
			return 0, false
		}
		n += size
	}
	return n, true
}

// matchTail returns how much of the end of s p takes. p has no runs.
func (p pattern) matchTail(s string) (int, bool) {
	n := 0
	for i := len(p) - 1; i >= 0; i-- {
		t, rest := &p[i], s[:len(s)-n]
		if t.wild == literal {
			if !strings.HasSuffix(rest, t.text) {
				return 0, false
			}
			n += len(t.text)
			continue
		}
		r, size := utf8.DecodeLastRuneInString(rest)
		if size == 0 || t.wild == anyDash && !isDash(r) || t.wild == variable {
			return 0, false
		}
		n += size
	}
	return n, true
}

// find returns where the first part of s that p takes ends. p has no runs.
func (p pattern) find(s string) (int, bool) {
	first := 0
	for first < len(p) && p[first].wild != literal {
		first++
	}
	if first == len(p) {
		return p.findRunes(s)
	}
	for from := 0; ; {
		i := strings.Index(s[from:], p[first].text)
		if i < 0 {
			return 0, false
		}
		i += from
		if _, ok := p[:first].matchTail(s[:i]); ok {
			if n, ok := p[first:].matchHead(s[i:]); ok {
				return i + n, true
			}
		}
		from = i + 1
	}
}

// findRunes is find for a pattern without literals.
func (p pattern) findRunes(s string) (int, bool) {
	for i := 0; i < len(s); {
		if n, ok := p.matchHead(s[i:]); ok {
			return i + n, true
		}
		_, size := utf8.DecodeRuneInString(s[i:])
		i += size
	}
	return 0, false
}
