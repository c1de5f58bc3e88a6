package event

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestViolationsSayWhatBecameOfTheAct(t *testing.T) {
	p := &Process{PID: 7, Exe: "/usr/bin/curl"}
	for _, tt := range []struct {
		e    Event
		want string
	}{
		{
			Event{Net: Net{Remote: netip.MustParseAddrPort("192.0.2.1:443")}, Count: 3, Policy: &Policy{"web", RuleEgress, ActionDenied, "cgroup/connect4"}},
			"curl[7] was denied: it would have sent to 192.0.2.1:443, 3 times (policy web, cgroup/connect4)",
		},
		{
			Event{Net: Net{Remote: netip.MustParseAddrPort("192.0.2.1:443")}, Policy: &Policy{"web", RuleEgress, ActionSeen, "cgroup/connect4"}},
			"curl[7] sent to 192.0.2.1:443, which was only seen (policy web, cgroup/connect4)",
		},
		{
			Event{File: File{Path: "/usr/bin/curl"}, Policy: &Policy{"web", RuleExec, ActionKilled, "sched_process_exec"}},
			"curl[7] was killed before its first instruction, as it ran /usr/bin/curl (policy web, sched_process_exec)",
		},
		{
			Event{File: File{Path: "/models/a"}, Policy: &Policy{"web", RuleModels, ActionDenied, "file_open"}},
			"curl[7] was denied: it would have changed /models/a (policy web, file_open)",
		},
		{
			Event{File: File{Path: "/models/a"}, Policy: &Policy{"web", RulePrivate, ActionDenied, "fanotify"}},
			"curl[7] was denied: it would have opened /models/a (policy web, fanotify)",
		},
		{
			Event{Call: &Call{Request: "SIGKILL", Target: &Process{PID: 9, Comm: "picket"}}, Policy: &Policy{"protect", RuleSignal, ActionDenied, "task_kill"}},
			"curl[7] was denied: it would have sent SIGKILL to picket[9] (policy protect, task_kill)",
		},
	} {
		tt.e.Kind, tt.e.Process = PolicyViolation, p
		if d := cmp.Diff(tt.want, tt.e.Describe()); d != "" {
			t.Error(d)
		}
		back, err := ParseRecord(tt.e.AppendRecord(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.e.Policy, back.Policy); d != "" {
			t.Error(d)
		}
	}
}
