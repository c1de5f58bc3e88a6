package respond

import (
	"errors"
	"testing"
	"time"
)

// A command that comes again just when its run has come to rest opens none, and what that run holds is
// taken back in time all the same.
func TestACommandThatComesAgainLosesNoUndo(t *testing.T) {
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("stop", "process", "")), nil)
	run, err := r.Order(ctx, commanded("c1", "token:soar", freezeIt))
	if err != nil {
		t.Fatal(err)
	}
	run = r.ends(t, run.ID, Succeeded)
	due := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.live[run.ID] == nil && r.due[run.ID].Equal(run.Holds[0].Until)
	}
	wait := func(what string) {
		t.Helper()
		for n := 0; !due(); n++ {
			if n == 5000 {
				t.Fatalf("not so: %s", what)
			}
			time.Sleep(time.Millisecond)
		}
	}
	wait("the run rests")
	again, err := r.Order(ctx, commanded("c2", "token:soar", freezeIt))
	if err != nil {
		t.Fatal(err)
	}
	second := r.newRun(run.ID, again.Plan, nil, "token:soar", "")
	if _, err := r.open(ctx, second, Waiting); !errors.Is(err, ErrConflict) {
		t.Fatalf("a second run of one id: %v", err)
	}
	wait("what is owed is still due")
}
