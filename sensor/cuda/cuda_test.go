package cuda

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"picket/event"
	"picket/sensor/uprobe"
)

// built compiles a file of testdata, or skips.
func built(t testing.TB, source, name string, flags ...string) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc to build a library with")
	}
	out := filepath.Join(t.TempDir(), name)
	if said, err := exec.Command(gcc, append(flags, "-o", out, filepath.Join("testdata", source), "-ldl")...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return out
}

// How the first instruction of each function comes to be of a class.
var (
	nops   = []string{"-shared", "-fPIC", "-O2", "-fcf-protection=none", "-fpatchable-function-entry=5"}
	pushes = []string{"-shared", "-fPIC", "-O0", "-fcf-protection=none"}
	branch = []string{"-shared", "-fPIC", "-O0", "-fcf-protection=full"} // endbr64 before the push
	steps  = []string{"-shared", "-fPIC", "-O2", "-fcf-protection=none"}
)

// told is a sensor and what it has told.
type told struct {
	*Sensor
	mu     sync.Mutex
	events []*event.Event
	end    func()
}

func newTold(t testing.TB, o Options) *told {
	t.Helper()
	if os.Geteuid() != 0 {
		if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "root") {
			t.Fatal("not root")
		}
		t.Skip("probes need root")
	}
	if o.Driver == nil {
		o.Driver = []string{"/nowhere/libcuda.so.1"}
	}
	o.Every = 50 * time.Millisecond
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	r := &told{Sensor: s}
	s.set.Scan(t.Context())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(e *event.Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, e)
		})
	}()
	r.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.end)
	return r
}

func (r *told) wait(t testing.TB, what string, is func(*event.Event) bool) *event.Event {
	t.Helper()
	for range 500 {
		r.mu.Lock()
		i := slices.IndexFunc(r.events, is)
		r.mu.Unlock()
		if i >= 0 {
			return r.events[i]
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, e := range r.events {
		all = append(all, fmt.Sprintf("%s %+v", e.Describe(), *e.CUDA))
	}
	t.Fatalf("%s was not told of: %s", what, strings.Join(all, "\n"))
	return nil
}

// totals is what the kernel counted of a process.
func (r *told) totals(t testing.TB, pid int) map[uint32]cudaTotal {
	t.Helper()
	out := map[uint32]cudaTotal{}
	var key cudaTotalKey
	var per []cudaTotal
	it := r.coll.Maps["totals"].Iterate()
	for it.Next(&key, &per) {
		for _, x := range per {
			if key.Tgid == uint32(pid) {
				sum := out[key.What]
				out[key.What] = cudaTotal{Calls: sum.Calls + x.Calls, Bytes: sum.Bytes + x.Bytes}
			}
		}
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// calling is a process that calls a libcuda as it is told.
type calling struct {
	pid int
	in  io.Writer
	out *bufio.Scanner
}

func call(t testing.TB, program, library string) *calling {
	t.Helper()
	cmd := exec.Command(program, library)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &calling{cmd.Process.Pid, in, bufio.NewScanner(out)}
}

// do has the process do something, and returns its answer.
func (c *calling) do(t testing.TB, what string, args ...any) string {
	t.Helper()
	if _, err := fmt.Fprintf(c.in, what+"\n", args...); err != nil {
		t.Fatal(err)
	}
	if !c.out.Scan() {
		t.Fatalf("no answer to %q", what)
	}
	return c.out.Text()
}

func TestCountsAreExact(t *testing.T) {
	program := built(t, "caller.c", "caller")
	for name, c := range map[string]struct {
		flags []string
		each  bool
		steps bool
	}{
		"nops":                 {nops, false, false},
		"pushes":               {pushes, false, false},
		"behind endbr64":       {branch, false, false},
		"single-stepped":       {steps, false, true},
		"each probe by itself": {pushes, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			library := built(t, "libcuda.c", "libcuda.so.1", c.flags...)
			r := newTold(t, Options{Each: c.each})
			p := call(t, program, library)
			p.do(t, "alloc 1")
			r.Meet(uint32(p.pid), library, 0, 0)
			r.wait(t, "the library", func(e *event.Event) bool { return e.CUDA.Call == event.CUDALibrary && e.CUDA.Library == library })
			p.do(t, "copy cuMemcpyDtoH_v2 20000 4096")
			p.do(t, "copy cuMemcpyDtoHAsync_v2_ptsz 7 1000")
			p.do(t, "copy cuMemcpy 30 11")
			p.do(t, "copy cuMemcpyHtoD_v2 5 1")
			p.do(t, "alloc 123456789012")
			want := map[uint32]cudaTotal{toHost: {Calls: 20007, Bytes: 20000*4096 + 7000}, copies: {Calls: 30, Bytes: 330}, alloc: {Calls: 1, Bytes: 123456789012}}
			got := r.totals(t, p.pid)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%v, want %v", got, want)
			}
			held := r.Held()
			if len(held) != 1 || strings.Contains(held[0].Detail, "single-stepped") != c.steps {
				t.Errorf("%+v", held)
			}
			if n := r.Missed(); n != 0 {
				t.Errorf("%d were missed", n)
			}
			r.end()
			p.do(t, "copy cuMemcpyDtoH_v2 10 1") // the probes are gone, and it goes on
		})
	}
}

func TestAProcessThatStartsLaterIsSeenFromItsFirstCallOn(t *testing.T) {
	program, library := built(t, "caller.c", "caller"), built(t, "libcuda.c", "libcuda.so.1", nops...)
	r := newTold(t, Options{})
	first := call(t, program, library)
	first.do(t, "alloc 1")
	r.Meet(uint32(first.pid), library, 0, 0)
	r.wait(t, "the library", func(e *event.Event) bool { return e.CUDA.Call == event.CUDALibrary })
	for range 3 {
		p := call(t, program, library)
		p.do(t, "copy cuMemcpyDtoH_v2 1 77")
		if got := r.totals(t, p.pid)[toHost]; got.Calls != 1 || got.Bytes != 77 {
			t.Errorf("%+v", got)
		}
	}
}

func TestTheDriversLibraryIsWatchedBeforeAnybodyUsesIt(t *testing.T) {
	program, library := built(t, "caller.c", "caller"), built(t, "libcuda.c", "libcuda.so.1", nops...)
	other := built(t, "libcuda.c", "libcuda.so.1", nops...)
	r := newTold(t, Options{Driver: []string{library}})
	p := call(t, program, library)
	p.do(t, "copy cuMemcpyDtoH_v2 1 77")
	if got := r.totals(t, p.pid)[toHost]; got.Calls != 1 {
		t.Errorf("%+v", got)
	}
	thief := call(t, program, other)
	thief.do(t, "alloc 1")
	r.Meet(uint32(thief.pid), other, 0, 0)
	e := r.wait(t, "the private library", func(e *event.Event) bool { return e.CUDA.Library == other })
	if !e.CUDA.Private || e.Process.PID != uint32(thief.pid) {
		t.Errorf("%+v of %+v", e.CUDA, e.Process)
	}
	p.do(t, "module ptx")
	if e := r.wait(t, "the module", func(e *event.Event) bool { return e.CUDA.Call == "cuModuleLoadData" }); e.CUDA.Private {
		t.Error("the driver's library is called private")
	}
}

func TestModules(t *testing.T) {
	program, library := built(t, "caller.c", "caller"), built(t, "libcuda.c", "libcuda.so.1", pushes...)
	r := newTold(t, Options{Driver: []string{library}})
	p := call(t, program, library)
	for _, c := range []struct {
		kind string
		want event.CUDAModule
	}{
		{"ptx", event.CUDAModule{Format: "ptx", Size: 27, New: true, Digest: "of the text"}},
		{"fat", event.CUDAModule{Format: "fatbin", Size: 8192, New: true, Digest: "of 8192 bytes"}},
		{"fat", event.CUDAModule{Format: "fatbin", Size: 8192, Digest: "of 8192 bytes"}}, // again
		{"liar", event.CUDAModule{Format: "fatbin", Size: 8192}},
		{"none", event.CUDAModule{Format: "unknown"}},
		{"/models/kernel.cubin", event.CUDAModule{Format: "file", File: "/models/kernel.cubin", New: true}},
	} {
		r.mu.Lock()
		r.events = nil
		r.mu.Unlock()
		p.do(t, "module "+c.kind)
		e := r.wait(t, c.kind, func(e *event.Event) bool { return e.CUDA.Module.Format != "" })
		got := e.CUDA.Module
		if raw, err := hex.DecodeString(got.Digest); err != nil || (len(raw) == 32) != (c.want.Digest != "") {
			t.Errorf("%s: digest %q", c.kind, got.Digest)
		}
		got.Digest = c.want.Digest
		if got != c.want || e.Process.PID != uint32(p.pid) || e.Process.Comm != "caller" {
			t.Errorf("%s: %+v, want %+v", c.kind, got, c.want)
		}
	}
}

// Memory that a program keeps from being read holds nobody up but the read itself, and of those there are few.
func TestMemoryThatNeverComesIsNotWaitedFor(t *testing.T) {
	m := newModules()
	m.wait = 10 * time.Millisecond
	end := make(chan struct{})
	defer close(end)
	var started atomic.Int32
	for range 3 * maxReads {
		if _, _, ok := m.digest(func() (string, uint64, bool) { started.Add(1); <-end; return "", 0, true }); ok {
			t.Error("what never came was read")
		}
	}
	if n := started.Load(); n != maxReads {
		t.Errorf("%d reads wait, want %d", n, maxReads)
	}
}

func TestMemoryThatIsSharedLeadsToWhoGaveIt(t *testing.T) {
	program, library := built(t, "caller.c", "caller"), built(t, "libcuda.c", "libcuda.so.1", nops...)
	r := newTold(t, Options{Driver: []string{library}})
	gives, takes := call(t, program, library), call(t, program, library)
	handle := gives.do(t, "export")
	r.wait(t, "the export", func(e *event.Event) bool { return e.CUDA.Call == "cuIpcGetMemHandle" })
	takes.do(t, "open %s", handle)
	e := r.wait(t, "the opening", func(e *event.Event) bool { return e.CUDA.Call == "cuIpcOpenMemHandle" })
	if e.Process.PID != uint32(takes.pid) || e.CUDA.Peer.PID != uint32(gives.pid) {
		t.Errorf("process %d of %d, want %d of %d", e.Process.PID, e.CUDA.Peer.PID, takes.pid, gives.pid)
	}
	exports := 0
	r.mu.Lock()
	for _, e := range r.events {
		if e.CUDA.Call == "cuIpcGetMemHandle" {
			exports++
		}
	}
	r.mu.Unlock()
	if exports != 1 {
		t.Errorf("%d exports: one that failed is none", exports)
	}
}

func TestTheMeterTellsWhatShareWasCopied(t *testing.T) {
	program, library := built(t, "caller.c", "caller"), built(t, "libcuda.c", "libcuda.so.1", nops...)
	const held = 1 << 30
	r := newTold(t, Options{Driver: []string{library}, Memory: func(uint32) (int64, bool) { return held, true }})
	p := call(t, program, library)
	p.do(t, "copy cuMemcpyDtoH_v2 10 %d", held/100)
	e := r.wait(t, "a first copy", func(e *event.Event) bool { return e.CUDA.Call == event.CUDACopies })
	if e.CUDA.Share != event.Measured(9) || e.CUDA.Bytes != held/100*10 || e.CUDA.Memory != event.Measured(held) {
		t.Errorf("%+v", e.CUDA)
	}
	p.do(t, "copy cuMemcpyDtoH_v2 10 %d", held/20)
	e = r.wait(t, "what crosses the mark", func(e *event.Event) bool { return e.CUDA.Share.N >= suspect })
	if e.CUDA.Calls != 20 || e.Process.PID != uint32(p.pid) {
		t.Errorf("%+v", e.CUDA)
	}
}

// Containers of one image share the library's file; those of two images do not.
func TestCopiesOfContainers(t *testing.T) {
	program, library := built(t, "caller.c", "caller"), built(t, "libcuda.c", "libcuda.so.1", nops...)
	r := newTold(t, Options{})
	var all []*calling
	for _, lower := range []string{filepath.Dir(library), filepath.Dir(library), filepath.Dir(built(t, "libcuda.c", "libcuda.so.1", pushes...))} {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			t.Skip("nothing can be mounted here: ", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		for _, name := range []string{"upper", "work", "root"} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		root := filepath.Join(dir, "root")
		if err := syscall.Mount("overlay", root, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower, dir, dir)); err != nil {
			t.Skip("no overlay here: ", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })
		p := call(t, program, filepath.Join(root, "libcuda.so.1"))
		p.do(t, "alloc 1")
		r.Meet(uint32(p.pid), filepath.Join(root, "libcuda.so.1"), 0, 0)
		all = append(all, p)
	}
	for range 300 {
		if len(r.Held()) >= 2 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(300 * time.Millisecond) // for one too many
	if held := r.Held(); len(held) != 2 {
		t.Fatalf("%+v", held)
	}
	for _, p := range all {
		p.do(t, "copy cuMemcpyDtoH_v2 100 8")
		if got := r.totals(t, p.pid)[toHost]; got.Calls != 100 || got.Bytes != 800 {
			t.Errorf("%+v", got)
		}
	}
}

func TestMeasure(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("probes need root")
	}
	costs, err := Measure()
	if err != nil {
		t.Fatal(err)
	}
	if len(costs) != 3 || costs[0].Class != uprobe.Nop5 || costs[2].Class != uprobe.Step {
		t.Fatalf("%+v", costs)
	}
	for _, c := range costs {
		t.Logf("%s: %.0f ns", c.Class, c.Nanoseconds)
		if c.Nanoseconds < 50 {
			t.Errorf("%s: %.0f ns: less than a trap takes", c.Class, c.Nanoseconds)
		}
	}
}

// A ring that cannot be read any more is told of at once: nobody would know until the end that nothing is heard.
func TestAnErrorOfTheRingIsToldAtOnce(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("probes need root")
	}
	s, err := Open(Options{Driver: []string{"/nowhere/libcuda.so.1"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, func(*event.Event) {}) }()
	if err := s.ring.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "ring of calls of libcuda") {
			t.Errorf("got %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("it is not told")
		cancel()
		<-done
	}
	if err := s.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

// One process uses up a part of what is read and remembered of modules, and others the rest.
func TestModulesOfOneProcessLeaveRoomForOthers(t *testing.T) {
	m := newModules()
	now := time.Unix(1000, 0)
	for n := range maxModules {
		var out event.CUDAModule
		m.seen(caller{tgid: uint32(os.Getpid())}, now, &out, fmt.Sprint(n))
		if want := n < maxModules/share; out.New != want {
			t.Fatalf("module %d of one executable: new %t", n, out.New)
		}
	}
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	var out event.CUDAModule
	m.seen(caller{tgid: uint32(cmd.Process.Pid)}, now, &out, "x")
	if !out.New {
		t.Error("the first module of another executable is not new")
	}
}
