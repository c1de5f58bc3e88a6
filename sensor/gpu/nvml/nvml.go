package nvml

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"picket/event"
)

const (
	maxDevices = 64
	maxList    = 1024 // processes of one GPU
	seldom     = time.Minute
)

// Library is the driver's library, opened. It is for one goroutine.
type Library struct {
	fn      *functions
	driver  string
	known   map[device]event.GPU // what does not change, and what seldom does
	asked   time.Time            // for that
	since   map[device]uint64    // the time stamp of the newest sample of a GPU's processes
	infos   []processInfo
	samples []processSample
}

// Open opens the library at path, or where the driver's packages put it.
func Open(path string) (*Library, error) {
	fn, err := load(path)
	if err != nil {
		return nil, err
	}
	if r := fn.init(); r != success {
		return nil, r
	}
	l := &Library{fn: fn, known: map[device]event.GPU{}, since: map[device]uint64{}, infos: make([]processInfo, 64), samples: make([]processSample, 256)}
	var b [80]byte
	if fn.driverVersion != nil && fn.driverVersion(&b[0], uint32(len(b))) == success {
		l.driver = "nvidia " + text(b[:])
	}
	return l, nil
}

// Read looks at each GPU and its processes.
func (l *Library) Read(now time.Time) event.GPUReading {
	var n uint32
	if r := l.fn.count(&n); r != success {
		return event.GPUReading{Error: r.Error()}
	}
	if now.Sub(l.asked) >= seldom {
		clear(l.known)
		l.asked = now
	}
	out := event.GPUReading{}
	for i := range min(n, maxDevices) {
		var d device
		if r := l.fn.handle(i, &d); r != success {
			out.Error = "GPU " + strconv.Itoa(int(i)) + ": " + r.Error()
			continue
		}
		one := event.GPUDevice{GPU: l.lasting(d, int(i))}
		l.load(d, &one.GPU)
		why := ""
		one.Uses, why = l.uses(d)
		out.PerProcess = cmp.Or(out.PerProcess, why)
		out.Devices = append(out.Devices, one)
	}
	return out
}

// lasting is what is asked once a minute.
func (l *Library) lasting(d device, index int) event.GPU {
	if g, ok := l.known[d]; ok {
		return g
	}
	g := event.GPU{Index: index, Driver: l.driver, Source: "nvml"}
	var b [96]byte
	if l.fn.uuid != nil && l.fn.uuid(d, &b[0], uint32(len(b))) == success {
		g.UUID = text(b[:])
	}
	if l.fn.name != nil && l.fn.name(d, &b[0], uint32(len(b))) == success {
		g.Name = text(b[:])
	}
	var p pciInfo
	if l.fn.pci != nil && l.fn.pci(d, &p) == success {
		g.PCI = text(p.busID[:])
	}
	g.UUID = cmp.Or(g.UUID, g.PCI, "GPU "+strconv.Itoa(index))
	g.PowerLimit = small(l.fn.powerLimit, d)
	var current, pending uint32
	if l.fn.mig != nil && l.fn.mig(d, &current, &pending) == success {
		g.MIG = onOff[min(current, 1)]
	}
	l.settings(d, &g)
	g.Retired = l.retired(d)
	l.known[d] = g
	return g
}

var onOff = [2]string{"disabled", "enabled"}

// settings is what people set.
func (l *Library) settings(d device, g *event.GPU) {
	var current, pending uint32
	if l.fn.eccMode != nil && l.fn.eccMode(d, &current, &pending) == success {
		if g.ECCMode = onOff[min(current, 1)]; pending != current {
			g.ECCMode += ", " + onOff[min(pending, 1)] + " after a reset"
		}
	}
	for _, s := range []struct {
		ask   func(device, *uint32) result
		to    *string
		words []string
	}{
		{l.fn.persistence, &g.Persistence, onOff[:]},
		{l.fn.accounting, &g.Accounting, onOff[:]},
		{l.fn.computeMode, &g.ComputeMode, []string{"default", "exclusive thread", "prohibited", "exclusive process"}},
	} {
		if n := small(s.ask, d); n.Known && n.N < int64(len(s.words)) {
			*s.to = s.words[n.N]
		}
	}
	const sm = 1
	if l.fn.clockLimit != nil {
		g.ClockLimit = small(func(d device, n *uint32) result { return l.fn.clockLimit(d, sm, n) }, d)
	}
}

// retired counts pages of memory, or on newer GPUs rows, that are no longer used.
func (l *Library) retired(d device) event.Measure {
	var corrected, uncorrected, pending, failed uint32
	if l.fn.remapped != nil && l.fn.remapped(d, &corrected, &uncorrected, &pending, &failed) == success {
		return event.Measured(int64(corrected) + int64(uncorrected))
	}
	sum, known := int64(0), false
	for cause := range int32(2) {
		var n uint32
		if l.fn.retired == nil {
			break
		}
		if r := l.fn.retired(d, cause, &n, nil); r == success || r == errSmall {
			sum, known = sum+int64(n), true
		}
	}
	return event.Measure{N: sum, Known: known}
}

func small(ask func(device, *uint32) result, d device) event.Measure {
	var n uint32
	if ask == nil || ask(d, &n) != success {
		return event.Measure{}
	}
	return event.Measured(int64(n))
}

// load is what changes all the time.
func (l *Library) load(d device, g *event.GPU) {
	var u utilization
	if l.fn.utilization != nil && l.fn.utilization(d, &u) == success {
		g.Util = event.Measured(int64(u.gpu))
	}
	var m memoryInfo
	if l.fn.memory != nil && l.fn.memory(d, &m) == success {
		g.MemoryUsed, g.MemoryTotal = event.Measured(int64(m.used)), event.Measured(int64(m.total))
	}
	g.Power = small(l.fn.power, d)
	choose := func(ask func(device, int32, *uint32) result, which int32) event.Measure {
		if ask == nil {
			return event.Measure{}
		}
		return small(func(d device, n *uint32) result { return ask(d, which, n) }, d)
	}
	const sm, memory, die = 1, 2, 0
	g.ClockSM, g.ClockMemory = choose(l.fn.clock, sm), choose(l.fn.clock, memory)
	g.Temperature = choose(l.fn.temperature, die)
	const corrected, uncorrected, sinceLoad = 0, 1, 0
	var n uint64
	if l.fn.ecc != nil && l.fn.ecc(d, uncorrected, sinceLoad, &n) == success {
		g.ECC = event.Measured(int64(n))
	}
	if l.fn.ecc != nil && l.fn.ecc(d, corrected, sinceLoad, &n) == success {
		g.Corrected = event.Measured(int64(n))
	}
	const sent, received = 0, 1
	if a, b := choose(l.fn.pcie, sent), choose(l.fn.pcie, received); a.Known && b.Known {
		g.PCIe = event.Measured((a.N + b.N) << 10)
	}
}

// uses lists the processes of a GPU.
func (l *Library) uses(d device) (uses []event.GPUUse, why string) {
	at := map[string]int{} // by pid and instance: a process may do several things
	for _, list := range []struct {
		kind string
		ask  func(device, *uint32, *processInfo) result
	}{{"mps", l.fn.mps}, {"compute", l.fn.compute}, {"graphics", l.fn.graphics}} {
		for _, p := range l.list(d, list.ask) {
			u := event.GPUUse{PID: p.pid, Type: list.kind}
			if p.gi != ^uint32(0) && p.gi != 0 {
				u.MIG = strconv.Itoa(int(p.gi)) + "/" + strconv.Itoa(int(p.ci))
			}
			if p.used != ^uint64(0) {
				u.Memory = event.Measured(int64(p.used))
			}
			key := strconv.Itoa(int(p.pid)) + " " + u.MIG
			if i, twice := at[key]; twice {
				uses[i].Memory.N = max(uses[i].Memory.N, u.Memory.N)
				continue
			}
			at[key] = len(uses)
			uses = append(uses, u)
		}
	}
	if len(uses) == 0 {
		return nil, ""
	}
	busy, why := l.busy(d)
	if why != "" {
		return uses, why
	}
	for i := range uses {
		uses[i].Util = event.Measured(busy[uses[i].PID]) // who computed nothing has no sample
	}
	return uses, ""
}

func (l *Library) list(d device, ask func(device, *uint32, *processInfo) result) []processInfo {
	if ask == nil {
		return nil
	}
	for range 4 { // processes may come in between
		n := uint32(len(l.infos))
		switch ask(d, &n, &l.infos[0]) {
		case success:
			return slices.Clone(l.infos[:min(int(n), len(l.infos))])
		case errSmall:
			if len(l.infos) == maxList {
				return slices.Clone(l.infos) // the rest is too much
			}
			l.infos = make([]processInfo, min(max(int(n), 2*len(l.infos)), maxList))
		default:
			return nil
		}
	}
	return nil
}

// busy says in percent how much each process computed since it was last asked, or why it cannot.
func (l *Library) busy(d device) (map[uint32]int64, string) {
	if l.fn.samples == nil {
		return nil, result(errFunctionsLack).Error()
	}
	n := uint32(len(l.samples))
	r := l.fn.samples(d, &l.samples[0], &n, l.since[d])
	if r == errSmall {
		l.samples = make([]processSample, min(max(int(n)+64, 2*len(l.samples)), 16*maxList))
		n = uint32(len(l.samples))
		r = l.fn.samples(d, &l.samples[0], &n, l.since[d])
	}
	switch r {
	case success, errNotFound:
	default:
		return nil, strings.TrimSpace("what each process computes: " + r.Error())
	}
	if r == errNotFound {
		return nil, ""
	}
	sum, count := map[uint32]int64{}, map[uint32]int64{}
	for _, s := range l.samples[:min(int(n), len(l.samples))] {
		sum[s.pid] += int64(s.sm)
		count[s.pid]++
		l.since[d] = max(l.since[d], s.stamp)
	}
	for pid := range sum {
		sum[pid] /= count[pid]
	}
	return sum, ""
}
