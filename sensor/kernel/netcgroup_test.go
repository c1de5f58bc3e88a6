package kernel

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"picket/event"
)

// Each way around connect(2) is told of as a connection: who, where to, by which protocol.
func TestConnectionsWithoutConnect(t *testing.T) {
	r := newRecording(t, only(event.NetConnect))
	for _, c := range r.Capabilities() {
		require(t, "bpf", c.OK, c.Detail)
	}
	for _, c := range []struct {
		name, network, host string
		do                  func(t *testing.T, there netip.AddrPort)
	}{
		{"sendto", "udp4", "127.0.0.1", sendTo(unix.AF_INET)},
		{"sendto of IPv6", "udp6", "::1", sendTo(unix.AF_INET6)},
		{"sendto of IPv4 in the clothes of IPv6", "udp4", "127.0.0.1", sendTo(unix.AF_INET6)},
		{"sendmmsg", "udp4", "127.0.0.1", sendMany},
		{"fast open", "tcp4", "127.0.0.1", fastOpen},
		{"io_uring", "tcp4", "127.0.0.1", ringConnect},
		{"io_uring of IPv6", "tcp6", "::1", ringConnect},
		{"connected datagrams", "udp4", "127.0.0.1", func(t *testing.T, there netip.AddrPort) {
			fd := socketFor(t, unix.AF_INET, unix.SOCK_DGRAM)
			if err := unix.Connect(fd, sockaddr(unix.AF_INET, there)); err != nil {
				t.Fatal(err)
			}
			if _, err := unix.Write(fd, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			there := awaitAnyone(t, c.network, c.host)
			c.do(t, there)
			e := r.find(t, event.NetConnect, func(e *event.Event) bool { return e.Net.Remote == there })
			p := e.Process
			if p.PID != uint32(os.Getpid()) || p.StartBoot == 0 || p.CgroupID == 0 || e.Net.Protocol != c.network[:3] || !e.Net.Initiated || e.Errno != 0 || e.Count != 1 {
				t.Errorf("%+v errno %d count %d by %+v", e.Net, e.Errno, e.Count, p)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			told := 0
			for i := range r.events {
				if r.events[i].Net.Remote == there {
					told++
				}
			}
			if told != 1 {
				t.Errorf("told %d times", told)
			}
		})
	}
}

// awaitAnyone opens a port that takes what comes.
func awaitAnyone(t *testing.T, network, host string) netip.AddrPort {
	t.Helper()
	at := net.JoinHostPort(host, "0")
	if network[:3] == "udp" {
		l, err := net.ListenPacket(network, at)
		if err != nil {
			t.Skip("no", network, "on", host, err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return netip.MustParseAddrPort(l.LocalAddr().String())
	}
	l, err := net.Listen(network, at)
	if err != nil {
		t.Skip("no", network, "on", host, err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return netip.MustParseAddrPort(l.Addr().String())
}

func socketFor(t *testing.T, family, kind int) int {
	t.Helper()
	fd, err := unix.Socket(family, kind, 0)
	if err != nil {
		t.Skip("no socket:", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func sockaddr(family int, a netip.AddrPort) unix.Sockaddr {
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func sendTo(family int) func(*testing.T, netip.AddrPort) {
	return func(t *testing.T, there netip.AddrPort) {
		fd := socketFor(t, family, unix.SOCK_DGRAM)
		for range 3 { // told of once
			if err := unix.Sendto(fd, []byte("x"), 0, sockaddr(family, there)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// raw4 is an address as system calls take it.
func raw4(a netip.AddrPort) *unix.RawSockaddrInet4 {
	return &unix.RawSockaddrInet4{Family: unix.AF_INET, Port: a.Port()<<8 | a.Port()>>8, Addr: a.Addr().As4()}
}

func sendMany(t *testing.T, there netip.AddrPort) {
	fd := socketFor(t, unix.AF_INET, unix.SOCK_DGRAM)
	type message struct {
		unix.Msghdr
		_ [8]byte // how much was sent
	}
	to, data := raw4(there), []byte("x")
	iov := unix.Iovec{Base: &data[0], Len: 1}
	var all [2]message
	for i := range all {
		all[i].Name, all[i].Namelen = (*byte)(unsafe.Pointer(to)), unix.SizeofSockaddrInet4
		all[i].Iov, all[i].Iovlen = &iov, 1
	}
	if n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&all)), 2, 0, 0, 0); errno != 0 || n != 2 {
		t.Fatal(n, errno)
	}
}

func fastOpen(t *testing.T, there netip.AddrPort) {
	fd := socketFor(t, unix.AF_INET, unix.SOCK_STREAM)
	if err := unix.Sendto(fd, []byte("x"), unix.MSG_FASTOPEN, sockaddr(unix.AF_INET, there)); err != nil {
		t.Skip("no fast open:", err)
	}
}

// ringConnect connects to a port through io_uring.
func ringConnect(t *testing.T, there netip.AddrPort) {
	if there.Addr().Is4() {
		ringConnectTo(t, unix.AF_INET, unsafe.Pointer(raw4(there)), unix.SizeofSockaddrInet4)
		return
	}
	to := unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: there.Port()<<8 | there.Port()>>8, Addr: there.Addr().As16()}
	ringConnectTo(t, unix.AF_INET6, unsafe.Pointer(&to), unix.SizeofSockaddrInet6)
}

// ringConnectTo connects through io_uring: one entry of one ring, whose parts lie where the kernel says.
func ringConnectTo(t *testing.T, family int, to unsafe.Pointer, size uint64) {
	var p [120]byte // struct io_uring_params
	at := func(b []byte, off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&b[off])) }
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		t.Skip("no io_uring:", errno)
	}
	defer func() { _ = unix.Close(int(ring)) }()
	queue, err := unix.Mmap(int(ring), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(queue) }()
	entry, err := unix.Mmap(int(ring), 0x10000000, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(entry) }()
	entry[0] = 16 // IORING_OP_CONNECT
	*at(entry, 4) = uint32(socketFor(t, family, unix.SOCK_STREAM))
	*(*uint64)(unsafe.Pointer(&entry[8])) = size
	*(*unsafe.Pointer)(unsafe.Pointer(&entry[16])) = to
	tail, array := *at(p[:], 44), *at(p[:], 64) // of sq_off
	*at(queue, array) = 0
	*at(queue, tail) = 1
	const getEvents = 1
	n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, ring, 1, 1, getEvents, 0, 0)
	if errno != 0 || n != 1 {
		t.Fatal(n, errno)
	}
	done := *at(p[:], 100) // cqes of cq_off
	if res := int32(*at(queue, done+8)); res != 0 {
		t.Fatal(errors.Join(errors.New("connect through io_uring"), unix.Errno(-res)))
	}
}
