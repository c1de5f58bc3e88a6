package enforce

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"picket/event"
)

const enxio = "errno 6"

// node makes a device file, for whose number no driver need be there: where it may be opened, the
// kernel looks for the driver and says ENXIO.
func node(t *testing.T, dir string, major, minor uint32) string {
	t.Helper()
	name := filepath.Join(dir, fmt.Sprintf("%d-%d", major, minor))
	if err := unix.Mknod(name, unix.S_IFCHR|0o600, int(unix.Mkdev(major, minor))); err != nil {
		t.Skip("devices cannot be made here: ", err)
	}
	return name
}

// One GPU of several is allowed: the others, and an instance that is not named, stay shut.
func TestGPURights(t *testing.T) {
	r := newTold(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil { // without nodev
		t.Skip("cannot mount tmpfs: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	g := r.group(t, "")
	gpu0, gpu1, ctl, render := node(t, dir, 195, 0), node(t, dir, 195, 1), node(t, dir, 195, 255), node(t, dir, 226, 128)
	open := func(file string) string { return r.act(t, g, "open", file) }
	for _, file := range []string{gpu0, gpu1, ctl, render} {
		if got := open(file); got != enxio && got != "ok" {
			t.Skipf("%s cannot be opened without a policy: %s", file, got)
		}
	}
	apply := func(entries ...string) {
		t.Helper()
		devices, missing := DevicesOf(entries)
		if len(missing) > 0 {
			t.Fatalf("missing: %v", missing)
		}
		if err := r.Apply("box", Rules{Enforce: true, Devices: devices}); err != nil {
			t.Fatal(err)
		}
	}
	apply()
	if err := r.Bind(Target{Cgroup: g}, "box"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		allow []string
		open  []string // the others are denied
	}{
		{nil, nil},
		{[]string{"gpu"}, []string{gpu0, gpu1, ctl, render}},
		{[]string{"gpu:0"}, []string{gpu0, ctl}},
		{[]string{"gpu:1"}, []string{gpu1, ctl}},
		{[]string{"gpu:0", "gpu:1"}, []string{gpu0, gpu1, ctl}},
		{[]string{render}, []string{render}},
	} {
		apply(tt.allow...)
		for _, file := range []string{gpu0, gpu1, ctl, render} {
			got := open(file)
			if allowed := slices.Contains(tt.open, file); allowed == (got == eperm) {
				t.Errorf("allow %v: %s: %s", tt.allow, filepath.Base(file), got)
			}
		}
	}
	e := r.wait(t, "a GPU", func(e *event.Event) bool { return e.File.Path == "/dev/char/195:1" })
	if d := cmp.Diff(&event.Policy{Name: "box", Rule: "device", Action: "denied", Rung: "cgroup/dev"}, e.Policy); d != "" {
		t.Error(d)
	}
}

// What NVIDIA's driver says of its GPUs, as its documentation shows it: nothing of it is on a host
// without one.
func TestGPUsByName(t *testing.T) {
	drivers := t.TempDir()
	for name, text := range map[string]string{
		"gpus/0000:07:00.0/information":           "Model: \t\t NVIDIA A100-SXM4-40GB\nGPU UUID: \t GPU-1d5a0ec8-0000-1111-2222-333344445555\nBus Location: \t 0000:07:00.0\nDevice Minor: \t 2\n",
		"gpus/0000:0f:00.0/information":           "GPU UUID: \t GPU-????????-????-????-????-????????????\nDevice Minor: \t 3\n",
		"capabilities/gpu2/mig/gi1/access":        "DeviceFileMinor: 12\nDeviceFileMode: 292\nDeviceFileModify: 1\n",
		"capabilities/gpu2/mig/gi1/ci0/access":    "DeviceFileMinor: 13\nDeviceFileMode: 292\nDeviceFileModify: 1\n",
		"capabilities/gpu2/mig/gi2/access":        "nothing that is understood\n",
		"capabilities/gpu2/mig/gi1/ci1/unrelated": "",
	} {
		file := filepath.Join(drivers, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, missing := devicesOf([]string{"gpu:GPU-1d5a0ec8-0000-1111-2222-333344445555"}, drivers)
	if len(missing) > 0 || !slices.Contains(got, Device{Major: 195, Minor: 2}) || !slices.Contains(got, Device{Major: 195, Minor: 255}) || slices.Contains(got, Device{Major: 195, Minor: 3}) {
		t.Errorf("by UUID: %v, missing %v", got, missing)
	}
	for file, want := range map[string]uint32{"gi1": 12, "gi1/ci0": 13} {
		if n, ok := capability(drivers + "/capabilities/gpu2/mig/" + file + "/access"); !ok || n != want {
			t.Errorf("%s: %d, %t", file, n, ok)
		}
	}
	absent := []string{"gpu:GPU-ffffffff-0000-1111-2222-333344445555", "gpu:2/gi2", "gpu:2/gi7", "gpu:254", "gpu:4294967296"}
	if got, missing = devicesOf(absent, drivers); !slices.Equal(missing, absent) || len(got) != len(ordinary) {
		t.Errorf("what is not there allows %v, missing %v", got[len(ordinary):], missing)
	}
}

func TestMajorOf(t *testing.T) {
	if n, ok := majorOf("mem"); !ok || n != 1 {
		t.Errorf("mem: %d, %t", n, ok)
	}
	if n, ok := majorOf("no-such-driver"); ok {
		t.Errorf("no-such-driver: %d", n)
	}
}
