package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picket/event"
	"picket/respond/action"
	"picket/sensor/gpu"
)

// resetter is the act that resets GPUs, on a simulated GPU and with a program that stands in for NVIDIA's
// tool: no GPU is here.
type resetter struct {
	*action.Local
	g      *gpus
	script string
	end    func()
}

func newResetter(t *testing.T, dir, script string) *resetter {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: the tool that resets GPUs is root's")
	}
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no C compiler, which makes the simulated library")
	}
	library, tool, reader := filepath.Join(dir, "libnvidia-ml.so"), filepath.Join(dir, "nvidia-smi"), filepath.Join(dir, "picket-gpu")
	r := &resetter{script: library + ".txt", g: &gpus{told: map[toldOf]told{}}}
	write := func(text string) {
		if err := errors.Join(os.WriteFile(r.script+".new", []byte(text), 0o644), os.Rename(r.script+".new", r.script)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(tool); err != nil {
		for _, args := range [][]string{
			{"go", "build", "-trimpath", "-o", reader, "picket/cmd/picket-gpu"},
			{"cc", "-shared", "-fPIC", "-O1", "-o", library, "../sensor/gpu/sim/nvml.c"},
			{"cc", "-O1", "-DSCRIPT=\"" + r.script + "\"", "-DREADING=\"/nonexistent\"", "-o", tool, "../sensor/gpu/sim/smi.c"},
		} {
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
	write(script)
	r.g.sensor = gpu.New(gpu.Options{
		Every: 200 * time.Millisecond, Library: library, Tool: tool, Root: t.TempDir(),
		Start: func(ctx context.Context, out, said io.Writer, args ...string) error {
			cmd := exec.CommandContext(ctx, reader, args...)
			cmd.Stdout, cmd.Stderr = out, said
			return cmd.Run()
		},
	})
	var err error
	if r.Local, err = action.Open(action.Options{Dir: dir, Host: "h", BootID: "b"}, action.NewResetGPU(gpuHost{r.g})); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	looked, acted := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(looked)
		r.g.sensor.Run(ctx, func(event.GPUReading) {}, func(gpu.Fault) {})
	}()
	go func() { defer close(acted); _ = r.Run(ctx) }()
	ended := false
	r.end = func() {
		if !ended {
			ended = true
			cancel()
			<-looked
			<-acted
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(r.end)
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if d, _, _, known := r.g.sensor.Device("GPU-1"); known && (len(d.Uses) > 0) == strings.Contains(script, "proc ") {
			return r
		}
		if time.Now().After(end) {
			t.Fatalf("the GPU is never told of: %+v", r.g.sensor.Capabilities())
		}
	}
}

func resetOf(id, uuid string) *action.Request {
	return &action.Request{ID: id, Kind: action.ResetGPU, By: "ada", Target: action.Target{Host: "h", Object: &action.ObjectPin{Of: action.OfHost, Kind: "gpu", Name: uuid}}}
}

const splitGPU = "driver 570.86.15\ngpu uuid=GPU-1 name=Sim_80GB pci=00000000:3B:00.0 total=81920 used=0 mig=1 ecc=3 corrected=9 limit=700000 appclock=1755 compute=3 eccmode=1 eccpending=0 retired=2\n"

func TestResetGPU(t *testing.T) {
	dir := t.TempDir()
	r := newResetter(t, dir, splitGPU+"proc gpu=0 pid=1 used=10\n")

	// Held, it is refused, and who holds it is named with what it works for.
	r.g.state = []event.GPUState{{GPU: event.GPU{UUID: "GPU-1"}, Users: []event.GPUUser{{GPUUse: event.GPUUse{PID: 1}, Workload: "llama"}}}}
	_, err := r.Plan(t.Context(), resetOf("", "GPU-1"))
	if !errors.Is(err, action.ErrProtected) || !strings.Contains(err.Error(), "held by 1 process: 1 ") || !strings.Contains(err.Error(), " of llama (compute)") {
		t.Errorf("%v", err)
	}
	if res, err := r.Do(t.Context(), resetOf("r0", "GPU-1")); err != nil || res.State != action.Refused || !strings.Contains(res.Detail, "of llama") {
		t.Errorf("%+v %v", res, err)
	}
	if err := os.WriteFile(r.script, []byte(splitGPU), 0o644); err != nil {
		t.Fatal(err)
	}
	var p *action.Plan
	for range 500 {
		if p, err = r.Plan(t.Context(), resetOf("", "GPU-1")); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil || p.Class != action.Destructive || p.Undo != "" || p.Target.Object.UID != "0000:3b:00.0" {
		t.Fatalf("%+v %v", p, err)
	}
	said := strings.Join(p.Effects, "\n")
	for _, want := range []string{
		"is reset by " + dir + "/nvidia-smi", "cannot be undone", "split (MIG): its instances are gone", "3 that could not be corrected, 9 that were",
		"enabled, disabled after a reset", "clocks for applications (1755 MHz), power limit (700 W), compute mode (exclusive process), locked clocks",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the plan lacks %q:\n%s", want, said)
		}
	}

	// It is done once, answers afterwards, and cannot be taken back.
	did := resetOf("r1", "GPU-1")
	did.Target = p.Target
	res, err := r.Do(t.Context(), did)
	if err != nil || res.State != action.Done || !strings.Contains(res.Output, "was successfully reset") {
		t.Fatalf("%+v %v", res, err)
	}
	if holds, detail, err := r.Verify(t.Context(), &action.Request{ID: "r1"}); !holds || err != nil {
		t.Errorf("%v %s %v", holds, detail, err)
	}
	if again, err := r.Do(t.Context(), resetOf("r1", "GPU-1")); err != nil || !again.At.Equal(res.At) {
		t.Errorf("%+v %v", again, err)
	}
	if _, err := r.Undo(t.Context(), &action.Request{ID: "r1", By: "ada"}); !errors.Is(err, action.ErrInvalid) {
		t.Errorf("it is taken back: %v", err)
	}

	// One that fails says so, and what it says cannot move a terminal.
	if err := os.WriteFile(r.script, []byte(splitGPU+"tool fail\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if res, err := r.Do(t.Context(), resetOf("r2", "GPU-1")); err != nil || res.State != action.Failed || strings.ContainsRune(res.Detail+res.Output, '\x1b') || !strings.Contains(res.Detail, "Unable to reset") {
		t.Errorf("%+v %v", res, err)
	}
	for name, c := range map[string]struct {
		change func(*action.Request)
		is     error
		says   string
	}{
		"another GPU":      {func(q *action.Request) { q.Target.Object.Name = "GPU-2" }, action.ErrGone, "there are GPU-1"},
		"another place":    {func(q *action.Request) { q.Target.Object.UID = "0000:af:00.0" }, action.ErrGone, "not at 0000:af:00.0"},
		"an option":        {func(q *action.Request) { q.Target.Object.Name = "--all" }, action.ErrInvalid, "is no UUID"},
		"a list":           {func(q *action.Request) { q.Target.Object.Name = "GPU-1,GPU-2" }, action.ErrInvalid, "is no UUID"},
		"a pod":            {func(q *action.Request) { q.Target.Object.Kind = "pod" }, action.ErrInvalid, "wants a GPU"},
		"a process":        {func(q *action.Request) { q.Target = action.Target{Process: &action.ProcessPin{PID: 1}} }, action.ErrInvalid, "wants a GPU"},
		"a parameter":      {func(q *action.Request) { q.Params = map[string]string{"force": "1"} }, action.ErrInvalid, "it takes none"},
		"an end of itself": {func(q *action.Request) { q.TTL = time.Minute }, action.ErrInvalid, "is not taken back"},
	} {
		q := resetOf("", "GPU-1")
		c.change(q)
		if _, err := r.Plan(t.Context(), q); !errors.Is(err, c.is) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}

	// Of one that an agent died in the middle of nobody can say whether it was done.
	r.end()
	journal := filepath.Join(dir, "actions.journal")
	b, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for l := range strings.Lines(string(b)) {
		if strings.Contains(l, `"id":"r1"`) {
			kept = append(kept, l)
		}
	}
	if err := os.WriteFile(journal, []byte(kept[0]), 0o600); err != nil { // what was to be done, without what came of it
		t.Fatal(err)
	}
	r = newResetter(t, dir, splitGPU)
	if res, err := r.Do(t.Context(), resetOf("r1", "GPU-1")); err != nil || res.State != action.Unknown || !strings.Contains(res.Detail, "does not show whether it was") {
		t.Errorf("%+v %v", res, err)
	}
}
