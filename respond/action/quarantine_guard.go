package action

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// systemPaths hold what a host does not run without. On the host nothing is taken from them, and no
// directory that holds one of them; allowedPaths below them are where intruders settle.
var (
	systemPaths = []string{
		"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run/systemd", "/sbin", "/sys", "/usr",
		"/etc/picket", "/run/picket", "/var/lib/picket", "/var/lib/containerd/io.containerd.metadata.v1.bolt", "/var/lib/kubelet/pki",
	}
	allowedPaths = []string{
		"/usr/local", "/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly", "/etc/cron.monthly",
		"/etc/systemd/system", "/etc/profile.d", "/etc/init.d", "/dev/shm",
	}
)

// protects says what a place belongs to that nothing is taken from; "" where it may be taken.
func (q *quarantine) protects(p *place) string {
	if strings.Count(p.path, "/") < 2 {
		return "a directory or file at the root"
	}
	if p.pin != nil {
		return "" // of a file system that the host does not see
	}
	for _, dir := range append(q.o.Protected, q.o.Dirs...) {
		if overlaps(p.path, filepath.Clean(dir)) {
			return "protected"
		}
	}
	for _, dir := range allowedPaths {
		if rest, ok := below(dir, p.path); ok && rest != "" {
			return ""
		}
	}
	for _, dir := range systemPaths {
		if overlaps(p.path, dir) {
			return "of the system or of Picket"
		}
	}
	return ""
}

// overlaps reports whether one of two paths lies in the other.
func overlaps(a, b string) bool {
	_, in := below(b, a)
	_, holds := below(a, b)
	return in || holds
}

// protectedFile says what a file is that nothing is done to, by whatever name it was found.
func protectedFile(st *unix.Stat_t) string {
	for path, what := range map[string]string{"/proc/1/exe": "the program of init", "/proc/self/exe": "Picket itself", "/": "the root"} {
		var is unix.Stat_t
		if unix.Stat(path, &is) == nil && is.Ino == st.Ino && is.Dev == st.Dev {
			return what
		}
	}
	return ""
}

// Bounds of the search for who has a file open.
const (
	maxDescriptors = 200_000
	maxUsers       = 100
)

// openedBy names the processes that have a file open or mapped, and says whether some could not be
// looked at.
func openedBy(dev, inode uint64) (users []string, more bool) {
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, true
	}
	looked := 0
	for _, d := range procs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		for _, way := range []string{"fd", "map_files"} {
			dir := filepath.Join("/proc", d.Name(), way)
			entries, err := os.ReadDir(dir)
			if err != nil && exists(dir) {
				more = true
			}
			if looked += len(entries); looked > maxDescriptors || len(users) >= maxUsers {
				return users, true
			}
			if hasOpen(dir, entries, dev, inode) {
				users = append(users, describe(pid))
				break
			}
		}
	}
	return users, more
}

func hasOpen(dir string, entries []os.DirEntry, dev, inode uint64) bool {
	for _, e := range entries {
		// What is known of it already: a file system of the workload's own may never answer.
		var sx unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, filepath.Join(dir, e.Name()), unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &sx)
		if err == nil && sx.Ino == inode && unix.Mkdev(sx.Dev_major, sx.Dev_minor) == dev {
			return true
		}
	}
	return false
}

// describe is a process for people: its number and what it is called.
func describe(pid int) string {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return fmt.Sprintf("%d %s", pid, oneLine(string(name), 64))
}
