package gpu

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"picket/event"
)

// Bounds on what is taken of a driver's word.
const (
	maxDevices = 64
	maxUses    = 1024 // over all GPUs
	maxLine    = 1 << 20
	maxText    = 96
)

// tidy bounds a reading and takes out what no GPU can be, which it counts: a driver, or who stands in
// for it, is not trusted.
func tidy(r *event.GPUReading) (odd int) {
	r.Error, r.PerProcess = plain(r.Error), plain(r.PerProcess)
	if len(r.Devices) > maxDevices {
		odd += len(r.Devices) - maxDevices
		r.Devices = r.Devices[:maxDevices]
	}
	uses := 0
	for i := range r.Devices {
		d := &r.Devices[i]
		d.PCI = busAddress(d.PCI)
		for _, s := range []*string{&d.UUID, &d.Name, &d.Driver, &d.PCI, &d.Source, &d.MIG, &d.ComputeMode, &d.Persistence, &d.ECCMode, &d.Accounting} {
			*s = plain(*s)
		}
		for m, most := range bounds(&d.GPU) {
			odd += within(m, most)
		}
		kept := d.Uses[:0]
		for _, u := range d.Uses {
			if uses >= maxUses || u.PID == 0 || u.PID > 1<<22 {
				odd++
				continue
			}
			uses++
			odd += within(&u.Memory, 1<<46) + within(&u.Util, 100)
			u.Type, u.MIG = plain(u.Type), plain(u.MIG)
			u.Busy, u.Idle, u.Mining, u.Reasons = 0, 0, event.Measure{}, "" // ours to say
			kept = append(kept, u)
		}
		d.Uses = kept
		alone(d)
	}
	return odd
}

// bounds names the largest values that are believed.
func bounds(d *event.GPU) map[*event.Measure]int64 {
	return map[*event.Measure]int64{
		&d.Util: 100, &d.Tensor: 100, &d.MemoryUsed: 1 << 46, &d.MemoryTotal: 1 << 46, &d.Power: 100_000_000, &d.PowerLimit: 100_000_000,
		&d.ClockSM: 100_000, &d.ClockMemory: 100_000, &d.Temperature: 250, &d.ECC: 1 << 48, &d.Retired: 1 << 24, &d.PCIe: 1 << 44,
		&d.Corrected: 1 << 48, &d.ClockLimit: 100_000,
	}
}

func within(m *event.Measure, most int64) (odd int) {
	if m.Known && (m.N < 0 || m.N > most) {
		*m = event.Measure{}
		odd = 1
	}
	return odd
}

// alone gives the one process that uses a GPU what the whole GPU computes, where the driver does not
// tell it by process.
func alone(d *event.GPUDevice) {
	if len(d.Uses) == 1 && !d.Uses[0].Util.Known {
		d.Uses[0].Util = d.Util
	}
}

// plain cuts a text and takes out what does not print.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s[:min(len(s), 4*maxText)])
	if runes := []rune(s); len(runes) > maxText {
		return string(runes[:maxText])
	}
	return s
}

// busAddress writes an address on the PCI bus as the kernel does: 0000:3b:00.0.
func busAddress(s string) string {
	s = strings.ToLower(strings.Trim(strings.TrimPrefix(strings.TrimSpace(s), "PCI:"), ":"))
	if domain, rest, ok := strings.Cut(s, ":"); ok && strings.Count(s, ":") == 2 {
		for len(domain) > 4 && domain[0] == '0' {
			domain = domain[1:]
		}
		s = domain + ":" + rest
	}
	if s != "" && !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
