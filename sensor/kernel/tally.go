package kernel

import (
	"fmt"
	"time"
	"unsafe"

	"picket/event"
)

// tallies tells what the kernel only counts: control of devices, use of capabilities.
type tallies struct {
	table sweeper[typedTallyKey, typedTally]
	next  uint64 // boot time of the next look
}

// tallyEvery is how long the kernel counts before it is told.
const tallyEvery = 3 * time.Second

// tell empties the table every few seconds. It does not look while nothing counts.
func (t *tallies) tell(s *Sensor, now uint64, handle func(*event.Event)) error {
	if now < t.next || !s.counting.Load() {
		return nil
	}
	t.next = now + uint64(tallyEvery)
	_, err := t.table.sweep(func(*typedTally) bool { return true }, func(value *typedTally) {
		value.H.Time = now - uint64(settle)
		s.deliver(unsafe.Slice((*byte)(unsafe.Pointer(value)), unsafe.Sizeof(*value)), handle)
	})
	if err != nil {
		return fmt.Errorf("read the table of what is counted: %w", err)
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
