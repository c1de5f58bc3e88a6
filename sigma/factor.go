package sigma

import (
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A factor is a run of neighbouring bytes, each out of a set, that stands in the folded text
// wherever a regular expression matches: what a witness can be where no literal is long enough.
// `\s[0-9a-f]{64}` has no literal, and a factor that ordinary texts do not have.

// byteSet is a set of bytes of folded text.
type byteSet [4]uint64

func (b *byteSet) add(c byte)      { b[c>>6] |= 1 << (c & 63) }
func (b *byteSet) has(c byte) bool { return b[c>>6]>>(c&63)&1 == 1 }

// factor is a run of sets.
type factor []byteSet

// String writes the run, a class for each byte.
func (f factor) String() string {
	var b strings.Builder
	for _, set := range f {
		b.WriteByte('[')
		for c := range 256 {
			if set.has(byte(c)) {
				b.WriteByte(byte(c))
			}
		}
		b.WriteByte(']')
	}
	return b.String()
}

const (
	factorLength = 12 // longest run that is looked for
	factorWays   = 8  // most runs one of which must stand there
)

// front is how a match begins: one of some runs. It is all of the match where exact.
type front struct {
	ways  []factor
	exact bool
}

var blank = front{ways: []factor{{}}, exact: true}

// factors returns runs one of which stands where re matches, those that few texts have, or none.
func factors(re *syntax.Regexp) []factor {
	switch re.Op {
	case syntax.OpCapture, syntax.OpPlus:
		return factors(re.Sub[0])
	case syntax.OpConcat:
		var best []factor
		for i := range re.Sub {
			best = rarerFactors(best, frontOf(re.Sub[i:]...).ways)
			best = rarerFactors(best, factors(re.Sub[i]))
		}
		return best
	case syntax.OpRepeat:
		if re.Min > 0 {
			return rarerFactors(rarerFactors(nil, frontOf(re).ways), factors(re.Sub[0]))
		}
		return nil
	}
	return rarerFactors(nil, frontOf(re).ways)
}

// frontOf returns how a match of all of list, one after the other, begins.
func frontOf(list ...*syntax.Regexp) front {
	f := blank
	for _, re := range list {
		if !f.exact {
			break
		}
		f = f.then(frontOfOne(re))
	}
	return f
}

func frontOfOne(re *syntax.Regexp) front {
	switch re.Op {
	case syntax.OpLiteral:
		f := blank
		for _, r := range re.Rune {
			set, ok := setOf([]rune{r, r}, re.Flags&syntax.FoldCase != 0)
			if !ok {
				return front{ways: f.ways}
			}
			f = f.then(front{ways: []factor{{set}}, exact: true})
		}
		return f
	case syntax.OpCharClass:
		if set, ok := setOf(re.Rune, false); ok {
			return front{ways: []factor{{set}}, exact: true}
		}
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return blank
	case syntax.OpCapture:
		return frontOf(re.Sub[0])
	case syntax.OpConcat:
		return frontOf(re.Sub...)
	case syntax.OpPlus:
		return front{ways: frontOf(re.Sub[0]).ways}
	case syntax.OpQuest:
		if f := frontOf(re.Sub[0]); f.exact {
			return front{ways: append(append([]factor(nil), f.ways...), nil), exact: true}
		}
	case syntax.OpRepeat:
		f, one := blank, frontOf(re.Sub[0])
		for range min(re.Min, factorLength) {
			f = f.then(one)
		}
		f.exact = f.exact && re.Min == re.Max && re.Min <= factorLength
		return f
	case syntax.OpAlternate:
		all := front{exact: true}
		for _, sub := range re.Sub {
			f := frontOf(sub)
			all.ways, all.exact = append(all.ways, f.ways...), all.exact && f.exact
		}
		if len(all.ways) <= factorWays {
			return all
		}
	}
	return front{ways: blank.ways}
}

// then returns f followed by g.
func (f front) then(g front) front {
	if !f.exact {
		return f
	}
	if len(f.ways)*len(g.ways) > factorWays {
		return front{ways: f.ways}
	}
	out := front{exact: g.exact}
	for _, a := range f.ways {
		for _, b := range g.ways {
			way := append(append(factor(nil), a...), b...)
			if len(way) > factorLength {
				way, out.exact = way[:factorLength], false
			}
			out.ways = append(out.ways, way)
		}
	}
	return out
}

// setOf returns the folded bytes of runes, given as ranges. It reports false where one is not ASCII:
// in folded text it may be several bytes, or another letter.
func setOf(ranges []rune, ignoreCase bool) (set byteSet, ok bool) {
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i+1] >= utf8.RuneSelf {
			return set, false
		}
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			if ignoreCase && !foldsAlone(r) {
				return set, false
			}
			set.add(byte(unicode.ToLower(r)))
		}
	}
	return set, true
}

// trim cuts runs that few texts have anyway: short ones cost less to look for.
func trim(ways []factor) []factor {
	const rare = 0.00001
	for i, way := range ways {
		n := 1
		for n < len(way) && share([]factor{way[:n]}) > rare {
			n++
		}
		ways[i] = way[:n]
	}
	return ways
}

// share guesses which share of texts has one of the runs.
func share(ways []factor) float64 {
	sum := 0.0
	for _, way := range ways {
		p := 64.0 // places in a text
		for _, set := range way {
			p *= set.frequency()
		}
		sum += min(p, 1)
	}
	return min(sum, 1)
}

// frequency guesses how often a byte of a command line or path is in the set.
func (b *byteSet) frequency() float64 {
	sum := 0.0
	for c := range 256 {
		if !b.has(byte(c)) {
			continue
		}
		switch {
		case c >= 'a' && c <= 'z':
			sum += 0.024
		case c >= '0' && c <= '9', c == '.', c == '_':
			sum += 0.012
		case c == ' ', c == '-', c == '/':
			sum += 0.04
		default:
			sum += 0.002
		}
	}
	return min(sum, 1)
}

// rarerFactors returns the runs that fewer texts have. Runs that most have are none.
func rarerFactors(a, b []factor) []factor {
	for _, way := range b {
		if len(way) == 0 {
			return a
		}
	}
	if len(b) == 0 || share(b) > 0.5 || len(a) > 0 && share(a) <= share(b) {
		return a
	}
	return b
}

// leastBytes returns the least number of bytes that a match of re has.
func leastBytes(re *syntax.Regexp) int {
	const most = 1 << 20
	sum := 0
	switch re.Op {
	case syntax.OpLiteral:
		sum = len(re.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		sum = 1
	case syntax.OpCapture, syntax.OpPlus:
		sum = leastBytes(re.Sub[0])
	case syntax.OpRepeat:
		sum = min(re.Min, most) * leastBytes(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			sum += leastBytes(sub)
		}
	case syntax.OpAlternate:
		sum = most
		for _, sub := range re.Sub {
			sum = min(sum, leastBytes(sub))
		}
	}
	return min(sum, most)
}
