package workload

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/event"
)

func TestTheSameFileByAnotherPath(t *testing.T) {
	w := newWorld(t, Options{})
	w.serve(50, "infer-1")
	w.tracker.Advance(clock)
	st, err := os.Stat(filepath.Join(w.proc, "50/root/models/llama-3/model.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	id, _ := idOf(st)
	w.exec(60, 1, "", "/bin/cp", "cp /srv/x /tmp")
	e := &event.Event{Kind: event.FileRead, Process: few(60), File: event.File{Path: "/srv/x", Dev: id.dev, Ino: id.ino}}
	w.stamp(e)
	if e.File.Model == nil || !e.Stranger() {
		t.Errorf("model %+v", e.File.Model)
	}
}

func TestPretendingToBeAServerIsNoUse(t *testing.T) {
	const line = "llama-server -m /models/llama-3/model.gguf"
	for name, attack := range map[string]func(w *world) uint32{
		"the server's program, from a shell in it": func(w *world) uint32 {
			w.exec(51, 50, "infer-1", "/bin/busybox", "sh")
			w.exec(52, 51, "infer-1", "/usr/local/bin/llama-server", line)
			return 52
		},
		"the server's program, by exec into the container": func(w *world) uint32 {
			w.exec(52, 1, "infer-1", "/usr/local/bin/llama-server", line)
			return 52
		},
		"a copy of another program under the server's name": func(w *world) uint32 {
			p := process(52, 50, "infer-1", "/dev/shm/llama-server", line)
			w.stamp(&event.Event{Kind: event.ProcessStart, Process: p})
			return 52
		},
		"the server turns into a shell": func(w *world) uint32 {
			w.exec(50, 1, "infer-1", "/bin/busybox", "sh")
			return 50
		},
		"a shell forked from it": func(w *world) uint32 {
			w.stamp(&event.Event{Kind: event.ProcessFork, Process: &event.Process{PID: 53, TID: 53, StartBoot: startOf(53), PPID: 50, PStart: startOf(50)}})
			w.exec(53, 50, "infer-1", "/bin/busybox", "sh")
			return 53
		},
		"part of another engine, after a shell": func(w *world) uint32 {
			w.exec(51, 50, "infer-1", "/bin/busybox", "sh")
			w.exec(52, 51, "infer-1", "/usr/bin/python3", "python3 -m ipykernel_launcher")
			return 52
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			w.serve(50, "infer-1")
			w.alive(52, 1, startOf(52), "x")
			w.root(52, "/models/llama-3/model.gguf", 10)
			pid := attack(w)
			w.tracker.Advance(clock)
			if e := w.read(pid, "/models/llama-3/model.gguf"); e.File.Model == nil || !e.Stranger() {
				t.Errorf("taken for one of the server's own: %+v, %+v", e.File.Model, e.Process.Workload)
			}
		})
	}
}

func TestOwnWorkersAreNoStrangers(t *testing.T) {
	w := newWorld(t, Options{})
	w.alive(50, 1, startOf(50), "text-generation")
	w.root(50, "/models/bloom/config.json", 10)
	w.exec(50, 1, "tgi-1", "/usr/local/bin/text-generation-launcher", "text-generation-launcher --model-id /models/bloom")
	w.exec(51, 50, "tgi-1", "/usr/bin/python3.11", "python3 /opt/conda/bin/text-generation-server serve /models/bloom")
	w.stamp(&event.Event{Kind: event.ProcessFork, Process: &event.Process{PID: 52, TID: 52, StartBoot: startOf(52), PPID: 51, PStart: startOf(51)}})
	for _, pid := range []uint32{50, 51, 52} {
		if e := w.read(pid, "/models/bloom/a.safetensors"); e.File.Model == nil || e.Stranger() {
			t.Errorf("process %d is a stranger: %+v", pid, e.File.Model)
		}
	}
	if all := w.tracker.Workloads(); len(all) != 1 {
		t.Errorf("an engine and its parts are one workload: %+v", all)
	}
}

func TestARestartedServerKeepsItsModel(t *testing.T) {
	w := newWorld(t, Options{})
	first := w.serve(50, "infer-1").Workload.ID
	w.stamp(&event.Event{Kind: event.ProcessExit, Process: few(50)})
	if n := len(w.tracker.Workloads()); n != 0 {
		t.Errorf("%d workloads run", n)
	}
	if second := w.serve(70, "infer-1").Workload.ID; second != first {
		t.Errorf("id %s after a restart, was %s", second, first)
	}
	if w.read(70, "/models/llama-3/model.gguf").Stranger() {
		t.Error("the restarted server is a stranger to its model")
	}
}

func TestTwoServersShareAModel(t *testing.T) {
	w := newWorld(t, Options{Config: Config{Models: []string{"/models/llama-3"}, Datasets: []string{"/data/set", "relative", "/"}}})
	w.exec(40, 1, "", "/bin/cat", "cat")
	if e := w.read(40, "/models/llama-3/model.gguf"); !e.Stranger() || e.File.Model.Workload != "" {
		t.Error("nobody owns a configured model before a server uses it")
	}
	w.serve(50, "a-1")
	w.serve(60, "b-2")
	for _, pid := range []uint32{50, 60} {
		if w.read(pid, "/models/llama-3/model.gguf").Stranger() {
			t.Errorf("server %d is a stranger", pid)
		}
	}
	if e := w.read(40, "/data/set/x.parquet"); e.File.Model == nil || !e.File.Model.Dataset || e.File.Model.Format != "parquet" {
		t.Errorf("data set %+v", e.File.Model)
	}
	if n := len(w.tracker.Models()); n != 2 {
		t.Errorf("%d models, want the two that were configured", n)
	}
}

func TestModelsAreLearnedFromWhatIsOpen(t *testing.T) {
	w := newWorld(t, Options{})
	w.alive(50, 1, startOf(50), "python3")
	w.exec(50, 1, "", "/usr/bin/python3", "python3 /usr/local/bin/torchrun train.py")
	w.tracker.Advance(clock)
	if n := len(w.tracker.Models()); n != 0 {
		t.Fatalf("%d models before any file is open", n)
	}
	w.root(50, "/w/base/model.safetensors", 10)
	w.root(50, "/w/small/notes.bin", 10)
	w.root(50, "/w/beside/rank.bin", 10)
	w.root(50, "/w/beside/config.json", 10)
	w.root(50, "/c/hub/models--org--big/blobs/00ff", minBinary)
	w.link("50/fd/3", "/w/base/model.safetensors")
	w.link("50/fd/4", "/w/small/notes.bin")
	w.link("50/fd/5", "/w/beside/rank.bin")
	w.link("50/fd/6", "socket:[1]")
	w.write("50/maps", "7f0-7f1 r--p 00000000 08:01 9 /c/hub/models--org--big/blobs/00ff\n7f1-7f2 rw-p 0 00:00 0 \n")
	w.tracker.Advance(clock.Add(2 * time.Second))
	var got []string
	for _, m := range w.tracker.Models() {
		got = append(got, m.Path+" "+m.Name)
	}
	if d := cmp.Diff([]string{"/c/hub/models--org--big org/big", "/w/base base", "/w/beside beside"}, got); d != "" {
		t.Error(d)
	}
}

func TestCheckpointsTeach(t *testing.T) {
	w := newWorld(t, Options{})
	w.exec(50, 1, "", "/usr/bin/python3", "python3 /usr/local/bin/torchrun train.py")
	w.exec(51, 50, "", "/usr/bin/python3", "python3 train.py")
	e := &event.Event{Kind: event.FileCreate, Process: few(51), File: event.File{Path: "/out/run/checkpoint-100/model.pt"}}
	if w.stamp(e); e.File.Model == nil || e.File.Model.Path != "/out/run" || e.Stranger() {
		t.Fatalf("model %+v", e.File.Model)
	}
	w.exec(60, 1, "", "/bin/rm", "rm x")
	e = &event.Event{Kind: event.FileDelete, Process: few(60), File: event.File{Path: "/out/run/checkpoint-200/model.pt"}}
	if w.stamp(e); e.File.Model == nil || !e.Stranger() {
		t.Errorf("model %+v", e.File.Model)
	}
	e = &event.Event{Kind: event.FileCreate, Process: few(51), File: event.File{Path: "/usr/lib/python3/dist-packages/a/b.pkl"}}
	if w.stamp(e); e.File.Model != nil {
		t.Error("a package's own file is no model")
	}
}
