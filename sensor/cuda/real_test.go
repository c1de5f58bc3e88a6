package cuda

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/event"
)

// On a machine with an NVIDIA GPU: copies that a program makes by the driver's own library are counted, to
// the byte, and a load of code is told of.
func TestRealGPU(t *testing.T) {
	if _, err := os.Stat("/dev/nvidiactl"); err != nil {
		if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "gpu") {
			t.Fatal(err)
		}
		t.Skip("there is no NVIDIA GPU: ", err)
	}
	program := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("gcc", "-O1", "-o", program, "../gpu/sim/copy.c", "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v: %s", err, out)
	}
	cmd := exec.Command(program)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	says := func(begins string) string {
		t.Helper()
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), begins) {
			t.Fatalf("the program that uses the GPU says %q, %v; want %s…", lines.Text(), lines.Err(), begins)
		}
		return lines.Text()
	}
	library, err := filepath.EvalSymlinks(strings.TrimPrefix(says("ready "), "ready "))
	if err != nil {
		t.Fatal(err)
	}
	r := newTold(t, Options{Driver: []string{library}})
	r.Meet(uint32(cmd.Process.Pid), library, 0, 0)
	for end := time.Now().Add(time.Minute); len(r.Held()) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no probe is on %s", library)
		}
	}
	t.Logf("%+v", r.Held())
	const times, bytes = 1000, 1 << 20
	began := time.Now()
	_, _ = fmt.Fprintf(in, "copy %d %d\n", times, bytes)
	says("copied ")
	t.Logf("%d copies of %d bytes took %s", times, bytes, time.Since(began))
	if got := r.totals(t, cmd.Process.Pid)[toHost]; got.Calls != times || got.Bytes != times*bytes {
		t.Errorf("counted are %+v, want %d calls of %d bytes", got, times, bytes)
	}
	_, _ = fmt.Fprintln(in, "fault") // which loads code
	says("fault ")
	r.wait(t, "a module", func(e *event.Event) bool {
		return e.CUDA.Call == "cuModuleLoadData" && e.CUDA.Module.Format == "ptx" && e.Process.PID == uint32(cmd.Process.Pid)
	})
}
