package enforce

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"picket/event"
)

// gateExec has the kernel ask before a program is run in a container: what is not allowed gets EPERM,
// and no process is killed for it. It is in addition: where nothing is asked, as in a mount namespace
// that was made a moment ago or for who runs the loader by itself, the program is killed. Mounts of
// the host are not marked: nobody outside the container ever waits.
func (e *Enforcer) gateExec(id uint64, b *binding, paths []string) error {
	r := e.climbed["enforce-exec"]
	p := e.policies[b.name]
	pids, _ := e.spaces(b.target.Cgroup) // those with the host's mounts are left out
	if p == nil || !p.rules.Enforce || paths == nil || r == nil || r.lsm || len(pids) == 0 {
		return ungate(e.execGates, id)
	}
	if e.execGates[id] == nil {
		g, err := e.newGate(0)
		if err != nil {
			return nil //nolint:nilerr // programs are killed, as where there is no fanotify
		}
		e.execGates[id] = g
	}
	g := e.execGates[id]
	allowed := allowedFiles(b.dir, paths)
	rules := &gateRules{policy: b.name, rule: event.RuleExec, cgroups: []string{b.target.Cgroup}, until: p.rules.Until}
	rules.judge = func(pid, fd int) ruling {
		var st unix.Stat_t
		return ruling{allowed: unix.Fstat(fd, &st) != nil || allowed[place{st.Dev, st.Ino}] || !rules.holds(pid)}
	}
	g.rules.Store(rules)
	host := mountIDs("self")
	for _, pid := range pids {
		if err := g.markMounts(pid, host); err != nil {
			e.log.Debug("programs of a container are killed, as fanotify does not ask", "policy", b.name, "error", err)
		}
	}
	return nil
}

// ungate closes the gate of a cgroup, where there is one.
func ungate(gates map[uint64]*gate, id uint64) error {
	g := gates[id]
	if g == nil {
		return nil
	}
	delete(gates, id)
	return g.close()
}

// allowedFiles are the files of programs that may run, with what the kernel opens to run them: it
// asks about a loader as about a program.
func allowedFiles(dir int, paths []string) map[place]bool {
	out := map[place]bool{}
	add := func(p string) (next string) {
		fd, ok := openIn(dir, p)
		if !ok {
			return ""
		}
		defer unix.Close(fd) //nolint:errcheck // nothing was written
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil {
			out[place{st.Dev, st.Ino}] = true
		}
		if next = interpreter(fd); next == "" {
			next = loader(fd)
		}
		return next
	}
	for _, p := range paths {
		for _, file := range expand(dir, p) {
			for range 3 { // a script, its interpreter, and that one's loader
				if file = add(file); file == "" {
					break
				}
			}
		}
	}
	return out
}

// loader returns the path of the loader that a 64-bit ELF file names.
func loader(fd int) string {
	const head, entry, most, interp = 64, 56, 64, 3
	h := make([]byte, head)
	if n, err := unix.Pread(fd, h, 0); err != nil || n < head || string(h[:5]) != "\x7fELF\x02" {
		return ""
	}
	at, size, count := binary.NativeEndian.Uint64(h[32:]), binary.NativeEndian.Uint16(h[54:]), binary.NativeEndian.Uint16(h[56:])
	if size != entry || at > 1<<20 {
		return ""
	}
	table := make([]byte, entry*int(min(count, most)))
	n, err := unix.Pread(fd, table, int64(at))
	if err != nil {
		return ""
	}
	for part := range slices.Chunk(table[:n-n%entry], entry) {
		from, length := binary.NativeEndian.Uint64(part[8:]), binary.NativeEndian.Uint64(part[32:])
		if binary.NativeEndian.Uint32(part) != interp || from > 1<<40 {
			continue
		}
		name := make([]byte, min(length, 4096))
		n, err := unix.Pread(fd, name, int64(from))
		if err != nil {
			return ""
		}
		return strings.TrimRight(string(name[:n]), "\x00")
	}
	return ""
}

// kinds are the file systems whose mounts are marked, as mountinfo spells local.
var kinds = []string{"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "overlay", "f2fs", "squashfs", "erofs", "zfs"}

// maxMounts bounds the mounts of one namespace that are marked.
const maxMounts = 512

// markMounts makes the kernel ask for each program that is run from a mount of a process.
func (g *gate) markMounts(pid string, host map[uint64]bool) error {
	root, err := unix.Open("/proc/"+pid+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil //nolint:nilerr // the process is gone
	}
	defer unix.Close(root) //nolint:errcheck // nothing was written
	var all []error
	for _, point := range mountPoints(pid) {
		fd, err := openBelow(root, point, unix.O_PATH)
		if err != nil {
			continue // it is covered, or gone
		}
		var sx unix.Statx_t
		err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &sx)
		if err == nil && !host[sx.Mnt_id] { // else its number went to a process with the host's mounts
			all = append(all, g.mark(unix.FAN_MARK_MOUNT, unix.FAN_OPEN_EXEC_PERM, unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd)))
		}
		_ = unix.Close(fd)
	}
	return errors.Join(all...)
}

// mountPoints returns where local file systems are mounted for a process.
func mountPoints(pid string) (out []string) {
	b, _ := os.ReadFile("/proc/" + pid + "/mountinfo") // one that is gone has none
	for line := range strings.Lines(string(b)) {
		at, kind, _ := strings.Cut(line, " - ")
		fields, of := strings.Fields(at), strings.Fields(kind)
		if len(fields) < 5 || len(of) < 1 || !slices.Contains(kinds, of[0]) || len(out) >= maxMounts {
			continue
		}
		out = append(out, strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4]))
	}
	return out
}

// mountIDs are the mounts that a process has.
func mountIDs(pid string) map[uint64]bool {
	out := map[uint64]bool{}
	b, _ := os.ReadFile("/proc/" + pid + "/mountinfo") // it is our own
	for line := range strings.Lines(string(b)) {
		first, _, _ := strings.Cut(line, " ")
		if id, err := strconv.ParseUint(first, 10, 64); err == nil {
			out[id] = true
		}
	}
	return out
}
