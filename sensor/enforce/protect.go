package enforce

import (
	"fmt"
	"os"
	"path/filepath"
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
		return fmt.Errorf("cgroup %s is the root of all: %w", cgroup, ErrProtected)
	}
	host, _ := os.Readlink("/proc/self/ns/mnt") // "" fits no process
	return c.walk(cgroup, func(dir string) error {
		pids, _ := procs(c.root + dir) // what vanished holds nothing
		for _, pid := range pids {
			if why := guards(pid, host); why != "" {
				return fmt.Errorf("cgroup %s holds %s (pid %d): %w", cgroup, why, pid, ErrProtected)
			}
		}
		return nil
	})
}

// guards says what a process guards, "" where the host runs without it.
func guards(pid int, host string) string {
	switch pid {
	case 1:
		return "init"
	case os.Getpid(), os.Getppid():
		return "Picket itself"
	}
	dir := fmt.Sprintf("/proc/%d", pid)
	if ns, err := os.Readlink(dir + "/ns/mnt"); err != nil || ns != host {
		return ""
	}
	exe, err := os.Readlink(dir + "/exe")
	if err != nil {
		return ""
	}
	return guardian(strings.TrimSuffix(exe, " (deleted)"))
}

// Spares refuses a process by a program that it ran before it made itself another: one that guards the
// host, where the process is in the host's own file system still.
func (c *Cgroups) Spares(pid int, exe string) error {
	host, _ := os.Readlink("/proc/self/ns/mnt") // "" fits no process
	why := guardian(exe)
	if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid)); why == "" || err != nil || ns != host {
		return nil
	}
	return fmt.Errorf("process %d was %s before it ran another program: %w", pid, why, ErrProtected)
}

// guardian names the program that guards the host, "" where it runs without it.
func guardian(exe string) string {
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
