package kernel

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// attachCgroup puts a program on the root of the control groups, where it sees every process.
func (s *Sensor) attachCgroup(prog *ebpf.Program, name string, as ebpf.AttachType) error {
	if s.decoder.cgroups.root == "" {
		return errors.New("no cgroup v2 is mounted: mount one at /sys/fs/cgroup")
	}
	l, err := link.AttachCgroup(link.CgroupOptions{Path: s.decoder.cgroups.root, Attach: as, Program: prog})
	if err != nil {
		return fmt.Errorf("attach to %s: %w", s.decoder.cgroups.root, err)
	}
	return s.keep(name, l)
}
