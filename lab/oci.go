package lab

import (
	"encoding/json"
	"fmt"
	"os"
)

// The part of an OCI runtime configuration that the sandbox needs. It sets no rlimits: raising one
// needs CAP_SYS_RESOURCE, which a host may lack.
type (
	ociSpec struct {
		Version  string     `json:"ociVersion"`
		Process  ociProcess `json:"process"`
		Root     ociRoot    `json:"root"`
		Hostname string     `json:"hostname"`
		Mounts   []ociMount `json:"mounts"`
		Linux    ociLinux   `json:"linux"`
	}
	ociProcess struct {
		User         map[string]int      `json:"user"`
		Args         []string            `json:"args"`
		Env          []string            `json:"env"`
		Cwd          string              `json:"cwd"`
		Capabilities map[string][]string `json:"capabilities"`
		NoNewPrivs   bool                `json:"noNewPrivileges"`
	}
	ociRoot struct {
		Path     string `json:"path"`
		Readonly bool   `json:"readonly"`
	}
	ociMount struct {
		Destination string   `json:"destination"`
		Type        string   `json:"type"`
		Source      string   `json:"source"`
		Options     []string `json:"options,omitempty"`
	}
	ociLinux struct {
		CgroupsPath string         `json:"cgroupsPath"`
		Resources   ociResources   `json:"resources"`
		Namespaces  []ociNamespace `json:"namespaces"`
		MaskedPaths []string       `json:"maskedPaths"`
		ReadOnly    []string       `json:"readonlyPaths"`
	}
	ociResources struct {
		Devices []ociDevice    `json:"devices"`
		Memory  *ociMemory     `json:"memory,omitempty"`
		Pids    map[string]int `json:"pids,omitempty"`
	}
	ociDevice struct {
		Allow  bool   `json:"allow"`
		Access string `json:"access"`
	}
	ociMemory struct {
		Limit int64 `json:"limit"`
	}
	ociNamespace struct {
		Type string `json:"type"`
		Path string `json:"path,omitempty"`
	}
)

// serverArgs is what the posing inference server is started with.
var serverArgs = []string{"llama-server", "-m", weights, "--host", "0.0.0.0", "--port", "8080"}

// spec describes the container: the usual isolation of an unprivileged service, nothing raised.
func (s *sandbox) spec(binary string) ociSpec {
	own := func(at string) ociMount {
		return ociMount{Destination: at, Type: "bind", Source: binary, Options: []string{"bind", "ro", "nosuid", "nodev"}}
	}
	caps := []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
		"CAP_SETGID", "CAP_SETUID", "CAP_NET_BIND_SERVICE",
	}
	return ociSpec{
		Version: "1.0.2",
		Process: ociProcess{
			User: map[string]int{"uid": 0, "gid": 0},
			Args: s.pose.args,
			Env:  []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/root", RoleEnv + "=" + roleServer},
			Cwd:  "/",
			Capabilities: map[string][]string{
				"bounding": caps, "effective": caps, "permitted": caps,
			},
			NoNewPrivs: true,
		},
		Root:     ociRoot{Path: s.root},
		Hostname: "llama-0",
		Mounts: append([]ociMount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "nodev", "mode=1777", "size=262144k"}},
			own(s.pose.place()), own(curlPath), own(tunnelPath),
		}, s.lent...),
		Linux: ociLinux{
			CgroupsPath: "/" + s.id, // not below the session's own: a container is nobody's child
			Resources: ociResources{
				Devices: []ociDevice{{Allow: false, Access: "rwm"}},
				Memory:  &ociMemory{Limit: 1 << 30},
				Pids:    map[string]int{"limit": 256},
			},
			Namespaces: []ociNamespace{
				{Type: "pid"},
				{Type: "mount"},
				{Type: "ipc"},
				{Type: "uts"},
				{Type: "network", Path: s.net.path()},
			},
			MaskedPaths: []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"},
			ReadOnly:    []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}

func writeJSON(file string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", file, err)
	}
	return os.WriteFile(file, b, 0o600)
}
