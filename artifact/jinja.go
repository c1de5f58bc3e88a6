package artifact

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jinjaWord is one of what stands between the braces of a tag.
type jinjaWord struct {
	kind  byte // n for a name, s for a text, d for a number, o for an operator
	text  string
	after string // the word before
}

// jinjaOperator are names that are operators.
var jinjaOperator = words("and or not in is if else elif for recursive ignore missing with without context set")

// jinjaLexer cuts a template into texts and tags.
type jinjaLexer struct {
	text string
	at   int
}

// tag returns the text before the next tag and the byte that follows its brace, % or {; 0 at the end.
// Comments are no tags, and what is raw is text.
func (l *jinjaLexer) tag() (text string, tag byte, err error) {
	var before strings.Builder
	for {
		rest := l.text[l.at:]
		i := strings.IndexByte(rest, '{')
		for i >= 0 && (i+1 == len(rest) || !strings.ContainsRune("{%#", rune(rest[i+1]))) {
			next := strings.IndexByte(rest[i+1:], '{')
			if next < 0 {
				i = -1
				break
			}
			i += 1 + next
		}
		if i < 0 {
			before.WriteString(rest)
			l.at = len(l.text)
			return before.String(), 0, nil
		}
		before.WriteString(rest[:i])
		l.at += i + 2
		switch rest[i+1] {
		case '#':
			end := strings.Index(l.text[l.at:], "#}")
			if end < 0 {
				return before.String(), 0, errors.New("a comment does not end")
			}
			l.at += end + 2
		case '%':
			raw, err := l.raw()
			if err != nil {
				return before.String(), 0, err
			}
			if raw == nil {
				return before.String(), '%', nil
			}
			before.WriteString(*raw)
		default:
			return before.String(), '{', nil
		}
	}
}

// raw passes over a raw block, of which the opening brace was read, and returns what is in it; nil for other tags.
func (l *jinjaLexer) raw() (*string, error) {
	rest, ok := rawTag(l.text[l.at:], "raw")
	if !ok {
		return nil, nil
	}
	start := len(l.text) - len(rest)
	for at := start; ; at += 2 {
		i := strings.Index(l.text[at:], "{%")
		if i < 0 {
			return nil, errors.New("a raw block does not end")
		}
		at += i
		if rest, ok := rawTag(l.text[at+2:], "endraw"); ok {
			raw := l.text[start:at]
			l.at = len(l.text) - len(rest)
			return &raw, nil
		}
	}
}

// rawTag reports whether a tag is name alone, and returns what follows it.
func rawTag(t, name string) (rest string, ok bool) {
	t = strings.TrimLeft(strings.TrimLeft(t, "-+"), " \t\r\n")
	if t, ok = strings.CutPrefix(t, name); !ok {
		return "", false
	}
	t = strings.TrimLeft(t, " \t\r\n")
	t = strings.TrimLeft(t, "-+")
	return strings.CutPrefix(t, "%}")
}

// words returns what stands in the tag, up to its end.
func (l *jinjaLexer) words(tag byte) ([]jinjaWord, error) {
	end := map[byte]string{'%': "%}", '{': "}}"}[tag]
	var words []jinjaWord
	deep := 0
	if l.at < len(l.text) && (l.text[l.at] == '-' || l.text[l.at] == '+') {
		l.at++
	}
	for {
		l.at = len(l.text) - len(strings.TrimLeft(l.text[l.at:], " \t\r\n"))
		rest := l.text[l.at:]
		if rest == "" {
			return nil, errors.New("a tag does not end")
		}
		if deep <= 0 && (strings.HasPrefix(rest, end) || (rest[0] == '-' || rest[0] == '+') && strings.HasPrefix(rest[1:], end)) {
			l.at += strings.Index(rest, end) + 2
			return words, nil
		}
		w, err := l.word(rest)
		if err != nil {
			return nil, err
		}
		switch w.text {
		case "(", "[", "{":
			deep++
		case ")", "]", "}":
			deep--
		}
		if n := len(words); n > 0 {
			w.after = words[n-1].text
		}
		words = append(words, w)
	}
}

// word reads the word that rest begins with.
func (l *jinjaLexer) word(rest string) (jinjaWord, error) {
	c := rest[0]
	switch {
	case c == '\'' || c == '"':
		return l.string(rest)
	case c >= '0' && c <= '9':
		n := strings.IndexFunc(rest, func(r rune) bool { return r >= utf8.RuneSelf || !isWord(byte(r)) })
		if n < 0 {
			n = len(rest)
		}
		l.at += n
		return jinjaWord{kind: 'd', text: rest[:n]}, nil
	case isWord(c) || c >= utf8.RuneSelf:
		n := strings.IndexFunc(rest, func(r rune) bool { return r < utf8.RuneSelf && !isWord(byte(r)) })
		if n < 0 {
			n = len(rest)
		}
		l.at += n
		return jinjaWord{kind: 'n', text: rest[:n]}, nil
	}
	if !strings.ContainsRune("+-*/%~()[]{}<>=!.,:|;", rune(c)) {
		return jinjaWord{}, fmt.Errorf("%q in a tag", c)
	}
	l.at++
	return jinjaWord{kind: 'o', text: rest[:1]}, nil
}

// string reads a text with its escapes resolved: \x5f is an underscore to the program that runs it.
func (l *jinjaLexer) string(rest string) (jinjaWord, error) {
	quote := rest[0]
	var b []byte
	for i := 1; i < len(rest); {
		switch {
		case rest[i] == quote:
			l.at += i + 1
			return jinjaWord{kind: 's', text: string(b)}, nil
		case rest[i] == '\\' && i+1 < len(rest):
			r, _, tail, err := strconv.UnquoteChar(rest[i:], 0)
			if err != nil {
				b = append(b, rest[i+1]) // a quote; others Python leaves with their backslash
				i += 2
				continue
			}
			b = utf8.AppendRune(b, r)
			i = len(rest) - len(tail)
		default:
			b = append(b, rest[i])
			i++
		}
	}
	return jinjaWord{}, errors.New("a text in a tag does not end")
}
