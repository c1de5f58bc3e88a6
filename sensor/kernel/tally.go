package kernel

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	"picket/event"
)

// tallies tells what the kernel only counts: control of devices, use of capabilities.
type tallies struct {
	table *ebpf.Map
	next  uint64 // boot time of the next look
	keys  []typedTallyKey
}

// tallyEvery is how long the kernel counts before it is told.
const tallyEvery = 3 * time.Second

// tell empties the table every few seconds. It does not look while nothing counts.
func (t *tallies) tell(s *Sensor, now uint64, handle func(*event.Event)) error {
	if now < t.next || !s.counting.Load() {
		return nil
	}
	t.next = now + uint64(tallyEvery)
	var (
		key   typedTallyKey
		value typedTally
	)
	t.keys = t.keys[:0]
	all := t.table.Iterate()
	for all.Next(&key, &value) {
		t.keys = append(t.keys, key)
	}
	if err := all.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) { // the next look sees the rest
		return fmt.Errorf("read the table of what is counted: %w", err)
	}
	for i := range t.keys {
		err := t.table.LookupAndDelete(&t.keys[i], &value)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the table of what is counted: %w", err)
		}
		value.H.Time = now - uint64(settle)
		s.deliver(unsafe.Slice((*byte)(unsafe.Pointer(&value)), unsafe.Sizeof(value)), handle)
	}
	return nil
}

// tally reads what was counted of one process and object.
func (d *decoder) tally(raw []byte) error {
	r, err := record[typedTally](raw)
	if err != nil {
		return err
	}
	d.e.Count = uint32(min(r.Count, 1<<32-1))
	if event.Kind(r.H.Kind) == event.ProcessCapability {
		d.e.Call = &event.Call{Capability: event.CapabilityName(r.What)}
		return nil
	}
	d.e.Call = &event.Call{Name: "ioctl", Request: fmt.Sprintf("%#x", r.Last)}
	d.e.File = event.File{Path: text(r.Path[:min(r.PathLen, uint32(len(r.Path)))]), Mode: r.Mode, Device: uint64(r.What)}
	return nil
}
