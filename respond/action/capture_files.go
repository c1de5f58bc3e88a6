package action

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// openOne is a file that a process has open or mapped.
type openOne struct {
	FD      int    `json:"fd,omitempty"`
	Mapped  string `json:"mapped,omitempty"` // the range of addresses
	To      string `json:"to"`               // as the kernel names it
	Kind    string `json:"kind,omitempty"`   // file, directory, device…
	Flags   string `json:"flags,omitempty"`  // octal, of open(2)
	Offset  string `json:"offset,omitempty"`
	Dev     uint64 `json:"dev,omitempty"`
	Inode   uint64 `json:"inode,omitempty"`
	Size    int64  `json:"size,omitempty"`
	Deleted bool   `json:"deleted,omitempty"`
	SameAs  string `json:"same_as,omitempty"` // the archive has it by this name
	SHA256  string `json:"sha256,omitempty"`
	Note    string `json:"note,omitempty"`

	Socket *socket `json:"socket,omitempty"`

	reopen func() (*os.File, error)
}

// socket is one end of a connection, by the tables of its network namespace.
type socket struct {
	Protocol string `json:"protocol"`
	Local    string `json:"local,omitempty"`
	Peer     string `json:"peer,omitempty"`
	State    string `json:"state,omitempty"` // as the kernel numbers it, in hex
	Path     string `json:"path,omitempty"`  // of a Unix socket
}

// modelEndings are those of files that models are loaded from; blobs are a hub cache's.
var modelEndings = []string{
	".safetensors", ".gguf", ".ggml", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".onnx", ".keras", ".h5", ".pb", ".tflite",
	".npz", ".npy", ".engine", ".plan", ".llamafile",
}

func looksLikeModel(name string) bool {
	return slices.Contains(modelEndings, strings.ToLower(path.Ext(name))) || path.Base(path.Dir(name)) == "blobs"
}

// openFiles lists what a process has open, with the peers of its sockets, and what it has mapped.
func (g *gathering) openFiles(l *life, dir, netspace string) {
	fds, err := boxed(g, func() ([]string, error) { return l.list("fd") })
	if err != nil && len(fds) == 0 {
		g.a.lacks(path.Join(dir, "files.json"), err)
		return
	}
	if len(fds) == maxFiles {
		g.a.lacks(path.Join(dir, "files.json"), fmt.Sprintf("what it has open beyond %d files", maxFiles))
	}
	table := g.socketsOf(l, dir, netspace)
	all := []openOne{}
	for _, fd := range fds {
		one, err := boxed(g, func() (openOne, error) { return l.fd(fd) })
		if err != nil {
			continue // closed meanwhile
		}
		if inode, ok := socketInode(one.To); ok {
			if s, ok := table[inode]; ok {
				one.Socket = &s
			}
		}
		all = append(all, one)
		g.model(l, "fd/"+fd, one)
	}
	slices.SortFunc(all, func(a, b openOne) int { return a.FD - b.FD })
	g.a.json(path.Join(dir, "files.json"), all)
	g.mapped(l, dir)
}

// mapped looks for models that are mapped: most servers close the file then.
func (g *gathering) mapped(l *life, dir string) {
	ranges, err := boxed(g, func() ([]string, error) { return l.list("map_files") })
	if err != nil && len(ranges) == 0 {
		if !errors.Is(err, unix.ENOENT) {
			g.a.lacks(path.Join(dir, "map_files"), err)
		}
		return
	}
	for _, r := range ranges {
		at := "map_files/" + r
		to, err := boxed(g, func() (string, error) { return l.link(at) })
		if err != nil || !looksLikeModel(strings.TrimSuffix(to, " (deleted)")) {
			continue
		}
		one, err := boxed(g, func() (openOne, error) { return l.stat(at, openOne{Mapped: r, To: to}) })
		if err == nil {
			g.model(l, at, one)
		}
	}
}

func (g *gathering) model(l *life, at string, one openOne) {
	if one.Kind != "file" || len(g.models) >= maxFiles || !looksLikeModel(strings.TrimSuffix(one.To, " (deleted)")) {
		return
	}
	one.FD = 0
	one.reopen = func() (*os.File, error) { return l.open(at) } // by what it has open, whatever its path leads to now
	g.models = append(g.models, one)
}

func (l *life) fd(fd string) (openOne, error) {
	to, err := l.link("fd/" + fd)
	if err != nil {
		return openOne{}, err
	}
	n, _ := strconv.Atoi(fd)
	one := openOne{FD: n, To: to}
	info, _ := l.read("fdinfo/"+fd, 4<<10)
	for line := range strings.SplitSeq(string(info), "\n") {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "flags":
			one.Flags = strings.TrimSpace(value)
		case "pos":
			one.Offset = strings.TrimSpace(value)
		}
	}
	return l.stat("fd/"+fd, one)
}

func (l *life) stat(at string, one openOne) (openOne, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(l.dir.Fd()), at, &st, 0); err != nil {
		return one, err
	}
	one.Dev, one.Inode, one.Size, one.Deleted = st.Dev, st.Ino, st.Size, st.Nlink == 0
	one.Kind = kindOf(st.Mode)
	return one, nil
}

// kindOf names what a mode is of, "" where it is of none of these.
func kindOf(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "link"
	case unix.S_IFCHR, unix.S_IFBLK:
		return "device"
	case unix.S_IFIFO:
		return "pipe"
	case unix.S_IFSOCK:
		return "socket"
	}
	return ""
}

func socketInode(to string) (uint64, bool) {
	s, ok := strings.CutPrefix(to, "socket:[")
	n, err := strconv.ParseUint(strings.TrimSuffix(s, "]"), 10, 64)
	return n, ok && err == nil
}

// socketsOf reads the tables of a process's network namespace, each namespace once.
func (g *gathering) socketsOf(l *life, dir, netspace string) map[uint64]socket {
	_, number, _ := strings.Cut(netspace, "[")
	space, _ := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
	if table, ok := g.sockets[space]; ok && space != 0 {
		return table
	}
	table := map[uint64]socket{}
	for _, protocol := range []string{"tcp", "tcp6", "udp", "udp6", "raw", "raw6", "unix"} {
		b, err := boxed(g, func() ([]byte, error) { return l.read("net/"+protocol, 2*maxText) })
		if err != nil && !errors.Is(err, unix.ENOENT) {
			g.a.lacks(path.Join(dir, "net", protocol), err)
		}
		if len(b) == 2*maxText {
			g.a.lacks(path.Join(dir, "net", protocol), "a part of the table: it is too long")
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			if inode, s, ok := parseSocket(protocol, line); ok {
				table[inode] = s
			}
		}
	}
	g.sockets[space] = table
	return table
}

// parseSocket reads a line of /proc/net/tcp or one of its kin.
func parseSocket(protocol, line string) (inode uint64, s socket, ok bool) {
	w := strings.Fields(line)
	s.Protocol = protocol
	if protocol == "unix" {
		if len(w) < 7 {
			return 0, s, false
		}
		s.State = w[5]
		if len(w) > 7 {
			s.Path = strings.Join(w[7:], " ")
		}
		inode, err := strconv.ParseUint(w[6], 10, 64)
		return inode, s, err == nil
	}
	if len(w) < 10 {
		return 0, s, false
	}
	local, lok := parseEnd(w[1])
	peer, pok := parseEnd(w[2])
	s.Local, s.State = local.String(), w[3]
	if peer.Port() != 0 || !peer.Addr().IsUnspecified() {
		s.Peer = peer.String()
	}
	inode, err := strconv.ParseUint(w[9], 10, 64)
	return inode, s, lok && pok && err == nil && inode != 0
}

// parseEnd reads an address as the kernel prints it: words of four bytes, each as a number of the
// host's byte order.
func parseEnd(s string) (netip.AddrPort, bool) {
	addr, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(addr)
	p, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 { // amd64 and arm64 are little-endian
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), ok
}
