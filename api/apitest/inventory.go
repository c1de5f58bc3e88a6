package apitest

import (
	"context"
	"slices"
	"strings"
	"time"

	"picket/api"
	"picket/event"
)

// Inventory lists what runs.
func (f *Fake) Inventory(_ context.Context, q api.InventoryQuery) ([]event.Running, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.running), func(r event.Running) bool { return !q.Takes(&r) }), f.Err
}

// ClearInventory makes the fake one on which nothing runs.
func (f *Fake) ClearInventory() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running = nil
}

func running(now time.Time) []event.Running {
	digest := strings.Repeat("0f", 32)
	return []event.Running{
		{
			Host: "gpu-01", ID: "w-1", Kind: event.Inference, Engine: "vllm", Version: "0.9.2", Name: "llama-3-8b", PID: 4000, Processes: 3,
			Packages:  []event.Package{{Name: "torch", Version: "2.7.1"}},
			Container: &event.Container{ID: "c0ffee" + strings.Repeat("0", 58), Runtime: "containerd", PodUID: "8d9b0b1e-0000-4000-8000-000000000001"},
			Started:   now.Add(-5 * time.Hour), Exe: "/usr/bin/python3.11", Users: []string{"root"}, Listens: []string{"0.0.0.0:8000"}, GPUs: []string{"/dev/nvidia0"},
			Files: []event.ModelFile{
				{
					Path: "/models/llama-3-8b/model.safetensors", Model: "llama-3-8b", Role: "model", Format: "safetensors", Size: 16 << 30, Open: true,
					Artifact: event.Artifact{Digest: digest, Verdict: "clean", Signature: event.Signed, Signer: "key sha256:" + digest},
				},
				{
					Path: "/models/llama-3-8b/adapter_model.bin", Model: "llama-3-8b", Role: "adapter", Format: "pickle", Size: 1234,
					Artifact: event.Artifact{Digest: digest, Verdict: "malicious", Issue: `Loading it calls os.system("id").`, Signature: event.Unsigned},
				},
			},
		},
		{
			Host: "gpu-02", ID: "w-2", Kind: event.Training, Engine: "torchrun", Name: Hostile, PID: 77, Processes: 8, Started: now.Add(-time.Hour), Exe: "/usr/bin/python3.11",
			Job:   &event.Job{ID: "slurm:4711", Size: 16, Ranks: []int{0, 1, 2, 3, 4, 5, 6, 7}},
			Files: []event.ModelFile{{Path: "/data/" + Hostile + ".parquet", Role: "dataset", Format: "parquet", Size: 9 << 20, Open: true, Pending: true}},
		},
	}
}
