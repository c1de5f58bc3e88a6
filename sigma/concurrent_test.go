package sigma_test

import (
	"sync"
	"testing"

	"picket/sigma"
)

func TestMatchFromManyGoroutines(t *testing.T) {
	e := compile(t, rule("a: {Image: x, CommandLine|contains: É}\nk: [word]\ncondition: a or k"), sigma.Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 500 {
				ev := event(map[string]any{"Image": "X", "CommandLine": "aéb"})
				if (i+j)%2 == 0 {
					ev = event(map[string]any{"Image": "y", "CommandLine": "aéb"})
				}
				ev.sources[0].Service = string(rune('a' + j%20))
				if got := len(hits(e, ev)); got != (i+j)%2 {
					t.Errorf("%d rules fired", got)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestMatchWithinHit(t *testing.T) {
	e := compile(t, rule("a: {Image: x}\ncondition: a"), sigma.Options{})
	inner := 0
	e.Match(event(map[string]any{"Image": "x"}), func(*sigma.Rule) {
		e.Match(event(map[string]any{"Image": "X"}), func(*sigma.Rule) { inner++ })
	})
	if inner != 1 {
		t.Errorf("%d rules fired within hit", inner)
	}
}
