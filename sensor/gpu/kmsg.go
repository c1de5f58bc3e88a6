package gpu

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Fault is what a driver said of a fault of a GPU.
type Fault struct {
	Time   time.Time
	PCI    string // address of the GPU on the bus
	Xid    int64  // NVIDIA's number, 0 where there is none
	PID    uint32 // the process that the driver names, 0 where it names none
	Driver string
	Text   string
	Count  uint32 // how many it stands for: a repeat within a minute is only counted
}

const (
	faultQuiet = time.Minute
	faultKinds = 256 // of which repeats are known
)

var (
	xid     = regexp.MustCompile(`^NVRM: Xid \((?:PCI:)?([0-9a-fA-F:.]{1,20})\): ([0-9]{1,5})(?:, (.*))?$`)
	byPID   = regexp.MustCompile(`\bpid='?([0-9]{1,7})\b`)
	nvidia  = regexp.MustCompile(`^NVRM: (?:GPU (?:at )?(?:PCI:)?([0-9a-fA-F:.]{7,20}).*|.*(?:fallen off the bus|RmInitAdapter failed).*)$`)
	amdgpu  = regexp.MustCompile(`^(?:amdgpu |\[drm:?.*\] )?(?:([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]): )?(?:amdgpu: )?.*(GPU reset begin|ring \S+ timeout|GPU fault detected|\[gfxhub\S*\] \S*page fault|uncorrectable hardware errors? detected).*$`)
	process = regexp.MustCompile(`\bprocess (?:\S+ )?pid ([0-9]{1,7})\b`)
)

// parseFault reads a line of the kernel's log, without its time. It reports false for what is no
// fault of a GPU.
func parseFault(line string) (Fault, bool) {
	switch {
	case strings.HasPrefix(line, "NVRM: "):
		if m := xid.FindStringSubmatch(line); m != nil {
			f := Fault{PCI: busAddress(m[1]), Driver: "nvidia", Text: plain(m[3])}
			f.Xid, _ = strconv.ParseInt(m[2], 10, 64) // digits
			if p := byPID.FindStringSubmatch(m[3]); p != nil {
				f.PID = pid(p[1])
			}
			return f, true
		}
		if m := nvidia.FindStringSubmatch(line); m != nil {
			return Fault{PCI: busAddress(m[1]), Driver: "nvidia", Text: plain(strings.TrimPrefix(line, "NVRM: "))}, true
		}
	case strings.Contains(line, "amdgpu"):
		if m := amdgpu.FindStringSubmatch(line); m != nil {
			f := Fault{PCI: busAddress(m[1]), Driver: "amdgpu", Text: plain(line)}
			if p := process.FindStringSubmatch(line); p != nil {
				f.PID = pid(p[1])
			}
			return f, true
		}
	}
	return Fault{}, false
}

func pid(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 22) // at most seven digits; too large is none
	return uint32(n)
}

// parseRecord takes a record of /dev/kmsg apart: "priority,number,time,flags;text". Only what the
// kernel itself says is believed: processes that write there are marked as another facility.
func parseRecord(record string) (string, bool) {
	head, line, ok := strings.Cut(record, ";")
	if !ok || strings.HasPrefix(record, " ") {
		return "", false
	}
	priority, _, _ := strings.Cut(head, ",")
	n, err := strconv.ParseUint(priority, 10, 16)
	return strings.TrimSpace(line), err == nil && n>>3 == 0
}

// followKernel reads the kernel's log from now on.
func (s *Sensor) followKernel(ctx context.Context, fault func(Fault)) {
	name := filepath.Join(s.opt.Root, "/dev/kmsg")
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // so that the end of ctx ends a read
	if err != nil {
		s.say("gpu-faults", true, false, "the kernel's log cannot be read: "+err.Error(), "")
		return
	}
	defer f.Close()              //nolint:errcheck // it was only read
	_, _ = f.Seek(0, io.SeekEnd) // a pipe has no end; there all is read
	defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })()
	s.say("gpu-faults", true, true, "", "what drivers say of faults, in the kernel's log")
	again := repeats{}
	buf := make([]byte, 8192) // a record is shorter
	for ctx.Err() == nil {
		n, err := f.Read(buf)
		switch {
		case errors.Is(err, syscall.EPIPE): // the kernel wrote over what was not read yet
			continue
		case err != nil:
			if ctx.Err() == nil {
				s.say("gpu-faults", true, false, "the kernel's log cannot be read: "+err.Error(), "")
			}
			return
		}
		for record := range strings.Lines(string(buf[:n])) {
			line, ok := parseRecord(record)
			if !ok {
				continue
			}
			if one, ok := parseFault(line); ok && again.first(&one, time.Now()) {
				fault(one)
			}
		}
	}
}

// repeats keeps faults quiet that were told of less than a minute ago: a broken GPU says the same
// thousands of times.
type repeats map[string]*repeat

type repeat struct {
	told time.Time
	more uint32
}

func (r repeats) first(f *Fault, now time.Time) bool {
	f.Time, f.Count = now, 1
	key := f.PCI + " " + strconv.FormatInt(f.Xid, 10) + " " + strconv.Itoa(int(f.PID))
	if f.Xid == 0 {
		key += f.Text
	}
	if known := r[key]; known != nil {
		if now.Sub(known.told) < faultQuiet {
			known.more++
			return false
		}
		f.Count += known.more
	}
	if len(r) >= faultKinds {
		clear(r)
	}
	r[key] = &repeat{told: now}
	return true
}
