package action

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// plainHost finds processes by their number alone.
type plainHost struct{ Host }

func (plainHost) BootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

func (plainHost) Process(pid int, start uint64) (Process, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Process{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	_, is, state := statFields(string(b))
	if state == "Z" || start != 0 && is != start {
		return Process{}, fmt.Errorf("process %d is another one: %w", pid, ErrGone)
	}
	return Process{PID: pid, Start: is, Name: "job"}, nil
}

// job starts a shell that stands for a training job, and waits until it is ready.
func job(t *testing.T, dir, script string) int {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script+"\n: >"+dir+"/ready\nwhile :; do sleep 0.05; done")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	until(t, 30*time.Second, "the job is ready", func() bool { _, err := os.Stat(dir + "/ready"); return err == nil })
	return cmd.Process.Pid
}

// A job that has a handler writes its checkpoint in pieces; the act waits until it is whole.
func TestAJobIsAskedForACheckpoint(t *testing.T) {
	dir := t.TempDir()
	kept := filepath.Join(dir, "checkpoints")
	if err := os.Mkdir(kept, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(kept, "step-1.pt"), "an old one")
	pid := job(t, dir, "trap 'echo half >"+kept+"/step-2.pt; sleep 1; echo whole >>"+kept+"/step-2.pt' USR1")
	act := NewCheckpoint(plainHost{})
	r := &Request{Kind: Checkpoint, Target: Target{Process: &ProcessPin{PID: pid}}, Params: map[string]string{"dir": kept}}
	p, err := act.Plan(t.Context(), r)
	if err != nil || p.Class != Observe || p.Target.Process.Start == 0 || !strings.Contains(p.Effects[0], "1 process") {
		t.Fatalf("%+v %v", p, err)
	}
	r.Target = p.Target
	res, err := act.Do(t.Context(), r)
	if err != nil || res.State != Done || !strings.Contains(res.Detail, "1 file with 11 bytes") {
		t.Fatalf("%+v %v", res, err)
	}
	if b, _ := os.ReadFile(filepath.Join(kept, "step-2.pt")); string(b) != "half\nwhole\n" {
		t.Errorf("it was taken for whole as %q", b)
	}
}

// What a job does not heed is over in time, and what it would die of is not done.
func TestACheckpointIsBoxedInTime(t *testing.T) {
	dir := t.TempDir()
	act := NewCheckpoint(plainHost{})
	deaf := job(t, dir, "trap : USR1")
	r := &Request{Kind: Checkpoint, Target: Target{Process: &ProcessPin{PID: deaf}}, Params: map[string]string{"dir": dir, "wait": "1s"}}
	began := time.Now()
	res, err := act.Do(t.Context(), r)
	if err != nil || res.State != Failed || !strings.Contains(res.Detail, "no checkpoint was whole") {
		t.Errorf("%+v %v", res, err)
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("it waited %s only", took)
	}
	r.Params = map[string]string{"signal": "USR2"}
	if _, err := act.Plan(t.Context(), r); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "would end those without a handler") {
		t.Errorf("%v", err)
	}
	if _, err := act.Do(t.Context(), r); err == nil {
		t.Error("it was signalled")
	}
	if _, err := (plainHost{}).Process(deaf, 0); err != nil {
		t.Errorf("it died of it: %v", err)
	}
	for _, bad := range []map[string]string{{"signal": "KILL"}, {"wait": "5m"}, {"dir": "relative"}, {"url": "http://x"}} {
		if _, err := act.Plan(context.Background(), &Request{Kind: Checkpoint, Target: r.Target, Params: bad}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	gone := *r
	gone.Target.Process = &ProcessPin{PID: deaf, Start: 1}
	if _, err := act.Plan(t.Context(), &gone); !errors.Is(err, ErrGone) {
		t.Errorf("%v", err)
	}
}

// Whoever is in the container may fill the directory of checkpoints, and put into it what blocks.
func TestALookAtCheckpointsIsBounded(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "file"), "x")
	for n := range 40 {
		if err := os.MkdirAll(filepath.Join(dir, "deep", fmt.Sprint(n)), 0o700); err != nil {
			t.Fatal(err)
		}
		for m := range 300 {
			if err := os.Mkdir(filepath.Join(dir, "deep", fmt.Sprint(n), fmt.Sprint(m)), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	c := NewCheckpoint(plainHost{}).(checkpoint)
	files, err := c.filesBelow(t.Context(), os.Getpid(), dir)
	if err != nil || len(files) != 1 {
		t.Errorf("%v %v", files, err)
	}
	if _, err := c.filesBelow(t.Context(), os.Getpid(), filepath.Join(dir, "fifo")); err == nil {
		t.Error("a FIFO is no directory")
	}
	ended, end := context.WithDeadline(t.Context(), time.Now())
	defer end()
	if _, err := c.filesBelow(ended, os.Getpid(), dir); err == nil {
		t.Error("it does not heed its time")
	}
	c.stuck.Store(maxStuck)
	if _, err := c.filesBelow(t.Context(), os.Getpid(), dir); err == nil {
		t.Error("further looks are begun while others hang")
	}
}
