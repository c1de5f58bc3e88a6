package workload

import (
	"strings"

	"picket/event"
)

const maxCgroupPath = 4096

// markers are the ways in which runtimes spell a container in the last parts of a cgroup path,
// with the systemd driver: <prefix><id>.scope.
var markers = []struct{ prefix, runtime string }{
	{"cri-containerd-", "containerd"},
	{"nerdctl-", "containerd"},
	{"containerd-", "containerd"},
	{"crio-", "cri-o"},
	{"docker-", "docker"},
	{"libpod-", "podman"},
	{"runc-", "runc"},
}

// folders are the parents below which runtimes with the cgroupfs driver put a container.
var folders = map[string]string{
	"docker": "docker", "libpod_parent": "podman", "crio": "cri-o", "containerd": "containerd", "default": "containerd",
	"k8s.io": "containerd", "moby": "docker", "lxc": "lxc", "machine.slice": "",
}

// parseCgroup finds the container that a cgroup path belongs to, from the spelling of the path
// alone. It knows containerd, CRI-O, Docker, Podman, runc below systemd, LXC, and Kubernetes in
// its slice and its cgroupfs layout, on cgroup v1 and v2. The innermost container wins.
func parseCgroup(path string) (event.Container, bool) {
	if len(path) > maxCgroupPath {
		return event.Container{}, false
	}
	path = cleanCgroup(path)
	var found event.Container
	pod, parent, end := "", "", 0
	for rest := path; rest != ""; {
		part, next, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		end = len(path) - len(next)
		if next != "" {
			end-- // the slash
			next = "/" + next
		}
		slice, _, _ := strings.Cut(part, ":")
		if uid := podUID(slice); uid != "" {
			pod = uid
		}
		if id, runtime, ok := containerPart(part, parent, pod != ""); ok {
			found = event.Container{ID: id, Runtime: runtime, PodUID: pod, Cgroup: path[:end]}
		}
		parent, rest = part, next
	}
	return found, found.ID != ""
}

// containerPart reads one part of a cgroup path.
func containerPart(part, parent string, inPod bool) (id, runtime string, ok bool) {
	name, scope := strings.CutSuffix(part, ".scope")
	if i := strings.LastIndexByte(name, ':'); i >= 0 { // cri-containerd:<id>, <slice>:cri-containerd:<id>
		before := name[:i]
		if j := strings.LastIndexByte(before, ':'); j >= 0 {
			before = before[j+1:]
		}
		name = before + "-" + name[i+1:]
	}
	for _, m := range markers {
		id, found := strings.CutPrefix(name, m.prefix)
		if !found || strings.HasPrefix(id, "conmon-") {
			continue
		}
		if isID(id) || m.runtime == "runc" && scope && id != "" {
			return id, m.runtime, true
		}
	}
	if name, found := strings.CutPrefix(part, "lxc.payload."); found && name != "" {
		return name, "lxc", true
	}
	switch {
	case parent == "lxc" && part != "":
		return part, "lxc", true
	case !isID(part):
		return "", "", false
	}
	if runtime, ok = folders[parent]; ok {
		return part, runtime, true
	}
	return part, "", inPod || len(part) == 64
}

// isID reports whether s is a container id as the engines make them: 64 hex digits, or the
// shorter ones (at least 32) that some keep.
func isID(s string) bool {
	if len(s) != 64 && len(s) != 32 {
		return false
	}
	return isHex(s)
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

// podUID reads a part such as kubepods-burstable-pod8d2f_….slice or pod8d2f-…: the UID with dashes.
func podUID(part string) string {
	part = strings.TrimSuffix(part, ".slice")
	i := strings.LastIndex(part, "pod")
	if i < 0 || i > 0 && part[i-1] != '-' {
		return ""
	}
	uid := strings.ReplaceAll(part[i+len("pod"):], "_", "-")
	if len(uid) == 32 && isHex(uid) {
		return uid // a static pod: the hash of its manifest
	}
	if len(uid) != 36 {
		return ""
	}
	for i := range len(uid) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (uid[i] == '-') || !dash && !isHex(uid[i:i+1]) {
			return ""
		}
	}
	return uid
}

// cleanCgroup strips what the kernel adds to a path: a mark of removal, and the way up out of a
// cgroup namespace.
func cleanCgroup(path string) string {
	path = strings.TrimSuffix(path, " (deleted)")
	for strings.HasPrefix(path, "/../") {
		path = path[3:]
	}
	return path
}

// byHand names the container of a cgroup path that no runtime's spelling explains, of a process
// outside the host's namespaces: runc started by hand uses the container's name as the path.
func byHand(path string) (event.Container, bool) {
	path = cleanCgroup(path)
	name := path[strings.LastIndexByte(path, '/')+1:]
	if name == "" || len(path) > maxCgroupPath || strings.Contains(name, "..") {
		return event.Container{}, false
	}
	for part := range strings.SplitSeq(path, "/") {
		for _, unit := range [...]string{".service", ".scope", ".slice", ".mount", ".socket"} {
			if strings.HasSuffix(part, unit) {
				return event.Container{}, false
			}
		}
	}
	return event.Container{ID: name, Runtime: "runc", Cgroup: path}, true
}

// bestCgroup picks out of a /proc/PID/cgroup file the path of the unified hierarchy, and the path
// that names a container: the unified one where it does, else that of a v1 controller.
func bestCgroup(file []byte) (unified, container string) {
	for line := range strings.Lines(string(file[:min(len(file), 64<<10)])) {
		_, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if !ok {
			continue
		}
		controllers, path, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		if controllers == "" {
			unified = path
		}
		if _, ok := parseCgroup(path); ok && (container == "" || controllers == "") {
			container = path
		}
	}
	return unified, container
}
