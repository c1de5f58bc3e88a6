package kernel

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"picket/event"
)

func TestConnections(t *testing.T) {
	r := newRecording(t, only(event.NetConnect, event.NetListen, event.NetAccept, event.NetSend))
	counted := hasTracepoint(t, "sock_send_length")
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Log("no listener on", host, err)
			continue
		}
		there := netip.MustParseAddrPort(l.Addr().String())
		go func() {
			if c, err := l.Accept(); err == nil {
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}
		}()
		c, err := net.Dial("tcp", there.String())
		if err != nil {
			t.Fatal(err)
		}
		here := netip.MustParseAddrPort(c.LocalAddr().String())
		if _, err := c.Write(make([]byte, 300<<10)); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()

		e := r.find(t, event.NetListen, func(e *event.Event) bool { return e.Net.Local == there })
		if e.Process.PID != uint32(os.Getpid()) || e.Net.Protocol != "tcp" || e.Net.Remote.IsValid() {
			t.Errorf("listen %+v by %d", e.Net, e.Process.PID)
		}
		e = r.find(t, event.NetConnect, func(e *event.Event) bool { return e.Net.Remote == there })
		if e.Net.Local != here || !e.Net.Initiated || e.Errno != 0 || e.Process.PID != uint32(os.Getpid()) || e.Process.StartBoot == 0 || e.Process.CgroupID == 0 {
			t.Errorf("connect %+v errno %d by %+v", e.Net, e.Errno, e.Process)
		}
		e = r.find(t, event.NetAccept, func(e *event.Event) bool { return e.Net.Remote == here })
		if e.Net.Local != there || e.Net.Initiated {
			t.Errorf("accept %+v", e.Net)
		}
		_ = l.Close()
		if !counted {
			continue
		}
		e = r.find(t, event.NetSend, func(e *event.Event) bool { return e.Net.Remote == there })
		if e.Net.BytesOut < 64<<10 || e.Net.Local != here {
			t.Errorf("send %+v", e.Net)
		}
	}
}

func TestRefusedConnection(t *testing.T) {
	r := newRecording(t, only(event.NetConnect))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	there := netip.MustParseAddrPort(l.Addr().String())
	_ = l.Close()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0) // IPv4 in the clothes of IPv6
	if err != nil {
		t.Skip("no IPv6 sockets:", err)
	}
	defer func() { _ = unix.Close(fd) }()
	err = unix.Connect(fd, &unix.SockaddrInet6{Port: int(there.Port()), Addr: netip.AddrFrom16(there.Addr().As16()).As16()})
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Fatal(err)
	}
	e := r.find(t, event.NetConnect, func(e *event.Event) bool { return e.Net.Remote == there })
	if e.Errno != int32(unix.ECONNREFUSED) {
		t.Errorf("errno %d", e.Errno)
	}
}

// A port is told of that a program asked for by number, also where it did not get it.
func TestBinds(t *testing.T) {
	r := newRecording(t, only(event.NetBind))
	for _, c := range []struct {
		name, network, at string
		kind, family      int
	}{
		{"tcp", "tcp", "127.0.0.1", unix.SOCK_STREAM, unix.AF_INET},
		{"udp", "udp", "127.0.0.1", unix.SOCK_DGRAM, unix.AF_INET},
		{"tcp of IPv6", "tcp", "::1", unix.SOCK_STREAM, unix.AF_INET6},
	} {
		t.Run(c.name, func(t *testing.T) {
			first := socketFor(t, c.family, c.kind)
			bind := func(fd int, port uint16) error {
				return unix.Bind(fd, sockaddr(c.family, netip.AddrPortFrom(netip.MustParseAddr(c.at), port)))
			}
			if err := bind(first, 0); err != nil { // chosen by the kernel
				t.Skip("no", c.network, "on", c.at, err)
			}
			name, err := unix.Getsockname(first)
			if err != nil {
				t.Fatal(err)
			}
			var port uint16
			switch a := name.(type) {
			case *unix.SockaddrInet4:
				port = uint16(a.Port)
			case *unix.SockaddrInet6:
				port = uint16(a.Port)
			}
			here := netip.AddrPortFrom(netip.MustParseAddr(c.at), port)
			second := socketFor(t, c.family, c.kind)
			if err := bind(second, port); !errors.Is(err, unix.EADDRINUSE) {
				t.Fatal(err)
			}
			if err := unix.Shutdown(first, unix.SHUT_RDWR); err != nil && !errors.Is(err, unix.ENOTCONN) {
				t.Fatal(err)
			}
			if err := unix.Dup3(second, first, 0); err != nil { // frees the port
				t.Fatal(err)
			}
			if err := bind(second, port); err != nil {
				t.Fatal(err)
			}
			for _, errno := range []int32{int32(unix.EADDRINUSE), 0} {
				e := r.find(t, event.NetBind, func(e *event.Event) bool {
					return e.Net.Local == here && e.Errno == errno && e.Net.Protocol == c.network
				})
				if e.Process.PID != uint32(os.Getpid()) || e.Process.StartBoot == 0 || e.Net.Initiated || e.Net.Remote.IsValid() || e.Count != 1 {
					t.Errorf("%+v count %d by %+v", e.Net, e.Count, e.Process)
				}
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			told := 0
			for i := range r.events {
				if r.events[i].Net.Local == here && r.events[i].Net.Protocol == c.network {
					told++
				}
			}
			if told != 2 {
				t.Errorf("told %d times: the port that the kernel chose is none of them", told)
			}
		})
	}
}

func TestDatagrams(t *testing.T) {
	r := newRecording(t, only(event.NetConnect, event.NetListen))
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	there := netip.MustParseAddrPort(l.LocalAddr().String())
	c, err := net.Dial("udp", there.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	e := r.find(t, event.NetListen, func(e *event.Event) bool { return e.Net.Local == there })
	if e.Net.Protocol != "udp" {
		t.Errorf("bind %+v", e.Net)
	}
	e = r.find(t, event.NetConnect, func(e *event.Event) bool { return e.Net.Remote == there })
	if e.Net.Protocol != "udp" {
		t.Errorf("connect %+v", e.Net)
	}
}
