package kernel

import (
	"errors"

	"github.com/cilium/ebpf"
)

// sweeper takes entries out of a table that the kernel fills meanwhile.
type sweeper[K, V any] struct {
	table *ebpf.Map
	keys  []K // kept for its room
}

// sweep removes the entries that are done and calls each with what they held last. It reports whether
// it left some, which the next sweep sees.
func (s *sweeper[K, V]) sweep(done func(*V) bool, each func(*V)) (left bool, err error) {
	var (
		key   K
		value V
	)
	s.keys = s.keys[:0]
	all := s.table.Iterate()
	for all.Next(&key, &value) {
		if done(&value) {
			s.keys = append(s.keys, key)
		} else {
			left = true
		}
	}
	if err := all.Err(); errors.Is(err, ebpf.ErrIterationAborted) {
		left = true
	} else if err != nil {
		return left, err
	}
	for i := range s.keys {
		err := s.table.LookupAndDelete(&s.keys[i], &value)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			continue
		}
		if err != nil {
			return left, err
		}
		each(&value)
	}
	return left, nil
}
