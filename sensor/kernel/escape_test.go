package kernel

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"picket/event"
)

// TestEscape has a container with too many rights reach for the host, as an attacker would.
func TestEscape(t *testing.T) {
	require(t, "root", os.Geteuid() == 0, "needs root to load eBPF programs")
	runc, err := exec.LookPath("runc")
	require(t, "runc", err == nil, "needs runc: apt install runc")
	busybox, err := exec.LookPath("busybox")
	require(t, "runc", err == nil, "needs busybox: apt install busybox-static")
	bundle := overlayBundle(t, busybox)
	me := os.Getpid()
	spec(t, runc, bundle, "/bin/busybox", "sh", "-c", fmt.Sprintf(
		"busybox nsenter -t %d -m true; busybox dd if=/proc/%d/mem of=/dev/null bs=1 count=0; busybox mount -t tmpfs -o size=64k escape /model; busybox insmod /bin/cat", me, me))
	privileged(t, bundle)
	id := fmt.Sprintf("picket-escape-%d", me)
	r := newRecording(t, only(event.ProcessStart, event.ProcessNamespace, event.ProcessTrace, event.HostMount, event.HostModule))
	cmd := exec.Command(runc, "--root", filepath.Join(bundle, "state"), "run", "--bundle", bundle, id)
	out, err := cmd.CombinedOutput()
	t.Logf("%v: %s", err, out) // its last program fails
	inside := func(k event.Kind, call string, fits func(*event.Call) bool) *event.Event {
		t.Helper()
		return r.wait(t, k.String()+" "+call, func(e *event.Event) bool {
			return e.Kind == k && e.Call.Name == call && e.Process.Comm == "busybox" && fits(e.Call)
		})
	}
	any := func(*event.Call) bool { return true }
	sh := r.find(t, event.ProcessStart, func(e *event.Event) bool {
		return strings.HasSuffix(e.Process.CgroupPath, id) && e.Process.Exe == "/bin/busybox"
	}).Process

	e := inside(event.ProcessNamespace, "setns", any)
	expect(t, e, map[string]string{"namespace.type": "mnt", "namespace.inode": inodeOf(t, "/proc/self/ns/mnt"), "namespace.host": "true"}, "event.errno")
	if e.Process.CgroupID != sh.CgroupID {
		t.Errorf("control group %d, of the container %d", e.Process.CgroupID, sh.CgroupID)
	}
	e = inside(event.ProcessTrace, "open", any)
	expect(t, e, map[string]string{"call.object": fmt.Sprintf("/proc/%d/mem", me), "call.flags": "O_RDONLY", "target.pid": fmt.Sprint(me)}, "event.errno")
	e = inside(event.HostMount, "mount", func(c *event.Call) bool { return c.Mount.Source == "escape" })
	expect(t, e, map[string]string{"mount.target": "/model", "mount.type": "tmpfs", "mount.options": "size=64k"}, "event.errno")
	e = inside(event.HostModule, "finit_module", any)
	if e.Errno == 0 {
		t.Error("a program was taken as a kernel module")
	}
	expect(t, e, map[string]string{"module.path": "/bin/busybox"}) // behind the link
}

// privileged takes away what keeps a container apart: its own processes, and bounds on its rights.
func privileged(t *testing.T, bundle string) {
	t.Helper()
	name := filepath.Join(bundle, "config.json")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	caps := []string{"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_CHROOT", "CAP_DAC_OVERRIDE", "CAP_SYS_MODULE", "CAP_MKNOD"}
	c["process"].(map[string]any)["capabilities"] = map[string]any{"bounding": caps, "effective": caps, "permitted": caps}
	linux := c["linux"].(map[string]any)
	var spaces []any
	for _, ns := range linux["namespaces"].([]any) {
		if ns.(map[string]any)["type"] != "pid" {
			spaces = append(spaces, ns)
		}
	}
	linux["namespaces"] = spaces
	delete(linux, "maskedPaths")
	delete(linux, "readonlyPaths")
	if b, err = json.Marshal(c); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
