package sigma

import (
	"encoding/base64"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxVariants bounds what one value may turn into.
const maxVariants = 4096

// encodeStep returns the step that replaces plain texts by their encodings.
func encodeStep(encode func(string) []string) step {
	return func(in []pattern, _ placeholders) ([]pattern, *refusal) {
		var out []pattern
		for _, p := range in {
			texts, ok := p.texts()
			if !ok {
				return nil, refuse(`write \* and \? for the characters themselves`, "a text with wildcards or placeholders cannot be encoded")
			}
			for _, t := range texts {
				for _, e := range encode(t) {
					out = append(out, pattern{}.add(token{text: e}))
				}
			}
			if len(out) > maxVariants {
				return nil, refuse("use fewer dashes or modifiers", "the value stands for more than %d texts", maxVariants)
			}
		}
		return out, nil
	}
}

// texts returns all texts that p stands for, if it has no wildcards but dashes.
func (p pattern) texts() ([]string, bool) {
	out := []string{""}
	for _, t := range p {
		switch t.wild {
		case literal:
			for i := range out {
				out[i] += t.text
			}
		case anyDash:
			if len(out) > maxVariants {
				return out, true // refused by the caller
			}
			var next []string
			for _, o := range out {
				for _, d := range dashRunes {
					next = append(next, o+string(d))
				}
			}
			out = next
		default:
			return nil, false
		}
	}
	return out, true
}

func base64Text(s string) []string {
	return []string{base64.StdEncoding.EncodeToString([]byte(s))}
}

// base64Shifts returns what the encoding of a longer text holds if s stands in it, for each of
// the three positions it may have, without the characters that depend on its neighbours.
func base64Shifts(s string) []string {
	var out []string
	for shift := range 3 {
		e := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", shift) + s))
		first := [3]int{0, 2, 3}[shift]
		last := len(e) - [3]int{0, 3, 2}[(len(s)+shift)%3]
		if first < last {
			out = append(out, e[first:last])
		}
	}
	return out
}

func utf16le(s string) []string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(s)) {
		b.WriteByte(byte(u))
		b.WriteByte(byte(u >> 8))
	}
	return []string{b.String()}
}

func utf16be(s string) []string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(s)) {
		b.WriteByte(byte(u >> 8))
		b.WriteByte(byte(u))
	}
	return []string{b.String()}
}

func utf16bom(s string) []string { return []string{"\xff\xfe" + utf16le(s)[0]} }

// dashRunes are what a dash before an option may be written as.
const dashRunes = "-/–—―"

func isDash(r rune) bool { return strings.ContainsRune(dashRunes, r) }

// dashes replaces each - or / that begins a word by any dash.
func dashes(in []pattern, _ placeholders) ([]pattern, *refusal) {
	out := make([]pattern, len(in))
	for i, p := range in {
		for _, t := range p {
			if t.wild == literal {
				out[i] = out[i].dashed(t.text)
			} else {
				out[i] = out[i].add(t)
			}
		}
	}
	return out, nil
}

// dashed returns p followed by s with its option dashes open.
func (p pattern) dashed(s string) pattern {
	start := 0
	for i := range len(s) {
		if s[i] != '-' && s[i] != '/' {
			continue
		}
		before, _ := utf8.DecodeLastRuneInString(s[:i])
		after, _ := utf8.DecodeRuneInString(s[i+1:])
		if !wordRune(before) && wordRune(after) {
			p = p.add(token{text: s[start:i]}).add(token{wild: anyDash})
			start = i + 1
		}
	}
	return p.add(token{text: s[start:]})
}

func wordRune(r rune) bool {
	return r != utf8.RuneError && (r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r))
}

// placeholders are the configured values of %name%.
type placeholders map[string][]string

// fill replaces placeholders by their values, which are alternatives.
func fill(in []pattern, values placeholders) ([]pattern, *refusal) {
	var out []pattern
	for _, p := range in {
		filled := []pattern{nil}
		for _, t := range p {
			choices := []pattern{{t}}
			if t.wild == variable {
				list, ok := values[t.text]
				if !ok || len(list) == 0 {
					return nil, refuse("configure values for it, or remove the rule", "placeholder %%%s%% has no values", t.text)
				}
				choices = nil
				for _, v := range list {
					choices = append(choices, parsePattern(v, false))
				}
			}
			var next []pattern
			for _, f := range filled {
				for _, c := range choices {
					next = append(next, f.join(c))
				}
			}
			if filled = next; len(filled) > maxVariants {
				return nil, refuse("use fewer placeholders in one value", "the value stands for more than %d texts", maxVariants)
			}
		}
		out = append(out, filled...)
	}
	return out, nil
}
