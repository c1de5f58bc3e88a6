package kernel

import (
	"bufio"
	"encoding/binary"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// users names user ids from /etc/passwd alone: a directory service could block the reader.
type users struct {
	names   map[uint32]string
	changed time.Time
	looked  time.Time
}

func (u *users) name(uid uint32) string {
	if now := time.Now(); now.Sub(u.looked) > 5*time.Second {
		u.looked = now
		if st, err := os.Stat("/etc/passwd"); err == nil && !st.ModTime().Equal(u.changed) {
			u.changed = st.ModTime()
			u.load()
		}
	}
	return u.names[uid]
}

func (u *users) load() {
	f, err := os.Open("/etc/passwd")
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	u.names = map[uint32]string{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		fields := strings.SplitN(sc.Text(), ":", 4)
		if len(fields) < 4 {
			continue
		}
		id, err := strconv.ParseUint(fields[2], 10, 32)
		if _, taken := u.names[uint32(id)]; err == nil && !taken {
			u.names[uint32(id)] = fields[0]
		}
	}
}

// cgroups names control groups of the unified hierarchy by their id.
type cgroups struct {
	root  string // "" where it is not mounted
	fd    int
	paths map[uint64]string
}

func newCgroups() cgroups {
	c := cgroups{root: CgroupRoot(), fd: -1, paths: map[uint64]string{}}
	if c.root != "" {
		if fd, err := unix.Open(c.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			c.fd = fd
		}
	}
	return c
}

func (c *cgroups) close() {
	if c.fd >= 0 {
		_ = unix.Close(c.fd)
		c.fd = -1
	}
}

// CgroupRoot returns where cgroup v2 is mounted: /sys/fs/cgroup, or below it on hybrid hosts.
func CgroupRoot() string {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	return findUnified(string(info))
}

func findUnified(mountinfo string) string {
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if ok && len(fields) >= 5 && fields[3] == "/" && strings.HasPrefix(after, "cgroup2 ") {
			return fields[4]
		}
	}
	return ""
}

// path returns a group's path below the root. The id opens the group itself, so the answer holds
// even for a process that has ended; /proc is asked where that is not allowed.
func (c *cgroups) path(id uint64, pid uint32) string {
	if p, ok := c.paths[id]; ok {
		return p
	}
	p, ok := c.byHandle(id)
	if !ok {
		p, ok = c.byProc(id, pid)
	}
	if ok {
		if len(c.paths) >= 65536 {
			clear(c.paths)
		}
		c.paths[id] = p
	}
	return p
}

const kernfsHandle = 0xfe // FILEID_KERNFS

func (c *cgroups) byHandle(id uint64) (string, bool) {
	if c.fd < 0 {
		return "", false
	}
	var raw [8]byte
	binary.NativeEndian.PutUint64(raw[:], id)
	fd, err := unix.OpenByHandleAt(c.fd, unix.NewFileHandle(kernfsHandle, raw[:]), unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return "", false
	}
	defer func() { _ = unix.Close(fd) }()
	p, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil || !strings.HasPrefix(p, c.root) {
		return "", false
	}
	if p = strings.TrimPrefix(p, c.root); p == "" {
		p = "/"
	}
	return strings.TrimSuffix(p, " (deleted)"), true
}

func (c *cgroups) byProc(id uint64, pid uint32) (string, bool) {
	b, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/cgroup")
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(string(b)) {
		p, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if !ok {
			continue
		}
		var st unix.Stat_t
		return p, c.root != "" && unix.Stat(c.root+p, &st) == nil && st.Ino == id
	}
	return "", false
}
