package action

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
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
