package sigma

import (
	"strings"
)

// valueKind tells what a value looked like in the rule.
type valueKind uint8

const (
	valueText valueKind = iota
	valueNumber
	valueBool
	valueNull
)

// value is one value of an item, with its source text: 00000429 stays eight characters.
type value struct {
	kind valueKind
	text string
	pos  position
}

// wild is what a token stands for.
type wild uint8

const (
	literal  wild = iota
	anyRun        // *
	anyRune       // ?
	anyDash       // one of - / – — ―
	variable      // %name%, to be filled
)

// token is a part of a pattern. Only literals and variables have text.
type token struct {
	wild wild
	text string
}

// pattern is a text with wildcards. Neighbouring literals are one, neighbouring runs are one.
type pattern []token

// parsePattern reads wildcards and their escapes: a backslash escapes *, ? and \, and is itself
// before anything else. With vars, %name% is a variable and \% a percent sign.
func parsePattern(s string, vars bool) pattern {
	var p pattern
	var lit strings.Builder
	flush := func(t token) {
		p = p.add(token{text: lit.String()})
		lit.Reset()
		p = p.add(t)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s) && (strings.IndexByte(`*?\`, s[i+1]) >= 0 || vars && s[i+1] == '%'):
			i++
			lit.WriteByte(s[i])
		case c == '*':
			flush(token{wild: anyRun})
		case c == '?':
			flush(token{wild: anyRune})
		case c == '%' && vars && variableName(s[i:]) != "":
			name := variableName(s[i:])
			flush(token{wild: variable, text: name})
			i += len(name) + 1
		default:
			lit.WriteByte(c)
		}
	}
	flush(token{})
	return p
}

// variableName returns the name if s begins with %name%.
func variableName(s string) string {
	end := strings.IndexByte(s[1:], '%')
	if end < 1 {
		return ""
	}
	name := s[1 : 1+end]
	for i := range len(name) {
		if c := name[i]; !wordByte(c) && c != '-' && c != '.' {
			return ""
		}
	}
	return name
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// add returns p followed by t, joined with its last token where both are of a kind that joins.
func (p pattern) add(t token) pattern {
	if t.wild == literal && t.text == "" {
		return p
	}
	if n := len(p); n > 0 && p[n-1].wild == t.wild {
		switch t.wild {
		case literal:
			p[n-1].text += t.text
			return p
		case anyRun:
			return p
		}
	}
	return append(p, t)
}

// join returns p followed by q as a new pattern.
func (p pattern) join(q pattern) pattern {
	out := append(pattern(nil), p...)
	for _, t := range q {
		out = out.add(t)
	}
	return out
}

// at returns p with runs at the sides that a place leaves open.
func (p pattern) at(w place) pattern {
	run := pattern{{wild: anyRun}}
	if w == anywhere || w == atEnd {
		p = run.join(p)
	}
	if w == anywhere || w == atStart {
		p = p.join(run)
	}
	return p
}

// fold returns p with its literals in the case that values are compared in.
func (p pattern) fold() pattern {
	out := make(pattern, len(p))
	for i, t := range p {
		if t.wild == literal {
			t.text = foldText(t.text)
		}
		out[i] = t
	}
	return out
}
