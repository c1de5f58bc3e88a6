package node

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/event"
	"picket/policy"
)

// Weights are opened by the workload that a policy is for, and by nobody else; who tried is told.
func TestPrivateModelsOfAPolicy(t *testing.T) {
	models := t.TempDir()
	weights := models + "/weights.gguf"
	if err := os.WriteFile(weights, []byte("weights"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := newPoliced(t, "mode: enforce\nmodels: {paths: ["+models+"], private: true}\n")
	reads := func(inside bool) bool {
		cmd := exec.Command("cat", weights)
		if inside {
			dir, err := os.Open(p.dir)
			if err != nil {
				t.Fatal(err)
			}
			defer dir.Close()
			cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
		}
		return cmd.Run() == nil
	}
	p.meet(&event.Process{PID: 1 << 30, CgroupPath: p.group})
	if s, err := ReadPolicyStatus(p.cfg); err != nil || s.Rungs["private"] != "fanotify" || len(s.Refused) > 0 {
		t.Fatalf("status %+v, %v", s, err)
	}
	if !reads(true) || reads(false) {
		t.Error("the workload cannot read its weights, or others can")
	}
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		told := slices.ContainsFunc(p.events, func(e event.Event) bool {
			return e.File.Path == weights && *e.Policy == event.Policy{Name: "box", Rule: "private", Action: "denied", Rung: "fanotify"}
		})
		p.mu.Unlock()
		if told {
			break
		}
		if time.Since(start) > 10*time.Second {
			t.Fatal("it was not told")
		}
	}
	if err := StopEnforcing(p.cfg); err != nil {
		t.Fatal(err)
	}
	p.reload(t.Context())
	if !reads(false) {
		t.Error("nothing is enforced, and they are private")
	}
}

func TestMeansSayWhatDoesNothing(t *testing.T) {
	for src, want := range map[string]string{
		"mode: enforce\nexpires: 2020-01-01\negress: {allow: []}\n":            "expired on 2020-01-01 and does nothing more",
		"devices: {allow: ['gpu:GPU-ffffffff-0000-1111-2222-333344445555']}\n": "GPU-ffffffff-0000-1111-2222-333344445555: no such GPU is here now",
	} {
		list, err := policy.Parse("x", []byte("name: x\nselect: {container: x}\n"+src))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(Means(list[0], nil), "; "); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
