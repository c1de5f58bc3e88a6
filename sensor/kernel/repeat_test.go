package kernel

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

// What is told of a process that connects again and again adds up to what it did, exactly.
func TestRepeatedConnectionsAreCounted(t *testing.T) {
	r := newRecording(t, only(event.NetConnect, event.NetAccept))
	const rounds = 300
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	other, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	for _, l := range []net.Listener{l, other} {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		}()
	}
	dial := func(l net.Listener) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	began := time.Now()
	for range rounds {
		dial(l)
	}
	took := time.Since(began)
	dial(other)

	for _, x := range []struct {
		kind event.Kind
		at   net.Listener
		want uint32
	}{{event.NetConnect, l, rounds}, {event.NetAccept, l, rounds}, {event.NetConnect, other, 1}, {event.NetAccept, other, 1}} {
		there := netip.MustParseAddrPort(x.at.Addr().String())
		told, sum := uint32(0), uint32(0)
		r.wait(t, x.kind.String()+" of all rounds", func(e *event.Event) bool {
			if e.Kind != x.kind || e.Process.PID != uint32(os.Getpid()) || e.Net.Remote != there && e.Net.Local != there {
				return false
			}
			told++
			sum += e.Count
			return sum >= x.want
		})
		if most := uint32(took/time.Second) + 3; sum != x.want || told > most { // one a second, and what was left
			t.Errorf("%s %s: %d told in %d events, want %d in %d at most", x.kind, there, sum, told, x.want, most)
		}
		if x.at == l {
			if n := r.Stats().Collapsed[x.kind]; n < uint64(x.want-told) {
				t.Errorf("%s: %d collapsed, %d of %d were told of by themselves", x.kind, n, told, x.want)
			}
		}
	}
}

// A refused connection and one that worked are not the same.
func TestRepeatsKeepResultsApart(t *testing.T) {
	r := newRecording(t, only(event.NetConnect))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	there := netip.MustParseAddrPort(l.Addr().String())
	connect := func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0) // waits for the answer, as net.Dial does not
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Close(fd) }()
		return unix.Connect(fd, &unix.SockaddrInet4{Port: int(there.Port()), Addr: there.Addr().As4()})
	}
	if err := connect(); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := connect(); !errors.Is(err, unix.ECONNREFUSED) {
		t.Fatal(err)
	}
	for _, failed := range []bool{false, true} {
		r.wait(t, "connect", func(e *event.Event) bool { return e.Net.Remote == there && (e.Errno != 0) == failed })
	}
}
