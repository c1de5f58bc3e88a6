package event

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
)

// netRows says who spoke with whom.
var netRows = []Info{
	top("net.remote.ip", "", Text, "address of the other end",
		func(e *Event) Value { return addr(e.Net.Remote) }, address(func(e *Event) *netip.AddrPort { return &e.Net.Remote })),
	top("net.remote.port", "", Integer, "port of the other end",
		func(e *Event) Value { return count(e.Net.Remote.Port()) }, port(func(e *Event) *netip.AddrPort { return &e.Net.Remote })),
	top("net.local.ip", "", Text, "our address",
		func(e *Event) Value { return addr(e.Net.Local) }, address(func(e *Event) *netip.AddrPort { return &e.Net.Local })),
	top("net.local.port", "", Integer, "our port",
		func(e *Event) Value { return count(e.Net.Local.Port()) }, port(func(e *Event) *netip.AddrPort { return &e.Net.Local })),
	top("net.protocol", "Protocol", Text, "tcp, udp or unix",
		func(e *Event) Value { return text(e.Net.Protocol) }, func(e *Event, s string) error { e.Net.Protocol = s; return nil }),
	top("net.initiated", "Initiated", Boolean, "true where the process opened the connection",
		func(e *Event) Value {
			if e.Kind.Class() != "net" {
				return Value{}
			}
			return boolean(e.Net.Initiated)
		}, flag(func(e *Event, b bool) { e.Net.Initiated = b })),
	top("net.bytes_out", "", Integer, "bytes sent so far by the process to the other end",
		func(e *Event) Value { return count(e.Net.BytesOut) }, number(func(e *Event, n int64) { e.Net.BytesOut = uint64(n) })),
	top("", "SourceIp", Text, "the connecting end's address",
		func(e *Event) Value { return addr(*e.source()) }, address((*Event).source)),
	top("", "SourcePort", Integer, "the connecting end's port",
		func(e *Event) Value { return count(e.source().Port()) }, port((*Event).source)),
	top("", "DestinationIp", Text, "the accepting end's address",
		func(e *Event) Value { return addr(*e.destination()) }, address((*Event).destination)),
	top("", "DestinationPort", Integer, "the accepting end's port",
		func(e *Event) Value { return count(e.destination().Port()) }, port((*Event).destination)),
}

// source is the end that connected. An event that was set field by field sets net.initiated first
// or is taken as initiated.
func (e *Event) source() *netip.AddrPort {
	if e.Kind.Accepts() {
		return &e.Net.Remote
	}
	return &e.Net.Local
}

func (e *Event) destination() *netip.AddrPort {
	if e.Kind.Accepts() {
		return &e.Net.Local
	}
	return &e.Net.Remote
}

func address(end func(*Event) *netip.AddrPort) func(*Event, string) error {
	return func(e *Event, s string) error {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("%q is not an IP address", s)
		}
		*end(e) = netip.AddrPortFrom(a, end(e).Port())
		return nil
	}
}

func port(end func(*Event) *netip.AddrPort) func(*Event, string) error {
	return func(e *Event, s string) error {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return errors.New("a port is a number from 0 to 65535")
		}
		a := end(e).Addr()
		*end(e) = netip.AddrPortFrom(a, uint16(n))
		return nil
	}
}
