package kernel

import (
	"cmp"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"picket/event"
)

// list takes stock of the processes that run already. The programs are attached by then, so no
// process falls between: one that comes twice is told apart by pid and start.
func (s *Sensor) list(iter *ebpf.Program) {
	if iter == nil {
		return
	}
	raw, err := iterate(iter)
	if err != nil {
		s.log.Warn("cannot list running processes", "error", err)
		for i := range s.caps {
			if s.caps[i].Name == "existing-processes" {
				s.caps[i].OK, s.caps[i].Detail = false, cause(err)
			}
		}
		return
	}
	for ; len(raw) >= processSize; raw = raw[processSize:] {
		e, err := s.decoder.decode(raw[:processSize])
		if err != nil {
			s.counts.malformed.Add(1)
			continue
		}
		if p := e.Process; !s.known[p.Key()] && describe(p) {
			s.known[p.Key()] = true
			s.seen = append(s.seen, p)
		}
	}
	// A parent is older than its children, or has the same tick and the smaller pid.
	slices.SortFunc(s.seen, func(a, b *event.Process) int {
		return cmp.Or(cmp.Compare(a.StartBoot, b.StartBoot), cmp.Compare(a.PID, b.PID))
	})
	s.seenEnd = bootNow()
}

func iterate(prog *ebpf.Program) (raw []byte, err error) {
	l, err := link.AttachIter(link.IterOptions{Program: prog})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	r, err := l.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(r)
}

// describe adds the strings of a running process. It reports false for one that has ended.
func describe(p *event.Process) bool {
	dir := "/proc/" + strconv.FormatUint(uint64(p.PID), 10)
	exe, err := os.Readlink(dir + "/exe")
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(dir); err != nil {
			return false
		}
	}
	p.Exe = strings.TrimSuffix(exe, " (deleted)")
	if p.CWD, err = os.Readlink(dir + "/cwd"); err == nil {
		p.CWD = strings.TrimSuffix(p.CWD, " (deleted)")
	}
	if line, err := os.ReadFile(dir + "/cmdline"); err == nil {
		setArgs(p, split(line))
	}
	return true
}
