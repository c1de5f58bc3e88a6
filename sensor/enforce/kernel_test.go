package enforce

import (
	"os"
	"strings"
	"testing"

	"picket/event"
)

func TestDevices(t *testing.T) {
	r := newTold(t)
	g := r.group(t, "")
	if got := r.act(t, g, "open", "/dev/mem"); got == eperm {
		t.Log("/dev/mem is shut here anyway")
	}
	const shut = "/dev/loop-control"
	if _, err := os.Stat(shut); err != nil || r.act(t, g, "open", shut) != "ok" {
		t.Skip("no device to shut: ", shut)
	}
	id := r.bind(t, g, "box", Rules{Enforce: true, Devices: ordinary})
	if got := r.act(t, g, "open", shut); got != eperm {
		t.Errorf("a device that is not allowed: %s", got)
	}
	if got := r.act(t, g, "open", "/dev/null"); got != "ok" {
		t.Errorf("what every program needs: %s", got)
	}
	e := r.wait(t, "device", func(e *event.Event) bool { return e.Policy.Rule == "device" })
	if e.File.Path != "/dev/char/10:237" || e.Policy.Action != "denied" || e.Policy.Rung != "cgroup/dev" || e.Process.CgroupID != id {
		t.Errorf("%+v %+v", e.File, e.Policy)
	}
	devices, _ := DevicesOf([]string{shut})
	if err := r.Apply("box", Rules{Enforce: true, Devices: devices}); err != nil {
		t.Fatal(err)
	}
	if got := r.act(t, g, "open", shut); got != "ok" {
		t.Errorf("allowed: %s", got)
	}
}

func TestSysctl(t *testing.T) {
	const name = "/proc/sys/kernel/core_pattern"
	r := newTold(t)
	g := r.group(t, "")
	before, err := os.ReadFile(name)
	if err != nil {
		t.Skip(err)
	}
	same := strings.TrimSpace(string(before))
	if got := r.act(t, g, "write", name, same); got != "ok" {
		t.Skip("core_pattern cannot be written here: ", got)
	}
	id := r.bind(t, g, "box", Rules{Enforce: true, Sysctl: true})
	if got := r.act(t, g, "write", name, "|/tmp/evil"); got != eperm {
		t.Errorf("a setting of the kernel: %s", got)
	}
	if after, _ := os.ReadFile(name); string(after) != string(before) {
		t.Errorf("core_pattern is %q now", after)
		_ = os.WriteFile(name, before, 0)
	}
	e := r.wait(t, "sysctl", func(e *event.Event) bool { return e.Policy.Rule == "sysctl" })
	if e.File.Path != name || e.Policy.Action != "denied" {
		t.Errorf("%+v %+v", e.File, e.Policy)
	}
	r.Release(id)
	if got := r.act(t, g, "write", name, same); got != "ok" {
		t.Errorf("released: %s", got)
	}
}

func TestProbe(t *testing.T) {
	require(t, "root", os.Geteuid() == 0, "needs root to load eBPF programs")
	rows := Probe()
	for _, c := range rows {
		t.Logf("%-16s %-5t %s", c.Name, c.OK, c.Detail)
		if lsm := c.Name == "enforce-models" || c.Name == "enforce-protect"; !c.OK && (!lsm || required("lsm")) {
			t.Errorf("%s: %s", c.Name, c.Detail)
		}
	}
	if lacks := Lacks(rows, Rules{Egress: &Egress{}, Exec: []string{"/x"}}); lacks != "" {
		t.Errorf("lacks %s", lacks)
	}
	rows[0].OK = false
	if lacks := Lacks(rows, Rules{Egress: &Egress{}}); lacks == "" {
		t.Error("a part that the kernel refuses is said to be enforced")
	}
}

// Each program loads, also those of a rung that this kernel has no need of.
func TestEveryProgramLoads(t *testing.T) {
	r := newTold(t)
	for name := range r.spec.Programs {
		prog, err := r.load(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = prog.Close()
	}
}
