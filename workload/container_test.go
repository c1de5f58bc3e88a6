package workload

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"picket/event"
)

var (
	id64   = strings.Repeat("0123456789abcdef", 4)
	id64b  = strings.Repeat("fedcba9876543210", 4)
	podID  = "8d2f1c3e-0a1b-4c2d-9e3f-112233445566"
	podLow = strings.ReplaceAll(podID, "-", "_")
)

func TestContainerOfACgroupPath(t *testing.T) {
	for _, tt := range []struct{ name, path, id, runtime, pod, cgroup string }{
		{"docker, systemd", "/system.slice/docker-" + id64 + ".scope", id64, "docker", "", ""},
		{"docker, cgroupfs", "/docker/" + id64, id64, "docker", "", ""},
		{"docker, inside docker", "/docker/" + id64b + "/docker/" + id64, id64, "docker", "", ""},
		{"docker, its own child", "/docker/" + id64 + "/init", id64, "docker", "", "/docker/" + id64},
		{"docker, rootless", "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + id64 + ".scope", id64, "docker", "", ""},
		{"docker, custom parent", "/batch/" + id64, id64, "", "", ""},
		{"podman", "/machine.slice/libpod-" + id64 + ".scope", id64, "podman", "", ""},
		{"podman, its payload", "/machine.slice/libpod-" + id64 + ".scope/container", id64, "podman", "", "/machine.slice/libpod-" + id64 + ".scope"},
		{"podman, cgroupfs", "/libpod_parent/libpod-" + id64, id64, "podman", "", ""},
		{"podman, rootless", "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id64 + ".scope", id64, "podman", "", ""},
		{"podman's monitor", "/machine.slice/libpod-conmon-" + id64 + ".scope", "", "", "", ""},
		{"nerdctl", "/system.slice/nerdctl-" + id64 + ".scope", id64, "containerd", "", ""},
		{"containerd, ctr", "/default/" + id64, id64, "containerd", "", ""},
		{
			"kubernetes, containerd, systemd",
			"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + podLow + ".slice/cri-containerd-" + id64 + ".scope",
			id64, "containerd", podID, "",
		},
		{
			"kubernetes, guaranteed", "/kubepods.slice/kubepods-pod" + podLow + ".slice/cri-containerd-" + id64 + ".scope",
			id64, "containerd", podID, "",
		},
		{
			"kubernetes, CRI-O, systemd", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + podLow + ".slice/crio-" + id64 + ".scope",
			id64, "cri-o", podID, "",
		},
		{
			"CRI-O's monitor", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + podLow + ".slice/crio-conmon-" + id64 + ".scope",
			"", "", "", "",
		},
		{"kubernetes, cgroupfs", "/kubepods/burstable/pod" + podID + "/" + id64, id64, "", podID, ""},
		{"kubernetes, cgroupfs, guaranteed", "/kubepods/pod" + podID + "/" + id64, id64, "", podID, ""},
		{"kubernetes, CRI-O, cgroupfs", "/kubepods/burstable/pod" + podID + "/crio-" + id64, id64, "cri-o", podID, ""},
		{
			"kubernetes, docker shim", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + podLow + ".slice/docker-" + id64 + ".scope",
			id64, "docker", podID, "",
		},
		{
			"kubernetes in docker (kind)",
			"/docker/" + id64b + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + podLow + ".slice/cri-containerd-" + id64 + ".scope",
			id64, "containerd", podID, "",
		},
		{"containerd, cgroupfs with a prefix", "/system.slice/containerd.service/kubepods-burstable-pod" + podLow + ".slice:cri-containerd:" + id64, id64, "containerd", podID, ""},
		{"static pod", "/kubepods/burstable/pod" + strings.Repeat("0123456789abcdef", 2) + "/" + id64, id64, "", strings.Repeat("0123456789abcdef", 2), ""},
		{"the pod alone", "/kubepods/burstable/pod" + podID, "", "", "", ""},
		{"runc, systemd", "/system.slice/runc-web.scope", "web", "runc", "", ""},
		{"LXC", "/lxc.payload.build", "build", "lxc", "", ""},
		{"LXC, v1", "/lxc/build", "build", "lxc", "", ""},
		{"gone", "/docker/" + id64 + " (deleted)", id64, "docker", "", "/docker/" + id64},
		{"seen from another cgroup namespace", "/../../docker/" + id64, id64, "docker", "", "/docker/" + id64},
		{"a service", "/system.slice/ollama.service", "", "", "", ""},
		{"a session", "/user.slice/user-1000.slice/session-3.scope", "", "", "", ""},
		{"a desktop's program", "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-12.scope", "", "", "", ""},
		{"the root", "/", "", "", "", ""},
		{"nothing", "", "", "", "", ""},
		{"too short an id", "/docker/0123456789ab", "", "", "", ""},
		{"upper case is no id", "/docker/" + strings.ToUpper(id64), "", "", "", ""},
		{"a name that only begins like one", "/docker-" + id64 + "x.scope", "", "", "", ""},
		{"endless", "/docker/" + id64 + strings.Repeat("/x", maxCgroupPath), "", "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, ok := parseCgroup(tt.path)
			if ok != (tt.id != "") || c.ID != tt.id || c.Runtime != tt.runtime || c.PodUID != tt.pod {
				t.Errorf("parseCgroup(%q) = %+v, %v", tt.path, c, ok)
			}
			if tt.cgroup != "" && c.Cgroup != tt.cgroup {
				t.Errorf("cgroup = %q, want %q", c.Cgroup, tt.cgroup)
			}
		})
	}
}

func TestContainerStartedByHand(t *testing.T) {
	for path, want := range map[string]string{
		"/infer-1": "infer-1", "/lab/infer-1": "infer-1", "/infer-1 (deleted)": "infer-1",
		"/": "", "": "", "/system.slice/x.service": "", "/user.slice/session-1.scope": "", "/init.scope": "", "/..": "", "/x.service/child": "",
	} {
		c, ok := byHand(path)
		if c.ID != want || ok != (want != "") {
			t.Errorf("byHand(%q) = %+v, %v, want %q", path, c, ok, want)
		}
	}
}

func TestCgroupFileOfEachHierarchy(t *testing.T) {
	for _, tt := range []struct{ name, file, unified, container string }{
		{"v2", "0::/system.slice/docker-" + id64 + ".scope\n", "/system.slice/docker-" + id64 + ".scope", "/system.slice/docker-" + id64 + ".scope"},
		{"v1", "12:pids:/docker/" + id64 + "\n1:name=systemd:/docker/" + id64 + "\n", "", "/docker/" + id64},
		{"hybrid", "4:memory:/docker/" + id64 + "\n0::/\n", "/", "/docker/" + id64},
		{"hybrid, both", "4:memory:/docker/" + id64 + "\n0::/machine.slice/libpod-" + id64b + ".scope\n", "/machine.slice/libpod-" + id64b + ".scope", "/machine.slice/libpod-" + id64b + ".scope"},
		{"host", "4:memory:/\n0::/init.scope\n", "/init.scope", ""},
		{"a colon in a name", "0::/a:b\n", "/a:b", ""},
		{"rubbish", "x\n:\n::\n\n", "", ""},
	} {
		if u, c := bestCgroup([]byte(tt.file)); u != tt.unified || c != tt.container {
			t.Errorf("%s: %q, %q", tt.name, u, c)
		}
	}
}

func FuzzCgroup(f *testing.F) {
	f.Add("/docker/" + id64)
	f.Add("/kubepods.slice/kubepods-pod" + podLow + ".slice/cri-containerd-" + id64 + ".scope")
	f.Add("/a:b:c//.scope/ (deleted)/../..")
	f.Fuzz(func(t *testing.T, path string) {
		c, ok := parseCgroup(path)
		if ok != (c.ID != "") || !strings.Contains(path, c.Cgroup) {
			t.Errorf("parseCgroup(%q) = %+v, %v", path, c, ok)
		}
		again, _ := parseCgroup(path)
		if d := cmp.Diff(c, again); d != "" {
			t.Error(d)
		}
		byHand(path)
		bestCgroup([]byte(path))
	})
}

func TestCgroupMount(t *testing.T) {
	if m := cgroupMount("/proc/self/mountinfo"); m != "" && !strings.HasPrefix(m, "/") {
		t.Errorf("mount %q", m)
	}
	if m := cgroupMount("/nowhere"); m != "" {
		t.Errorf("mount %q of a missing file", m)
	}
}

// A process with namespaces of its own makes no container of those that share its cgroup, and a
// mount namespace alone makes none.
func TestContainerByHandIsOfOneProcess(t *testing.T) {
	w := newWorld(t, Options{})
	told := func(pid uint32, ns event.Namespaces) *event.Container {
		p := process(pid, 1, "", "/bin/x", "x")
		p.NS, p.CgroupID, p.CgroupPath = ns, 77, "/jobs"
		w.stamp(&event.Event{Kind: event.ProcessStart, Process: p})
		return p.Container
	}
	if c := told(60, event.Namespaces{PID: boxPID, Mnt: boxMnt}); c == nil || c.ID != "jobs" {
		t.Errorf("in namespaces of its own: %v", c)
	}
	for name, ns := range map[string]event.Namespaces{"the host's": {PID: hostPID, Mnt: hostMnt}, "a private mount": {PID: hostPID, Mnt: boxMnt}} {
		if c := told(61, ns); c != nil {
			t.Errorf("in %s namespaces: %v", name, c)
		}
	}
}
