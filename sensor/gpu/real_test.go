package gpu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/event"
)

// needsGPU skips where there is no NVIDIA GPU, and fails where PICKET_REQUIRE says that there is one.
func needsGPU(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/driver/nvidia/version"); err == nil {
		return
	}
	if _, err := os.Stat("/dev/nvidiactl"); err == nil {
		return
	}
	const none = "there is no NVIDIA GPU: neither /proc/driver/nvidia/version nor /dev/nvidiactl"
	if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "gpu") {
		t.Fatal(none)
	}
	t.Skip(none)
}

// worker is a program that uses the GPU.
type worker struct {
	pid     int
	library string
	in      io.Writer
	out     *bufio.Scanner
}

func work(t *testing.T) *worker {
	t.Helper()
	program := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("gcc", "-O1", "-o", program, "sim/copy.c", "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v: %s", err, out)
	}
	cmd := exec.Command(program)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	w := &worker{pid: cmd.Process.Pid, in: in, out: bufio.NewScanner(out)}
	w.library = strings.TrimPrefix(w.says(t, "ready "), "ready ")
	return w
}

func (w *worker) says(t *testing.T, begins string) string {
	t.Helper()
	if !w.out.Scan() || !strings.HasPrefix(w.out.Text(), begins) {
		t.Fatalf("the program that uses the GPU says %q, %v; want %s…", w.out.Text(), w.out.Err(), begins)
	}
	return w.out.Text()
}

// On a machine with an NVIDIA GPU: the driver's own library tells of the GPUs that the driver has, of a
// program that holds memory, and, where it does what it must not, of the fault.
func TestRealGPU(t *testing.T) {
	needsGPU(t)
	reader := filepath.Join(t.TempDir(), "picket-gpu")
	build := exec.Command("go", "build", "-trimpath", "-o", reader, "picket/cmd/picket-gpu")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := &simulated{t: t, reads: make(chan event.GPUReading), faults: make(chan Fault, 16)}
	s.Sensor = New(Options{Every: time.Second, Start: func(ctx context.Context, out, said io.Writer, args ...string) error {
		cmd := exec.CommandContext(ctx, reader, args...)
		cmd.Stdout, cmd.Stderr = out, said
		return cmd.Run()
	}})
	s.run()
	r := s.until("a GPU", func(r event.GPUReading) bool { return len(r.Devices) > 0 })
	for _, d := range r.Devices {
		t.Logf("%s, %s at %s, driver %s: %d MiB, used %d MiB, %d %%, %d mW, MIG %q", d.UUID, d.Name, d.PCI, d.Driver, d.MemoryTotal.N>>20, d.MemoryUsed.N>>20, d.Util.N, d.Power.N, d.MIG)
		if d.Source != "nvml" {
			continue
		}
		if !strings.HasPrefix(d.UUID, "GPU-") || d.Name == "" || d.PCI == "" || !d.MemoryTotal.Known || !d.MemoryUsed.Known || d.MemoryUsed.N > d.MemoryTotal.N {
			t.Errorf("%+v", d)
		}
		if _, err := os.Stat("/proc/driver/nvidia/gpus"); err == nil {
			if _, err := os.Stat(filepath.Join("/proc/driver/nvidia/gpus", d.PCI)); err != nil {
				t.Errorf("the driver has no GPU at %s: %v", d.PCI, err)
			}
		}
	}
	if s.Odd() > 0 {
		t.Errorf("%d values cannot be", s.Odd())
	}

	w := work(t)
	const held = 256 << 20
	s.until("the program's memory", func(r event.GPUReading) bool {
		for _, d := range r.Devices {
			for _, u := range d.Uses {
				if u.PID == uint32(w.pid) {
					if u.Memory.Known && u.Memory.N < held {
						t.Errorf("it holds %d bytes, told are %d", held, u.Memory.N)
					}
					return true
				}
			}
		}
		return false
	})
	for i := range r.Devices {
		t.Logf("%s is held by %+v", r.Devices[i].UUID, s.Holders(&r.Devices[i]))
	}
	t.Run("fault", func(t *testing.T) {
		if c := s.Capabilities(); !slices.ContainsFunc(c, func(c event.Capability) bool { return c.Name == "gpu-faults" && c.OK }) {
			t.Skipf("the kernel's log is not read here: %+v", c)
		}
		_, _ = fmt.Fprintln(w.in, "fault")
		if said := w.says(t, "fault "); said == "fault 0" {
			t.Fatal("the GPU wrote to an address that is none")
		}
		for end := time.After(time.Minute); ; {
			select {
			case <-s.reads:
			case f := <-s.faults:
				t.Logf("%+v", f)
				if f.Xid > 0 && (f.PID == 0 || f.PID == uint32(w.pid)) {
					return
				}
			case <-end:
				t.Fatal("no Xid was told; the kernel's log (dmesg) shows what the driver wrote")
			}
		}
	})
}
