package workload

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
)

const (
	hostPID, hostMnt = 4026531836, 4026531841
	boxPID, boxMnt   = 4026532001, 4026532002
)

var clock = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world is a host made of a directory that looks like /proc.
type world struct {
	t       *testing.T
	proc    string
	tracker *Tracker
	watched []string
}

func newWorld(t *testing.T, o Options) *world {
	t.Helper()
	w := &world{t: t, proc: t.TempDir()}
	w.write("1/stat", "1 (init) S 0 "+strings.Repeat("0 ", 17)+"0 0")
	w.link("1/ns/pid", fmt.Sprintf("pid:[%d]", hostPID))
	w.link("1/ns/mnt", fmt.Sprintf("mnt:[%d]", hostMnt))
	o.Proc, o.Host, o.BootID = w.proc, "h", "b"
	if o.Watch == nil {
		o.Watch = func(p string) { w.watched = append(w.watched, p) }
	}
	w.tracker = New(o)
	return w
}

func (w *world) write(name, content string) {
	w.t.Helper()
	name = filepath.Join(w.proc, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) link(name, to string) {
	w.t.Helper()
	name = filepath.Join(w.proc, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Symlink(to, name); err != nil {
		w.t.Fatal(err)
	}
}

// root puts a file into what a process sees as its file system.
func (w *world) root(pid int, name string, size int) {
	w.write(strconv.Itoa(pid)+"/root"+name, strings.Repeat("x", size))
}

// alive makes /proc tell of a process.
func (w *world) alive(pid, ppid int, start uint64, comm string) {
	fields := make([]string, 20)
	for i := range fields {
		fields[i] = "0"
	}
	fields[0], fields[1], fields[19] = "S", strconv.Itoa(ppid), strconv.FormatUint(start/tick, 10)
	w.write(strconv.Itoa(pid)+"/stat", fmt.Sprintf("%d (%s) %s", pid, comm, strings.Join(fields, " ")))
}

func (w *world) stamp(e *event.Event) *event.Process {
	w.t.Helper()
	if e.Time.IsZero() {
		e.Time = clock
	}
	w.tracker.Stamp(e)
	return e.Process
}

// exec tells of a program that starts. Containers are told by box: "" for the host.
func (w *world) exec(pid, ppid uint32, box, exe, line string) *event.Process {
	w.t.Helper()
	return w.stamp(&event.Event{Kind: event.ProcessStart, Process: process(pid, ppid, box, exe, line)})
}

func startOf(pid uint32) uint64 {
	if pid == 0 {
		return 0
	}
	return uint64(pid)*uint64(time.Second) + 7
}

func process(pid, ppid uint32, box, exe, line string) *event.Process {
	p := ran(exe, line)
	p.PID, p.TID, p.PPID, p.StartBoot, p.PStart = pid, pid, ppid, startOf(pid), startOf(ppid)
	p.CWD, p.LoginUID = "/", ^uint32(0)
	p.NS = event.Namespaces{PID: hostPID, Mnt: hostMnt}
	p.CgroupID, p.CgroupPath = 10, "/init.scope"
	if box != "" {
		p.NS = event.Namespaces{PID: boxPID, Mnt: boxMnt}
		p.CgroupID, p.CgroupPath = uint64(len(box))<<20|uint64(box[len(box)-1]), "/"+box
	}
	return p
}

// few is what the sensor says of a process with each event but exec.
func few(pid uint32) *event.Process {
	return &event.Process{PID: pid, TID: pid, StartBoot: startOf(pid), Comm: "x"}
}

func (w *world) read(pid uint32, path string) *event.Event {
	w.t.Helper()
	e := &event.Event{Kind: event.FileRead, Process: few(pid), File: event.File{Path: path, Size: 1 << 30}}
	w.stamp(e)
	return e
}

// serve starts llama-server in a container, with a model.
func (w *world) serve(pid uint32, box string) *event.Process {
	w.t.Helper()
	w.alive(int(pid), 1, startOf(pid), "llama-server")
	w.root(int(pid), "/models/llama-3/model.gguf", 10)
	return w.exec(pid, 1, box, "/usr/local/bin/llama-server", "llama-server -m /models/llama-3/model.gguf")
}

func TestAStolenModelHasAStranger(t *testing.T) {
	w := newWorld(t, Options{})
	server := w.serve(50, "infer-1")
	if server.Container == nil || server.Container.ID != "infer-1" || server.Container.Runtime != "runc" {
		t.Fatalf("container %+v", server.Container)
	}
	if server.Workload == nil || server.Workload.Engine != "llama.cpp" || server.Workload.Name != "llama-3" {
		t.Fatalf("workload %+v", server.Workload)
	}
	if want := []string{w.proc + "/50/root/models/llama-3"}; cmp.Diff(want, w.watched) != "" {
		t.Errorf("watched %v at the start of the server, want %v", w.watched, want)
	}
	own := w.read(50, "/models/llama-3/model.gguf")
	if m := own.File.Model; m == nil || m.Path != "/models/llama-3" || m.Name != "llama-3" || m.Format != "gguf" || m.Workload != server.Workload.ID {
		t.Fatalf("model %+v", m)
	}
	if own.Stranger() {
		t.Error("the server is no stranger to its model")
	}
	w.exec(51, 50, "infer-1", "/bin/busybox", "sh -c id")
	w.exec(52, 51, "infer-1", "/bin/busybox", "cat /models/llama-3/model.gguf")
	theft := w.read(52, "/models/llama-3/model.gguf")
	if !theft.Stranger() || theft.Process.Workload == nil || theft.Process.Parent.Parent != server {
		t.Errorf("stranger %v, workload %+v", theft.Stranger(), theft.Process.Workload)
	}
	if e := w.read(52, "/models/llama-30/model.gguf"); e.File.Model != nil {
		t.Error("a directory whose name only begins like the model's is another")
	}
	w.exec(60, 1, "", "/bin/cat", "cat /models/llama-3/model.gguf")
	if e := w.read(60, "/models/llama-3/model.gguf"); e.File.Model != nil {
		t.Error("the same path on the host is another file")
	}
}

func TestHostWhoseFirstProcessIsHidden(t *testing.T) {
	w := &world{t: t, proc: t.TempDir()}
	w.link("self/ns/mnt", fmt.Sprintf("mnt:[%d]", hostMnt))
	w.tracker = New(Options{Proc: w.proc})
	if c := w.serve(50, "infer-1").Container; c == nil || c.ID != "infer-1" {
		t.Errorf("container %+v", c)
	}
	p := process(51, 1, "", "/bin/sh", "sh")
	p.CgroupID, p.CgroupPath = 11, "/mine"
	if c := w.stamp(&event.Event{Kind: event.ProcessStart, Process: p}).Container; c != nil {
		t.Errorf("a process of the host is in container %+v", c)
	}
}

func TestRealProc(t *testing.T) {
	f := proc{"/proc"}
	pid := uint32(os.Getpid())
	p := f.process(pid)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if p == nil || p.Exe != exe || len(p.Args) == 0 || p.PPID != uint32(os.Getppid()) || p.NS.PID == 0 || p.StartBoot == 0 {
		t.Fatalf("this process: %+v", p)
	}
	file := filepath.Join(t.TempDir(), "model.safetensors")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	open, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if !slices.Contains(f.opened(pid, maxOpened), file) {
		t.Error("an open file is not seen")
	}
	if st, ok := f.stat(pid, file); !ok || st.Size() != 1 {
		t.Error("a file is not found by the process's own root")
	}
	if f.host().PID != initialPID && f.namespace(1, "pid") != 0 {
		t.Skip("runs inside a pid namespace")
	}
	if f.process(1<<31-1) != nil {
		t.Error("there is no such process")
	}
}

func TestRealCgroup(t *testing.T) {
	mount := cgroupMount("/proc/self/mountinfo")
	if mount == "" || os.Getuid() != 0 {
		t.Skip("needs root and cgroup v2")
	}
	dir := filepath.Join(mount, fmt.Sprintf("picket-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip("cgroups cannot be made here: ", err)
	}
	defer os.Remove(dir)
	st, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := idOf(st)
	for _, handles := range []bool{true, false} {
		c := newCgroups(mount)
		c.handles = handles
		if got, ok := c.path(id.ino, clock); !ok || got != "/"+filepath.Base(dir) {
			t.Errorf("by handle %v: %q, %v", handles, got, ok)
		}
		if _, ok := c.path(1<<60, clock.Add(time.Hour)); ok {
			t.Errorf("by handle %v: found what is not there", handles)
		}
	}
}

func TestRecognisedByLibraries(t *testing.T) {
	w := newWorld(t, Options{})
	w.alive(50, 1, startOf(50), "python3")
	w.write("50/maps", "7f0-7f1 r-xp 0 08:01 9 /opt/torch/lib/libtorch_cuda.so\n")
	w.exec(50, 1, "", "/usr/bin/python3", "python3 finetune.py")
	w.exec(51, 50, "", "/bin/sh", "sh")
	w.tracker.Advance(clock.Add(time.Second))
	if n := len(w.tracker.Workloads()); n != 0 {
		t.Fatalf("%d workloads", n)
	}
	w.tracker.Advance(clock.Add(2 * time.Second))
	all := w.tracker.Workloads()
	if len(all) != 1 || all[0].Engine != "pytorch" || all[0].Kind != event.Training || all[0].Name != "finetune" {
		t.Fatalf("workloads %+v", all)
	}
	if p := w.read(51, "/x").Process; p.Workload == nil || p.Workload.ID != all[0].ID || p.Parent.Workload == nil || p.Member() {
		t.Errorf("the shell below it: %+v", p.Workload)
	}
}

func TestLineageSurvivesExits(t *testing.T) {
	w := newWorld(t, Options{})
	a := w.exec(50, 1, "", "/bin/bash", "bash")
	w.exec(51, 50, "", "/bin/sh", "sh")
	before := w.read(51, "/x").Process
	e := &event.Event{Kind: event.ProcessExit, Process: few(51)}
	e.Process.ExitCode = 3
	gone := w.stamp(e)
	if gone.ExitCode != 3 || gone.UID != before.UID || before.ExitCode != 0 {
		t.Errorf("exit %+v, record handed out before %d", gone.ExitCode, before.ExitCode)
	}
	child := w.exec(52, 51, "", "/bin/cat", "cat")
	if child.Parent == nil || child.Parent.Parent != a {
		t.Errorf("ancestors of a late child: %+v", child.Parent)
	}
	if again := w.exec(52, 51, "", "/bin/ls", "ls"); again.UID == child.UID || again.Parent.UID != child.Parent.UID {
		t.Error("an exec makes another image of the same process")
	}
}

func TestUnknownProcesses(t *testing.T) {
	reg := prometheus.NewRegistry()
	w := newWorld(t, Options{Registerer: reg})
	w.alive(80, 79, startOf(80), "late")
	w.alive(79, 1, startOf(79), "up")
	w.link("80/exe", "/bin/late")
	w.write("80/cmdline", "late\x00--x\x00")
	w.write("80/status", "Uid:\t0\t0\t0\t0\nNSpid:\t80\t1\nCapEff:\t000001ffffffffff\n")
	p := w.read(80, "/x").Process
	if p.Exe != "/bin/late" || p.Cmdline != "late --x" || p.User != "root" || p.NSPID != 1 || p.StartBoot != startOf(80) || p.Parent == nil || p.Parent.Comm != "up" {
		t.Errorf("read from /proc: %+v", p)
	}
	if seen := w.stamp(&event.Event{Kind: event.ProcessSeen, Process: process(79, 1, "", "/bin/up", "up")}); seen.Exe != "/bin/up" || w.tracker.tree.byPID[79].proc != seen {
		t.Error("a process told of twice is one")
	}
	e := &event.Event{Kind: event.FileRead, Time: clock, Process: few(81)}
	if w.tracker.Stamp(e) || e.Process == nil || e.Process.UID == "" {
		t.Errorf("a process that is gone: %+v", e.Process)
	}
	if e = (&event.Event{Kind: event.FileRead, Time: clock, Process: few(81)}); w.tracker.Stamp(e) {
		t.Error("and gone it stays")
	}
	w.alive(82, 1, startOf(99), "other")
	if e = (&event.Event{Kind: event.FileRead, Time: clock, Process: few(82)}); w.tracker.Stamp(e) {
		t.Error("a pid that was given away is not the process")
	}
	if e = (&event.Event{Kind: event.NetConnect}); w.tracker.Stamp(e) || e.Process == nil {
		t.Error("an event without a process gets one that says nothing")
	}
	if e = (&event.Event{Kind: event.SensorHealth}); !w.tracker.Stamp(e) {
		t.Error("a sensor's word on itself is nobody's")
	}
	if families, err := reg.Gather(); err != nil || len(families) < 5 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
}

func TestKnownFilesAllocateNothing(t *testing.T) {
	w := newWorld(t, Options{})
	w.serve(50, "infer-1")
	w.read(50, "/models/llama-3/model.gguf")
	p := few(50)
	e := &event.Event{Kind: event.FileRead, Time: clock}
	for _, path := range []string{"/models/llama-3/model.gguf", "/var/log/a/b/c/d.txt", "/x"} {
		if n := testing.AllocsPerRun(100, func() {
			e.Process, e.File = p, event.File{Path: path}
			w.tracker.Stamp(e)
		}); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}
