package kernel

import (
	"strings"

	"picket/event"
)

var socketTypes = map[uint16]string{1: "stream", 2: "dgram", 5: "seqpacket"}

// unix reads a connection to a socket of the host.
func (d *decoder) unix(raw []byte) error {
	r, err := record[typedUnixRecord](raw)
	if err != nil {
		return err
	}
	if int(r.Len) > len(r.Path) {
		return errLength
	}
	name := string(r.Path[:r.Len])
	if strings.HasPrefix(name, "@") {
		name = strings.ReplaceAll(name, "\x00", "@") // as the kernel's own list writes it
	} else {
		name, _, _ = strings.Cut(name, "\x00")
	}
	d.e.Net = event.Net{
		Protocol: "unix", Initiated: true,
		Unix: &event.Unix{Path: name, Type: socketTypes[r.Type], Peer: r.Peer, Dev: uint64(r.Dev), Ino: r.Ino},
	}
	d.e.Count = r.Count
	return nil
}
