package enforce

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// guardians are programs that a host does not run without. They count where they run in the host's
// own file system: a container's process cannot make itself one by its name.
var guardians = []string{
	"systemd", "init", "systemd-journald", "systemd-logind", "systemd-udevd", "systemd-networkd", "systemd-resolved", "dbus-daemon", "dbus-broker",
	"sshd", "sshd-session", "containerd", "containerd-shim-runc-v2", "dockerd", "docker-proxy", "kubelet", "crio", "conmon", "conmonrs", "k3s", "rke2",
	"nvidia-persistenced", "nv-fabricmanager", "picket",
}

// protects refuses a cgroup that holds what the host does not run without: init, runtimes, the
// kubelet, sshd, and Picket itself.
func (c *Cgroups) protects(cgroup string) error {
	if strings.Trim(cgroup, "/") == "" {
		return fmt.Errorf("cgroup %s is the root of all: nothing is done to it", cgroup)
	}
	host, _ := os.Readlink("/proc/self/ns/mnt") // "" fits no process
	found := error(nil)
	_ = filepath.WalkDir(c.root+cgroup, func(path string, d fs.DirEntry, err error) error { // what vanished holds nothing
		if err != nil || !d.IsDir() {
			return nil
		}
		b, err := os.ReadFile(path + "/cgroup.procs")
		if err != nil {
			return nil
		}
		for pid := range strings.FieldsSeq(string(b)) {
			if why := guards(pid, host); why != "" {
				found = fmt.Errorf("cgroup %s holds %s (pid %s), which nothing is done to", cgroup, why, pid)
				return fs.SkipAll
			}
		}
		return nil
	})
	return found
}

// guards says what a process guards, "" where the host runs without it.
func guards(pid, host string) string {
	switch pid {
	case "1":
		return "init"
	case strconv.Itoa(os.Getpid()), strconv.Itoa(os.Getppid()):
		return "Picket itself"
	}
	if ns, err := os.Readlink("/proc/" + pid + "/ns/mnt"); err != nil || ns != host {
		return ""
	}
	exe, err := os.Readlink("/proc/" + pid + "/exe")
	if err != nil {
		return ""
	}
	exe = strings.TrimSuffix(exe, " (deleted)")
	if !strings.HasPrefix(exe, "/usr/") && !strings.HasPrefix(exe, "/sbin/") && !strings.HasPrefix(exe, "/lib/") && !strings.HasPrefix(exe, "/opt/") {
		return ""
	}
	for _, g := range guardians {
		if filepath.Base(exe) == g {
			return g
		}
	}
	return ""
}
