package kernel

import (
	"fmt"
	"time"
	"unsafe"

	"picket/event"
)

// repeats tells what the kernel counted and had no later event to tell it with.
type repeats struct {
	table sweeper[typedRepeatKey, typedRepeat]
	local sweeper[typedUnixKey, typedUnixRepeat]
	next  uint64 // boot time of the next look
	seen  uint64 // connections received at the last look that found the table empty
	left  bool   // the last look left entries
}

// repeatGrace keeps a look out of the way of a program that is just using an entry.
const repeatGrace = 100 * time.Millisecond

// pending reports whether the table may hold entries.
func (t *repeats) pending(s *Sensor) bool { return t.left || s.connections() != t.seen }

// connections counts what may have made an entry.
func (s *Sensor) connections() uint64 {
	var n uint64
	for _, k := range [...]event.Kind{event.NetConnect, event.NetAccept, event.NetBind, event.NetUnix} {
		n += s.counts.received[k].Load()
	}
	return n
}

// tell removes the entries whose second is over, once a second, and hands on those that
// still have a count. It does not look while no connection was made since the table was empty.
func (t *repeats) tell(s *Sensor, now uint64, handle func(*event.Event)) error {
	if now < t.next {
		return nil
	}
	t.next = now + uint64(time.Second)
	over := now - uint64(repeatGrace)
	received := s.connections()
	if !t.pending(s) {
		return nil
	}
	left, err := t.table.sweep(func(value *typedRepeat) bool { return value.Until < over }, func(value *typedRepeat) {
		if value.More > 0 {
			value.R.H.Time, value.R.Count = now-uint64(settle), value.More
			s.deliver(unsafe.Slice((*byte)(unsafe.Pointer(&value.R)), unsafe.Sizeof(value.R)), handle)
		}
	})
	if err != nil {
		return fmt.Errorf("read the table of repeated connections: %w", err)
	}
	more, err := t.local.sweep(func(value *typedUnixRepeat) bool { return value.Until < over }, func(value *typedUnixRepeat) {
		if value.More > 0 {
			value.R.H.Time, value.R.Count = now-uint64(settle), value.More
			s.deliver(unsafe.Slice((*byte)(unsafe.Pointer(&value.R)), unsafe.Sizeof(value.R)), handle)
		}
	})
	if t.left = left || more; err != nil {
		return fmt.Errorf("read the table of repeated connections: %w", err)
	}
	if !t.left {
		t.seen = received
	}
	return nil
}
