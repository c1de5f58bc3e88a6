package kernel

import (
	"fmt"
	"strings"
	"testing"
)

// What texts remember is what was asked for, however many texts fall on one place.
func TestTexts(t *testing.T) {
	all := newTexts()
	for round := range 2 {
		for i := range 4 * len(all.last) {
			text := fmt.Sprintf("/a//b/../%d", i)
			if got := all.of([]byte(text)); got != text {
				t.Fatalf("round %d: %q, want %q", round, got, text)
			}
			if got, want := all.path([]byte(text)), fmt.Sprintf("/a/%d", i); got != want {
				t.Fatalf("round %d: %q, want %q", round, got, want)
			}
		}
	}
	long := "/" + strings.Repeat("x", 4*maxText)
	if got := all.path([]byte(long)); got != long {
		t.Errorf("a long path came out as %d bytes", len(got))
	}
	for _, one := range all.last {
		if len(one.text) > maxText {
			t.Errorf("%d bytes are remembered", len(one.text))
		}
	}
	if all.of(nil) != "" || all.path(nil) != "" {
		t.Error("no text is a text")
	}
	b := []byte("/usr/bin/python3")
	if n := testing.AllocsPerRun(100, func() { all.path(b) }); n > 0 {
		t.Errorf("%v allocations for a path that was there before", n)
	}
}
