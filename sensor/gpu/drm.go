package gpu

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"picket/event"
)

// Bounds on a look at the kernel's files.
const (
	cardsEvery   = 30 * time.Second // how often new cards are looked for
	clientsEvery = 30 * time.Second // and new processes that use one
	maxCards     = 32
	maxFDs       = 4096 // looked at of one process
	maxClients   = 2048
)

// drm reads GPUs through the kernel's files: those of amdgpu have much to tell, of other drivers (i915,
// xe, nouveau…) what each process computes. NVIDIA's own driver tells nothing here.
type drm struct {
	root    string
	cards   []card
	looked  time.Time // for cards
	scanned time.Time // for clients
	clients []client
	engines map[string]uint64 // by client and engine: nanoseconds so far
	last    time.Time
}

// card is a GPU that the kernel shows.
type card struct {
	dir    string // of the device
	pci    string
	driver string
	kfd    string // amdgpu's number of it
	units  int64  // amdgpu: compute units
	index  int
}

// client is a descriptor by which a process uses a GPU.
type client struct {
	pid uint32
	fd  string
}

func newDRM(root string) *drm { return &drm{root: root, engines: map[string]uint64{}} }

func (d *drm) path(parts ...string) string {
	return filepath.Join(append([]string{d.root}, parts...)...)
}

// read looks at the cards and at who uses them.
func (d *drm) read(now time.Time) (r event.GPUReading, odd int) {
	if now.Sub(d.looked) >= cardsEvery || d.looked.IsZero() {
		d.cards, d.looked = d.findCards(), now
	}
	if len(d.cards) == 0 {
		d.clients = nil
		return r, 0
	}
	for i := range d.cards {
		r.Devices = append(r.Devices, d.device(&d.cards[i]))
	}
	if now.Sub(d.scanned) >= clientsEvery || d.scanned.IsZero() {
		d.clients, d.scanned = d.findClients(), now
	}
	d.uses(r.Devices, now)
	d.kfdUses(r.Devices)
	for i := range r.Devices {
		if dev := &r.Devices[i]; !dev.Util.Known && len(dev.Uses) > 0 {
			sum := event.Measured(0)
			for _, u := range dev.Uses {
				sum.N = min(sum.N+u.Util.N, 100)
				sum.Known = sum.Known && u.Util.Known
			}
			dev.Util = sum
		}
	}
	return r, tidy(&r)
}

func (d *drm) findCards() []card {
	names, _ := filepath.Glob(d.path("/sys/class/drm/card[0-9]*")) // the pattern is right
	kfd := d.kfdNodes()
	var out []card
	for _, name := range names {
		index, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(name), "card"))
		if err != nil { // card0-HDMI-A-1 is a plug
			continue
		}
		dir := filepath.Join(name, "device")
		driver, err := os.Readlink(filepath.Join(dir, "driver"))
		if err != nil || filepath.Base(driver) == "nvidia" || slices.Contains(computeNothing, filepath.Base(driver)) || len(out) >= maxCards {
			continue
		}
		c := card{dir: dir, driver: filepath.Base(driver), index: index}
		if at, err := filepath.EvalSymlinks(dir); err == nil {
			c.pci = filepath.Base(at)
		}
		c.kfd, c.units = kfd[c.pci].id, kfd[c.pci].units
		out = append(out, c)
	}
	return out
}

// computeNothing are drivers of cards that only show pictures.
var computeNothing = []string{"simpledrm", "bochs-drm", "virtio_gpu", "virtio-pci", "ast", "mgag200", "qxl", "cirrus", "cirrus-qemu", "vmwgfx", "hyperv_drm", "vboxvideo"}

type kfdNode struct {
	id    string
	units int64
}

// kfdNodes returns amdgpu's numbers of its cards, by address on the bus.
func (d *drm) kfdNodes() map[string]kfdNode {
	out := map[string]kfdNode{}
	nodes, _ := filepath.Glob(d.path("/sys/class/kfd/kfd/topology/nodes/[0-9]*")) // the pattern is right
	for _, n := range nodes {
		id, _ := line(filepath.Join(n, "gpu_id"))
		text, _ := file(filepath.Join(n, "properties"))
		has := map[string]int64{}
		for l := range strings.Lines(text) {
			key, value, _ := strings.Cut(strings.TrimSpace(l), " ")
			has[key], _ = strconv.ParseInt(value, 10, 64) // 0 where it is too large
		}
		if id == "" || id == "0" { // a processor
			continue
		}
		at := has["location_id"]
		pci := hex(has["domain"], 4) + ":" + hex(at>>8&0xff, 2) + ":" + hex(at>>3&0x1f, 2) + "." + strconv.FormatInt(at&7, 10)
		k := kfdNode{id: id}
		if has["simd_per_cu"] > 0 {
			k.units = has["simd_count"] / has["simd_per_cu"]
		}
		out[pci] = k
	}
	return out
}

func hex(n int64, digits int) string {
	s := strconv.FormatInt(n, 16)
	return strings.Repeat("0", max(0, digits-len(s))) + s
}

// device reads what the kernel tells of a card.
func (d *drm) device(c *card) event.GPUDevice {
	dev := event.GPUDevice{GPU: event.GPU{UUID: c.pci, Index: c.index, Name: c.driver, Driver: c.driver, PCI: c.pci, Source: "drm"}}
	if c.driver != "amdgpu" {
		return dev
	}
	dev.Source = "amdgpu"
	if id, ok := line(filepath.Join(c.dir, "unique_id")); ok && strings.Trim(id, "0") != "" {
		dev.UUID = "GPU-" + id
	}
	if name, ok := line(filepath.Join(c.dir, "product_name")); ok && name != "" {
		dev.Name = name
	}
	read := func(to *event.Measure, name string, divide int64) {
		if n, ok := number(filepath.Join(c.dir, name)); ok {
			*to = event.Measured(n / divide)
		}
	}
	read(&dev.Util, "gpu_busy_percent", 1)
	read(&dev.MemoryUsed, "mem_info_vram_used", 1)
	read(&dev.MemoryTotal, "mem_info_vram_total", 1)
	sensors, _ := filepath.Glob(filepath.Join(c.dir, "hwmon/hwmon[0-9]*")) // the pattern is right
	if len(sensors) == 0 {
		return dev
	}
	at, err := filepath.Rel(c.dir, sensors[0])
	if err != nil {
		return dev
	}
	read(&dev.Power, at+"/power1_input", 1000) // microwatts
	read(&dev.Power, at+"/power1_average", 1000)
	read(&dev.PowerLimit, at+"/power1_cap", 1000)
	read(&dev.Temperature, at+"/temp1_input", 1000)
	read(&dev.ClockSM, at+"/freq1_input", 1_000_000)
	read(&dev.ClockMemory, at+"/freq2_input", 1_000_000)
	return dev
}

// findClients looks through the descriptors of all processes for those of GPUs.
func (d *drm) findClients() []client {
	var out []client
	dirs, _ := filepath.Glob(d.path("/proc/[0-9]*")) // the pattern is right
	for _, dir := range dirs {
		n, err := strconv.ParseUint(filepath.Base(dir), 10, 22)
		f, openErr := os.Open(filepath.Join(dir, "fd"))
		if err != nil || openErr != nil {
			continue
		}
		names, _ := f.Readdirnames(maxFDs) // who holds more is looked at in part
		_ = f.Close()                      // it was only read
		for _, fd := range names {
			to, err := os.Readlink(filepath.Join(dir, "fd", fd))
			if err == nil && strings.HasPrefix(to, "/dev/dri/") && len(out) < maxClients {
				out = append(out, client{uint32(n), fd})
			}
		}
	}
	return out
}

// fdinfo is what the kernel tells of a descriptor of a GPU:
// https://docs.kernel.org/gpu/drm-usage-stats.html.
type fdinfo struct {
	pci, id string
	engines map[string]uint64 // nanoseconds
	memory  event.Measure
}

func parseFDInfo(text string) fdinfo {
	out := fdinfo{engines: map[string]uint64{}}
	total := map[string]int64{} // by region
	resident := map[string]int64{}
	for l := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(l), ":")
		value = strings.TrimSpace(value)
		if !ok || len(out.engines)+len(total)+len(resident) > 64 {
			continue
		}
		switch {
		case key == "drm-pdev":
			out.pci = value
		case key == "drm-client-id":
			out.id = value
		case strings.HasPrefix(key, "drm-engine-capacity-"):
		case strings.HasPrefix(key, "drm-engine-"):
			if n, err := strconv.ParseUint(strings.TrimSuffix(value, " ns"), 10, 64); err == nil {
				out.engines[key] = n
			}
		case strings.HasPrefix(key, "drm-memory-vram"), strings.HasPrefix(key, "drm-resident-vram"), strings.HasPrefix(key, "drm-resident-local"):
			resident[key] = size(value)
		case strings.HasPrefix(key, "drm-total-vram"), strings.HasPrefix(key, "drm-total-local"):
			total[key] = size(value)
		}
	}
	for _, from := range []map[string]int64{resident, total} { // of several words for the same the largest
		for _, n := range from {
			out.memory = event.Measured(max(out.memory.N, n))
		}
		if out.memory.Known {
			break
		}
	}
	return out
}

func size(s string) int64 {
	num, unit, _ := strings.Cut(s, " ")
	n, err := strconv.ParseInt(num, 10, 64)
	if err != nil || n < 0 || n > 1<<46 {
		return 0
	}
	return n << map[string]int{"KiB": 10, "MiB": 20}[unit]
}

// uses adds who uses each card. Descriptors are copied and inherited: a client counts for the first
// process that holds it.
func (d *drm) uses(devices []event.GPUDevice, now time.Time) {
	seen := map[string]bool{}
	fresh := map[string]uint64{}
	elapsed := now.Sub(d.last)
	for _, c := range d.clients {
		text, ok := file(d.path("/proc", strconv.FormatUint(uint64(c.pid), 10), "fdinfo", c.fd))
		if !ok {
			continue // it is closed
		}
		info := parseFDInfo(text)
		i := slices.IndexFunc(devices, func(dev event.GPUDevice) bool { return dev.PCI == info.pci })
		key := info.pci + " " + info.id
		if i < 0 || info.id == "" || seen[key] {
			continue
		}
		seen[key] = true
		busy := event.Measure{}
		for engine, n := range info.engines {
			fresh[key+engine] = n
			before, known := d.engines[key+engine]
			if known && n >= before && elapsed > 0 && !d.last.IsZero() {
				busy = event.Measured(max(busy.N, min(int64(100*float64(n-before)/float64(elapsed)), 100)))
			}
		}
		add(&devices[i], event.GPUUse{PID: c.pid, Memory: info.memory, Util: busy, Type: "graphics"})
	}
	d.engines, d.last = fresh, now
}

// add joins what one process does through several descriptors.
func add(dev *event.GPUDevice, u event.GPUUse) {
	for i := range dev.Uses {
		if have := &dev.Uses[i]; have.PID == u.PID {
			have.Memory = event.Measure{N: have.Memory.N + u.Memory.N, Known: have.Memory.Known || u.Memory.Known}
			have.Util = event.Measure{N: min(have.Util.N+u.Util.N, 100), Known: have.Util.Known || u.Util.Known}
			return
		}
	}
	dev.Uses = append(dev.Uses, u)
}

// kfdUses adds the processes that compute through amdgpu's own interface (ROCm).
func (d *drm) kfdUses(devices []event.GPUDevice) {
	procs, _ := filepath.Glob(d.path("/sys/class/kfd/kfd/proc/[0-9]*")) // the pattern is right
	for _, dir := range procs {
		n, err := strconv.ParseUint(filepath.Base(dir), 10, 22)
		if err != nil {
			continue
		}
		for _, c := range d.cards {
			memory, ok := number(filepath.Join(dir, "vram_"+c.kfd))
			i := slices.IndexFunc(devices, func(dev event.GPUDevice) bool { return dev.PCI == c.pci })
			if c.kfd == "" || !ok || i < 0 {
				continue
			}
			u := event.GPUUse{PID: uint32(n), Type: "compute", Memory: event.Measured(memory)}
			if held, ok := number(filepath.Join(dir, "stats_"+c.kfd, "cu_occupancy")); ok && c.units > 0 {
				u.Util = event.Measured(min(100*held/c.units, 100))
			}
			dev := &devices[i]
			if at := slices.IndexFunc(dev.Uses, func(have event.GPUUse) bool { return have.PID == u.PID }); at >= 0 {
				have := &dev.Uses[at]
				have.Type, have.Memory.N, have.Memory.Known = "compute", max(have.Memory.N, u.Memory.N), true
				have.Util = event.Measure{N: max(have.Util.N, u.Util.N), Known: have.Util.Known || u.Util.Known}
				continue
			}
			dev.Uses = append(dev.Uses, u)
		}
	}
	for i := range devices {
		slices.SortFunc(devices[i].Uses, func(a, b event.GPUUse) int { return cmp.Compare(a.PID, b.PID) })
	}
}

// file reads a small file of the kernel.
func file(name string) (string, bool) {
	f, err := os.Open(name)
	if err != nil {
		return "", false
	}
	defer f.Close() //nolint:errcheck // it was only read
	b, err := io.ReadAll(io.LimitReader(bufio.NewReader(f), 16<<10))
	return string(bytes.ToValidUTF8(b, nil)), err == nil
}

func line(name string) (string, bool) {
	s, ok := file(name)
	s, _, _ = strings.Cut(s, "\n")
	return strings.TrimSpace(s), ok
}

func number(name string) (int64, bool) {
	s, ok := line(name)
	n, err := strconv.ParseInt(s, 10, 64)
	return n, ok && err == nil
}
