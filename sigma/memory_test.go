package sigma

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// fixed is an event with one field, a list or a single value.
type fixed struct{ values []string }

func (f fixed) Value(uint16) Value {
	if len(f.values) == 1 {
		return Value{Kind: Text, Str: f.values[0]}
	}
	return Value{Kind: List, List: f.values}
}
func (fixed) Extra(string) Value                 { return Value{} }
func (fixed) Logsources() []Logsource            { return []Logsource{{Product: "linux"}} }
func (fixed) EachText(func(uint16, string) bool) {}

type oneField struct{}

func (oneField) Field(name string) (uint16, bool) { return 0, name == "f" }

// What an engine remembers of values changes nothing: it says the same as one that is new, for few
// values, for more than it remembers, for long ones and for lists whose values share a place.
func TestMemoryChangesNothing(t *testing.T) {
	src := `title: %d
logsource: {product: linux}
detection:
  a: {f|endswith: ['/x%d', '%d', 'Q']}
  b: {f|contains: ['b%d', 'zz']}
  c: {f|re: '%d[a-c]+$'}
  condition: (a or b) and not c
`
	var rules []*Rule
	for n := range 12 {
		parsed, err := Parse("r.yml", []byte(fmt.Sprintf(src, n, n, n, n, n)))
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, parsed.Rules...)
	}
	old, err := Compile(rules, oneField{})
	if err != nil {
		t.Fatal(err)
	}
	titles := func(e *Engine, ev Event) (out []string) {
		e.Match(ev, func(r *Rule) { out = append(out, r.Title) })
		return out
	}
	r := rand.New(rand.NewPCG(7, 8))
	value := func(kinds int) string {
		n := r.IntN(kinds)
		s := fmt.Sprintf("/x%d b%d %dabc"[:4+n%9], n%13, n%7, n)
		if n%50 == 0 {
			s += strings.Repeat("y", memoLength) + "zz"
		}
		return strings.Repeat("p", n%2*memoLeast) + s + strings.Repeat("Q", n%3) + fmt.Sprint(n)
	}
	for round, kinds := range []int{5, 200, 5, 100_000, 5} {
		for range 3000 {
			ev := fixed{}
			for range 1 + r.IntN(3)*(round%2) {
				ev.values = append(ev.values, value(kinds))
			}
			fresh, err := Compile(rules[:1+r.IntN(len(rules))], oneField{})
			if err != nil {
				t.Fatal(err)
			}
			want := titles(fresh, ev)
			got := titles(old, ev)
			got = slices.DeleteFunc(got, func(s string) bool {
				return !slices.ContainsFunc(fresh.Rules(), func(r *Rule) bool { return r.Title == s })
			})
			if !slices.Equal(got, want) {
				t.Fatalf("%q: %v, want %v", ev.values, got, want)
			}
		}
	}
}

func TestMemoryRests(t *testing.T) {
	m := &memory{}
	seed := maphash.MakeSeed()
	taken := 0
	for n := range 3 * memoTrial {
		if m.look(seed, uint32(n+1), fmt.Sprint("value ", n)) != nil {
			taken++
		}
	}
	if taken != memoTrial {
		t.Errorf("%d values were remembered that never came again, want %d", taken, memoTrial)
	}
}
