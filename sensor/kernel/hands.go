package kernel

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
)

// Places in the map hands.
const (
	slotHeld = iota // records that are off the rings and not safe yet
	slotLost        // those that were lost with agents that were killed
	slotTold        // of what was dropped and lost: how much was said
	slots
)

// hands is what the agent holds, written where the next one finds it. Its zero value writes nothing.
type hands struct {
	mu     sync.Mutex
	memory *ebpf.Memory
	slot   [slots]uint64
}

// open finds what the last agent left, and returns how much it held.
func (h *hands) open(m *ebpf.Map) (lost uint64, err error) {
	if h.memory, err = m.Memory(); err != nil {
		return 0, fmt.Errorf("map what the agent holds: %w", err)
	}
	var left [slots * 8]byte
	if _, err := h.memory.ReadAt(left[:], 0); err != nil {
		return 0, fmt.Errorf("read what the last agent held: %w", err)
	}
	for i := range h.slot {
		h.slot[i] = binary.NativeEndian.Uint64(left[i*8:])
	}
	lost = h.slot[slotHeld]
	h.lose(lost)
	h.hold(-int(lost))
	return lost, nil
}

func (h *hands) set(i int, to func(uint64) uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slot[i] = to(h.slot[i])
	if h.memory != nil {
		var b [8]byte
		binary.NativeEndian.PutUint64(b[:], h.slot[i])
		_, _ = h.memory.WriteAt(b[:], int64(i)*8) // within the map's bounds
	}
}

// hold notes that n more records are with this agent, or fewer.
func (h *hands) hold(n int) {
	if h.memory != nil {
		h.set(slotHeld, func(was uint64) uint64 { return uint64(max(0, int64(was)+int64(n))) })
	}
}

func (h *hands) lose(n uint64) { h.set(slotLost, func(was uint64) uint64 { return was + n }) }

func (h *hands) read(i int) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.slot[i]
}

// gone returns how many records were lost with agents that were killed.
func (h *hands) gone() uint64 { return h.read(slotLost) }

// Hold notes that n more events are in the caller's memory and would be lost if it were killed; of
// those that are safe, it is called with a number below 0. The event that handle is called with is
// held until handle returns.
func (s *Sensor) Hold(n int) { s.hands.hold(n) }

// Told returns how much of Dropped was said when Tell was last called, by this agent or the one before.
func (s *Sensor) Told() uint64 { return s.hands.read(slotTold) }

// Tell notes that so much of Dropped was said.
func (s *Sensor) Tell(dropped uint64) { s.hands.set(slotTold, func(uint64) uint64 { return dropped }) }
