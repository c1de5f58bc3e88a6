package kernel

import (
	"testing"

	"picket/event"
)

func TestEveryKindOfEventHasAHook(t *testing.T) {
	for k := range event.Kinds {
		if k != event.SensorHealth && k != event.PolicyViolation && k != event.ModelSeen && len(Hooks(k)) == 0 { // sensor/enforce makes violations, the inventory tells of models
			t.Errorf("no hook makes %s", k)
		}
	}
	if got := Hooks(event.FileRename, event.FileDelete); len(got) != 4 || got[0].Program != "on_rename" || got[1].Program != "on_unlink" || got[2].Feature != "file-uring" {
		t.Errorf("%+v", got)
	}
	if got := Hooks(event.SensorHealth); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}
