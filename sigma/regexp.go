package sigma

import (
	"regexp"
	"regexp/syntax"
	"strings"
)

// maxRegexp bounds the length of a regular expression.
const maxRegexp = 4096

// lacking are constructs of other regular expression engines that cannot be evaluated in linear
// time, or that RE2 does not know.
var lacking = []struct{ sign, name, hint string }{
	{"(?=", "look-ahead", "test for the second text with another key"},
	{"(?!", "negative look-ahead", "exclude with a second identifier and not"},
	{"(?<=", "look-behind", "write the text before into the expression"},
	{"(?<!", "negative look-behind", "exclude with a second identifier and not"},
	{"(?>", "atomic group", "use a plain group (?:…)"},
	{"(?#", "comment", "use a YAML comment"},
	{"(?(", "conditional group", "write two expressions"},
	{"(?R", "recursion", "write the repetition out"},
	{"(?|", "branch reset group", "use a plain group (?:…)"},
	{`\k`, "back-reference", "write the text out"},
	{`\g`, "back-reference", "write the text out"},
	{`\G`, "anchor at the last match", "use ^"},
	{`\K`, "match reset", "remove it"},
	{`\R`, `line break class \R`, `use \r?\n`},
}

// respelled are escapes that RE2 knows by another name.
var respelled = map[byte]string{'Z': `\n?\z`, 'e': `\x1b`, 'h': `[ \t]`}

func (it *item) regexpTest(t *test, v value) *refusal {
	if len(v.text) > maxRegexp {
		return refuse("split it into several values", "the regular expression is longer than %d bytes", maxRegexp)
	}
	source, err := respell(v.text)
	if err != nil {
		return err
	}
	if it.flags != "" {
		source = "(?" + it.flags + ")" + source
	}
	re, bad := regexp.Compile(source)
	if bad != nil {
		msg := strings.TrimPrefix(bad.Error(), "error parsing regexp: ")
		return refuse(`the syntax is that of RE2: . ^ $ * + ? {n,m} [] () | and \d \w \s`, "regular expression: %s", msg)
	}
	t.kind, t.text, t.re = matchesRegexp, source, re
	if tree, bad := syntax.Parse(source, syntax.Perl); bad == nil {
		t.least = leastBytes(tree)
	}
	return nil
}

// respell returns s as RE2 writes it, and refuses what RE2 lacks, by its name.
func respell(s string) (string, *refusal) {
	var b strings.Builder
	class := false
	for i := 0; i < len(s); i++ {
		for _, l := range lacking {
			if strings.HasPrefix(s[i:], l.sign) && !class {
				return "", refuse(l.hint, "regular expression: %s %s… cannot be evaluated in linear time or is unknown", l.name, l.sign)
			}
		}
		c := s[i]
		if c == '\\' && i+1 < len(s) {
			i++
			next := s[i]
			switch with, ok := respelled[next]; {
			case next >= '1' && next <= '9' && !class:
				return "", refuse("write the text out", `regular expression: back-reference \%c cannot be evaluated in linear time`, next)
			case ok && !class:
				b.WriteString(with)
			default:
				b.WriteByte(c)
				b.WriteByte(next)
			}
			continue
		}
		if c == '[' && !class {
			class = true
			b.WriteByte(c)
			for _, first := range []byte{'^', ']'} { // a bracket in first place is itself
				if i+1 < len(s) && s[i+1] == first {
					b.WriteByte(first)
					i++
				}
			}
			continue
		}
		if c == ']' {
			class = false
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}
