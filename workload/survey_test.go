package workload

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"picket/event"
)

// As another program than a test it poses as an engine: it opens what POSE names and waits.
func TestMain(m *testing.M) {
	if files := os.Getenv("POSE"); files != "" {
		for f := range strings.SplitSeq(files, ":") {
			if _, err := os.Open(f); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
		fmt.Println("ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	os.Exit(m.Run())
}

// pose starts a program and waits until it says that it is ready.
func pose(t testing.TB, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
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
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "ready") { // those that it forks say so too
		t.Fatalf("%v: %q, %v", cmd.Args, line, err)
	}
	return cmd
}

// seen tells a tracker of a process that runs.
func seen(tr *Tracker, pid int) {
	if p := tr.proc.process(uint32(pid)); p != nil {
		tr.Stamp(&event.Event{Kind: event.ProcessSeen, Time: time.Now(), Process: p})
	}
}

const waits = `
import os, socket, sys
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
held = [open(f, "rb") for f in os.environ["OPEN"].split(":") if f]
print("ready", flush=True)
sys.stdin.read()
`

func put(t testing.TB, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// Programs that pose as each engine are told with version, files, port and job.
func TestEveryEngineIsSurveyed(t *testing.T) {
	python, err := exec.LookPath("/usr/bin/python3")
	if err != nil {
		t.Skip("needs /usr/bin/python3: most engines are written in it")
	}
	real, err := filepath.EvalSymlinks(python)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	venv := filepath.Join(dir, "venv")
	packages := filepath.Join(venv, "lib", filepath.Base(real), "site-packages")
	for _, name := range []string{"vllm-0.9.2", "sglang-0.4.6", "lmdeploy-0.8.0", "ray-2.40.0", "mlflow-2.20.1", "torch-2.7.1+cu126", "transformers-4.51.0", "jupyterlab-4.3.0", "torchserve-0.12.0", "deepspeed-0.16.0", "accelerate-1.6.0"} {
		put(t, filepath.Join(packages, name+".dist-info", "METADATA"), "")
	}
	weights := put(t, filepath.Join(dir, "m/model.safetensors"), "x")
	adapter := put(t, filepath.Join(dir, "m/adapter_model.bin"), "x")
	data := put(t, filepath.Join(dir, "m/train.parquet"), "x")
	put(t, filepath.Join(dir, "m/notes.txt"), "x")

	for _, tt := range []struct {
		engine, version, kind string
		args                  []string // of Python; the first is a script in the virtual environment
		binary                string   // or the name of a program of its own
	}{
		{"vllm", "0.9.2", "inference", []string{"vllm", "serve", "/m"}, ""},
		{"sglang", "0.4.6", "inference", []string{"sglang", "serve", "--model-path", "/m"}, ""},
		{"lmdeploy", "0.8.0", "inference", []string{"lmdeploy", "serve", "api_server", "/m"}, ""},
		{"ray", "2.40.0", "inference", []string{"serve", "run", "app:d"}, ""},
		{"mlflow", "2.20.1", "training", []string{"mlflow", "server"}, ""},
		{"torchrun", "2.7.1+cu126", "training", []string{"torchrun", "train.py"}, ""},
		{"deepspeed", "0.16.0", "training", []string{"deepspeed", "train.py"}, ""},
		{"accelerate", "1.6.0", "training", []string{"accelerate", "launch", "train.py"}, ""},
		{"jupyter", "4.3.0", "notebook", []string{"jupyter-lab"}, ""},
		{"torchserve", "0.12.0", "inference", []string{"torchserve", "--start"}, ""},
		{"triton", "", "inference", []string{"--model-repository=/m"}, "tritonserver"},
		{"tgi", "", "inference", []string{"--model-id", "a/b"}, "text-generation-launcher"},
		{"ollama", "", "inference", []string{"serve"}, "ollama"},
		{"llama.cpp", "", "inference", []string{"-m", "/m/x.gguf"}, "llama-server"},
		{"tei", "", "inference", []string{"--model-id", "a/b"}, "text-embeddings-router"},
	} {
		t.Run(tt.engine, func(t *testing.T) {
			env := append(os.Environ(), "OPEN="+weights+":"+adapter+":"+data+":"+dir+"/m/notes.txt", "MASTER_ADDR=10.0.0.1", "MASTER_PORT=29500", "RANK=3", "WORLD_SIZE=8", "HF_TOKEN=hf_secret")
			cmd := exec.Command(python, append([]string{put(t, filepath.Join(venv, "bin", tt.binary+strings.Join(tt.args[:1], "")), waits)}, tt.args[1:]...)...)
			if tt.binary != "" {
				cmd = exec.Command(put(t, filepath.Join(t.TempDir(), tt.binary), ""), tt.args...)
				if err := os.Remove(cmd.Path); err != nil {
					t.Fatal(err)
				}
				if err := os.Link(self, cmd.Path); err != nil {
					b, err := os.ReadFile(self)
					if err != nil {
						t.Fatal(err)
					}
					put(t, cmd.Path, string(b))
				}
				env = append(env, "POSE="+weights+":"+adapter+":"+data)
			}
			cmd.Env = env
			pose(t, cmd)
			tr := New(Options{Host: "h", BootID: "b"})
			seen(tr, cmd.Process.Pid)
			got, cut := tr.Survey().Look()
			if len(got) != 1 || cut != 0 {
				t.Fatalf("%d workloads, %d more", len(got), cut)
			}
			r := got[0]
			var files []string
			for _, o := range r.Open {
				files = append(files, filepath.Base(o.Path))
			}
			slices.Sort(files)
			want := []string{"adapter_model.bin", "model.safetensors", "train.parquet"}
			if d := cmp.Diff(want, files); d != "" {
				t.Error(d)
			}
			if r.Engine != tt.engine || r.Version != tt.version || string(r.Kind) != tt.kind || r.PID != uint32(cmd.Process.Pid) || r.Processes != 1 {
				t.Errorf("%+v", r.Running)
			}
			if d := cmp.Diff(&event.Job{ID: "10.0.0.1:29500", Size: 8, Ranks: []int{3}}, r.Job); d != "" {
				t.Error(d)
			}
			if tt.binary == "" && (len(r.Listens) != 1 || !strings.HasPrefix(r.Listens[0], "127.0.0.1:")) {
				t.Errorf("it listens on %q", r.Listens)
			}
			if tt.version != "" && !slices.Contains(append(r.Packages, event.Package{Name: tt.engine, Version: tt.version}), event.Package{Name: "torch", Version: "2.7.1+cu126"}) && tt.engine != "torchrun" {
				t.Errorf("packages %v", r.Packages)
			}
		})
	}
}

// Whatever a file system or an environment says, a survey keeps to its bounds.
func TestASurveyIsBounded(t *testing.T) {
	for s, want := range map[string]string{
		"2.7.1+cu126": "2.7.1+cu126", "": "", "x1": "", "1.0; rm": "", strings.Repeat("1", 65): "", "0.4.post1\n": "0.4.post1", "1.0\x1b[2J": "",
	} {
		if got := version(s); got != want {
			t.Errorf("version(%q) = %q", s, got)
		}
	}
	for s, want := range map[string]string{
		"0100007F:1F90": "127.0.0.1:8080", "00000000000000000000000000000000:0050": "[::]:80", "0000000000000000FFFF00000100007F:0050": "127.0.0.1:80",
		"x:1": "", "0100007F": "", "01:1": "",
	} {
		if got, _ := hexAddr(s); got != want {
			t.Errorf("hexAddr(%q) = %q, want %q", s, got, want)
		}
	}
	for dev, want := range map[string]bool{"/dev/nvidia0": true, "/dev/nvidiactl": false, "/dev/nvidia-uvm": false, "/dev/kfd": true, "/dev/dri/renderD128": true, "/dev/null": false} {
		if isGPU(dev) != want {
			t.Errorf("%s: %v", dev, !want)
		}
	}
}

// BenchmarkSurvey300 looks at 300 processes in 30 workloads, real ones.
func BenchmarkSurvey300(b *testing.B) {
	python, err := exec.LookPath("/usr/bin/python3")
	if err != nil {
		b.Skip("needs /usr/bin/python3")
	}
	dir := b.TempDir()
	weights := put(b, filepath.Join(dir, "m/model.safetensors"), "x")
	script := put(b, filepath.Join(dir, "venv/bin/vllm"), "import os\nfor i in range(9):\n    if os.fork() == 0: break\nelse:\n    import time; time.sleep(0.2)\n"+waits)
	tr := New(Options{Host: "h", BootID: "b"})
	for i := range 30 {
		cmd := exec.Command(python, script, "serve", fmt.Sprintf("/m/%d", i))
		cmd.Env = append(os.Environ(), "OPEN="+weights)
		pose(b, cmd)
	}
	time.Sleep(time.Second)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscanf(e.Name(), "%d", &pid); err != nil {
			continue
		}
		if p := tr.proc.process(uint32(pid)); p != nil && strings.Contains(p.Cmdline, script) {
			seen(tr, pid)
			n++
		}
	}
	s := tr.Survey()
	if got, _ := s.Look(); len(got) < 30 {
		b.Fatalf("%d workloads of %d processes", len(got), n)
	}
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
	for b.Loop() {
		s.Look()
	}
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	used := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(float64(used.Microseconds())/1000/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(n), "processes")
}
