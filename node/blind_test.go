package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"
)

// Who takes Picket's eyes, stops it or kills it is found, also where that ended the agent that saw it.
func TestBlindingIsSeen(t *testing.T) {
	p := newProgram(t)
	p.start()
	agent := p.pid("agent")
	own, err := filepath.Glob(p.pins() + "/layout-*/*/on_connect4")
	if err != nil || len(own) != 1 {
		t.Fatal(own, err)
	}
	l, err := link.LoadPinnedLink(own[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Detach(); err != nil {
		t.Fatal(err)
	}
	defer l.Close() // what it is of is read off the descriptor
	if err := os.Remove(filepath.Join(filepath.Dir(own[0]), "on_exec")); err != nil {
		t.Fatal(err)
	}
	p.finds(t, "picket_objects_opened", "of Picket (BPF_LINK_DETACH)")
	p.finds(t, "bpf_program_detached", "")
	p.finds(t, "picket_files_removed", "/on_exec")
	p.finds(t, "picket_tampered", "the link of on_connect4 was detached; it is mended")
	p.until(30*time.Second, "the pin that was taken away is told of", func() bool { // a finding cuts long texts
		return strings.Contains(p.picket("hunt", "event.kind:sensor.health"), "the pin of on_exec was taken away; it is mended")
	})

	if err := syscall.Kill(agent, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(8 * time.Second) // what it is about
	if err := syscall.Kill(agent, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.finds(t, "picket_signalled", "signal 19")
	p.finds(t, "picket_hindered", "it stood still for")

	if err := syscall.Kill(agent, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.finds(t, "picket_signalled", "signal 9")
}

// finds waits for a finding of a rule that says something.
func (p *program) finds(t *testing.T, rule, says string) {
	t.Helper()
	p.until(30*time.Second, rule+": "+says, func() bool {
		all, err := p.findings(rule)
		for _, f := range all {
			if err == nil && strings.Contains(f.Summary, says) {
				return true
			}
		}
		return false
	})
}
