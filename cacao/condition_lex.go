package cacao

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// tokenKind is the kind of a token of a condition.
type tokenKind int

const (
	endToken tokenKind = iota
	wordToken
	textToken   // '…'
	numberToken // 12, -1.5
	hexToken    // h'…', its value is bytes in hexadecimal
	binaryToken // b'…', likewise
	timeToken   // t'…'
	signToken   // operators and brackets
)

type token struct {
	kind     tokenKind
	text     string // decoded
	from, to int    // bytes in the condition
	double   bool   // written with double quotes, which only the loose dialect has
}

// ConditionError says where a condition is wrong.
type ConditionError struct {
	Column  int // in characters, from 1
	Message string
	broken  bool // the grammar was understood, but what it says cannot be done
}

func (e *ConditionError) Error() string { return fmt.Sprintf("column %d: %s", e.Column, e.Message) }

// lexer cuts a condition into tokens.
type lexer struct {
	text string
	at   int
}

func columnError(text string, at int, format string, args ...any) *ConditionError {
	return &ConditionError{Column: utf8.RuneCountInString(text[:min(at, len(text))]) + 1, Message: fmt.Sprintf(format, args...)}
}

// tokens cuts the whole text. A last token of kind endToken closes the list.
func tokens(text string) ([]token, error) {
	l := &lexer{text: text}
	var out []token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		out = append(out, t)
		if t.kind == endToken {
			return out, nil
		}
	}
}

// signs are the operators and brackets, the longer before those that they begin with.
var signs = []string{"==", "!=", "<>", "<=", ">=", "&&", "||", "=", "<", ">", "(", ")", "[", "]", ",", ":", ".", "!", "*"}

func (l *lexer) next() (token, error) {
	for l.at < len(l.text) {
		r, n := utf8.DecodeRuneInString(l.text[l.at:])
		if !unicode.IsSpace(r) {
			break
		}
		l.at += n
	}
	from, rest := l.at, l.text[l.at:]
	if rest == "" {
		return token{kind: endToken, from: from, to: from}, nil
	}
	if len(rest) > 1 && rest[1] == '\'' && strings.ContainsRune("hbt", rune(rest[0])) {
		l.at++
		return l.typed(rest[0], from)
	}
	switch c := rest[0]; {
	case c == '\'' || c == '"':
		text, err := l.quoted(c)
		return token{kind: textToken, text: text, from: from, to: l.at, double: c == '"'}, err
	case isDigit(c) || (c == '-' || c == '+') && len(rest) > 1 && isDigit(rest[1]):
		return l.number(from), nil
	case c == '_' || isLetter(c):
		l.at = from + wordEnd(rest)
		return token{kind: wordToken, text: l.text[from:l.at], from: from, to: l.at}, nil
	}
	for _, sign := range signs {
		if strings.HasPrefix(rest, sign) {
			l.at += len(sign)
			return token{kind: signToken, text: sign, from: from, to: l.at}, nil
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return token{}, columnError(l.text, from, "unexpected %q", r)
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func wordEnd(s string) int {
	for i := range len(s) {
		if c := s[i]; c != '_' && c != '-' && !isLetter(c) && !isDigit(c) {
			return i
		}
	}
	return len(s)
}

// number reads a number; digits that a letter follows, such as an address or a hash, become a word.
func (l *lexer) number(from int) token {
	i := from + 1
	for i < len(l.text) && isDigit(l.text[i]) {
		i++
	}
	if i+1 < len(l.text) && l.text[i] == '.' && isDigit(l.text[i+1]) {
		for i++; i < len(l.text) && isDigit(l.text[i]); {
			i++
		}
	}
	l.at = i
	if n := wordEnd(l.text[i:]); n > 0 {
		l.at += n
		return token{kind: wordToken, text: l.text[from:l.at], from: from, to: l.at}
	}
	return token{kind: numberToken, text: l.text[from:i], from: from, to: i}
}

// quoted reads a quoted text, in which a backslash stands before a quote or itself.
func (l *lexer) quoted(quote byte) (string, error) {
	var b strings.Builder
	for i := l.at + 1; i < len(l.text); i++ {
		switch c := l.text[i]; {
		case c == quote:
			l.at = i + 1
			return b.String(), nil
		case c == '\\' && i+1 < len(l.text) && (l.text[i+1] == quote || l.text[i+1] == '\\'):
			i++
			b.WriteByte(l.text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", columnError(l.text, l.at, "the quote is not closed")
}

// typed reads h'…', b'…' and t'…'.
func (l *lexer) typed(prefix byte, from int) (token, error) {
	text, err := l.quoted('\'')
	if err != nil {
		return token{}, err
	}
	broken := func(what string) (token, error) {
		e := columnError(l.text, from, "%q is no %s", text, what)
		e.broken = true
		return token{}, e
	}
	t := token{text: text, from: from, to: l.at}
	switch prefix {
	case 'h':
		t.kind = hexToken
		if _, err := hex.DecodeString(text); err != nil {
			return broken("hexadecimal text")
		}
	case 'b':
		t.kind = binaryToken
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return broken("base64")
		}
		t.text = hex.EncodeToString(raw)
	default:
		t.kind = timeToken
		if at, err := time.Parse(time.RFC3339Nano, text); err != nil || !strings.HasSuffix(text, "Z") || at.IsZero() {
			return broken("timestamp such as 2026-01-31T08:00:00Z")
		}
	}
	return t, nil
}
