package gpu

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"picket/event"
)

func TestFaultsAreReadFromTheKernelsLog(t *testing.T) {
	for record, want := range map[string]*Fault{
		"4,1,1,-;NVRM: Xid (PCI:0000:3b:00): 31, pid=4711, name=python3, Ch 00000010, intr 00000000. MMU Fault": {
			PCI: "0000:3b:00.0", Xid: 31, PID: 4711, Driver: "nvidia", Text: "pid=4711, name=python3, Ch 00000010, intr 00000000. MMU Fault",
		},
		"4,1,1,-;NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.": {
			PCI: "0000:3b:00.0", Xid: 79, Driver: "nvidia", Text: "pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
		},
		"3,1,1,-;NVRM: GPU 0000:3b:00.0: RmInitAdapter failed! (0x62:0x40:2462)": {
			PCI: "0000:3b:00.0", Driver: "nvidia", Text: "GPU 0000:3b:00.0: RmInitAdapter failed! (0x62:0x40:2462)",
		},
		"3,1,1,-;amdgpu 0000:03:00.0: amdgpu: GPU reset begin!":                                                   {PCI: "0000:03:00.0", Driver: "amdgpu", Text: "amdgpu 0000:03:00.0: amdgpu: GPU reset begin!"},
		"3,1,1,-;[drm:amdgpu_job_timedout [amdgpu]] *ERROR* Process information: process x pid 9 thread y pid 10": nil,
		"12,1,1,-;NVRM: Xid (PCI:0000:3b:00): 31, pid=4711, name=forged":                                          nil, // facility 1: a process wrote it
		"4,1,1,-;usb 1-1: NVRM: Xid (PCI:0000:3b:00): 31":                                                         nil,
		"4,1,1,-;nvidia: loading out-of-tree module taints kernel.":                                               nil,
		" SUBSYSTEM=pci": nil,
		"":               nil,
	} {
		var got *Fault
		if line, ok := parseRecord(record); ok {
			if f, ok := parseFault(line); ok {
				got = &f
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", record, d)
		}
	}
}

func TestTheLogIsFollowedAndAStormIsCounted(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(root, "dev/kmsg")
	if err := unix.Mkfifo(log, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(log, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s := &simulated{Sensor: New(Options{Root: root}), t: t, reads: make(chan event.GPUReading), faults: make(chan Fault, 10)}
	s.run()
	storm := strings.Repeat("4,1,1,-;NVRM: Xid (PCI:0000:3b:00): 31, pid=4711\n", 300)
	for _, text := range []string{storm, "4,1,1,-;other\n", "4,1,1,-;NVRM: Xid (PCI:0000:3b:00): 48, pid=1\n"} {
		if _, err := w.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := <-s.faults, <-s.faults; a.Xid != 31 || b.Xid != 48 || s.Faults() != 2 {
		t.Errorf("%+v, %+v, %d", a, b, s.Faults())
	}
}

func TestARepeatedFaultIsToldOnceAMinuteWithItsCount(t *testing.T) {
	r, now := repeats{}, time.Unix(1e9, 0)
	told := []uint32{}
	for i := range 130 {
		f := Fault{PCI: "0000:3b:00.0", Xid: 31}
		if r.first(&f, now.Add(time.Duration(i)*time.Second)) {
			told = append(told, f.Count)
		}
	}
	if d := cmp.Diff([]uint32{1, 60, 60}, told); d != "" {
		t.Error(d)
	}
	for i := range 10 * faultKinds {
		r.first(&Fault{Xid: int64(i + 1)}, now)
	}
	if len(r) > faultKinds {
		t.Errorf("%d are kept", len(r))
	}
}

// tree makes the files of a kernel below a directory; a value with -> before it is a link.
func tree(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		at := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(at)
		var err error
		if to, link := strings.CutPrefix(files[name], "->"); link {
			err = os.Symlink(to, at)
		} else {
			err = os.WriteFile(at, []byte(files[name]), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

const fdinfoText = "pos:\t0\ndrm-driver:\tamdgpu\ndrm-pdev:\t0000:03:00.0\ndrm-client-id:\t%ID\ndrm-engine-gfx:\t%NS ns\ndrm-engine-capacity-gfx:\t2\ndrm-memory-vram:\t1024 KiB\ndrm-total-vram:\t2048 KiB\n"

func fdinfoOf(id, ns string) string {
	return strings.NewReplacer("%ID", id, "%NS", ns).Replace(fdinfoText)
}

func TestAMDAndOtherGPUsAreReadFromTheKernelsFiles(t *testing.T) {
	root := t.TempDir()
	tree(t, root, map[string]string{
		"sys/devices/0000:03:00.0/driver":                      "->../../bus/pci/drivers/amdgpu",
		"sys/devices/0000:03:00.0/unique_id":                   "abc123\n",
		"sys/devices/0000:03:00.0/product_name":                "Instinct\n",
		"sys/devices/0000:03:00.0/gpu_busy_percent":            "88\n",
		"sys/devices/0000:03:00.0/mem_info_vram_used":          "1073741824\n",
		"sys/devices/0000:03:00.0/mem_info_vram_total":         "68719476736\n",
		"sys/devices/0000:03:00.0/hwmon/hwmon2/power1_average": "305000000\n",
		"sys/devices/0000:03:00.0/hwmon/hwmon2/temp1_input":    "61000\n",
		"sys/devices/0000:03:00.0/hwmon/hwmon2/freq1_input":    "not a number\n",
		"sys/class/drm/card0":                                  "->../../../sys/devices/card0-of-amd",
		"sys/devices/card0-of-amd/device":                      "->../0000:03:00.0",
		"sys/class/drm/card0-HDMI-A-1/status":                  "connected\n",
		"sys/devices/0000:00:02.0/driver":                      "->../../bus/pci/drivers/i915",
		"sys/devices/card1-of-intel/device":                    "->../0000:00:02.0",
		"sys/class/drm/card1":                                  "->../../../sys/devices/card1-of-intel",
		"sys/devices/0000:3b:00.0/driver":                      "->../../bus/pci/drivers/nvidia",
		"sys/devices/card2-of-nvidia/device":                   "->../0000:3b:00.0",
		"sys/class/drm/card2":                                  "->../../../sys/devices/card2-of-nvidia",
		"sys/class/kfd/kfd/topology/nodes/0/gpu_id":            "0\n",
		"sys/class/kfd/kfd/topology/nodes/1/gpu_id":            "5000\n",
		"sys/class/kfd/kfd/topology/nodes/1/properties":        "simd_count 416\nsimd_per_cu 4\ndomain 0\nlocation_id 768\n",
		"sys/class/kfd/kfd/proc/300/vram_5000":                 "4096\n",
		"sys/class/kfd/kfd/proc/300/stats_5000/cu_occupancy":   "52\n",
		"proc/200/fd/3":                                        "->/dev/dri/renderD128",
		"proc/200/fd/4":                                        "->/dev/dri/renderD128", // a copy of it
		"proc/200/fd/5":                                        "->/dev/null",
		"proc/200/fdinfo/3":                                    fdinfoOf("7", "1000000000"),
		"proc/200/fdinfo/4":                                    fdinfoOf("7", "1000000000"),
		"proc/201/fd/3":                                        "->/dev/dri/renderD128", // inherited
		"proc/201/fdinfo/3":                                    fdinfoOf("7", "1000000000"),
	})
	d, now := newDRM(root), time.Unix(1e9, 0)
	d.read(now)
	tree(t, root, map[string]string{"proc/200/fdinfo/3": fdinfoOf("7", "3500000000"), "proc/200/fdinfo/4": fdinfoOf("7", "3500000000")})
	r, _ := d.read(now.Add(5 * time.Second))
	m := event.Measured
	want := []event.GPUDevice{
		{
			GPU: event.GPU{
				UUID: "GPU-abc123", Name: "Instinct", Driver: "amdgpu", PCI: "0000:03:00.0", Source: "amdgpu",
				Util: m(88), MemoryUsed: m(1 << 30), MemoryTotal: m(64 << 30), Power: m(305_000), Temperature: m(61),
			},
			Uses: []event.GPUUse{
				{PID: 200, Memory: m(1 << 20), Util: m(50), Type: "graphics"},
				{PID: 300, Memory: m(4096), Util: m(50), Type: "compute"},
			},
		},
		{GPU: event.GPU{UUID: "0000:00:02.0", Index: 1, Name: "i915", Driver: "i915", PCI: "0000:00:02.0", Source: "drm"}},
	}
	if d := cmp.Diff(want, r.Devices); d != "" {
		t.Error(d)
	}
}

func TestAHostWithoutCardsCostsOneLook(t *testing.T) {
	d := newDRM(t.TempDir())
	if r, odd := d.read(time.Now()); len(r.Devices) != 0 || odd != 0 || d.clients != nil {
		t.Errorf("%+v", r)
	}
}

func FuzzFDInfo(f *testing.F) {
	f.Add(fdinfoOf("7", "1"))
	f.Add("drm-engine-\xff: 99999999999999999999 ns\ndrm-total-vram: -1 GiB")
	f.Fuzz(func(t *testing.T, text string) {
		if info := parseFDInfo(text); len(info.engines) > 64 || info.memory.N < 0 {
			t.Errorf("%+v", info)
		}
	})
}

func FuzzFault(f *testing.F) {
	f.Add("4,1,1,-;NVRM: Xid (PCI:0000:3b:00): 31, pid=4711, name=python3, Ch 00000010")
	f.Add("3,1,1,-;amdgpu 0000:03:00.0: amdgpu: ring gfx timeout, process x pid 99999999")
	f.Fuzz(func(t *testing.T, record string) {
		line, ok := parseRecord(record)
		if !ok {
			return
		}
		if fault, ok := parseFault(line); ok && (fault.PID > 1<<22 || len(fault.Text) > 8*maxText || fault.Xid < 0) {
			t.Errorf("%+v", fault)
		}
	})
}

func TestACancelledSensorEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	New(Options{Root: t.TempDir()}).Run(ctx, func(event.GPUReading) {}, func(Fault) {})
}
