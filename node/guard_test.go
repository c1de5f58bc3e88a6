package node

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"picket/event"
)

func TestAmounts(t *testing.T) {
	for text, want := range map[string]float64{
		"max": math.Inf(1), "max 100000": math.Inf(1), "-1": math.Inf(1), "": math.Inf(1), "nonsense": math.Inf(1),
		"50000 100000": 0.5, "4096": 4096, "1 0": 1,
	} {
		if got := amount(text); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// TestLimitsProcess is no test but the process that is put into a control group.
func TestLimitsProcess(t *testing.T) {
	dir := os.Getenv("PICKET_TEST_GROUP")
	if dir == "" {
		t.Skip("runs only as a process of another test")
	}
	before := limits()["memory.limit_in_bytes"].most
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	if after := limits()["memory.limit_in_bytes"]; after.most != 512<<20 || after.most >= before || after.group != "/"+filepath.Base(dir) {
		t.Errorf("%+v, where there was %v", after, before)
	}
}

// The limit of a control group is read where a process is put into it.
func TestLimits(t *testing.T) {
	dir := "/sys/fs/cgroup/memory/picket-test-" + strconv.Itoa(os.Getpid())
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Skipf("control groups of version 1 for memory cannot be made here: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "memory.limit_in_bytes"), []byte("536870912"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestLimitsProcess$")
	cmd.Env = append(os.Environ(), "PICKET_TEST_GROUP="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAFloodIsBounded(t *testing.T) {
	g := guard{busy: map[string]int{}}
	for i := range 2 * busyMost {
		g.countBusy(&event.Event{Process: &event.Process{Exe: "/tmp/x\n", PID: uint32(i)}})
		g.countBusy(&event.Event{Process: &event.Process{Exe: "/tmp/flood", PID: 7}})
	}
	if len(g.busy) != busyMost || g.busy[`"/tmp/flood" (7)`] != 2*busyMost {
		t.Errorf("%d are counted, the flood %d times", len(g.busy), g.busy[`"/tmp/flood" (7)`])
	}
	for who := range g.busy {
		if strings.ContainsRune(who, '\n') {
			t.Fatal(errors.New(who))
		}
	}
}
