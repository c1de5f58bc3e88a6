package event

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func gpuSample() *Event {
	return &Event{
		Kind: GPUSample, Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Host: "h", Process: &Process{PID: 7, Exe: "/usr/bin/x"},
		GPU: &GPUReport{
			GPU: GPU{UUID: "GPU-1", Name: "Sim 80GB", PCI: "0000:3b:00.0", Util: Measured(0), MemoryUsed: Measured(3 << 30)},
			Use: &GPUUse{PID: 7, Memory: Measured(2 << 30), Util: Measured(98), Busy: 300 * time.Second, Mining: Measured(85), Reasons: "steady +30"},
		},
	}
}

func TestAGPUSampleSurvivesARoundTrip(t *testing.T) {
	fault := gpuSample()
	fault.Kind, fault.GPU.Use, fault.GPU.Err = GPUFault, nil, &GPUError{Xid: 79, Text: "GPU has fallen off the bus"}
	for _, e := range []*Event{gpuSample(), fault} {
		back, err := ParseRecord(e.AppendRecord(nil))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range Fields() {
			if strings.HasPrefix(f.Name, "gpu.") {
				if d := cmp.Diff(e.Value(f.Field), back.Value(f.Field)); d != "" {
					t.Errorf("%s: %s", f.Name, d)
				}
			}
		}
	}
}

func TestWhatIsNotKnownOfAGPUIsAbsent(t *testing.T) {
	row := string(gpuSample().AppendRecord(nil))
	if !strings.Contains(row, `"gpu.util":"0"`) || strings.Contains(row, "gpu.power") {
		t.Errorf("0 percent is known and the power is not: %s", row)
	}
	b, err := json.Marshal(GPU{Util: Measured(0)})
	if err != nil || !strings.Contains(string(b), `"util":0`) || !strings.Contains(string(b), `"power":null`) {
		t.Errorf("%s, %v", b, err)
	}
	var back GPU
	if err := json.Unmarshal(b, &back); err != nil || back.Util != Measured(0) || back.Power.Known {
		t.Errorf("%+v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"util":"x"}`), &back); err == nil {
		t.Error("a word was taken for a number")
	}
}

func TestGPUsAreToldApartAndSpokenOf(t *testing.T) {
	a, b := gpuSample(), gpuSample()
	b.GPU.UUID = "GPU-2"
	if a.ID() == b.ID() {
		t.Error("samples of two GPUs have one id")
	}
	if got, want := a.Describe(), "x[7] uses Sim 80GB at 0000:3b:00.0, 2048 MiB of memory, busy 98 %"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	a.Kind, a.Process, a.GPU.Use, a.GPU.Err = GPUFault, nil, nil, &GPUError{Xid: 48, Text: "DBE"}
	if got, want := a.Describe(), "Sim 80GB at 0000:3b:00.0 failed with Xid 48 (hardware): DBE"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
