package lab

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// leftovers lists what a stopped sandbox left on the host: mounts, cgroups, processes, its directory.
func (s *sandbox) leftovers() []string {
	var left []string
	if _, err := os.Lstat(s.dir); err == nil {
		left = append(left, "directory "+s.dir)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 && (f[4] == s.dir || strings.HasPrefix(f[4], s.dir+"/")) {
			left = append(left, "mount "+f[4])
		}
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == s.id {
			left = append(left, "cgroup "+path)
		}
		return nil // a cgroup that ended meanwhile is not ours
	})
	procs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range procs {
		env, _ := os.ReadFile(name) // it may have ended
		cg, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cgroup"))
		if strings.Contains(string(env), RoleEnv+"=") && strings.Contains(string(cg), "/"+s.id) {
			left = append(left, "process "+filepath.Base(filepath.Dir(name)))
		}
	}
	return left
}

// sweep removes sandboxes whose lab was killed before it could.
func sweep(runc string, log *slog.Logger) {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*")) // the pattern is right
	for _, dir := range dirs {
		// Anyone may make a directory of this name below /tmp: only root's own is believed.
		var st unix.Stat_t
		if unix.Lstat(dir, &st) != nil || st.Uid != 0 || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		owner, err := os.ReadFile(filepath.Join(dir, "owner"))
		if err != nil {
			continue // not ours, or just being made
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(owner)))
		if err != nil || !errors.Is(syscall.Kill(pid, 0), unix.ESRCH) {
			continue
		}
		err = errors.Join(
			deleteContainer(runc, filepath.Join(dir, "state"), filepath.Base(dir)),
			unmount(filepath.Join(dir, "root")), unmount(dir), os.Remove(dir),
		)
		log.Info("removed what a killed lab left", "directory", dir, "error", err)
	}
}
