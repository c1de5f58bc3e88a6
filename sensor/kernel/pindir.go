package kernel

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	bpfFS   = "/sys/fs/bpf"
	pinRoot = bpfFS + "/picket"
)

// Quiet lists where the sensors are kept whose agents ended and did not come back in time: their programs
// tell of nothing, and cost each system call until an agent comes or the directory goes. Those of another
// layout are not looked into.
func Quiet() []string { return quiet(pinRoot) }

func quiet(root string) (dirs []string) {
	names, _ := filepath.Glob(filepath.Join(root, "*", "layout-*", "current")) // the pattern is sound
	for _, name := range names {
		m, err := ebpf.LoadPinnedMap(name, &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			continue
		}
		var s typedSettings
		if int(m.ValueSize()) == binary.Size(s) && m.Lookup(uint32(0), &s) == nil && s.Lease < monotonicNow() {
			dirs = append(dirs, filepath.Dir(filepath.Dir(name)))
		}
		_ = m.Close()
	}
	return dirs
}

// PinDir returns where the sensor of an agent is kept, by the directory of that agent's data. It
// mounts a bpf file system where there is none.
func PinDir(data string) (string, error) {
	if err := haveBPF(bpfFS); err != nil {
		return "", fmt.Errorf("%s: %w: what happens while the agent restarts is not seen; mount a bpf file system there", bpfFS, err)
	}
	if err := ownDir(pinRoot); err != nil {
		return "", fmt.Errorf("keep the sensor: %w", err)
	}
	sum := sha256.Sum256([]byte(filepath.Clean(data)))
	return filepath.Join(pinRoot, fmt.Sprintf("%x", sum[:6])), nil
}

// ownDir makes a directory that only root can look into. A bpf file system may be open to all: what
// another user put in its place goes.
func ownDir(name string) error {
	for range 3 {
		if err := os.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		info, err := os.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) { // another agent that ended took it away
			continue
		}
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if ok && info.IsDir() && st.Uid == 0 {
			return os.Chmod(name, 0o700)
		}
		if err := os.RemoveAll(name); err != nil {
			return fmt.Errorf("remove what another user put there: %w", err)
		}
	}
	return fmt.Errorf("%s is replaced again and again by somebody else", name)
}

func haveBPF(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return err
	}
	if st.Type == unix.BPF_FS_MAGIC {
		return nil
	}
	if err := unix.Mount("bpf", dir, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("no bpf file system, and none can be mounted: %w", err)
	}
	return nil
}
