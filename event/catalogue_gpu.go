package event

import (
	"strconv"
	"time"
)

// gpuFields are those of a GPU, of what a process takes of it, and of its faults.
var gpuFields = []Info{
	gpuText("gpu.uuid", "identity of the GPU, as its driver gives it", func(g *GPU) *string { return &g.UUID }),
	gpuText("gpu.name", "name of the GPU's model", func(g *GPU) *string { return &g.Name }),
	gpuText("gpu.driver", "driver and its version", func(g *GPU) *string { return &g.Driver }),
	gpuText("gpu.pci", "address of the GPU on the bus", func(g *GPU) *string { return &g.PCI }),
	gpuText("gpu.source", "who told of it: nvml, amdgpu, drm, dcgm or kernel", func(g *GPU) *string { return &g.Source }),
	gpuText("gpu.mig", "enabled or disabled, where the GPU can be split into instances", func(g *GPU) *string { return &g.MIG }),
	gpuNumber("gpu.util", "percent of the time in which the GPU computed", func(g *GPU) *Measure { return &g.Util }),
	gpuNumber("gpu.memory.used", "bytes of the GPU's memory in use", func(g *GPU) *Measure { return &g.MemoryUsed }),
	gpuNumber("gpu.memory.total", "bytes of memory that the GPU has", func(g *GPU) *Measure { return &g.MemoryTotal }),
	gpuNumber("gpu.power", "milliwatts that the GPU draws", func(g *GPU) *Measure { return &g.Power }),
	gpuNumber("gpu.power_limit", "milliwatts that it may draw", func(g *GPU) *Measure { return &g.PowerLimit }),
	gpuNumber("gpu.clock", "MHz of its processors", func(g *GPU) *Measure { return &g.ClockSM }),
	gpuNumber("gpu.clock_memory", "MHz of its memory", func(g *GPU) *Measure { return &g.ClockMemory }),
	gpuNumber("gpu.temperature", "degrees Celsius", func(g *GPU) *Measure { return &g.Temperature }),
	gpuNumber("gpu.ecc_corrected", "errors of memory that were corrected", func(g *GPU) *Measure { return &g.Corrected }),
	gpuNumber("gpu.clock_limit", "MHz that applications are to run at", func(g *GPU) *Measure { return &g.ClockLimit }),
	gpuText("gpu.compute_mode", "default, exclusive thread, prohibited or exclusive process", func(g *GPU) *string { return &g.ComputeMode }),
	gpuText("gpu.persistence", "whether the driver stays while nobody uses the GPU: enabled or disabled", func(g *GPU) *string { return &g.Persistence }),
	gpuText("gpu.ecc_mode", "correction of errors: enabled or disabled, and what it will be after a reset", func(g *GPU) *string { return &g.ECCMode }),
	gpuText("gpu.accounting", "whether the driver keeps account of processes: enabled or disabled", func(g *GPU) *string { return &g.Accounting }),
	gpuNumber("gpu.ecc", "errors of memory that could not be corrected", func(g *GPU) *Measure { return &g.ECC }),
	gpuNumber("gpu.retired", "pages or rows of memory taken out of use", func(g *GPU) *Measure { return &g.Retired }),
	gpuNumber("gpu.pcie", "bytes a second over the bus, both ways", func(g *GPU) *Measure { return &g.PCIe }),
	gpuNumber("gpu.tensor", "percent of the time in which tensor cores worked", func(g *GPU) *Measure { return &g.Tensor }),

	gpuUse("gpu.process.memory", Integer, "bytes of the GPU's memory that the process holds",
		func(u *GPUUse) Value { return u.Memory.value() }, func(u *GPUUse, s string) error { return u.Memory.set(s) }),
	gpuUse("gpu.process.util", Integer, "percent of the time in which the GPU computed for the process",
		func(u *GPUUse) Value { return u.Util.value() }, func(u *GPUUse, s string) error { return u.Util.set(s) }),
	gpuUse("gpu.process.type", Text, "compute, graphics or mps",
		func(u *GPUUse) Value { return text(u.Type) }, func(u *GPUUse, s string) error { u.Type = s; return nil }),
	gpuUse("gpu.process.mig", Text, "instance of a split GPU that the process uses",
		func(u *GPUUse) Value { return text(u.MIG) }, func(u *GPUUse, s string) error { u.MIG = s; return nil }),
	gpuUse("gpu.process.busy", Integer, "seconds for which the process has computed nearly all the time, without a pause",
		func(u *GPUUse) Value { return integer(int64(u.Busy / time.Second)) }, seconds(func(u *GPUUse) *time.Duration { return &u.Busy })),
	gpuUse("gpu.process.idle", Integer, "seconds for which the process has held memory and computed nothing",
		func(u *GPUUse) Value { return integer(int64(u.Idle / time.Second)) }, seconds(func(u *GPUUse) *time.Duration { return &u.Idle })),
	gpuUse("gpu.mining.score", Integer, "how much the process looks like a miner, of 100",
		func(u *GPUUse) Value { return u.Mining.value() }, func(u *GPUUse, s string) error { return u.Mining.set(s) }),
	gpuUse("gpu.mining.reasons", Text, "what the score is made of: each sign with what was seen and its points",
		func(u *GPUUse) Value { return text(u.Reasons) }, func(u *GPUUse, s string) error { u.Reasons = s; return nil }),

	top("gpu.error.xid", "", Integer, "number of the fault in NVIDIA's list",
		func(e *Event) Value {
			if e.GPU == nil || e.GPU.Err == nil {
				return Value{}
			}
			return count(e.GPU.Err.Xid)
		},
		number(func(e *Event, n int64) { e.gpuErr().Xid = n })),
	derived(top("gpu.error.class", "", Text, "whom the fault is about: application, hardware or driver",
		func(e *Event) Value {
			if e.GPU == nil || e.GPU.Err == nil {
				return Value{}
			}
			return text(XidClass(e.GPU.Err.Xid))
		}, nil), "gpu.error.xid"),
	top("gpu.error.text", "", Text, "what the driver said of the fault",
		func(e *Event) Value {
			if e.GPU == nil || e.GPU.Err == nil {
				return Value{}
			}
			return text(e.GPU.Err.Text)
		},
		func(e *Event, s string) error { e.gpuErr().Text = s; return nil }),
}

func (e *Event) gpu() *GPUReport {
	if e.GPU == nil {
		e.GPU = new(GPUReport)
	}
	return e.GPU
}

func (e *Event) gpuErr() *GPUError {
	if g := e.gpu(); g.Err == nil {
		g.Err = new(GPUError)
	}
	return e.GPU.Err
}

func (m Measure) value() Value {
	if !m.Known {
		return Value{}
	}
	return integer(m.N)
}

func (m *Measure) set(s string) error {
	n, err := strconv.ParseInt(s, 0, 64)
	if err == nil {
		*m = Measured(n)
	}
	return err
}

func seconds(member func(*GPUUse) *time.Duration) func(*GPUUse, string) error {
	return func(u *GPUUse, s string) error {
		n, err := strconv.ParseInt(s, 10, 32)
		*member(u) = time.Duration(n) * time.Second
		return err
	}
}

func gpuText(name, doc string, member func(*GPU) *string) Info {
	of := func(e *Event) *GPU {
		if e.GPU == nil {
			return nil
		}
		return &e.GPU.GPU
	}
	return part(name, "", doc, of, func(e *Event) *GPU { return &e.gpu().GPU }, member)
}

func gpuNumber(name, doc string, member func(*GPU) *Measure) Info {
	return top(name, "", Integer, doc,
		func(e *Event) Value {
			if e.GPU == nil {
				return Value{}
			}
			return member(&e.GPU.GPU).value()
		},
		func(e *Event, s string) error { return member(&e.gpu().GPU).set(s) })
}

// gpuUse is a field of what a process takes of a GPU.
func gpuUse(name string, t ValueKind, doc string, get func(*GPUUse) Value, set func(*GPUUse, string) error) Info {
	return top(name, "", t, doc,
		func(e *Event) Value {
			if e.GPU == nil || e.GPU.Use == nil {
				return Value{}
			}
			return get(e.GPU.Use)
		},
		func(e *Event, s string) error {
			g := e.gpu()
			if g.Use == nil {
				g.Use = new(GPUUse)
			}
			return set(g.Use, s)
		})
}
