package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"picket/respond/action"
)

// On a machine with an NVIDIA GPU: a program in a cgroup that is excluded from GPUs does not get at it by
// the driver's own library, and does before and after.
func TestRealGPU(t *testing.T) {
	if _, err := os.Stat("/dev/nvidiactl"); err != nil {
		if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "gpu") {
			t.Fatal(err)
		}
		t.Skip("there is no NVIDIA GPU: ", err)
	}
	a := newActor(t)
	program := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("gcc", "-O1", "-o", program, "../sensor/gpu/sim/copy.c", "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v: %s", err, out)
	}
	if err := os.Mkdir(a.root+a.group+"/job", 0o755); err != nil {
		t.Fatal(err)
	}
	cg, err := os.Open(a.root + a.group + "/job")
	if err != nil {
		t.Fatal(err)
	}
	defer cg.Close()
	use := func() string {
		cmd := exec.Command(program)
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(cg.Fd())}
		out, _ := cmd.CombinedOutput() // what it says counts
		return string(out)
	}
	if said := use(); !strings.HasPrefix(said, "ready ") {
		t.Fatalf("the GPU cannot be used without Picket: %s", said)
	}
	a.do(t, &action.Request{ID: "g1", Kind: action.ExcludeGPU, Target: action.Target{Cgroup: a.group + "/job"}}, action.Done)
	if said := use(); strings.HasPrefix(said, "ready ") {
		t.Error("who is excluded uses the GPU")
	} else {
		t.Log("excluded: ", said)
	}
	a.undo(t, "g1")
	if said := use(); !strings.HasPrefix(said, "ready ") {
		t.Errorf("after it was undone: %s", said)
	}
}
