package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"picket/event"
)

var errHello = errors.New("bytes that begin as the hello of TLS and are none")

const (
	tlsRecord         = 5 // bytes of a record's header
	tlsHandshake      = 22
	clientHello       = 1
	helloFixed        = 34 // a hello's version and random bytes
	maxProtocols      = 256
	extServerName     = 0
	extALPN           = 16
	extVersions       = 43
	extEncryptedHello = 0xfe0d
)

// tlsVersions are those that a hello may offer. What else it lists is there to keep servers from
// choking on it.
var tlsVersions = map[uint16]string{0x300: "SSL 3.0", 0x301: "1.0", 0x302: "1.1", 0x303: "1.2", 0x304: "1.3"}

// cursor reads bytes of which the end may be missing.
type cursor struct {
	b   []byte
	cut bool // more was asked for than there was
}

func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		n, c.cut = len(c.b), true
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

// number reads a number of so many bytes.
func (c *cursor) number(bytes int) int {
	n := 0
	if len(c.b) < bytes {
		c.b, c.cut = nil, true
		return 0
	}
	for _, b := range c.take(bytes) {
		n = n<<8 | int(b)
	}
	return n
}

// piece reads what has its length in so many bytes before it.
func (c *cursor) piece(bytes int) []byte { return c.take(c.number(bytes)) }

// parseHello reads the hello of a client, as far as it came. Bytes are anyone's: what does not fit
// ends the reading, and what is no hello is refused.
func parseHello(b []byte) (t event.TLS, cut bool, err error) {
	c := cursor{b: handshake(b)}
	if c.number(1) != clientHello {
		return t, false, errHello
	}
	body := c.piece(3)
	cut = c.cut
	c = cursor{b: body}
	fixed := c.take(helloFixed)
	if len(fixed) < helloFixed || fixed[0] != 3 {
		return t, false, errHello
	}
	legacy := binary.BigEndian.Uint16(fixed)
	c.piece(1) // the session
	c.piece(2) // ciphers
	c.piece(1) // compression
	var extensions, versions []byte
	if len(c.b) > 0 { // the oldest clients have none
		extensions = c.piece(2)
	}
	cut = cut || c.cut
	c = cursor{b: extensions}
	for len(c.b) > 0 {
		kind, data := c.number(2), c.piece(2)
		if c.cut {
			break
		}
		switch kind {
		case extServerName:
			var long bool
			t.ServerName, long = serverName(data)
			cut = cut || long
		case extALPN:
			t.ALPN = protocols(data)
		case extVersions:
			versions = data
		case extEncryptedHello:
			t.Inner = len(data) > 0 && data[0] == 0 // the outer of two
		}
	}
	t.Version = newest(versions, legacy)
	return t, cut || c.cut, nil
}

// handshake returns what the records at the beginning of b hold: a hello may go on in the next one.
func handshake(b []byte) []byte {
	var out []byte
	for len(b) > tlsRecord && b[0] == tlsHandshake && b[1] == 3 {
		n := min(int(binary.BigEndian.Uint16(b[3:])), len(b)-tlsRecord)
		if out == nil {
			out = b[tlsRecord : tlsRecord+n : tlsRecord+n]
		} else {
			out = append(out, b[tlsRecord:tlsRecord+n]...)
		}
		b = b[tlsRecord+n:]
	}
	return out
}

func serverName(data []byte) (name string, cut bool) {
	c := cursor{b: data}
	c = cursor{b: c.piece(2)}
	for len(c.b) > 0 {
		kind, b := c.number(1), c.piece(2)
		if kind != 0 {
			continue
		}
		if len(b) > maxName {
			b, cut = b[:maxName], true
		}
		var out strings.Builder
		printable(&out, b)
		return out.String(), cut
	}
	return "", false
}

func protocols(data []byte) string {
	c := cursor{b: data}
	c = cursor{b: c.piece(2)}
	var out strings.Builder
	for len(c.b) > 0 && out.Len() < maxProtocols {
		printable(&out, c.piece(1))
		out.WriteByte(';')
	}
	return out.String()
}

// newest returns the highest version of a list with its length before it, or without one the legacy.
func newest(list []byte, legacy uint16) string {
	best := uint16(0)
	c := cursor{b: list}
	c = cursor{b: c.piece(1)}
	for len(c.b) > 1 {
		if v := uint16(c.number(2)); tlsVersions[v] != "" {
			best = max(best, v)
		}
	}
	if best == 0 {
		best = legacy
	}
	if s, ok := tlsVersions[best]; ok {
		return s
	}
	return fmt.Sprintf("0x%04x", best)
}

func (d *decoder) tls(raw []byte) error {
	b, _, err := carried(raw)
	if err != nil {
		return err
	}
	t, cut, err := parseHello(b)
	if err != nil {
		return err
	}
	if err := d.net(raw); err != nil {
		return err
	}
	d.e.Net.TLS, d.e.Truncated = &t, d.e.Truncated || cut
	return nil
}
