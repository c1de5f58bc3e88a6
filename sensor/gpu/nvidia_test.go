package gpu

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/event"
)

// parts are what the tests build: picket-gpu, and the library that stands in for NVIDIA's.
var parts = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "picket-gpu-")
	if err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"go", "build", "-trimpath", "-o", filepath.Join(dir, "picket-gpu"), "picket/cmd/picket-gpu"},
		{"cc", "-shared", "-fPIC", "-O1", "-o", filepath.Join(dir, "libnvidia-ml.so"), "sim/nvml.c"},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("%s: %w: %s", args[0], err, out)
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := parts(); dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// simulated is a sensor that reads a script instead of GPUs.
type simulated struct {
	*Sensor
	t      *testing.T
	script string
	reads  chan event.GPUReading
	faults chan Fault
}

func simulate(t *testing.T, script string) *simulated {
	t.Helper()
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no C compiler, which makes the simulated library")
	}
	dir, err := parts()
	if err != nil {
		t.Fatal(err)
	}
	s := &simulated{t: t, reads: make(chan event.GPUReading), faults: make(chan Fault)}
	library := filepath.Join(t.TempDir(), "libnvidia-ml.so")
	b, err := os.ReadFile(filepath.Join(dir, "libnvidia-ml.so"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(library, b, 0o755); err != nil {
		t.Fatal(err)
	}
	s.script = library + ".txt"
	s.set(script)
	s.Sensor = New(Options{
		Every: 200 * time.Millisecond, Library: library, Root: t.TempDir(),
		Start: func(ctx context.Context, out, said io.Writer, args ...string) error {
			cmd := exec.CommandContext(ctx, filepath.Join(dir, "picket-gpu"), args...)
			cmd.Stdout, cmd.Stderr = out, said
			return cmd.Run()
		},
	})
	s.run()
	return s
}

func (s *simulated) run() {
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx, func(r event.GPUReading) {
			select {
			case s.reads <- r:
			case <-ctx.Done():
			}
		}, func(f Fault) {
			select {
			case s.faults <- f:
			case <-ctx.Done():
			}
		})
	}()
	s.t.Cleanup(func() { cancel(); <-done })
}

// set replaces the script in one step.
func (s *simulated) set(script string) {
	s.t.Helper()
	if err := os.WriteFile(s.script+".new", []byte(script), 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(s.script+".new", s.script); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for a reading of which ok is true.
func (s *simulated) until(what string, ok func(event.GPUReading) bool) event.GPUReading {
	s.t.Helper()
	last := event.GPUReading{}
	for end := time.After(30 * time.Second); ; {
		select {
		case last = <-s.reads:
			if ok(last) {
				return last
			}
		case <-end:
			s.t.Fatalf("%s: never; the last reading is %+v, %+v", what, last, s.Capabilities())
		}
	}
}

// capability waits until the sensor says of NVIDIA's GPUs what is wanted.
func (s *simulated) capability(want string) event.Capability {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		select {
		case <-s.reads: // nobody else takes them
		default:
		}
		for _, c := range s.Capabilities() {
			if c.Name == "gpu-nvidia" && strings.Contains(c.Detail, want) {
				return c
			}
		}
	}
	s.t.Fatalf("never said %q: %+v", want, s.Capabilities())
	return event.Capability{}
}

const oneGPU = "driver 570.86.15\ngpu uuid=GPU-1 name=Sim_80GB pci=00000000:3B:00.0 util=97 used=4096 total=81920 power=650000 limit=700000 sm=1980 mem=2619 temp=71 ecc=0 retired=2 pcie=1000 mig=0 corrected=3 appclock=1755 compute=3 persistence=1 eccmode=1 eccpending=0 accounting=0\n"

func TestEverythingThatTheDriverTellsIsRead(t *testing.T) {
	s := simulate(t, oneGPU+"proc gpu=0 pid=1234 used=3900 util=96\nproc gpu=0 pid=1235 used=100 util=0 type=mps gi=1 ci=2\n")
	got := s.until("two processes", func(r event.GPUReading) bool { return len(r.Devices) == 1 && len(r.Devices[0].Uses) == 2 })
	m := event.Measured
	want := event.GPUDevice{
		GPU: event.GPU{
			UUID: "GPU-1", Name: "Sim 80GB", Driver: "nvidia 570.86.15", PCI: "0000:3b:00.0", Source: "nvml", MIG: "disabled",
			Util: m(97), MemoryUsed: m(4096 << 20), MemoryTotal: m(81920 << 20), Power: m(650_000), PowerLimit: m(700_000),
			ClockSM: m(1980), ClockMemory: m(2619), Temperature: m(71), ECC: m(0), Retired: m(2), PCIe: m(1000 << 10), Corrected: m(3),
			ClockLimit: m(1755), ComputeMode: "exclusive process", Persistence: "enabled", ECCMode: "enabled, disabled after a reset", Accounting: "disabled",
		},
		Uses: []event.GPUUse{
			{PID: 1235, Memory: m(100 << 20), Util: m(0), Type: "mps", MIG: "1/2"},
			{PID: 1234, Memory: m(3900 << 20), Util: m(96), Type: "compute"},
		},
	}
	if d := cmp.Diff(want, got.Devices[0]); d != "" {
		t.Error(d)
	}
	s.set(oneGPU)
	s.until("none", func(r event.GPUReading) bool { return len(r.Devices) == 1 && len(r.Devices[0].Uses) == 0 })
	if c := s.capability("1 GPU"); !c.OK {
		t.Errorf("%+v", c)
	}
}

func TestWhatTheDriverDoesNotTellIsUnknown(t *testing.T) {
	s := simulate(t, "gpu uuid=GPU-1 util=50\nproc gpu=0 pid=77 used=10\nproc gpu=0 pid=78\nfail nvmlDeviceGetProcessUtilization 4\nfail nvmlDeviceGetUtilizationRates 3\n")
	r := s.until("processes", func(r event.GPUReading) bool { return len(r.Devices) == 1 && len(r.Devices[0].Uses) == 2 })
	d := r.Devices[0]
	if d.Util.Known || d.Power.Known || d.Uses[0].Util.Known || d.Uses[1].Memory.Known || !d.Uses[0].Memory.Known {
		t.Errorf("%+v", d)
	}
	s.capability("no permission")
	s.set("gpu uuid=GPU-1 util=50\nproc gpu=0 pid=77 used=10\nfail nvmlDeviceGetProcessUtilization 4\n")
	s.until("who is alone on a GPU computes what it computes", func(r event.GPUReading) bool {
		return len(r.Devices) == 1 && len(r.Devices[0].Uses) == 1 && r.Devices[0].Uses[0].Util == event.Measured(50)
	})
	s.set("gpu uuid=GPU-1 util=50\nfail nvmlDeviceGetHandleByIndex_v2 15\n")
	s.capability("the GPU is lost")
}

func TestAbsurdNumbersAreLeftOutAndCounted(t *testing.T) {
	s := simulate(t, "gpu uuid=GPU-1 name=\x1b[2J\u202eevil util=4000000000 used=-5 total=1 temp=4294967295 power=4294967295\nproc gpu=0 pid=4294967295 used=1\nproc gpu=0 pid=0 used=1\nproc gpu=0 pid=9 util=101 used=99999999999\n")
	r := s.until("a process", func(r event.GPUReading) bool { return len(r.Devices) == 1 && len(r.Devices[0].Uses) == 1 })
	d := r.Devices[0]
	if d.Util.Known || d.Temperature.Known || d.Power.Known || d.Uses[0].PID != 9 || d.Uses[0].Memory.Known || strings.ContainsAny(d.Name, "\x1b\u202e") {
		t.Errorf("%+v", d)
	}
	if s.Odd() == 0 {
		t.Error("they were not counted")
	}
}

func TestThousandsOfProcessesAreBounded(t *testing.T) {
	var script strings.Builder
	script.WriteString(oneGPU + "gpu uuid=GPU-2\n")
	for i := range 1024 {
		fmt.Fprintf(&script, "proc gpu=%d pid=%d used=1 util=1\n", i%2, 1000+i)
	}
	s := simulate(t, script.String())
	r := s.until("all", func(r event.GPUReading) bool { return len(r.Devices) == 2 })
	if n := len(r.Devices[0].Uses) + len(r.Devices[1].Uses); n != 1024 {
		t.Errorf("%d processes", n)
	}
	many := event.GPUReading{Devices: slices.Repeat([]event.GPUDevice{{Uses: slices.Repeat([]event.GPUUse{{PID: 1}}, 100)}}, 100)}
	if odd := tidy(&many); len(many.Devices) != maxDevices || odd == 0 {
		t.Errorf("%d devices, %d left out", len(many.Devices), odd)
	}
}

func TestADriverThatHangsIsGivenUpAndComesBack(t *testing.T) {
	s := simulate(t, oneGPU+"hang nvmlDeviceGetUtilizationRates 600\n")
	if c := s.capability("does not answer"); c.OK {
		t.Errorf("%+v", c)
	}
	s.set(oneGPU)
	s.until("it answers again", func(r event.GPUReading) bool { return len(r.Devices) == 1 })
}

func TestALibraryThatCrashesEndsItsReaderAlone(t *testing.T) {
	s := simulate(t, oneGPU+"crash nvmlDeviceGetPowerUsage\n")
	if c := s.capability("ended"); c.OK || !strings.Contains(c.Detail, "SIGSEGV") {
		t.Errorf("%+v", c)
	}
	s.set(oneGPU)
	s.until("it is started again", func(r event.GPUReading) bool { return len(r.Devices) == 1 })
}

func TestALibraryThatIsNoneIsNamed(t *testing.T) {
	s := simulate(t, "fail nvmlInit_v2 9\n")
	s.capability("the NVIDIA driver is not loaded")
	dir, _ := parts()
	out, err := exec.Command(filepath.Join(dir, "picket-gpu"), "--library", "/lib/x86_64-linux-gnu/libc.so.6").Output()
	if err == nil || !strings.Contains(string(out), "NVIDIA") {
		t.Errorf("%s, %v", out, err)
	}
}

// A library that the reader's user may not read, one that is cut, and what is none, are said and end the
// reader alone.
func TestALibraryThatCannotBeReadIsNamed(t *testing.T) {
	s := simulate(t, oneGPU)
	dir, _ := parts()
	whole, err := os.ReadFile(s.opt.Library)
	if err != nil {
		t.Fatal(err)
	}
	own := t.TempDir()
	if err := os.Chmod(filepath.Dir(own), 0o755); err != nil { // others may go there
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"closed.so": whole, "cut.so": whole[:len(whole)/2], "empty.so": nil, "text.so": bytes.Repeat([]byte("hello\n"), 1000)} {
		if err := os.WriteFile(filepath.Join(own, name), b, map[bool]os.FileMode{true: 0, false: 0o644}[name == "closed.so"]); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"closed.so": "Permission denied", "cut.so": "", "empty.so": "file too short", "text.so": "invalid ELF header", "none.so": "No such file", ".": "",
	} {
		program, err := os.Open(filepath.Join(dir, "picket-gpu"))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/proc/self/fd/3", "--library", filepath.Join(own, name))
		cmd.ExtraFiles = []*os.File{program}
		if os.Geteuid() == 0 { // who may read anything is no test
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, err := cmd.Output()
		_ = program.Close()
		if err == nil || want != "" && !strings.Contains(string(out), want) {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

// chatter is a reader that says something else.
func chatter(t *testing.T, write func(io.Writer)) *simulated {
	s := &simulated{t: t, reads: make(chan event.GPUReading), faults: make(chan Fault)}
	s.Sensor = New(Options{Every: time.Second, Library: "x", Root: t.TempDir(), Start: func(_ context.Context, out, _ io.Writer, _ ...string) error {
		write(out)
		return nil
	}})
	s.run()
	return s
}

func TestAReaderIsNotTrusted(t *testing.T) {
	chatter(t, func(out io.Writer) { _, _ = io.WriteString(out, "hello\n") }).capability("cannot be read")
	chatter(t, func(out io.Writer) {
		for b := make([]byte, 64<<10); ; {
			if _, err := out.Write(b); err != nil {
				return
			}
		}
	}).capability("more than is read")
	chatter(t, func(io.Writer) {}).capability("ended")
}

func TestWithoutAGPUNothingRuns(t *testing.T) {
	s := New(Options{Root: t.TempDir(), Start: func(context.Context, io.Writer, io.Writer, ...string) error {
		t.Error("the reader was started")
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx, func(event.GPUReading) { t.Error("something was read") }, func(Fault) {})
	}()
	for len(s.Capabilities()) < 2 { // the kernel's log is not there either
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	if c := s.Capabilities()[0]; c.Name != "gpu" || !strings.Contains(c.Detail, "no GPU here") {
		t.Errorf("%+v", c)
	}
}
