package device

import (
	"strings"
	"testing"
	"time"

	"picket/event"
)

var start = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC) // a Monday

// host is a host with one GPU.
type host struct {
	t    *testing.T
	w    *Watch
	now  time.Time
	gpu  event.GPUDevice
	gone map[uint32]bool
	said []string
}

func one1(t *testing.T) *host {
	m := event.Measured
	return &host{t: t, w: New("h"), now: start, gone: map[uint32]bool{}, gpu: event.GPUDevice{GPU: event.GPU{
		UUID: "GPU-1", Name: "Sim 80GB", PCI: "0000:3b:00.0", PowerLimit: m(700_000), ClockLimit: m(1980), MIG: "disabled", ComputeMode: "default", Persistence: "enabled",
		ECCMode: "enabled", Accounting: "enabled", MemoryUsed: m(600 << 20), MemoryTotal: m(80 << 30), Util: m(0), Corrected: m(0),
	}}}
}

// run lets time pass, with a look each step; each is called before.
func (h *host) run(d, step time.Duration, each func()) {
	for end := h.now.Add(d); h.now.Before(end); h.now = h.now.Add(step) {
		if each != nil {
			each()
		}
		for _, e := range h.w.Read(h.now, &h.gpu, func(pid uint32) bool { return !h.gone[pid] }) {
			h.said = append(h.said, e.Deviation.What+" "+e.Deviation.Value)
			if e.ID() == "" || !strings.Contains(e.Describe(), "Sim 80GB") || !strings.Contains(e.Describe(), e.Deviation.Value) {
				h.t.Error(e.Describe())
			}
		}
	}
}

func (h *host) want(want string) {
	h.t.Helper()
	if got := strings.Join(h.said, "; "); got != want {
		h.t.Errorf("said %q, want %q", got, want)
	}
}

func TestSettingsThatChangeAreTold(t *testing.T) {
	h := one1(t)
	h.gpu.Persistence = "disabled"
	h.run(time.Minute, 5*time.Second, nil)
	h.gpu.Persistence = "enabled" // a service that starts with the host
	h.run(5*time.Minute, 5*time.Second, nil)
	h.want("")
	h.gpu.PowerLimit, h.gpu.ComputeMode, h.gpu.Accounting = event.Measured(400_000), "exclusive process", "disabled"
	h.gpu.ECCMode, h.gpu.MIG, h.gpu.ClockLimit = "enabled, disabled after a reset", "enabled", event.Measured(1500)
	h.run(5*time.Minute, 5*time.Second, nil)
	h.want("gpu-setting accounting: disabled; gpu-setting clock for applications: 1500 MHz; gpu-setting compute mode: exclusive process; " +
		"gpu-setting error correction: enabled, disabled after a reset; gpu-setting power limit: 400 W; gpu-setting split into instances: enabled")
	h.said = nil
	h.gpu.PowerLimit = event.Measure{} // the driver does not say
	h.run(time.Minute, 5*time.Second, nil)
	h.gpu.PowerLimit = event.Measured(400_000)
	h.run(time.Minute, 5*time.Second, nil)
	h.want("")
	h.now = h.now.Add(time.Hour) // nobody looked: the driver was loaded anew
	h.gpu.PowerLimit = event.Measured(700_000)
	h.run(5*time.Minute, 5*time.Second, nil)
	h.want("")
}

func TestMemoryThatIsNobodysIsTold(t *testing.T) {
	m := event.Measured
	h := one1(t)
	h.gpu.MemoryUsed = m(40 << 30)
	h.gpu.Uses = []event.GPUUse{{PID: 7, Memory: m(39 << 30)}}
	h.run(time.Hour, 5*time.Second, nil)
	h.gpu.Uses = nil // it ends, and the driver takes a while to give its memory back
	h.run(3*time.Minute, 5*time.Second, nil)
	h.gpu.MemoryUsed = m(1 << 30)
	h.run(time.Hour, 5*time.Second, nil)
	h.gpu.MIG, h.gpu.MemoryUsed = "enabled", m(40<<30) // of instances, not all is told by process
	h.run(time.Hour, 5*time.Second, nil)
	h.want("gpu-setting split into instances: enabled")
	h.said = nil
	h.gpu.MIG = "disabled"
	h.gpu.Uses = []event.GPUUse{{PID: 7}} // nor by some drivers
	h.now = h.now.Add(time.Hour)
	h.run(time.Hour, 5*time.Second, nil)
	h.want("")
	h.gpu.Uses = []event.GPUUse{{PID: 7, Memory: m(1 << 30)}}
	h.run(20*time.Minute, 5*time.Second, nil)
	h.want("gpu-orphan 39 GiB that no process holds")
	h.said = nil
	h.gpu.Uses = []event.GPUUse{{PID: 7, Memory: m(40 << 30)}}
	h.gone[7] = true // between the driver's look and ours
	h.run(20*time.Second, 5*time.Second, nil)
	h.gone[7] = false
	h.run(time.Minute, 5*time.Second, nil)
	h.want("")
	h.gone[7] = true
	h.run(10*time.Minute, 5*time.Second, nil)
	h.want("gpu-orphan process 7, which the host does not show, holds 40960 MiB")
}

func TestErrorsThatGrowAreTold(t *testing.T) {
	h := one1(t)
	n := 0
	each := func(every int, by int64) func() {
		return func() {
			if n++; n%every == 0 {
				h.gpu.Corrected.N += by
			}
		}
	}
	h.run(6*time.Hour, 5*time.Second, each(360, 1)) // one in half an hour
	h.gpu.Corrected.N += 5000                       // a page that is bad, once
	h.run(time.Hour, 5*time.Second, each(360, 1))
	h.gpu.Corrected.N = 0 // the driver was loaded anew
	h.run(time.Hour, 5*time.Second, each(360, 1))
	h.want("")
	h.run(10*time.Minute, 5*time.Second, each(1, 2)) // somebody hammers
	if len(h.said) != 1 || !strings.HasPrefix(h.said[0], "gpu-errors ") {
		t.Errorf("%q", h.said)
	}
}

func TestWorkAtHoursThatAreFreeIsTold(t *testing.T) {
	work := func(h *host) func() {
		return func() {
			h.gpu.Util = event.Measured(0)
			if d, at := h.now.Weekday(), h.now.Hour(); d != time.Saturday && d != time.Sunday && at >= 8 && at < 18 {
				h.gpu.Util = event.Measured(90)
			}
		}
	}
	night := time.Date(2026, 1, 21, 3, 0, 0, 0, time.UTC)
	h := one1(t)
	h.run(7*24*time.Hour, time.Minute, work(h))
	b, err := h.w.Snapshot() // the agent is started anew
	if err != nil {
		t.Fatal(err)
	}
	h.w = New("h")
	if err := h.w.Restore(b); err != nil {
		t.Fatal(err)
	}
	h.run(night.Sub(h.now), time.Minute, work(h))
	h.gpu.Util = event.Measured(95)
	h.run(3*time.Minute, time.Minute, nil) // a test
	h.gpu.Util = event.Measured(0)
	h.run(30*time.Minute, time.Minute, nil)
	h.want("")
	h.gpu.Util = event.Measured(95)
	h.run(18*time.Minute, time.Minute, nil)
	h.want("gpu-hours Wednesday at 03:48 UTC")

	always, new := one1(t), one1(t)
	always.run(16*24*time.Hour, time.Minute, func() { always.gpu.Util = event.Measured(90) })
	new.run(5*24*time.Hour, time.Minute, work(new))
	new.run(10*time.Hour, time.Minute, func() { new.gpu.Util = event.Measured(90) })
	always.want("")
	new.want("")
	if New("h").Restore([]byte("{")) == nil {
		t.Error("what is cut is taken")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	h := one1(t)
	for i := range 4 * maxGPUs {
		h.gpu.UUID = strings.Repeat("x", i)
		h.run(time.Second, time.Second, nil)
	}
	if len(h.w.gpus) != maxGPUs {
		t.Errorf("%d GPUs", len(h.w.gpus))
	}
	h = one1(t)
	for i := range uint32(1000) {
		h.gpu.Uses = append(h.gpu.Uses, event.GPUUse{PID: i + 1})
		h.gone[i+1] = true
	}
	h.run(10*time.Minute, 30*time.Second, nil)
	if g := h.w.gpus["GPU-1"]; len(g.hidden) > maxGPUs || len(g.told) > maxGPUs {
		t.Errorf("%d hidden, %d told", len(g.hidden), len(g.told))
	}
}
