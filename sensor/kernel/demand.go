package kernel

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"picket/event"
)

// Follow makes the sensor meet another demand while it runs: programs that are needed now are
// attached, kinds and paths that are not are no longer reported. Nothing that both demands ask for
// is missed meanwhile. It is called by one goroutine at a time. After an error the sensor reports
// at least what it did.
func (s *Sensor) Follow(d Demand) error {
	spec, _, err := programs()
	if err != nil {
		return err
	}
	if _, err := s.attach(spec, d); err != nil {
		return err
	}
	if err := s.setPaths(d.Paths); err != nil {
		return err
	}
	if err := s.setSockets(d.Sockets); err != nil {
		return err
	}
	if err := s.configure(func(c *typedSettings) { c.Kinds, c.MapOnce = d.bits(), d.mapOnce() }); err != nil {
		return err
	}
	for _, c := range s.caps {
		if !c.OK {
			s.log.Warn("the kernel lacks a capability", "capability", c.Name, "detail", c.Detail)
		}
	}
	return nil
}

// Equal reports whether both ask for the same.
func (d Demand) Equal(o Demand) bool {
	return d.bits() == o.bits() && slices.Equal(d.Paths, o.Paths) && slices.Equal(d.Sockets, o.Sockets) && d.MapOnce == o.MapOnce
}

// bits has one bit for each kind that is wanted.
func (d Demand) bits() uint64 {
	var bits uint64
	for k := range event.Kinds {
		if d.wants(k) {
			bits |= 1 << k
		}
	}
	return bits
}

func (d Demand) mapOnce() uint32 {
	if d.MapOnce {
		return 1
	}
	return 0
}

// setPaths makes the creation and writing of files be reported below paths only; of none, all of
// them. What is wanted before and after is reported throughout.
func (s *Sensor) setPaths(paths []string) error {
	s.prefixes.Store(&paths)
	if len(paths) == 0 {
		if err := s.limitPaths(0); err != nil {
			return err
		}
	}
	if err := s.paths.set(s.maps["prefixes"], paths); err != nil {
		return fmt.Errorf("ask for changes of files: %w", err)
	}
	if len(paths) == 0 {
		return nil
	}
	return s.limitPaths(1)
}

func (s *Sensor) limitPaths(on uint32) error {
	return s.configure(func(c *typedSettings) { c.Prefixes = on })
}

// setSockets makes connections be reported to the runtimes' sockets and to those that begin as given.
func (s *Sensor) setSockets(beginnings []string) error {
	texts := slices.Clone(beginnings)
	for _, r := range event.RuntimeSockets {
		if strings.ContainsRune("@/", rune(r.Socket[0])) || strings.HasSuffix(r.Socket, "/") {
			texts = append(texts, r.Socket)
		} else {
			texts = append(texts, r.Socket+"\x00") // the whole of a path's last part
		}
	}
	if err := s.sockets.set(s.maps["sockets"], texts); err != nil {
		return fmt.Errorf("ask for connections to sockets: %w", err)
	}
	return nil
}

// beginnings are those that a table of the kernel holds.
type beginnings map[typedPrefixKey]bool

// set makes a table hold these, and no others. What it held and shall hold it holds throughout.
func (b *beginnings) set(table *ebpf.Map, texts []string) error {
	keys := beginnings{}
	for _, text := range texts {
		var key typedPrefixKey
		n := 0
		for ; n < len(text) && n < len(key.Path); n++ {
			key.Path[n] = int8(text[n])
		}
		key.Bits = uint32(n) * 8
		keys[key] = true
		if err := table.Put(&key, uint32(1)); err != nil {
			return fmt.Errorf("add %q: %w", text, err)
		}
	}
	for key := range *b {
		if keys[key] {
			continue
		}
		if err := table.Delete(&key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("remove one: %w", err)
		}
	}
	*b = keys
	return nil
}
