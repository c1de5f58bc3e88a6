package event

import (
	"strconv"
	"strings"
	"time"
)

// Measure is a number that is not always known, as no driver tells everything. The zero Measure is
// unknown; as JSON it is a number or null.
type Measure struct {
	N     int64
	Known bool
}

// Measured returns a known Measure.
func Measured(n int64) Measure { return Measure{N: n, Known: true} }

// MarshalJSON writes the number, or null.
func (m Measure) MarshalJSON() ([]byte, error) {
	if !m.Known {
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, m.N, 10), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (m *Measure) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*m = Measure{}
		return nil
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	*m = Measure{N: n, Known: err == nil}
	return err
}

// GPU is a graphics processor and how busy it is.
type GPU struct {
	UUID   string `json:"uuid"` // of the driver, or the bus address where it gives none
	Index  int    `json:"index"`
	Name   string `json:"name"`
	Driver string `json:"driver"` // with its version: nvidia 570.86.15
	PCI    string `json:"pci"`    // bus address: 0000:3b:00.0
	Source string `json:"source"` // nvml, amdgpu, drm or dcgm
	MIG    string `json:"mig,omitempty"`

	Util        Measure `json:"util"`         // percent of the time in which a kernel ran
	MemoryUsed  Measure `json:"memory_used"`  // bytes
	MemoryTotal Measure `json:"memory_total"` // bytes
	Power       Measure `json:"power"`        // milliwatts
	PowerLimit  Measure `json:"power_limit"`  // milliwatts
	ClockSM     Measure `json:"clock_sm"`     // MHz
	ClockMemory Measure `json:"clock_memory"` // MHz
	Temperature Measure `json:"temperature"`  // degrees Celsius
	ECC         Measure `json:"ecc"`          // errors that could not be corrected, since the driver was loaded
	Retired     Measure `json:"retired"`      // pages or rows of memory taken out of use
	PCIe        Measure `json:"pcie"`         // bytes a second over the bus, both ways
	Tensor      Measure `json:"tensor"`       // percent of the time in which tensor cores worked
	Corrected   Measure `json:"corrected"`    // errors of memory that were corrected, since the driver was loaded

	// What is set on it, "" where the driver does not say.
	ClockLimit  Measure `json:"clock_limit"`            // MHz, that applications are to run at
	ComputeMode string  `json:"compute_mode,omitempty"` // default, exclusive thread, prohibited or exclusive process
	Persistence string  `json:"persistence,omitempty"`  // enabled or disabled
	ECCMode     string  `json:"ecc_mode,omitempty"`     // enabled or disabled, and what it will be after a reset
	Accounting  string  `json:"accounting,omitempty"`   // enabled or disabled
}

// GPUUse is what one process takes of a GPU.
type GPUUse struct {
	PID    uint32  `json:"pid"`
	Memory Measure `json:"memory"` // bytes
	Util   Measure `json:"util"`   // percent of the time in which a kernel of its own ran
	Type   string  `json:"type"`   // compute, graphics or mps
	MIG    string  `json:"mig,omitempty"`

	// What it did so far, where somebody followed it.
	Busy    time.Duration `json:"busy,omitzero"`    // how long it has computed nearly all the time, without a pause
	Idle    time.Duration `json:"idle,omitzero"`    // how long it has held memory and computed nothing
	Mining  Measure       `json:"mining,omitzero"`  // how much it looks like a miner, of 100
	Reasons string        `json:"reasons,omitzero"` // what that number is made of
}

// GPUDevice is a GPU with the processes that use it.
type GPUDevice struct {
	GPU
	Uses []GPUUse `json:"uses,omitempty"`
}

// GPUReading is one look at the GPUs of a host.
type GPUReading struct {
	Devices []GPUDevice `json:"devices"`
	// Error says why there is nothing, or not all.
	Error string `json:"error,omitempty"`
	// PerProcess says why what each process computes is not told, "" where it is.
	PerProcess string `json:"per_process,omitempty"`
}

// GPUError is what a driver said of a fault.
type GPUError struct {
	Xid  int64  // NVIDIA's number, 0 where there is none
	Text string // the driver's words
}

// GPUReport is the object of a GPUSample or GPUFault: the GPU, and what the event's process takes of
// it where the sample is about a process.
type GPUReport struct {
	GPU
	Use *GPUUse
	Err *GPUError // GPUFault
}

// GPUState is a GPU of a host and who uses it, as the agent says it in its heartbeats.
type GPUState struct {
	GPU
	Users []GPUUser `json:"users"`
}

// GPUUser is a process that uses a GPU.
type GPUUser struct {
	GPUUse
	Process   string `json:"process"`             // name of the executable
	Container string `json:"container,omitempty"` // id
	Workload  string `json:"workload,omitempty"`  // name
}

// XidClass says in a word whom an Xid is about: application (the program asked for something wrong),
// hardware, or driver.
//
// The numbers are those of NVIDIA's catalogue, https://docs.nvidia.com/deploy/xid-errors/.
func XidClass(xid int64) string {
	switch xid {
	case 13, 31, 43, 45, 68, 69, 80, 109, 111:
		return "application"
	case 48, 61, 62, 63, 64, 74, 79, 81, 92, 94, 95, 110, 121, 140, 143, 145:
		return "hardware"
	case 0:
		return ""
	}
	return "driver"
}

// label names the GPU in a sentence.
func (g *GPU) label() string {
	name := g.Name
	if name == "" {
		name = "GPU"
	}
	if at := g.PCI; at != "" {
		return name + " at " + at
	}
	return name + " " + g.UUID
}

// describe is the sentence of Describe about a GPU.
func (r *GPUReport) describe(who string) string {
	percent := func(b *strings.Builder, what string, m Measure) {
		if m.Known {
			b.WriteString(what + strconv.FormatInt(m.N, 10) + " %")
		}
	}
	memory := func(b *strings.Builder, m Measure) {
		if m.Known {
			b.WriteString(", " + strconv.FormatInt(m.N>>20, 10) + " MiB of memory")
		}
	}
	var b strings.Builder
	switch {
	case r.Err != nil:
		b.WriteString(r.label() + " failed")
		if r.Err.Xid != 0 {
			b.WriteString(" with Xid " + strconv.FormatInt(r.Err.Xid, 10) + " (" + XidClass(r.Err.Xid) + ")")
		}
		if who != "" {
			b.WriteString(" under " + who)
		}
		b.WriteString(": " + r.Err.Text)
	case r.Use != nil:
		b.WriteString(who + " uses " + r.label())
		memory(&b, r.Use.Memory)
		percent(&b, ", busy ", r.Use.Util)
	default:
		b.WriteString(r.label())
		percent(&b, ": busy ", r.Util)
		memory(&b, r.MemoryUsed)
	}
	return b.String()
}

// text tells reports apart.
func (r *GPUReport) text() string {
	words := []string{r.UUID, r.PCI, "", ""}
	if r.Use != nil {
		words[2] = strconv.FormatUint(uint64(r.Use.PID), 10)
	}
	if r.Err != nil {
		words[3] = strconv.FormatInt(r.Err.Xid, 10) + " " + r.Err.Text
	}
	return strings.Join(words, "\x00")
}
