package sink

import (
	"bytes"
	"strings"
	"testing"

	"picket/event"
)

func TestActsAreRemediationsOfTheSchema(t *testing.T) {
	s := loadSchema(t)
	for _, kind := range []string{"freeze", "kill", "isolate", "cut", "quarantine", "capture", "reset-gpu", hostile} {
		for _, state := range []string{"done", "undone", "refused", "gone", "failed", "unknown", hostile} {
			for _, pid := range []uint32{0, 7} {
				e := &event.Event{
					Kind: event.ActionDone, Time: at, Host: "gpu-01" + hostile, Message: hostile,
					Action: &event.Action{ID: "a1", Kind: kind, State: state, Target: "cgroup /box" + hostile, PID: pid, By: "alice" + hostile, Incident: "i1"},
				}
				rec, err := Mapping{Version: "1.2.3"}.Action(e)
				if err != nil {
					t.Fatal(err)
				}
				for _, fault := range s.check(rec) {
					t.Errorf("%q %q pid %d: %s", kind, state, pid, fault)
				}
				again, err := Mapping{Version: "1.2.3"}.Action(e.Clone())
				if err != nil || !bytes.Equal(rec, again) {
					t.Errorf("the same event gives other bytes: %v", err)
				}
			}
		}
	}
}

func TestAnActOfAnIncident(t *testing.T) {
	e := &event.Event{Kind: event.ActionDone, Time: at, Host: "h", Action: &event.Action{ID: "a1", Kind: "freeze", State: "done", PID: 7, By: "alice", Incident: "i1"}}
	rec, err := Mapping{}.Action(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"class_uid":7003`, `"activity_id":1`, `"command_uid":"a1"`, `"correlation_uid":"i1"`, `"pid":7`, `"status_id":1`} {
		if !strings.Contains(string(rec), want) {
			t.Errorf("%s lacks %s", rec, want)
		}
	}
	if _, err := (Mapping{}).Action(&event.Event{Kind: event.FileRead}); err == nil {
		t.Error("another event is an act")
	}
}
