package workload

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
)

// told makes up an event about one of a few processes.
func told(r *rand.Rand, n int) *event.Event {
	pid := uint32(r.IntN(12))
	p := few(pid)
	p.StartBoot += uint64(r.IntN(2)) * 3 * uint64(time.Second) // pids are reused
	p.PPID = uint32(r.IntN(12))
	p.PStart = []uint64{0, startOf(p.PPID)}[r.IntN(2)]
	p.CgroupID = uint64(r.IntN(4))
	e := &event.Event{Kind: event.Kind(1 + r.IntN(int(event.SensorHealth))), Time: clock.Add(time.Duration(n) * time.Second), Process: p}
	switch {
	case e.Kind == event.ProcessStart || e.Kind == event.ProcessSeen:
		lines := []string{"/usr/bin/llama-server -m /models/m/a.gguf", "/usr/bin/python3 -m vllm.entrypoints.api_server", "/bin/sh -c x", ""}
		line := lines[r.IntN(len(lines))]
		exe, _, _ := strings.Cut(line, " ")
		q := process(pid, p.PPID, []string{"", "box-1", "box-2"}[r.IntN(3)], exe, line)
		q.StartBoot, q.PStart, q.CgroupID = p.StartBoot, p.PStart, p.CgroupID
		e.Process = q
	case e.Kind.Class() == "file":
		e.File = event.File{
			Path: []string{"/models/m/a.gguf", "/models/m/b.bin", "/x/blobs/y", "", "relative", "/tmp/z.pt"}[r.IntN(6)],
			Old:  []string{"", "/models/m/a.gguf"}[r.IntN(2)], Ino: uint64(r.IntN(5)), Size: 1 << 30,
		}
	}
	return e
}

// Whatever order events come in, every one is attributed to the process that it names, lineages
// end, and the tree keeps its bound and its books.
func TestAnyOrderOfEvents(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, Options{Processes: 16})
		for i := range 300 {
			e := told(r, i)
			pid := e.Process.PID
			w.tracker.Stamp(e)
			if e.Process == nil || e.Process.PID != pid {
				t.Fatalf("seed %d, event %d: %v became %+v", seed, i, pid, e.Process)
			}
			for a, n := e.Process, 0; a != nil; a, n = a.Parent, n+1 {
				if n > 2*maxDepth {
					t.Fatalf("seed %d, event %d: a lineage without end", seed, i)
				}
			}
			if i%40 == 0 {
				w.tracker.Advance(e.Time)
			}
		}
		checkTree(t, w.tracker.tree)
		for i := range 20 { // a generation goes each time
			w.tracker.Advance(clock.Add(time.Duration(48+i) * time.Hour))
		}
		checkTree(t, w.tracker.tree)
		for k := range w.tracker.tree.byKey {
			if k.PID != 1 { // which this /proc says runs
				t.Fatalf("seed %d: %v is left and does not run", seed, k)
			}
		}
	}
}

func checkTree(t *testing.T, tr *tree) {
	t.Helper()
	living := 0
	for k, n := range tr.byKey {
		if n.proc.Key() != k {
			t.Fatalf("%v stands under %v", n.proc.Key(), k)
		}
		if n.place == nil {
			living++
			if tr.byPID[k.PID] != n {
				t.Fatalf("%v lives and is not found by its pid", k)
			}
		}
	}
	if len(tr.byPID) != living || tr.gone.Len() != len(tr.byKey)-living {
		t.Fatalf("%d by pid, %d gone, of %d with %d living", len(tr.byPID), tr.gone.Len(), len(tr.byKey), living)
	}
}

func TestTrackerIsSafeToAskMeanwhile(t *testing.T) {
	reg := prometheus.NewRegistry()
	w := newWorld(t, Options{Registerer: reg, Processes: 64})
	var wg sync.WaitGroup
	done := make(chan struct{})
	for _, ask := range []func(){
		func() { w.tracker.Workloads() },
		func() { w.tracker.Models() },
		func() { _, _ = reg.Gather() },
		func() { w.tracker.Advance(clock) },
	} {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					ask()
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(7, 7))
	for i := range 2000 {
		e := told(r, i)
		w.tracker.Stamp(e)
		if p := e.Process; p != nil {
			_, _ = p.Images(), p.Member()
		}
	}
	close(done)
	wg.Wait()
}

func TestARealChildIsAdopted(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "llama-7b", "model.gguf")
	server := filepath.Join(dir, "bin", "llama-server")
	for _, name := range []string{model, server} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(model, []byte("GGUF"), 0o600); err != nil {
		t.Fatal(err)
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("no sleep here: ", err)
	}
	if err := os.Symlink(sleep, server); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(server, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		// Start returns as the new program takes over, which is before the kernel has its arguments.
		if b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid)); len(b) > 0 {
			break
		}
	}
	tr := New(Options{Host: "h"})
	pid := uint32(cmd.Process.Pid)
	begun, _, _, ok := tr.proc.start(pid)
	if !ok {
		t.Fatal("the child has no start")
	}
	e := &event.Event{Kind: event.NetConnect, Time: time.Now(), Process: &event.Process{PID: pid, TID: pid, StartBoot: begun + 12345}}
	if !tr.Stamp(e) {
		t.Fatal("a running process is not known")
	}
	self, _ := os.Executable()
	if p := e.Process; p.Parent == nil || p.Parent.Exe != self || !strings.Contains(p.Cmdline, "60") || p.StartBoot != begun+12345 {
		t.Errorf("adopted as %+v", p)
	}
	again := &event.Event{Kind: event.NetConnect, Time: time.Now(), Process: &event.Process{PID: pid, StartBoot: begun + 12345}}
	if tr.Stamp(again); again.Process != e.Process {
		t.Error("adopted twice")
	}
}

func TestOrdersThatTheKernelMayTellIn(t *testing.T) {
	t.Run("exit before exec", func(t *testing.T) {
		w := newWorld(t, Options{})
		gone := few(60)
		gone.ExitCode = 3
		w.stamp(&event.Event{Kind: event.ProcessExit, Process: gone})
		p := w.exec(60, 1, "", "/bin/true", "true")
		n := w.tracker.tree.find(60, startOf(60))
		if p.ExitCode != 3 || n == nil || n.exited.IsZero() {
			t.Errorf("exec behind its exit: %+v", p)
		}
	})
	t.Run("fork behind exec", func(t *testing.T) {
		w := newWorld(t, Options{})
		w.exec(50, 1, "", "/bin/sh", "sh")
		w.exec(60, 50, "", "/bin/ls", "ls")
		f := few(60)
		f.PPID, f.PStart = 50, startOf(50)
		if p := w.stamp(&event.Event{Kind: event.ProcessFork, Process: f}); p.Exe != "/bin/ls" {
			t.Errorf("a late fork took the image back to %s", p.Exe)
		}
	})
	t.Run("moved to a cgroup between fork and exec", func(t *testing.T) {
		w := newWorld(t, Options{})
		w.exec(50, 1, "", "/usr/bin/runc", "runc")
		f := few(60)
		f.PPID, f.PStart, f.CgroupID = 50, startOf(50), 10
		if p := w.stamp(&event.Event{Kind: event.ProcessFork, Process: f}); p.Container != nil {
			t.Errorf("a container too early: %+v", p.Container)
		}
		if p := w.exec(60, 50, "infer-1", "/app/server", "server"); p.Container == nil || p.Container.ID != "infer-1" {
			t.Errorf("no container: %+v", p.Container)
		}
		child := few(61)
		child.PPID, child.PStart = 60, startOf(60)
		if p := w.stamp(&event.Event{Kind: event.ProcessFork, Process: child}); p.Container == nil || p.Container.ID != "infer-1" {
			t.Errorf("a child outside its parent's container: %+v", p.Container)
		}
	})
	t.Run("an older holder of the pid is told of late", func(t *testing.T) {
		w := newWorld(t, Options{})
		young := w.exec(60, 1, "", "/bin/new", "new")
		old := process(60, 1, "", "/bin/old", "old")
		old.StartBoot -= uint64(time.Second)
		w.stamp(&event.Event{Kind: event.ProcessStart, Process: old})
		if n := w.tracker.tree.find(60, 0); n == nil || n.proc != young {
			t.Error("the pid went back to who held it before")
		}
	})
}

// A server that makes itself a shell is the shell's parent, so that the story shows it.
func TestAServerThatBecomesAShell(t *testing.T) {
	w := newWorld(t, Options{})
	server := w.serve(50, "infer-1")
	for _, exe := range []string{"/bin/busybox", "/usr/bin/curl"} {
		p := w.exec(50, 1, "infer-1", exe, exe)
		if p.Parent != server || p.Member() || p.Workload == nil || p.Workload.ID != server.Workload.ID {
			t.Fatalf("%s: parent %v, workload %+v", exe, p.Parent, p.Workload)
		}
		if e := w.read(50, "/models/llama-3/model.gguf"); !e.Stranger() {
			t.Errorf("%s is no stranger", exe)
		}
	}
}

func FuzzProc(f *testing.F) {
	f.Add("7 (a) b) S 1 "+strings.Repeat("0 ", 17)+"42 0", "Uid:\t0 1 2 3\nCapEff:\tff\nNSpid:\t7 1\n", "python\x00-m\x00vllm", "0::/x\n", "7f-8f r-xp 0 08:01 9 /lib/libtorch.so\n")
	f.Fuzz(func(t *testing.T, stat, status, cmdline, cgroup, maps string) {
		root := t.TempDir()
		dir := filepath.Join(root, "7")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{
			"stat": stat, "status": status, "cmdline": cmdline, "cgroup": cgroup, "maps": maps, "environ": status,
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		tr := New(Options{Proc: root})
		tr.Stamp(&event.Event{Kind: event.FileRead, Process: &event.Process{PID: 7}, File: event.File{Path: fmt.Sprintf("/%q.gguf", stat)}})
		tr.Advance(clock)
		tr.Advance(clock.Add(time.Hour))
	})
}
