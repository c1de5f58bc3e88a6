package node_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestUpgrade ends a program as service managers do and starts another build of it in its place, while
// commands run: what they did in between is told of by the new one, once each.
func TestUpgrade(t *testing.T) {
	p := newProgram(t)
	next := filepath.Join(p.dir, "next")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-X main.version=next", "-o", next, "picket/cmd/picket")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p.start()
	if v := p.heartbeat().Version; v == "next" {
		t.Fatal("the first build is the next one already")
	}
	c := newCanaries(t, p, "upgrade", 20*time.Millisecond)
	time.Sleep(2 * time.Second)
	if err, _ := p.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // nobody listens
	p.bin = next
	p.start()
	time.Sleep(2 * time.Second)
	c.lost = gaps(t, p, 1)
	c.check(t)
	if v := p.heartbeat().Version; v != "next" {
		t.Errorf("the agent is of version %q after the upgrade", v)
	}
}
