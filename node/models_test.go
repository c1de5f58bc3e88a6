package node_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/api"
	"picket/api/client"
	"picket/event"
)

// loader is a program in Python that unpickles files as they come, as a server that loads adapters does.
const loader = `
import pickle, sys, time
for line in sys.stdin:
    with open(line.strip(), "rb") as f:
        pickle.load(f)
        time.sleep(0.1)
    print("loaded", flush=True)
`

// A pickle that runs a command is written into a model directory and unpickled by a real Python. Who
// wrote it, who loaded it and that it ran are told, in one incident; an honest one beside it is not.
func TestAHostileModelIsFoundWhenItIsWrittenAndLoaded(t *testing.T) {
	p := newProgram(t)
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3: it loads the model")
	}
	p.start()
	mine := filepath.Join(p.dir, "ran")
	bad, good := filepath.Join(p.dir, "models/m/adapter.pt"), filepath.Join(p.dir, "models/m/honest.pt")
	make := exec.Command(python, "-c", `
import os, pickle, sys, collections
class Bad:
    def __reduce__(self): return (os.system, ("touch "+sys.argv[3],))
pickle.dump(Bad(), open(sys.argv[1], "wb"))
pickle.dump(collections.OrderedDict(w=[1.0, 2.0]), open(sys.argv[2], "wb"))
`, bad, good, mine)
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	load := exec.Command(python, "-c", loader)
	load.Stdin = strings.NewReader(good + "\n" + bad + "\n")
	var said bytes.Buffer
	load.Stdout, load.Stderr = &said, &said
	if err := load.Run(); err != nil || strings.Count(said.String(), "loaded") != 2 {
		t.Fatalf("%v: %s", err, said.String())
	}
	for _, rule := range []string{"hostile_model_written", "hostile_model_loaded"} {
		p.until(40*time.Second, "the finding of "+rule, func() bool {
			all, err := p.findings(rule)
			return err == nil && len(all) > 0 && strings.Contains(all[0].Summary, bad)
		})
	}
	for _, rule := range []string{"hostile_model_written", "hostile_model_loaded"} {
		all, err := p.findings(rule)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if strings.Contains(f.Summary, good) {
				t.Errorf("the honest file: %s", f.Summary)
			}
			if !bytes.Contains(f.Events[0], []byte(`"ai.model.verdict":"malicious"`)) || !bytes.Contains(f.Events[0], []byte(`"ai.model.digest":"`)) {
				t.Errorf("the evidence is %s", f.Events[0])
			}
		}
	}
	p.until(20*time.Second, "one incident of both", func() bool {
		list, err := p.client.Incidents(t.Context(), client.IncidentFilter{Limit: 100})
		return err == nil && slices.ContainsFunc(list.Items, func(inc event.Incident) bool {
			has := func(rule string) bool {
				return slices.ContainsFunc(inc.Findings, func(f event.FindingRef) bool { return f.Rule == rule })
			}
			return has("hostile_model_written") && has("hostile_model_loaded")
		})
	})
}

// A server that poses as vLLM comes into the inventory with its model, its version and its port, and
// goes out of it when it ends. What it does in ordinary life is no finding.
func TestAServerIsListedWithItsModels(t *testing.T) {
	p := newProgram(t)
	python, err := exec.LookPath("/usr/bin/python3")
	if err != nil {
		t.Skip("needs /usr/bin/python3: it poses as the server")
	}
	real, err := filepath.EvalSymlinks(python)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(p.dir, "venv/lib", filepath.Base(real), "site-packages/vllm-0.9.2.dist-info/METADATA"), "")
	serve := filepath.Join(p.dir, "venv/bin/vllm")
	write(t, serve, `
import pickle, collections, socket, sys, os
model, adapter, said = sys.argv[2] + "/model.safetensors", sys.argv[2] + "/adapter.pt", sys.argv[2] + "/ckpt.pt"
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
held = open(model, "rb")
print("ready", s.getsockname()[1], flush=True)
for line in sys.stdin:
    if line == "lora\n":
        pickle.load(open(adapter, "rb"))
    if line == "save\n":
        pickle.dump(collections.OrderedDict(w=[1.0]), open(said + ".tmp", "wb")); os.rename(said + ".tmp", said)
    print("done", flush=True)
`)
	model := filepath.Join(p.dir, "models/m/model.safetensors")
	header := `{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`
	write(t, model, string([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0})+header+"abcd")
	if out, err := exec.Command(python, "-c", `import pickle,collections,sys; pickle.dump(collections.OrderedDict(w=[1.0]), open(sys.argv[1],"wb"))`, filepath.Join(p.dir, "models/m/adapter.pt")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p.start()
	if out := p.picket("inventory"); !strings.Contains(out, "No AI workload runs") {
		t.Logf("before: %s", out) // another test of this host may run one
	}
	cmd := exec.Command(python, serve, "serve", filepath.Join(p.dir, "models/m"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	port := strings.TrimPrefix(lines.Text(), "ready ")
	for _, act := range []string{"lora\n", "save\n"} {
		if _, err := in.Write([]byte(act)); err != nil || !lines.Scan() {
			t.Fatal(err)
		}
	}
	mine := func() *event.Running {
		list, err := p.client.Inventory(t.Context(), api.InventoryQuery{Engine: "vllm"})
		if err != nil {
			return nil
		}
		for i := range list {
			if list[i].PID == uint32(cmd.Process.Pid) {
				return &list[i]
			}
		}
		return nil
	}
	file := func(r *event.Running, name string) *event.ModelFile {
		for i := range r.Files {
			if filepath.Base(r.Files[i].Path) == name {
				return &r.Files[i]
			}
		}
		return nil
	}
	p.until(90*time.Second, "the server with its three judged files", func() bool {
		r := mine()
		if r == nil {
			return false
		}
		for _, name := range []string{"model.safetensors", "adapter.pt", "ckpt.pt"} {
			if f := file(r, name); f == nil || f.Artifact.Verdict != "clean" || len(f.Artifact.Digest) != 64 || f.Artifact.Signature != event.Unsigned {
				return false
			}
		}
		return true
	})
	r := mine()
	if r.Version != "0.9.2" || r.Kind != event.Inference || !slices.Contains(r.Listens, "127.0.0.1:"+port) || !file(r, "model.safetensors").Open || file(r, "adapter.pt").Role != "adapter" {
		t.Errorf("%+v", r)
	}
	for cmdline, want := range map[string]string{"": "vllm 0.9.2", "wide": "adapter.pt", "json": `"signature": "unsigned"`, "cyclonedx": `"specVersion": "1.6"`} {
		args := []string{"inventory"}
		if cmdline != "" {
			args = append(args, "--output", cmdline)
		}
		if out := p.picket(args...); !strings.Contains(out, want) {
			t.Errorf("picket inventory --output %s does not say %s:\n%s", cmdline, want, out)
		}
	}
	for _, rule := range []string{"hostile_model_loaded", "hostile_model_written", "suspicious_model_loaded"} {
		if all, err := p.findings(rule); err != nil || slices.ContainsFunc(all, func(f event.Finding) bool { return strings.Contains(f.Summary, p.dir) }) {
			t.Errorf("%s: %v %v", rule, all, err)
		}
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	p.until(90*time.Second, "the server goes out of the inventory", func() bool { return mine() == nil })
}
