package kernel

import (
	"os"
	"slices"
	"testing"
)

// Each feature that programs of its own or an act make run has a cost, and none has one twice.
func TestMeasure(t *testing.T) {
	require(t, "root", os.Geteuid() == 0, "needs root to load eBPF programs")
	require(t, "bpf", usable() == nil, "needs a kernel that takes eBPF programs")
	costs, err := Measure()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range costs {
		if c.Nanoseconds <= 0 || c.Runs == 0 {
			t.Errorf("%+v: want what it takes", c)
		}
		if slices.Contains(got, c.Program) {
			t.Errorf("%s is measured twice", c.Program)
		}
		got = append(got, c.Program)
	}
	for _, want := range []string{"dispatch", "on_exec", "on_fork", "on_exit", "on_open", "on_rename", "on_connect", "on_listen", "on_accept"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s was not measured; %v were", want, got)
		}
	}
}
