package sigma

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"strings"
	"testing"
)

func TestFactors(t *testing.T) {
	for _, c := range []struct{ re, want string }{
		{`"(?:\{\d\})+"\s*-f`, `["][{][0123456789][}]`},
		{`x(1|23)y`, `[x][1][y] [x][2][3][y]`},
		{`-(W|R)\s?A`, "[-][rw][\t\n\f\r ][a] [-][rw][a]"},
		{`[0-9a-f]{64}`, strings.Repeat(`[0123456789abcdef]`, 12)},
		{`(?i)\$\{e?n`, `[$][{][e][n] [$][{][n]`},
		{`a*b*`, ``},
		{`.*`, ``},
		{`é{3}`, ``},
		{`(?i)sk`, ``}, // long s and the Kelvin sign match too
		{`(a|b|c|d|e)(|x)\\[0-9]`, `[abcde][\][0123456789] [abcde][x][\][0123456789]`},
	} {
		re, err := syntax.Parse(c.re, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		var ways []string
		for _, way := range factors(re) {
			ways = append(ways, way.String())
		}
		if got := strings.Join(ways, " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.re, got, c.want)
		}
	}
}

func TestLeastBytes(t *testing.T) {
	for re, want := range map[string]int{`abc`: 3, `a?b+c*`: 1, `(ab|c){3}`: 3, `[^/]{100,}$`: 100, `^$`: 0, `é`: 1} {
		tree, err := syntax.Parse(re, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		if got := leastBytes(tree); got != want {
			t.Errorf("%s: %d, want %d", re, got, want)
		}
	}
}

// soundFactors fails where re matches text and no factor stands in it: a rule would be missed.
func soundFactors(t *testing.T, source, text string) {
	t.Helper()
	re, err := regexp.Compile(source)
	if err != nil || !re.MatchString(text) {
		return
	}
	tree, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return
	}
	if n := leastBytes(tree); len(text) < n {
		t.Fatalf("%q matches %q, which is shorter than %d", source, text, n)
	}
	ways := trim(factors(tree))
	if len(ways) == 0 {
		return
	}
	var indexes []*shiftIndex
	for _, way := range ways {
		if len(way) == 0 {
			t.Fatalf("%q: an empty factor", source)
		}
		x := &shiftIndex{}
		x.add(way, 1)
		indexes = append(indexes, x)
	}
	for _, x := range indexes {
		if len(x.find(nil, foldText(text))) > 0 {
			return
		}
	}
	t.Fatalf("%q matches %q and none of its factors does", source, text)
}

func FuzzFactors(f *testing.F) {
	for _, c := range [][2]string{
		{`-(W|R)\s?(\s|"|')([0-9a-fA-F]{2}\s?){2,20}`, `-W "0a0b"`},
		{`(?i)\$\{e?n`, "${EN"},
		{`\bx{2}`, "yxx xx"},
		{`(?m)^a\s`, "b\na "},
		{`(?i)k{3}`, "k\u212ak"},
		{`[^a]b`, "\xffb"},
		{`(a|b)+c|d{3,}`, "ddd"},
		{`(?s)a.b`, "a\nb"},
	} {
		f.Add(c[0], c[1])
	}
	f.Fuzz(func(t *testing.T, source, text string) {
		if len(source) < 200 && len(text) < 1000 {
			soundFactors(t, source, text)
		}
	})
}

// Random expressions of the parts that factors are made of, on texts of few letters, so that many match.
func TestFactorsAreSound(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	parts := []string{`a`, `b`, `[ab]`, `[^a]`, `(?:ab|b)`, `a?`, `b*`, `(?:ab)+`, `a{2}`, `[ab]{2,3}`, `\b`, `(?i:A)`, `é`, `.`, `(?:|a)`, `(?:a?b){2}`}
	for range 20_000 {
		var source, text strings.Builder
		for range 1 + r.IntN(5) {
			source.WriteString(parts[r.IntN(len(parts))])
		}
		for range r.IntN(9) {
			text.WriteString([]string{"a", "b", "A", "B", " ", "é", "\xff"}[r.IntN(7)])
		}
		soundFactors(t, source.String(), text.String())
	}
}

// A shift index finds exactly the runs that stand in a text.
func TestShiftIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		x := &shiftIndex{}
		var ways []factor
		for n := int32(0); ; n++ {
			var way factor
			for range 1 + r.IntN(5) {
				var set byteSet
				for range 1 + r.IntN(2) {
					set.add("abc"[r.IntN(3)])
				}
				way = append(way, set)
			}
			if !x.add(way, n) {
				break
			}
			ways = append(ways, way)
		}
		text := ""
		for range r.IntN(12) {
			text += fmt.Sprintf("%c", "abcd"[r.IntN(4)])
		}
		got := map[int32]bool{}
		for _, n := range x.find(nil, text) {
			got[n] = true
		}
		for n, way := range ways {
			if want := regexp.MustCompile(way.String()).MatchString(text); got[int32(n)] != want {
				t.Fatalf("%s in %q: %t, want %t", way.String(), text, !want, want)
			}
		}
	}
}
