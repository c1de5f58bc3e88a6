package uprobe

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/cilium/ebpf"
)

func stubNop()
func stubPush()
func stubStep()
func stubPlaces() (nop, push, step uintptr)

// Cost is what a probe takes of a call on this host, all in all.
type Cost struct {
	Class       Class
	Calls       int
	Nanoseconds float64 // a call
	Site        string  // what the kernel put there: a call, or a trap
}

// Each stub is called so often, and so often again: the quickest round counts, as others were disturbed.
const (
	stubTimes = 100
	rounds    = 100
)

// Measure puts a program on functions of our own that do nothing, one of each class, and calls them.
func Measure(prog *ebpf.Program, cookie uint64, together bool) (out []Cost, err error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer self.Close() //nolint:errcheck // it was only read
	nop, push, step := stubPlaces()
	for _, s := range []struct {
		class Class
		at    uintptr
		call  func()
	}{{Nop5, nop, stubNop}, {Push, push, stubPush}, {Step, step, stubStep}} {
		offset, err := offsetOfOwn(uint64(s.at))
		if err != nil {
			return nil, err
		}
		bare := timed(s.call)
		links, err := Attach(self, prog, []Point{{Offset: offset, Cookie: cookie}}, together)
		if err != nil {
			return nil, err
		}
		with := timed(s.call)
		site := siteOf(s.at)
		if err := links.Close(); err != nil {
			return nil, err
		}
		out = append(out, Cost{s.class, stubTimes * rounds, float64((with - bare).Nanoseconds()) / stubTimes, site})
	}
	return out, nil
}

// siteOf says what the kernel put at a place of our own code. On x86 it makes a call of a trap at a nop of
// five bytes when that was hit, on Linux 6.18 and some after it.
func siteOf(at uintptr) string {
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		return "not known"
	}
	defer mem.Close() //nolint:errcheck // it was only read
	b := make([]byte, 1)
	if _, err := mem.ReadAt(b, int64(at)); err != nil {
		return "not known"
	}
	switch {
	case runtime.GOARCH == "amd64" && b[0] == 0xe8:
		return "a call"
	case runtime.GOARCH == "amd64" && b[0] == 0xcc, runtime.GOARCH == "arm64":
		return "a trap"
	}
	return fmt.Sprintf("%#x", b[0])
}

func timed(call func()) time.Duration {
	best := time.Hour
	for range rounds {
		began := time.Now()
		for range stubTimes {
			call()
		}
		best = min(best, time.Since(began))
	}
	return best
}

// offsetOfOwn returns where in our own file an address lies.
func offsetOfOwn(address uint64) (uint64, error) {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var start, end, offset uint64
		var rights string
		if _, err := fmt.Sscanf(strings.Replace(lines.Text(), "-", " ", 1), "%x %x %s %x", &start, &end, &rights, &offset); err == nil && address >= start && address < end {
			return address - start + offset, nil
		}
	}
	return 0, errors.New("our own code is not where it was looked for")
}
