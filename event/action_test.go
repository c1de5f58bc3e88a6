package event

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnActIsTold(t *testing.T) {
	e := &Event{
		Kind: ActionDone, Time: time.Unix(1_800_000_000, 0), Host: "h", Message: "2 processes stand still",
		Action: &Action{"a1", "freeze", "done", "cgroup /box", 7, "alice", "i1"},
	}
	if d := cmp.Diff("freeze of cgroup /box for alice is done [2 processes stand still]", e.Describe()); d != "" {
		t.Error(d)
	}
	back, err := ParseRecord(e.AppendRecord(nil))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e.Action, back.Action); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(e.Message, back.Message); d != "" {
		t.Errorf("how it came out, over the wire: %s", d)
	}
	end := e.Clone()
	end.Action = &Action{"a1", "freeze", "undone", "cgroup /box", 7, "alice", "i1"}
	if e.ID() == end.ID() {
		t.Error("the end of an act is the act")
	}
	if e.Kind.Class() != "action" {
		t.Errorf("class %q", e.Kind.Class())
	}
}
