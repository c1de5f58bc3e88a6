package ingest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

const (
	maxDescriptors = 256 // of a process that are looked at
	maxLogsOf      = 8   // of a process
	maxLogsOfOne   = 16  // of a workload: one cannot take the places of all others
	maxLooked      = 64  // processes of a workload that are looked at
	maxGlobbed     = 64  // files of one pattern
	maxKept        = 256 // logs that were read once and are not there
)

// fileID tells files apart, also where a number is given again.
type fileID struct {
	dev, ino uint64
	born     int64
}

// position is how far a log was read.
type position struct {
	Dev  uint64 `json:"dev"`
	Ino  uint64 `json:"ino"`
	Born int64  `json:"born"`
	Off  int64  `json:"off"`
}

// find looks for logs: where AI workloads write to, where their containers' runtimes put that, and
// those that the configuration names.
func (r *Reader) find(now time.Time) {
	r.tooMany = 0
	looked := map[string]int{}
	for _, p := range r.opts.Processes() {
		if p.Workload == nil {
			continue
		}
		if looked[p.Workload.ID]++; looked[p.Workload.ID] > maxLooked {
			continue
		}
		for _, f := range OpenLogs(p) {
			r.follow(f, p, p.Workload.Engine, false, now)
		}
	}
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.unread = r.tooMany
	}()
	for _, l := range r.opts.Logs {
		r.named(l.Paths, l.Engine, false, now)
	}
	r.named(r.opts.Audit, "kubernetes", true, now)
}

// named looks for logs by the patterns of their names.
func (r *Reader) named(patterns []string, engine string, audit bool, now time.Time) {
	for _, pattern := range patterns {
		list, _ := filepath.Glob(pattern) // patterns are checked with the configuration
		r.tooMany += max(0, len(list)-maxGlobbed)
		for _, name := range list[:min(len(list), maxGlobbed)] {
			if f, err := openRegular(name); err == nil {
				r.follow(f, nil, engine, audit, now)
			}
		}
	}
}

// follow reads a log from now on, unless it is read already. One that was made since the Reader was is
// read from its beginning, and one that was read before from there.
func (r *Reader) follow(f *os.File, p *event.Process, engine string, audit bool, now time.Time) {
	id, size, err := identify(f)
	if s := r.sources[id]; s != nil || err != nil || r.full(p) {
		if s != nil {
			if p != nil && !s.found.Equal(now) { // the first that is found: a service may have begun anew
				s.process, s.PID, s.Engine = p, p.PID, engine
			}
			s.found = now
			if p == nil && engine != "" {
				s.Engine = engine // somebody said it
			}
		} else if err == nil {
			r.tooMany++
		}
		f.Close() //nolint:errcheck // it was only read
		return
	}
	s := &source{Source: Source{Name: f.Name(), Engine: engine}, audit: audit, file: f, id: id, process: p, found: now, off: size}
	if p != nil {
		s.PID = p.PID
	}
	switch was, known := r.kept[id]; {
	case known && was.Off <= size:
		s.off = was.Off
	case id.born >= r.started.UnixNano():
		s.off = 0
	}
	s.skip = !beginsLine(f, s.off)
	r.sources[id] = s
	delete(r.kept, id)
	r.opts.Log.Info("an access log is read", "log", s.Name, "engine", engine, "pid", s.PID, "from", s.off)
}

// full reports whether no other log is read, or no other one of a process's workload.
func (r *Reader) full(p *event.Process) bool {
	n := 0
	for _, s := range r.sources {
		if p != nil && s.process != nil && s.process.Workload.ID == p.Workload.ID {
			n++
		}
	}
	return n >= maxLogsOfOne || len(r.sources) >= maxSources
}

// beginsLine reports whether a line begins at off. The rest of one, which a client may have written, could
// look like another.
func beginsLine(f *os.File, off int64) bool {
	var before [1]byte
	if off > 0 {
		if n, _ := f.ReadAt(before[:], off-1); n == 1 { // what cannot be read was cut off just now
			return before[0] == '\n'
		}
	}
	return true
}

// identify says which file f is, and how long.
func identify(f *os.File) (fileID, int64, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st); err != nil {
		return fileID{}, 0, fmt.Errorf("look at the log %s: %w", f.Name(), err)
	}
	id := fileID{dev: unix.Mkdev(st.Dev_major, st.Dev_minor), ino: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.born = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return id, int64(st.Size), nil
}

// openRegular opens a regular file. It follows no link and waits for nothing.
func openRegular(name string) (*os.File, error) {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return reopen(fd, name)
}

// reopen opens what a descriptor of O_PATH is for, and closes that.
func reopen(fd int, name string) (*os.File, error) {
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	own, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(own), name), nil
}

// OpenLogs opens the files that a process of an AI workload may write its access log to: its standard
// output and error, other logs that it has open for writing, and what its container's runtime keeps
// of it.
func OpenLogs(p *event.Process) (out []*os.File) {
	if p.Workload == nil {
		return nil
	}
	for _, n := range descriptors(p.PID) {
		if len(out) >= maxLogsOf {
			break
		}
		if f := openDescriptor(p.PID, n); f != nil {
			out = append(out, f)
		}
	}
	if p.Container == nil || p.Key() != p.Workload.Root {
		return out
	}
	for _, name := range containerLogs(p.Container.ID) {
		if f, err := openRegular(name); err == nil {
			out = append(out, f)
		}
	}
	return out
}

// descriptors returns the numbers of those descriptors of a process that may be logs: 1 and 2, and
// those of files whose name says so.
func descriptors(pid uint32) (out []string) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close() //nolint:errcheck // it was only read
	all, _ := d.Readdirnames(maxDescriptors)
	slices.SortFunc(all, func(a, b string) int { // 1 and 2 first, as only so many are taken
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	})
	for _, n := range all {
		to, err := os.Readlink(dir + "/" + n)
		if err != nil || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "/dev/") {
			continue
		}
		if to = strings.TrimSuffix(to, " (deleted)"); n == "1" || n == "2" || strings.HasSuffix(to, ".log") {
			out = append(out, n)
		}
	}
	return out
}

// openDescriptor opens what a process has open for writing, whatever name it has: nil where that is no
// regular file, or lies where a read may wait for somebody.
func openDescriptor(pid uint32, n string) *os.File {
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, n))
	if err != nil {
		return nil
	}
	flags, err := strconv.ParseUint(infoOf(info, "flags"), 8, 32)
	if err != nil || flags&unix.O_ACCMODE == unix.O_RDONLY {
		return nil
	}
	link := fmt.Sprintf("/proc/%d/fd/%s", pid, n)
	name, err := os.Readlink(link)
	if err != nil {
		return nil
	}
	fd, err := unix.Open(link, unix.O_PATH|unix.O_CLOEXEC, 0) // the file itself, not its name
	if err != nil {
		return nil
	}
	// What is asked is where the file lies that was opened: the process may have put another one in its place.
	info, err = os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil || !local(infoOf(info, "mnt_id"), fmt.Sprintf("/proc/%d/mountinfo", pid), "/proc/self/mountinfo") {
		unix.Close(fd) //nolint:errcheck // nothing was written
		return nil
	}
	f, err := reopen(fd, name)
	if err != nil {
		return nil
	}
	return f
}

// infoOf returns what a file of /proc says of key.
func infoOf(info []byte, key string) string {
	for line := range bytes.Lines(info) {
		if k, value, _ := bytes.Cut(line, []byte(":")); string(k) == key {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

// local reports whether a mount is of a file system of this host. Another one, or one that a process
// serves, may let a reader wait for ever.
func local(mount string, tables ...string) bool {
	for _, t := range tables {
		b, err := os.ReadFile(t)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(b) {
			id, rest, _ := bytes.Cut(line, []byte(" "))
			if string(id) != mount {
				continue
			}
			_, rest, _ = bytes.Cut(rest, []byte(" - "))
			kind, _, _ := bytes.Cut(rest, []byte(" "))
			switch string(kind) {
			case "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "tmpfs", "ramfs", "overlay", "aufs":
				return true
			}
			return false
		}
	}
	return false
}

// containerLogs returns where runtimes keep what a container writes to its standard output.
func containerLogs(id string) (out []string) {
	if len(id) < 12 || strings.Trim(id, "0123456789abcdef") != "" {
		return nil
	}
	out = []string{
		"/var/lib/docker/containers/" + id + "/" + id + "-json.log",
		"/var/lib/containers/storage/overlay-containers/" + id + "/userdata/ctr.log",
	}
	links, _ := filepath.Glob("/var/log/containers/*-" + id + ".log") // the pattern is in order
	for _, l := range links[:min(len(links), 4)] {
		if to, err := filepath.EvalSymlinks(l); err == nil && strings.HasPrefix(to, "/var/log/pods/") {
			out = append(out, to)
		}
	}
	return out
}

// load reads how far logs were read before.
func (r *Reader) load() {
	if r.opts.State == "" {
		return
	}
	b, err := os.ReadFile(r.opts.State)
	var list []position
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.opts.Log.Warn("how far access logs were read is not known: they are read from their end on", "error", err)
		return
	}
	for _, p := range list {
		if p.Off >= 0 {
			r.kept[fileID{p.Dev, p.Ino, p.Born}] = p
		}
	}
}

// position is where the first line begins that was not read.
func (s *source) position(id fileID) position {
	return position{id.dev, id.ino, id.born, s.off - int64(len(s.buf))}
}

// save writes down how far logs were read.
func (r *Reader) save() {
	if r.opts.State == "" {
		return
	}
	list := slices.Collect(maps.Values(r.kept)) // of logs that were not found yet
	list = list[:min(len(list), maxKept)]
	for id, s := range r.sources {
		list = append(list, s.position(id))
	}
	b, err := json.Marshal(list)
	if err == nil {
		err = os.WriteFile(r.opts.State+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(r.opts.State+".new", r.opts.State)
	}
	if err != nil {
		r.opts.Log.Warn("how far access logs were read is not kept", "error", err)
	}
}
