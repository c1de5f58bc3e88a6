package kernel

import "fmt"

// Slots of the handlers map.
const (
	handleOpen = iota + 1
	handleRename
	handleUnlink
	handleChmod
	handleConnect
	handleListen
	handleAccept
)

// Slots of further file handlers.
const (
	handleLink = iota + 8
	handleMkdir
	handleTruncate
	handleChown
	handleAttribute
	handleMap
	handleIO
	handleProtect
	handleSocketcall
)

// Slots from 20 on are those of calls that get at other processes, at the host or at more rights.
const (
	handleCall   = iota + 20
	handleDevice // reached from the handler of open
	handleMemory // as well
	handleControl
	handleUnix // reached from the handler of connect
)

// A call is a system call that goes to a handler; shape says where its arguments are.
type call struct {
	number, handler, shape uint32
}

// route sends the system calls of one handler to it.
func (s *Sensor) route(handler uint32) error {
	half := s.maps["routes"].MaxEntries() / 2
	for base, table := range map[uint32][]call{0: calls, half: calls32} {
		for _, c := range table {
			if c.handler != handler {
				continue
			}
			if err := s.maps["routes"].Put(base+c.number, c.handler|c.shape<<8); err != nil {
				return fmt.Errorf("route system call %d: %w", c.number, err)
			}
		}
	}
	return nil
}
