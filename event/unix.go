package event

import "strings"

// Unix is the other end of a connection that stays on the host.
type Unix struct {
	// Path is where the server bound the socket, in its own mount namespace, whatever the caller
	// calls it; a name without a file begins with @. Of a connection that failed it is the name that
	// the caller passed.
	Path string
	Type string // stream, dgram or seqpacket
	Peer uint32 // process that listens, where the kernel noted it
	Dev  uint64 // of the socket's file; kernel encoding
	Ino  uint64
}

// RuntimeSockets are the sockets through which containers are started, by the last part of their
// path, a directory with a slash behind it, or the beginning of a name without a file. Whoever may
// write to one of them is root on the host.
var RuntimeSockets = []struct{ Socket, Runtime string }{
	{"docker.sock", "docker"},
	{"cri-dockerd.sock", "docker"},
	{"containerd.sock", "containerd"},
	{"containerd.sock.ttrpc", "containerd"},
	{"@/containerd-shim/", "containerd"},
	{"crio.sock", "cri-o"},
	{"podman.sock", "podman"},
	{"buildkitd.sock", "buildkit"},
	{"kubelet.sock", "kubelet"},
	{"device-plugins/", "kubelet"},
	{"csi.sock", "csi"},
}

// Runtime returns whose socket it is: docker, containerd, cri-o, podman, buildkit, kubelet, csi, or "".
func (u *Unix) Runtime() string {
	rest, name, found := cutLast(u.Path)
	if !found {
		name = u.Path
	}
	_, dir, _ := cutLast(rest)
	for _, s := range RuntimeSockets {
		if s.Socket == name || s.Socket == dir+"/" || s.Socket[0] == '@' && strings.HasPrefix(u.Path, s.Socket) {
			return s.Runtime
		}
	}
	return ""
}

func cutLast(path string) (before, after string, found bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

// unixRows are about sockets of the host.
var unixRows = []Info{
	local("net.unix.path", Text, "the socket's path as its server bound it, or @ and its name",
		func(u *Unix) Value { return text(u.Path) }, func(u *Unix, s string) error { u.Path = s; return nil }),
	local("net.unix.type", Text, "stream, dgram or seqpacket",
		func(u *Unix) Value { return text(u.Type) }, func(u *Unix, s string) error { u.Type = s; return nil }),
	local("net.unix.peer", Integer, "process id of who listens there, where the kernel noted it",
		func(u *Unix) Value { return count(u.Peer) }, numberU(func(u *Unix, n int64) { u.Peer = uint32(n) })),
	local("net.unix.device", Integer, "device of the socket's file",
		func(u *Unix) Value { return count(u.Dev) }, numberU(func(u *Unix, n int64) { u.Dev = uint64(n) })),
	local("net.unix.inode", Integer, "inode of the socket's file",
		func(u *Unix) Value { return count(u.Ino) }, numberU(func(u *Unix, n int64) { u.Ino = uint64(n) })),
	derived(local("net.unix.runtime", Text, "whose socket it is: docker, containerd, cri-o, podman, buildkit, kubelet or csi",
		func(u *Unix) Value { return text(u.Runtime()) }, nil), "net.unix.path"),
}

func local(name string, t ValueKind, doc string, get func(*Unix) Value, set func(*Unix, string) error) Info {
	return top(name, "", t, doc,
		func(e *Event) Value {
			if e.Net.Unix == nil {
				return Value{}
			}
			return get(e.Net.Unix)
		},
		func(e *Event, s string) error {
			if e.Net.Unix == nil {
				e.Net.Unix = new(Unix)
			}
			return set(e.Net.Unix, s)
		})
}

func numberU(put func(*Unix, int64)) func(*Unix, string) error {
	return func(u *Unix, s string) error {
		return number(func(_ *Event, n int64) { put(u, n) })(nil, s)
	}
}

func (u *Unix) describe() string {
	if u == nil {
		return "a socket of the host"
	}
	return "the socket " + u.Path
}
