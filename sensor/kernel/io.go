package kernel

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"picket/event"
)

// IO bounds what FileIO events count. The zero value counts files of 1 MiB or more and tells of
// each 64 MiB at once; what is less is told of within seconds.
type IO struct {
	MinSize int64 // of the file
	Step    int64
}

func (o IO) orDefault() IO {
	if o.MinSize == 0 {
		o.MinSize = 1 << 20
	}
	if o.Step == 0 {
		o.Step = 64 << 20
	}
	return o
}

// ioEvery is how often the kernel's counts are looked at.
const ioEvery = 2 * time.Second

// totals tells of bytes that were read and written and that no step told of.
type totals struct {
	table *ebpf.Map
	next  uint64
	told  map[typedIoKey]uint64 // at the last look
}

// counting reports whether anyone wants FileIO, or did and left counts.
func (t *totals) counting(s *Sensor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings.Kinds&(1<<event.FileIO) != 0 || len(t.told) > 0
}

// tell hands on what changed since the last look, and takes out what belongs to processes that ended.
func (t *totals) tell(s *Sensor, now uint64, handle func(*event.Event)) error {
	if now < t.next || !t.counting(s) {
		return nil
	}
	t.next = now + uint64(ioEvery)
	var (
		key   typedIoKey
		value typedIoTotal
		ended []typedIoKey
	)
	seen := make(map[typedIoKey]uint64, len(t.told))
	all := t.table.Iterate()
	for all.Next(&key, &value) {
		sum := value.Read + value.Written
		if sum != t.told[key] && sum != value.Told {
			t.deliver(s, &value, now, handle)
		}
		if seen[key] = sum; unix.Kill(int(key.Tgid), 0) != nil { // no signal: only whether it is there
			ended = append(ended, key)
		}
	}
	t.told = seen
	if err := all.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) { // else the next look sees the rest
		return fmt.Errorf("read the table of bytes read and written: %w", err)
	}
	for _, key := range ended {
		if err := t.table.LookupAndDelete(&key, &value); err != nil {
			continue // gone already
		}
		if sum := value.Read + value.Written; sum != seen[key] && sum != value.Told {
			t.deliver(s, &value, now, handle)
		}
		delete(t.told, key)
	}
	return nil
}

func (t *totals) deliver(s *Sensor, value *typedIoTotal, now uint64, handle func(*event.Event)) {
	value.R.H.Time = now - uint64(settle)
	size := unsafe.Offsetof(value.Path) + uintptr(min(int(value.R.PathLen), len(value.Path)))
	s.deliver(unsafe.Slice((*byte)(unsafe.Pointer(value)), size), handle)
}
