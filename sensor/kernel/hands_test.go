package kernel

import (
	"testing"

	"picket/event"
)

// TestNobodyHoldsLessThanNothing lets go of more than was taken: the next agent must not think that
// all the numbers there are were lost.
func TestNobodyHoldsLessThanNothing(t *testing.T) {
	opts := Options{Demand: only(event.ProcessStart), Pins: bpfDir(t)}
	first, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	first.Hold(1)
	first.Hold(-3)
	first.Hold(2)
	if err := first.Leave(); err != nil {
		t.Fatal(err)
	}
	next, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if got := next.Taken().Lost; got != 2 {
		t.Errorf("%d records are lost, want the 2 that were held", got)
	}
}
