package incident

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/event"
)

func TestUpdate(t *testing.T) {
	ack, open, closed := event.IncidentAcknowledged, event.IncidentOpen, event.IncidentClosed
	yes, no := event.TruePositive, event.FalsePositive
	for _, tt := range []struct {
		name  string
		first Update // made before, if any
		u     Update
		want  error
		says  string // in the error, or the log's last word
	}{
		{"nothing", Update{}, Update{}, ErrInvalid, "nothing to change"},
		{"closed without a verdict", Update{}, Update{Status: closed}, ErrInvalid, "needs a verdict"},
		{"a verdict on an open one", Update{}, Update{Verdict: yes}, ErrInvalid, "closed incident"},
		{"a verdict while reopening", Update{Status: closed, Verdict: yes}, Update{Status: open, Verdict: no}, ErrInvalid, "closed incident"},
		{"unknown status", Update{}, Update{Status: "gone"}, ErrInvalid, `unknown status "gone"`},
		{"unknown verdict", Update{}, Update{Status: closed, Verdict: "maybe"}, ErrInvalid, `unknown verdict "maybe"`},
		{"a book for a note", Update{}, Update{Note: strings.Repeat("ü", maxNote+1)}, ErrInvalid, "longer"},
		{"another version", Update{}, Update{Note: "x", Version: 8}, ErrConflict, "read it again"},
		{"this version", Update{}, Update{Note: "x", Version: 1}, nil, "noted"},
		{"acknowledged", Update{}, Update{Status: ack}, nil, "acknowledged"},
		{"closed as true", Update{Status: ack}, Update{Status: closed, Verdict: yes, Version: 2}, nil, "closed as true positive"},
		{"closed as false", Update{}, Update{Status: closed, Verdict: no, Note: "our backup"}, nil, "closed as false positive"},
		{"another verdict", Update{Status: closed, Verdict: yes}, Update{Verdict: no}, nil, "closed as false positive"},
		{"reopened", Update{Status: closed, Verdict: yes}, Update{Status: open}, nil, "reopened"},
		{"taken up again", Update{Status: closed, Verdict: yes}, Update{Status: ack}, nil, "acknowledged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := New(Options{})
			a, _, _ := c.Process(finding("a", 0, "container:c1"))
			if tt.first != (Update{}) {
				var err error
				if a, err = c.Update(a.ID, "bob", tt.first, t0); err != nil {
					t.Fatal(err)
				}
			}
			at := t0.Add(time.Hour)
			got, err := c.Update(a.ID, "ann", tt.u, at)
			if tt.want != nil {
				if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("error %v, want %v with %q", err, tt.want, tt.says)
				}
				if d := cmp.Diff(a, got); d != "" {
					t.Error("a refused change changed something", d)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			status := tt.u.Status
			if status == "" {
				status = a.Status
			}
			want := event.Change{Time: at, Who: "ann", What: tt.says, Note: tt.u.Note}
			if last := got.Log[len(got.Log)-1]; got.Status != status || got.Version != a.Version+1 || last != want {
				t.Errorf("status %s, version %d, log %+v; want %s and %+v", got.Status, got.Version, last, status, want)
			}
			if (got.Verdict != "") != (got.Status == closed) {
				t.Errorf("%s with verdict %q", got.Status, got.Verdict)
			}
		})
	}
	if _, err := New(Options{}).Update("no", "ann", Update{Note: "x"}, t0); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want %v", err, ErrNotFound)
	}
}

func TestAClosedIncidentTakesFindingsOnlyWhenReopened(t *testing.T) {
	c := New(Options{})
	a, _, _ := c.Process(finding("a", 0, "container:c1"))
	if _, err := c.Update(a.ID, "ann", Update{Status: event.IncidentClosed, Verdict: event.FalsePositive}, t0); err != nil {
		t.Fatal(err)
	}
	if again, _, changed := c.Process(finding("a", 0, "container:c1")); changed || again.ID != a.ID || again.Status != event.IncidentClosed {
		t.Errorf("a finding of a closed incident, delivered again: changed %v, %+v", changed, again)
	}
	b, _, _ := c.Process(finding("b", time.Minute, "container:c1"))
	if b.ID == a.ID {
		t.Fatal("a closed incident took a finding")
	}
	if _, err := c.Update(a.ID, "ann", Update{Status: event.IncidentOpen}, t0); err != nil {
		t.Fatal(err)
	}
	both, absorbed, _ := c.Process(finding("c", 2*time.Minute, "container:c1"))
	if both.ID != a.ID || both.FindingN != 3 || len(absorbed) != 1 || absorbed[0].ID != b.ID {
		t.Errorf("reopened: %+v, absorbed %+v", both, absorbed)
	}
	if _, err := c.Update(b.ID, "ann", Update{Status: event.IncidentOpen}, t0); !errors.Is(err, ErrInvalid) {
		t.Errorf("a part was reopened: %v", err)
	}
	if _, err := c.Update(b.ID, "ann", Update{Note: "see the other"}, t0); err != nil {
		t.Errorf("a note on a part: %v", err)
	}
}

func TestTheLogIsBounded(t *testing.T) {
	c := New(Options{})
	a, _, _ := c.Process(finding("a", 0, "container:c1"))
	for range maxLog + 50 {
		a, _ = c.Update(a.ID, "ann", Update{Note: "x"}, t0)
	}
	if len(a.Log) != maxLog || a.Log[0].What != "opened" || a.Version != maxLog+51 {
		t.Errorf("%d entries, the first %q, version %d", len(a.Log), a.Log[0].What, a.Version)
	}
}
