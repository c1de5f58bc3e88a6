package kernel

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"picket/event"
)

// flowKey and flow are the kernel's flow_key and flow (net.h).
type flowKey struct {
	Start        uint64
	PID          uint32
	Port, Family uint16
	Remote       [16]byte
}

type flow struct{ Bytes, Next uint64 }

const maxFlows = 16384 // in the kernel

// peer is the other end.
func (k *flowKey) peer() netip.AddrPort {
	addr := netip.AddrFrom16(k.Remote).Unmap()
	if k.Family == unix.AF_INET {
		addr = netip.AddrFrom4([4]byte(k.Remote[:4]))
	}
	return netip.AddrPortFrom(addr, k.Port<<8|k.Port>>8) // as it goes over the wire
}

// sentFlows is what the last look at the flows found.
type sentFlows struct {
	last   map[flowKey]uint64
	looked bool
}

// Sent calls yield with how much each process has sent to each peer since the last call, however little:
// NetSend tells of steps only. The first call tells nothing: what an agent before this one counted it has
// told. What belongs to processes that ended is taken out. It is called by one goroutine at a time.
func (s *Sensor) Sent(yield func(p event.Key, to netip.AddrPort, bytes uint64)) error {
	var (
		key   flowKey
		value flow
		ended []flowKey
	)
	first := !s.sent.looked
	is := make(map[flowKey]uint64, len(s.sent.last))
	all := s.maps["flows"].Iterate()
	for all.Next(&key, &value) {
		if more := s.sent.more(is, key, value.Bytes); more > 0 && !first {
			yield(event.Key{PID: key.PID, Start: key.Start}, key.peer(), more)
		}
		if unix.Kill(int(key.PID), 0) != nil { // no signal: only whether it is there
			ended = append(ended, key)
		}
	}
	err := all.Err()
	if err != nil {
		s.sent.carry(is)
	}
	s.sent.last, s.sent.looked = is, true
	if err != nil && !errors.Is(err, ebpf.ErrIterationAborted) { // else the next look sees the rest
		return fmt.Errorf("read the table of bytes sent: %w", err)
	}
	for _, key := range ended {
		if err := s.maps["flows"].LookupAndDelete(&key, &value); err != nil {
			continue // given up by the kernel already
		}
		if more := grown(value.Bytes, is[key]); more > 0 && !first {
			yield(event.Key{PID: key.PID, Start: key.Start}, key.peer(), more)
		}
		delete(is, key)
	}
	return nil
}

// more is by how much a flow grew since it was seen last: in this look, which may see one twice as others
// go, or in the one before.
func (f *sentFlows) more(is map[flowKey]uint64, key flowKey, bytes uint64) uint64 {
	was, seen := is[key]
	if !seen {
		was = f.last[key]
	}
	is[key] = bytes
	return grown(bytes, was)
}

// carry keeps what was told of flows that a look did not reach.
func (f *sentFlows) carry(is map[flowKey]uint64) {
	for key, bytes := range f.last {
		if _, seen := is[key]; !seen && len(is) < 2*maxFlows {
			is[key] = bytes
		}
	}
}

// grown is by how much a count grew: it began anew where it is less than it was.
func grown(is, was uint64) uint64 {
	if is < was {
		return is
	}
	return is - was
}
