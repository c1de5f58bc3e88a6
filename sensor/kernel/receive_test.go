package kernel

import (
	"io"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"picket/event"
)

// Bytes are counted once they are taken: a look ahead is none.
func TestReceived(t *testing.T) {
	require(t, "bpf", hasTracepoint(t, "sock_recv_length"), "needs Linux 6.3")
	r := newRecording(t, only(event.NetReceive))
	const size = 64 << 10 // what the first event tells of
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = c.Write(make([]byte, size))
			_ = c.Close()
		}
	}()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	peek(t, c.(*net.TCPConn))
	if n, err := io.Copy(io.Discard, c); err != nil || n != size {
		t.Fatal(n, err)
	}
	there, here := netip.MustParseAddrPort(l.Addr().String()), netip.MustParseAddrPort(c.LocalAddr().String())
	e := r.find(t, event.NetReceive, func(e *event.Event) bool { return e.Net.Remote == there })
	if e.Net.BytesIn != size || e.Net.BytesOut != 0 || e.Net.Local != here || e.Net.Protocol != "tcp" || e.Process.PID != uint32(os.Getpid()) {
		t.Errorf("%+v by %d", e.Net, e.Process.PID)
	}
}

// peek looks at what has come and leaves it.
func peek(t *testing.T, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		_, _, failed = unix.Recvfrom(int(fd), make([]byte, 32<<10), unix.MSG_PEEK)
		return failed != unix.EAGAIN
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}
