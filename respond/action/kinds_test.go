package action

import (
	"context"
	"path/filepath"
	"testing"
)

// TestActs opens each act with as little as it takes, and holds what it calls itself.
func TestActs(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	verified := RollbackOptions{
		Dir:      filepath.Join(dir, "links"),
		Verified: func(context.Context, string, string) (string, error) { return "", nil }, Check: func(context.Context, string) error { return nil },
	}
	for _, c := range []struct {
		open  func() (Action, error)
		kind  Kind
		class Class
	}{
		{func() (Action, error) { return NewCapture(CaptureOptions{Dir: filepath.Join(dir, "evidence")}) }, Capture, Observe},
		{func() (Action, error) {
			return NewQuarantine(QuarantineOptions{Dirs: []string{filepath.Join(dir, "quarantine")}})
		}, Quarantine, Reversible},
		{func() (Action, error) { return NewRollback(verified) }, RollbackModel, Reversible},
		{func() (Action, error) { return NewNotify(ReachOptions{}) }, Notify, Observe},
		{func() (Action, error) { return NewTicket(ReachOptions{}) }, Ticket, Observe},
		{func() (Action, error) { return NewRevoke(RevokeOptions{}) }, RevokeToken, Destructive},
	} {
		a := must(c.open())(t)
		if a.Kind() != c.kind || a.Class() != c.class {
			t.Errorf("%s is %s, want %s, %s", a.Kind(), a.Class(), c.kind, c.class)
		}
		if _, err := a.Plan(t.Context(), &Request{ID: "r1"}); err == nil {
			t.Errorf("%s has a plan for a request that says nothing", c.kind)
		}
	}
	for _, open := range []func(string) (Action, error){
		func(dir string) (Action, error) { return NewCapture(CaptureOptions{Dir: dir}) },
		func(dir string) (Action, error) { return NewQuarantine(QuarantineOptions{Dirs: []string{dir}}) },
	} {
		if _, err := open("/tmp"); err == nil {
			t.Error("what only root may read would lie where everybody writes")
		}
	}
}
