package sigma

import (
	"math"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A witness of a rule is a set of texts, at least one of which stands in an event that the rule
// fires on; where no text is certain, a field that is there takes its place. A rule none of whose
// witness is seen need not be evaluated. Witnesses come from the tree of the condition, never from
// the detections alone: "a or not b" has none.

// need is one text of a witness, folded.
type need struct {
	slot   int32
	text   string
	whole  bool   // it is all of the field, not a part
	prefix bool   // the field begins with it
	suffix bool   // the field ends with it
	way    factor // instead of a text
	any    bool   // instead of a text: the field is there, whatever it holds
	exact  bool   // where it stands, and only there, the test numbered atom is true
	atom   int32
}

// in reports whether a folded value of the field has it. It is slow, for telling and measuring.
func (n need) in(text string) bool {
	switch {
	case n.any:
		return false // it is not about the text
	case n.way != nil:
		x := &shiftIndex{}
		x.add(n.way, 0)
		return len(x.find(nil, text)) > 0
	case n.whole:
		return text == n.text
	case n.prefix:
		return strings.HasPrefix(text, n.text)
	case n.suffix:
		return strings.HasSuffix(text, n.text)
	}
	return strings.Contains(text, n.text)
}

// least is the shortest part of a field worth looking for.
const least = 2

// usual is parts of paths and command lines that are nothing out of the ordinary, however long.
const usual = " /usr/local/bin/python3 /usr/bin/bash -c /bin/sh -c /usr/sbin/ /usr/lib/ /var/log/ /var/lib/ /tmp/ /etc/ /home/ /opt/ /dev/null" +
	" | sh && bash -s && python -m >> 2>&1 http:// https:// localhost --config /root/ .conf .json .yaml .log .txt .tar.gz" +
	" c:\\windows\\system32\\ c:\\program files (x86)\\ c:\\program files\\ c:\\users\\ \\appdata\\local\\temp\\ .exe .dll cmd.exe /c powershell.exe "

// rarity guesses which share of events has the text.
func (n need) rarity() float64 {
	if n.any { // worse than many short texts, which are rarer than they look
		return 100
	}
	if n.way != nil {
		return share([]factor{n.way})
	}
	share := math.Pow(0.62, float64(min(len(n.text), 12)))
	if strings.Contains(usual, n.text) {
		share = max(share, 0.2)
	}
	switch {
	case n.whole:
		share /= 10
	case n.suffix:
		share /= 5
	case n.prefix:
		share /= 2
	}
	return share
}

// witness returns the cheapest witness of t, or none.
func (c *compiler) witness(t *tree) []need {
	switch t.op {
	case opLeaf:
		a := &c.engine.atoms[t.atom]
		needs := a.witness()
		if len(needs) == 0 && a.kind != isNull && a.field != "" {
			needs = []need{{slot: a.slot, any: true}}
		}
		for i := range needs {
			needs[i].atom = t.atom
		}
		return needs
	case opNot:
		return nil
	case opOr:
		var all []need
		for i := range t.kids {
			kid := c.witness(&t.kids[i])
			if len(kid) == 0 {
				return nil
			}
			all = append(all, kid...)
		}
		return all
	}
	var best []need
	for i := range t.kids {
		best = rarer(best, c.witness(&t.kids[i]))
	}
	return best
}

// rarer returns the witness that fewer events are expected to have.
func rarer(a, b []need) []need {
	if len(a) == 0 || len(b) > 0 && total(b) < total(a) {
		return b
	}
	return a
}

func total(needs []need) float64 {
	sum := 0.0
	for _, n := range needs {
		sum += n.rarity()
	}
	return sum
}

// witness returns the texts one of which the field of an atom must hold, or none.
func (a *atom) witness() []need {
	part := func(text string) []need {
		if a.cased {
			text = longestASCII(text)
		}
		if text = foldText(text); len(text) < least {
			return nil
		}
		return []need{{slot: a.slot, text: text}}
	}
	switch a.kind {
	case equals:
		if !a.cased && a.field != "" {
			return []need{{slot: a.slot, text: a.text, whole: true, exact: true}}
		}
		return part(a.text)
	case contains:
		needs := part(a.text)
		for i := range needs {
			needs[i].exact = !a.cased
		}
		return needs
	case hasPrefix, hasSuffix:
		needs := part(a.text)
		if len(needs) == 1 && len(needs[0].text) == len(foldText(a.text)) {
			needs[0].prefix, needs[0].suffix, needs[0].exact = a.kind == hasPrefix, a.kind == hasSuffix, !a.cased
		}
		return needs
	case matchesPattern:
		var best []need
		for _, t := range a.pat {
			if t.wild == literal {
				best = rarer(best, part(t.text))
			}
		}
		return best
	case matchesRegexp:
		re, err := syntax.Parse(a.text, syntax.Perl)
		if err != nil {
			return nil
		}
		best := a.required(re)
		var ways []need
		for _, way := range trim(factors(re)) {
			ways = append(ways, need{slot: a.slot, way: way})
		}
		return rarer(best, ways)
	}
	return nil
}

// longestASCII returns the longest part of s whose folding does not depend on what is around it.
func longestASCII(s string) string {
	best, start := "", 0
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] >= utf8.RuneSelf {
			if i-start > len(best) {
				best = s[start:i]
			}
			start = i + 1
		}
	}
	return best
}

// required returns texts one of which must stand where re matches.
func (a *atom) required(re *syntax.Regexp) []need {
	switch re.Op {
	case syntax.OpLiteral:
		text := longestSafe(re.Rune, re.Flags&syntax.FoldCase != 0)
		if len(text) < least {
			return nil
		}
		return []need{{slot: a.slot, text: text}}
	case syntax.OpCapture, syntax.OpPlus:
		return a.required(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return a.required(re.Sub[0])
		}
	case syntax.OpConcat:
		var best []need
		for _, sub := range re.Sub {
			best = rarer(best, a.required(sub))
		}
		return best
	case syntax.OpAlternate:
		var all []need
		for _, sub := range re.Sub {
			one := a.required(sub)
			if len(one) == 0 {
				return nil
			}
			all = append(all, one...)
		}
		return all
	}
	return nil
}

// longestSafe returns the longest part of a literal that is in the folded text wherever the
// literal matches. Ignoring case, a regular expression takes more runes for one than folding.
func longestSafe(runes []rune, ignoreCase bool) string {
	best, part := "", ""
	for _, r := range runes {
		if r == utf8.RuneError || ignoreCase && !foldsAlone(r) {
			part = ""
			continue
		}
		if part += string(unicode.ToLower(r)); len(part) > len(best) {
			best = part
		}
	}
	return best
}

// foldsAlone reports whether all runes equal to r but for case fold to one.
func foldsAlone(r rune) bool {
	for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
		if unicode.ToLower(o) != unicode.ToLower(r) {
			return false
		}
	}
	return true
}
