package falco

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// tokenKind says what a token of a condition is.
type tokenKind uint8

const (
	tokEnd tokenKind = iota
	tokWord
	tokQuoted
	tokOpen  // (
	tokClose // )
	tokComma
	tokOp // = == != < <= > >=
)

// token is a part of a condition. The text of a quoted one is without quotes and escapes.
type token struct {
	kind   tokenKind
	text   string
	offset int
	end    int
}

func (t token) is(word string) bool { return t.kind == tokWord && t.text == word }

// describe names the token in an error.
func (t token) describe() string {
	if t.kind == tokEnd {
		return "the end"
	}
	return fmt.Sprintf("%q", shorten(t.text, 40))
}

// shorten cuts what is too long to show.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// fault is what is wrong with a condition, and where in its text.
type fault struct {
	offset    int
	msg, hint string
}

// lexer reads one token after another. Falco has no tokens of its own: what a word may hold
// depends on whether a field, a value or an operator is expected, so the parser asks.
type lexer struct {
	text string
	pos  int
}

func (l *lexer) blank() {
	for l.pos < len(l.text) && isBlank(l.text[l.pos]) {
		l.pos++
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\b' }

// next reads a token where a field, a macro, an operator or a parenthesis is expected.
func (l *lexer) next() (token, *fault) {
	l.blank()
	t := token{kind: tokEnd, offset: l.pos, end: l.pos}
	if l.pos == len(l.text) {
		return t, nil
	}
	switch c := l.text[l.pos]; {
	case c == '(':
		return l.take(tokOpen, 1), nil
	case c == ')':
		return l.take(tokClose, 1), nil
	case c == ',':
		return l.take(tokComma, 1), nil
	case strings.IndexByte("=!<>", c) >= 0:
		n := 1
		if l.pos+1 < len(l.text) && l.text[l.pos+1] == '=' {
			n = 2
		}
		return l.take(tokOp, n), nil
	case nameByte(c):
		n := 0
		for l.pos+n < len(l.text) && nameByte(l.text[l.pos+n]) {
			n++
		}
		if arg := l.argument(l.pos + n); arg > 0 {
			n += arg
		}
		return l.take(tokWord, n), nil
	}
	r, _ := utf8.DecodeRuneInString(l.text[l.pos:])
	return t, &fault{l.pos, fmt.Sprintf("unexpected character %q", r), "a condition is made of comparisons, macros, and, or, not and parentheses"}
}

// argument returns the length of the [argument] of a field that begins at from, 0 where none does.
func (l *lexer) argument(from int) int {
	if from >= len(l.text) || l.text[from] != '[' {
		return 0
	}
	if end := strings.IndexByte(l.text[from:], ']'); end > 0 {
		return end + 1
	}
	return 0
}

func nameByte(c byte) bool {
	return c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func (l *lexer) take(k tokenKind, n int) token {
	t := token{kind: k, text: l.text[l.pos : l.pos+n], offset: l.pos, end: l.pos + n}
	l.pos += n
	return t
}

// value reads a token where a value is expected: quoted, or all up to a blank, a quote, a
// parenthesis, a comma or an equals sign.
func (l *lexer) value() (token, *fault) {
	l.blank()
	if l.pos == len(l.text) {
		return token{kind: tokEnd, offset: l.pos, end: l.pos}, nil
	}
	c := l.text[l.pos]
	if c == '"' || c == '\'' {
		return l.quoted(c)
	}
	n := 0
	for l.pos+n < len(l.text) && bareByte(l.text[l.pos+n]) {
		n++
	}
	if n == 0 {
		return l.next()
	}
	return l.take(tokWord, n), nil
}

func bareByte(c byte) bool { return !isBlank(c) && strings.IndexByte(`()"'=,`, c) < 0 }

func (l *lexer) quoted(delimiter byte) (token, *fault) {
	start := l.pos
	for i := start + 1; i < len(l.text); i++ {
		if l.text[i] != delimiter || l.text[i-1] == '\\' {
			continue
		}
		text, bad := unquote(l.text[start+1:i], delimiter)
		if bad != "" {
			return token{}, &fault{start, bad, `write a backslash as \\`}
		}
		l.pos = i + 1
		return token{kind: tokQuoted, text: text, offset: start, end: l.pos}, nil
	}
	return token{}, &fault{start, "the quote is not closed", fmt.Sprintf("end the value with %c", delimiter)}
}

// escapes are the characters that a backslash stands before in a quoted value. A blank is among
// them because a public rule writes one backslash so.
var escapes = map[byte]byte{
	'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', ' ': '\\', '\\': '\\', '/': '/', '"': '"', '\'': '\'',
}

// unquote replaces the escapes of a quoted value.
func unquote(s string, delimiter byte) (text, problem string) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, ""
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return "", "a backslash at the end of a quoted value"
		}
		c, ok := escapes[s[i]]
		if !ok || (s[i] == '"' || s[i] == '\'') && s[i] != delimiter {
			return "", fmt.Sprintf("unknown escape \\%c", s[i])
		}
		b.WriteByte(c)
	}
	return b.String(), ""
}
