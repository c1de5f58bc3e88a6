package node

import (
	"encoding/json"
	"testing"

	"picket/respond"
	"picket/respond/action"
)

// An act that could not be taken back does not stand in the audit log as one that was.
func TestTheAuditLogTellsWhatWasNotTakenBack(t *testing.T) {
	for want, data := range map[bool]any{
		true:  action.Result{ID: "a", State: action.Undone},
		false: action.Request{ID: "a", Kind: action.Freeze, Target: action.Target{Host: "h"}},
	} {
		b, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		if got := undone(respond.Record{What: "undo", Data: b}); got != want {
			t.Errorf("%s: %v", b, got)
		}
	}
}
