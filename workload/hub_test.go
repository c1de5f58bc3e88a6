package workload

import (
	"strings"
	"testing"
	"time"

	"picket/event"
)

// A hub's cache keeps weights under their hash, beside links of their names: the model is what
// holds both, from the first read on.
func TestModelsOfAHubsCache(t *testing.T) {
	const hub, blob = "/root/.cache/huggingface/hub/models--org--llama", "/blobs/9f86d081884c7d659a2feaa0c55ad015"
	weights := "\x80\x00\x00\x00\x00\x00\x00\x00" + `{"a":{}}`
	for name, line := range map[string]string{
		"by name":     "python3 -m vllm.entrypoints.api_server --model org/llama",
		"by snapshot": "python3 -m vllm.entrypoints.api_server --model " + hub + "/snapshots/abc",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			w.alive(50, 1, startOf(50), "python3")
			w.write("50/environ", "HOME=/root\x00X=1\x00")
			w.write("50/root"+hub+blob, weights+strings.Repeat("x", minBinary))
			w.link("50/root"+hub+"/snapshots/abc/model-00001-of-00002.safetensors", "../.."+blob)
			w.exec(50, 1, "infer-1", "/usr/bin/python3", line)
			if e := w.read(50, hub+blob); e.File.Model == nil || e.Stranger() || e.File.Model.Name != "org/llama" {
				t.Fatalf("the server's read: %+v", e.File.Model)
			}
			w.exec(60, 50, "infer-1", "/bin/busybox", "cat")
			if e := w.read(60, hub+blob); e.File.Model == nil || !e.Stranger() {
				t.Errorf("a stranger's read: %+v", e.File.Model)
			}
			w.link("50/fd/3", hub+blob)
			w.tracker.Advance(clock)
			if e := w.read(60, hub+blob); e.File.Model == nil || e.File.Model.Format != "safetensors" {
				t.Errorf("the blob's format: %+v", e.File.Model)
			}
		})
	}
}

func TestModelsOfOllama(t *testing.T) {
	const store = "/root/.ollama/models"
	blob := store + "/blobs/sha256-" + strings.Repeat("0a", 32)
	w := newWorld(t, Options{})
	w.alive(50, 1, startOf(50), "ollama")
	w.write("50/environ", "HOME=/root\x00")
	w.root(50, blob, 10)
	w.exec(50, 1, "infer-1", "/usr/bin/ollama", "ollama serve")
	w.alive(51, 50, startOf(51), "ollama")
	w.exec(51, 50, "infer-1", "/usr/bin/ollama", "/usr/bin/ollama runner --model "+blob)
	for _, pid := range []uint32{50, 51} {
		if e := w.read(pid, blob); e.File.Model == nil || e.Stranger() || e.File.Model.Path != store || e.File.Model.Name != "ollama" {
			t.Errorf("ollama's own %d: %+v", pid, e.File.Model)
		}
	}
	w.exec(60, 1, "infer-1", "/bin/tar", "tar c /root/.ollama")
	if e := w.read(60, blob); e.File.Model == nil || !e.Stranger() {
		t.Errorf("a stranger: %+v", e.File.Model)
	}
}

func TestMagic(t *testing.T) {
	for content, want := range map[string]format{
		"GGUF\x03\x00\x00\x00\x00\x00": gguf, "\x80\x00\x00\x00\x00\x00\x00\x00{\"": safetensors, "PK\x03\x04......": pickle,
		"": formatNone, "{\"architectures\"": formatNone,
	} {
		if f := magic([]byte(content)); f != want {
			t.Errorf("%q: %v", content, f)
		}
	}
}

// An inode's number is given away again: what has it then is no model.
func TestADeletedFilesNumber(t *testing.T) {
	w := newWorld(t, Options{})
	w.serve(50, "infer-1")
	touch := func(kind event.Kind, path string) *event.Event {
		e := &event.Event{Kind: kind, Process: few(50), File: event.File{Path: path, Dev: 9, Ino: 77, Size: 1 << 30}}
		w.stamp(e)
		return e
	}
	touch(event.FileCreate, "/models/llama-3/new.gguf")
	if e := touch(event.FileRead, "/srv/linked"); e.File.Model == nil {
		t.Fatal("a new file of the model is not known by another name")
	}
	touch(event.FileDelete, "/models/llama-3/new.gguf")
	if e := touch(event.FileWrite, "/var/log/app.log"); e.File.Model != nil {
		t.Errorf("a log is taken for %+v", e.File.Model)
	}
}

func TestModelsOfTheDeadAreForgotten(t *testing.T) {
	var unwatched []string
	w := newWorld(t, Options{Unwatch: func(p string) { unwatched = append(unwatched, p) }})
	w.serve(50, "infer-1")
	w.tracker.Advance(clock)
	gone := few(50)
	w.stamp(&event.Event{Kind: event.ProcessExit, Process: gone})
	w.tracker.Advance(clock.Add(2 * time.Hour))
	if len(w.tracker.Models()) != 1 || len(unwatched) != 0 {
		t.Fatal("a model was forgotten while its server may come back")
	}
	w.tracker.Advance(clock.Add(2*time.Hour + keepModel))
	if len(w.tracker.Models()) != 0 || len(unwatched) != 1 || unwatched[0] != w.watched[0] {
		t.Errorf("models %v, watched %v, unwatched %v", w.tracker.Models(), w.watched, unwatched)
	}
}

func TestOneWorkloadHasItsShareOfModels(t *testing.T) {
	w := newWorld(t, Options{})
	p := w.exec(50, 1, "", "/usr/bin/python3", "python3 -m ipykernel_launcher")
	for i := range maxModelsEach + 20 {
		w.stamp(&event.Event{Kind: event.FileCreate, Process: few(50), File: event.File{Path: "/work/" + decimal(uint64(i)) + "a/m.pt", Size: 1 << 20}})
	}
	if n := len(w.tracker.Models()); n != maxModelsEach {
		t.Errorf("%s has %d models", p.Workload.Name, n)
	}
}
