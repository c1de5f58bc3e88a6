package action

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// doubtful is a deed of which nobody can say whether it holds: neither when it is done, nor later.
type doubtful struct{ deed }

func (d doubtful) Do(ctx context.Context, r *Request) (*Result, error) {
	res, err := d.deed.Do(ctx, r)
	if err == nil {
		res.State, res.Detail = Unknown, "a part of it may hold"
	}
	return res, err
}

func (d doubtful) Verify(context.Context, *Request) (bool, string, error) {
	return false, "", errors.New("it cannot be told")
}

// What may hold is taken back when its time is over, as what holds is: by the agent that did it, and by
// the next one.
func TestWhatMayHoldEndsInTime(t *testing.T) {
	for name, restart := range map[string]bool{"the same agent": false, "the next agent": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "f")
			told := make(chan Result, 4)
			begin := func() (*Local, func()) {
				l, err := Open(Options{Dir: dir, Host: "h", BootID: "b", Told: func(_ Request, r Result) { told <- r }}, doubtful{deed{"hold", Reversible, ""}})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- l.Run(ctx) }()
				return l, func() {
					cancel()
					if err := errors.Join(<-ended, l.Close()); err != nil {
						t.Error(err)
					}
				}
			}
			l, end := begin()
			r := request("a", "hold", file)
			r.TTL = 300 * time.Millisecond
			if res := do(t, l, r, Unknown); res.Until.IsZero() {
				t.Error("it has no end")
			}
			<-told
			if restart {
				end()
				_, end = begin()
			}
			defer end()
			if got := <-told; got.State != Undone || !strings.HasPrefix(got.Detail, "its time was over") {
				t.Errorf("%+v", got)
			}
			if lines(t, file) != 0 {
				t.Error("it holds still")
			}
		})
	}
}

// A clock that was set back by ten years while no agent ran lets no act hold for ten years.
func TestAnActEndsThoughTheClockWasSetBack(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	j, err := openJournal(filepath.Join(dir, "actions.journal"))
	if err != nil {
		t.Fatal(err)
	}
	then := time.Now().AddDate(10, 0, 0)
	rec := &Record{Request: *request("a", "hold", file), Class: Reversible, Boot: "b", Begun: then, Result: Result{ID: "a", State: Done, At: then, Until: then.Add(300 * time.Millisecond)}}
	rec.Request.TTL = 300 * time.Millisecond
	if err := errors.Join(j.append(entry{Record: rec}), j.close()); err != nil {
		t.Fatal(err)
	}
	told := make(chan Result, 1)
	running(t, dir, func(_ Request, r Result) { told <- r })
	select {
	case got := <-told:
		if got.State != Undone {
			t.Errorf("%+v", got)
		}
	case <-time.After(30 * time.Second):
		t.Error("it holds still")
	}
}

// wavering is a deed of which nobody can say whether it holds until the world is looked at with success.
type wavering struct {
	doubtful
	seen *atomic.Bool
}

func (w wavering) Verify(ctx context.Context, r *Request) (bool, string, error) {
	if !w.seen.Load() {
		return false, "", errors.New("it cannot be told")
	}
	return w.deed.Verify(ctx, r)
}

// What a person asked for and nobody can tell of is looked at for a minute; then a person is asked, once,
// and their word is what came of it. What a run asked for is the run's to ask about.
func TestADoubtfulActIsAskedAbout(t *testing.T) {
	dir := t.TempDir()
	seen := &atomic.Bool{}
	told := make(chan Result, 20)
	l, err := Open(Options{Dir: dir, Host: "h", BootID: "b", Told: func(_ Request, r Result) { told <- r }},
		wavering{doubtful{deed{"hold", Reversible, ""}}, seen}, wavering{doubtful{deed{"end", Destructive, ""}}, seen})
	if err != nil {
		t.Fatal(err)
	}
	close(l.settled) // without Run, so that only the test looks
	defer l.Close()
	rec := func(id string) Record {
		t.Helper()
		r, ok := l.record(id)
		if !ok {
			t.Fatal(id + " is not known")
		}
		return r
	}
	for _, id := range []string{"yes", "no", "seen", "ran"} {
		r := request(id, "end", filepath.Join(dir, id))
		if id == "ran" {
			r.Run = "r"
		}
		do(t, l, r, Unknown)
	}
	begun := rec("yes").Begun
	for _, id := range []string{"yes", "no", "seen", "ran"} {
		if l.look(t.Context(), id, begun.Add(doubtFor/2)); rec(id).Asked || rec(id).Result.State != Unknown {
			t.Errorf("%s: %+v", id, rec(id))
		}
	}
	if _, err := l.Settle(t.Context(), "ran", true, "ada"); !errors.Is(err, ErrInvalid) {
		t.Errorf("it is not the run that is answered: %v", err)
	}
	for _, id := range []string{"yes", "no", "ran"} {
		l.look(t.Context(), id, begun.Add(2*doubtFor))
		if r := rec(id); r.Asked != (id != "ran") || r.Result.State != Unknown {
			t.Errorf("%s: %+v", id, r)
		}
	}
	seen.Store(true)
	l.look(t.Context(), "seen", begun.Add(doubtFor/2))
	if r := rec("seen"); r.Result.State != Done || !strings.HasPrefix(r.Result.Detail, "looked at again") {
		t.Errorf("%+v", r)
	}
	for id, want := range map[string]State{"yes": Done, "no": Failed} {
		a := l.Answer(t.Context(), Command{Op: OpAnswer, ID: id, Holds: id == "yes", By: "ada"})
		if a.Err() != nil || a.Result.State != want || !strings.HasPrefix(a.Result.Detail, "ada says") || rec(id).Asked {
			t.Errorf("%s: %+v", id, a)
		}
		if _, err := l.Settle(t.Context(), id, true, "bob"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "is known") {
			t.Errorf("%s is answered again: %v", id, err)
		}
	}
	if _, err := l.Settle(t.Context(), "none", true, "ada"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if n := len(told); n != 4+2+1+2 { // done, asked, seen, answered
		t.Errorf("it was told %d times", n)
	}
}
