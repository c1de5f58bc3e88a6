package gpu

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

// resettable is a simulated sensor whose GPUs a program that stands in for NVIDIA's tool resets. The tool
// sees whether the reader still has the library open.
func resettable(t *testing.T, script string, limit time.Duration) *simulated {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: the tool that resets GPUs is root's")
	}
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no C compiler, which makes the simulated library")
	}
	dir, err := parts()
	if err != nil {
		t.Fatal(err)
	}
	own := t.TempDir()
	s := &simulated{t: t, reads: make(chan event.GPUReading), faults: make(chan Fault)}
	library, tool, reading := filepath.Join(own, "libnvidia-ml.so"), filepath.Join(own, "nvidia-smi"), filepath.Join(own, "reading")
	s.script = library + ".txt"
	b, err := os.ReadFile(filepath.Join(dir, "libnvidia-ml.so"))
	if err == nil {
		err = os.WriteFile(library, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-O1", "-DSCRIPT=\""+s.script+"\"", "-DREADING=\""+reading+"\"", "-o", tool, "sim/smi.c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.set(script)
	s.Sensor = New(Options{
		Every: 200 * time.Millisecond, Library: library, Tool: tool, Root: t.TempDir(), resetTime: limit,
		Start: func(ctx context.Context, out, said io.Writer, args ...string) error {
			if err := os.WriteFile(reading, nil, 0o600); err != nil {
				return err
			}
			cmd := exec.CommandContext(ctx, filepath.Join(dir, "picket-gpu"), args...)
			cmd.Stdout, cmd.Stderr = out, said
			return errors.Join(cmd.Run(), os.Remove(reading))
		},
	})
	s.run()
	return s
}

func (s *simulated) there(uuid string) {
	s.t.Helper()
	s.until(uuid, func(r event.GPUReading) bool { return len(r.Devices) == 1 && r.Devices[0].UUID == uuid })
}

// reset resets GPU-1 while readings go on.
func (s *simulated) reset() (said string, begun bool, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		said, begun, err = s.Reset(s.t.Context(), "GPU-1")
	}()
	for {
		select {
		case <-s.reads:
		case <-done:
			return said, begun, err
		}
	}
}

// A GPU that needs a reset is told of no more; after it the reader, which let go meanwhile, tells of it anew.
func TestAGPUIsResetAndAnswers(t *testing.T) {
	s := resettable(t, strings.Replace(oneGPU, "ecc=0", "ecc=7", 1), 0)
	s.there("GPU-1")
	s.set(strings.Replace(oneGPU, "ecc=0", "ecc=7", 1) + "fail nvmlDeviceGetHandleByIndex_v2 16\n")
	s.until("it is told of no more", func(r event.GPUReading) bool { return len(r.Devices) == 0 })
	before := time.Now()
	if said, begun, err := s.reset(); err != nil || !begun || !strings.Contains(said, "was successfully reset") {
		t.Fatalf("%q %v %v", said, begun, err)
	}
	s.until("it answers", func(r event.GPUReading) bool {
		return len(r.Devices) == 1 && r.Devices[0].UUID == "GPU-1" && r.Devices[0].ECC == event.Measured(0)
	})
	if _, at, answers, known := s.Device("GPU-1"); !known || !answers || !at.After(before) {
		t.Errorf("told at %s, %v %v", at, answers, known)
	}
	if c := s.capability("1 GPU"); !c.OK {
		t.Errorf("%+v", c)
	}
}

// Whoever holds a GPU keeps it from its reset: whom the driver names, and who has its device file open.
func TestAGPUThatIsHeldIsNotReset(t *testing.T) {
	s := resettable(t, oneGPU+"proc gpu=0 pid=1 used=10 util=1\n", 0)
	s.until("its process", func(r event.GPUReading) bool { return len(r.Devices) == 1 && len(r.Devices[0].Uses) == 1 })
	if _, begun, err := s.reset(); begun || !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "1 ") {
		t.Errorf("%v %v", begun, err)
	}
	s.set(oneGPU)
	s.until("none", func(r event.GPUReading) bool { return len(r.Devices) == 1 && len(r.Devices[0].Uses) == 0 })

	node := filepath.Join(t.TempDir(), "nvidia3")
	if err := unix.Mknod(node, unix.S_IFCHR|0o600, int(unix.Mkdev(nvidiaMajor, 3))); err != nil {
		t.Skip("devices cannot be made here: ", err)
	}
	fd, err := unix.Open(node, unix.O_PATH|unix.O_CLOEXEC, 0) // no driver needs to be there
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), node)
	cmd := exec.Command("sleep", "600")
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	_ = f.Close()
	if _, begun, err := s.reset(); begun || !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "sleep ("+node+")") {
		t.Errorf("%v %v", begun, err)
	}
	about := filepath.Join(s.opt.Root, "/proc/driver/nvidia/gpus/0000:3b:00.0/information")
	if err := os.MkdirAll(filepath.Dir(about), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(about, []byte("Model: \t\t Sim\nDevice Minor: \t 2\n"), 0o644); err != nil { // another GPU's file is open
		t.Fatal(err)
	}
	if _, begun, err := s.reset(); !begun || err != nil {
		t.Errorf("%v %v", begun, err)
	}
}

func TestAResetThatFailsSaysSo(t *testing.T) {
	s := resettable(t, oneGPU+"tool fail\n", 0)
	s.there("GPU-1")
	if said, begun, err := s.reset(); !begun || err == nil || !strings.Contains(said, "Unable to reset") {
		t.Errorf("%q %v %v", said, begun, err)
	}
	s.there("GPU-1") // the reader goes on
	s.set(oneGPU + "tool shout\n")
	if said, begun, err := s.reset(); !begun || err != nil || len(said) != resetOutput {
		t.Errorf("%d bytes, %v %v", len(said), begun, err)
	}
	if _, begun, err := s.Reset(t.Context(), "GPU-2"); begun || err == nil {
		t.Errorf("a GPU that nobody knows: %v %v", begun, err)
	}
}

func TestAResetThatHangsIsGivenUp(t *testing.T) {
	s := resettable(t, oneGPU+"tool hang\n", 500*time.Millisecond)
	s.there("GPU-1")
	if _, begun, err := s.reset(); !begun || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v %v", begun, err)
	}
	s.there("GPU-1")
	left, _ := exec.Command("pgrep", "-f", s.opt.Tool).Output() // it fails where there is none
	if len(left) > 0 {
		t.Errorf("the tool runs on: %s", left)
	}
}

// The tool runs as root, so nobody else may have put it there.
func TestAToolThatIsNotRootsIsNotRun(t *testing.T) {
	s := resettable(t, oneGPU, 0)
	s.there("GPU-1")
	dir := filepath.Dir(s.opt.Tool)
	for what, do := range map[string]func(undo bool) error{
		"others than root may write to " + s.opt.Tool: func(undo bool) error {
			return os.Chmod(s.opt.Tool, map[bool]os.FileMode{false: 0o757, true: 0o755}[undo])
		},
		s.opt.Tool + " is not root's": func(undo bool) error { return os.Chown(s.opt.Tool, map[bool]int{false: 65534}[undo], 0) },
		"others than root may write to " + dir: func(undo bool) error {
			return os.Chmod(dir, map[bool]os.FileMode{false: 0o777, true: 0o755}[undo])
		},
		"is no program": func(undo bool) error {
			return os.Chmod(s.opt.Tool, map[bool]os.FileMode{false: 0o644, true: 0o755}[undo])
		},
		"is none of": func(undo bool) error {
			if undo {
				return os.Rename(s.opt.Tool+".away", s.opt.Tool)
			}
			return os.Rename(s.opt.Tool, s.opt.Tool+".away")
		},
	} {
		if err := do(false); err != nil {
			t.Fatal(err)
		}
		if _, begun, err := s.reset(); begun || !errors.Is(err, ErrNoReset) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v %v", what, begun, err)
		}
		if err := do(true); err != nil {
			t.Fatal(err)
		}
	}
}

// Amdgpu resets a GPU when its file is read, and says there how that went. A pipe stands in for the file.
func TestAnAMDGPUIsResetByItsFile(t *testing.T) {
	root := t.TempDir()
	device := filepath.Join(root, "sys/devices/0000:03:00.0")
	dir := filepath.Join(root, "sys/kernel/debug/dri/0000:03:00.0")
	for _, d := range []string{device, dir, filepath.Join(root, "sys/class/drm/card0"), filepath.Join(root, "sys/bus/pci/drivers/amdgpu")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"sys/class/drm/card0/device": device, "sys/devices/0000:03:00.0/driver": filepath.Join(root, "sys/bus/pci/drivers/amdgpu")} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	s := New(Options{Root: root})
	s.look(t.Context(), time.Now())
	const uuid = "0000:03:00.0"
	if _, begun, err := s.Reset(t.Context(), uuid); begun || !errors.Is(err, ErrNoReset) || !strings.Contains(err.Error(), "is debugfs mounted?") {
		t.Errorf("%v %v", begun, err)
	}
	pipe := filepath.Join(dir, "amdgpu_gpu_recover")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for answer, fails := range map[string]bool{"0\n": false, "-62\n": true} {
		wrote := make(chan error, 1)
		go func() { wrote <- os.WriteFile(pipe, []byte(answer), 0) }()
		said, begun, err := s.Reset(t.Context(), uuid)
		if !begun || said != strings.TrimSpace(answer) || (err != nil) != fails {
			t.Errorf("%q: %q %v %v", answer, said, begun, err)
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
	}
}
