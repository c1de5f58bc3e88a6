package node_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picket/api/client"
)

const busyRule = `title: GPU Busy
id: 7f0c2b9e-53a1-4c61-9d1e-2a1f4c0e9b78
name: gpu_busy
status: test
description: A process that a test runs computes on a GPU.
author: Picket
date: 2026-11-29
logsource:
    product: linux
    category: gpu_sample
detection:
    selection:
        gpu.process.util|gte: 90
        process.name: llama-server
    condition: selection
level: medium
`

// withReader returns a picket that has its reader of NVIDIA GPUs inside, as make build makes it.
func withReader(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("PICKET_BIN"); bin != "" {
		return binary(t)
	}
	dir := openDir(t)
	bin, reader := filepath.Join(dir, "picket"), filepath.Join(dir, "picket-gpu")
	inside, err := filepath.Abs("../sensor/gpu/helper/built/picket-gpu")
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	write(t, overlay, fmt.Sprintf(`{"Replace": {%q: %q}}`, inside, reader))
	for _, args := range [][]string{{"-o", reader, "picket/cmd/picket-gpu"}, {"-overlay", overlay, "-o", bin, "picket/cmd/picket"}} {
		cmd := exec.Command("go", append([]string{"build", "-trimpath"}, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return bin
}

func TestGPUsAreSeenFromTheLibraryToThePage(t *testing.T) {
	needRoot(t)
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no C compiler, which makes the simulated library")
	}
	p := newProgram(t)
	p.bin = withReader(t)
	library := filepath.Join(p.dir, "libnvidia-ml.so")
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-o", library, "../sensor/gpu/sim/nvml.c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	write(t, filepath.Join(p.dir, "threats/canary/gpu_busy.yml"), busyRule)
	conf, err := os.ReadFile(p.configFile())
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.configFile(), string(conf)+fmt.Sprintf("gpu: {every: 1s, library: %q}\n", library))

	server := filepath.Join(p.dir, "llama-server")
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("no sleep to run")
	}
	b, err := os.ReadFile(sleep)
	if err == nil {
		err = os.WriteFile(server, b, 0o755)
	}
	cmd := exec.Command(server, "600")
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	const one = "driver 570.1\ngpu uuid=GPU-1 name=Sim_80GB pci=0000:3b:00.0 util=%d used=5000 total=81920 power=600000 limit=700000\nproc gpu=0 pid=%d used=4000 util=%[1]d\n"
	write(t, library+".txt", fmt.Sprintf(one, 0, cmd.Process.Pid))

	p.start()
	p.until(60*time.Second, "the GPU is listed", func() bool {
		gpus, err := p.client.GPUs(t.Context())
		return err == nil && len(gpus) == 1 && len(gpus[0].Users) == 1 && gpus[0].Users[0].Process == "llama-server" && gpus[0].Users[0].Workload == "llama.cpp"
	})
	write(t, library+".txt", fmt.Sprintf(one, 97, cmd.Process.Pid))
	p.until(60*time.Second, "a finding", func() bool {
		found, err := p.findings("gpu_busy")
		return err == nil && len(found) == 1
	})
	p.until(60*time.Second, "the store has the sample", func() bool {
		list, err := p.client.Events(t.Context(), client.EventFilter{Query: `event.kind:"gpu.sample" gpu.process.util:97 ai.workload.engine:"llama.cpp"`, Limit: 1})
		return err == nil && len(list.Items) == 1
	})
	p.until(60*time.Second, "a heartbeat with the load", func() bool { return strings.Contains(p.picket("gpu"), "97 %") })
	for _, want := range []string{"Sim 80GB", "5000 MiB of 81920 MiB", "600 W", "llama.cpp", fmt.Sprintf("llama-server[%d]", cmd.Process.Pid)} {
		if got := p.picket("gpu"); !strings.Contains(got, want) {
			t.Errorf("picket gpu says nothing of %q:\n%s", want, got)
		}
	}
	if got := p.picket("gpu", "--host", "elsewhere"); !strings.Contains(got, "No GPU is seen") {
		t.Error(got)
	}
	// The library runs without privilege, and not in the agent.
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.pid("agent")))
	if err != nil || strings.Contains(string(maps), "libnvidia") {
		t.Errorf("the agent has the library in memory: %v", err)
	}
	reader := childOf(p.pid("agent"))
	status, err := os.ReadFile("/proc/" + reader + "/status")
	if err != nil || strings.Contains(string(status), "Uid:\t0") || !strings.Contains(string(status), "NoNewPrivs:\t1") || !strings.Contains(string(status), "CapBnd:\t0000000000000000") {
		t.Errorf("reader %s: %v\n%s", reader, err, status)
	}
}

// childOf returns the process id of a process's one child, beside the keeper of what is frozen.
func childOf(pid int) string {
	kids, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is right
	for _, name := range kids {
		b, _ := os.ReadFile(name) // a thread that is gone has none
		for pid := range strings.FieldsSeq(string(b)) {
			if cmd, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && !strings.Contains(string(cmd), "picket-keeper") {
				return pid
			}
		}
	}
	return "none"
}
