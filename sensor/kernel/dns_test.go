package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"picket/event"
)

// question is a DNS message that asks for example.test.
func question(id, kind uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, id)
	b = append(b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 7)
	b = append(b, "example\x04test\x00"...)
	b = binary.BigEndian.AppendUint16(b, kind)
	return append(b, 0, 1)
}

// reply answers it by another name and two addresses.
func reply(q []byte) []byte {
	b := append([]byte(nil), q...)
	b[2], b[3], b[7] = 0x81, 0x80, 3
	b = append(b, "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x06\x03www\xc0\x0c"...)
	b = append(b, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x09"...)
	return append(b, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x0a"...)
}

const answered = "www.example.test;127.0.0.9;127.0.0.10;"

func TestParseDNS(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want event.DNS
		cut  bool
	}{
		{"question", question(1, 28), event.DNS{Name: "example.test", Type: "AAAA"}, false},
		{"type without a name", question(1, 65280), event.DNS{Name: "example.test", Type: "TYPE65280"}, false},
		{"answer", reply(question(1, 1)), event.DNS{Name: "example.test", Type: "A", Answer: true, Results: answered}, false},
		{"answer cut short", reply(question(1, 1))[:len(reply(question(1, 1)))-2], event.DNS{Name: "example.test", Type: "A", Answer: true, Results: "www.example.test;127.0.0.9;"}, true},
		{"no such name", []byte("\x00\x01\x81\x83\x00\x01\x00\x00\x00\x00\x00\x00\x02\x00;\x00\x00\x10\x00\x01"), event.DNS{Name: `\000\059`, Type: "TXT", Answer: true, Status: 3}, false},
	} {
		m, err := parseDNS(c.in)
		if err != nil || m.cut != c.cut {
			t.Errorf("%s: %v, cut %v", c.name, err, m.cut)
		}
		if d := cmp.Diff(c.want, m.dns); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	for name, in := range map[string]string{
		"nothing":                 "",
		"a name that goes round":  "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01",
		"a name beyond the end":   "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x3fa\x00\x01\x00\x01",
		"no question":             "\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01",
		"a question without type": "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00",
	} {
		if m, err := parseDNS([]byte(in)); err == nil {
			t.Errorf("%s was taken: %+v", name, m)
		}
	}
}

func FuzzDNS(f *testing.F) {
	f.Add(question(1, 1))
	f.Add(reply(question(1, 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = parseStream(b, len(b))
		m, err := parseDNS(b)
		if err != nil {
			return
		}
		if len(m.dns.Results) > maxResults || len(m.dns.Name) > 4*maxName || len(m.addresses) > maxAnswers {
			t.Errorf("%+v", m)
		}
	})
}

func TestHostnamesAreBounded(t *testing.T) {
	var n names
	kept := netip.MustParseAddr("10.255.255.255")
	n.put(kept, "kept")
	for i := range uint32(3 * hostnames) {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 10<<24|i)
		n.put(netip.AddrFrom4(a), "x")
		if n.of(kept) != "kept" {
			t.Fatal("an address in use was forgotten")
		}
	}
	if all := len(n.young) + len(n.old); all > hostnames {
		t.Errorf("%d names", all)
	}
}

// A question and its answer are told of, whichever way a program passes them, and the answer names
// the connections that follow.
func TestNames(t *testing.T) {
	require(t, "bpf", hasTracepoint(t, "sock_send_length"), "needs Linux 6.3")
	r := newRecording(t, only(event.NetDNS, event.NetConnect))
	server, err := net.ListenPacket("udp4", "127.0.0.53:53")
	if err != nil {
		t.Skip("port 53 of 127.0.0.53 is taken:", err)
	}
	defer func() { _ = server.Close() }()
	there := netip.MustParseAddrPort(server.LocalAddr().String())
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(reply(b[:n]), from)
		}
	}()
	to := &unix.SockaddrInet4{Port: 53, Addr: there.Addr().As4()}
	for i, c := range []struct {
		name string
		peer bool
		send func(fd int, b []byte) error
		recv func(fd int, b []byte) error
	}{
		{
			"write and read", true,
			func(fd int, b []byte) error { _, err := unix.Write(fd, b); return err },
			func(fd int, b []byte) error { _, err := unix.Read(fd, b); return err },
		},
		{
			"sendmsg and recvmsg", true,
			func(fd int, b []byte) error { return unix.Sendmsg(fd, b, nil, nil, 0) },
			func(fd int, b []byte) error { _, _, _, _, err := unix.Recvmsg(fd, b, nil, 0); return err },
		},
		{
			"sendto and recvfrom without a peer", false,
			func(fd int, b []byte) error { return unix.Sendto(fd, b, 0, to) },
			func(fd int, b []byte) error { _, _, err := unix.Recvfrom(fd, b, 0); return err },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			fd := socketFor(t, unix.AF_INET, unix.SOCK_DGRAM)
			if c.peer {
				if err := unix.Connect(fd, to); err != nil {
					t.Fatal(err)
				}
			}
			kind := [...]uint16{1, 28, 16}[i]
			if err := c.send(fd, question(uint16(i), kind)); err != nil {
				t.Fatal(err)
			}
			if err := c.recv(fd, make([]byte, 512)); err != nil {
				t.Fatal(err)
			}
			for _, answer := range []bool{false, true} {
				want := &event.DNS{Name: "example.test", Type: recordType(kind), Answer: answer}
				if answer {
					want.Results = answered
				}
				e := r.find(t, event.NetDNS, func(e *event.Event) bool { return e.Net.DNS.Answer == answer && e.Net.DNS.Type == want.Type })
				if d := cmp.Diff(want, e.Net.DNS); d != "" {
					t.Error(d)
				}
				if e.Process.PID != uint32(os.Getpid()) || e.Net.Remote != there || e.Net.Protocol != "udp" || e.Net.Local.Port() == 0 || e.Net.Initiated == answer {
					t.Errorf("%+v by %d", e.Net, e.Process.PID)
				}
			}
		})
	}
	t.Run("sendmmsg of two", func(t *testing.T) { askTwice(t, r, to) })
	l, err := net.Listen("tcp4", "127.0.0.9:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	fd := socketFor(t, unix.AF_INET, unix.SOCK_STREAM)
	if err := unix.Connect(fd, sockaddr(unix.AF_INET, netip.MustParseAddrPort(l.Addr().String()))); err != nil {
		t.Fatal(err)
	}
	e := r.find(t, event.NetConnect, func(e *event.Event) bool { return e.Net.Remote.String() == l.Addr().String() })
	if e.Net.Hostname != "example.test" {
		t.Errorf("connected to %q", e.Net.Hostname)
	}
}

// askTwice asks as the C library does: for both families of addresses by one call.
func askTwice(t *testing.T, r *recording, to unix.Sockaddr) {
	fd := socketFor(t, unix.AF_INET, unix.SOCK_DGRAM)
	if err := unix.Connect(fd, to); err != nil {
		t.Fatal(err)
	}
	type message struct {
		unix.Msghdr
		_ [8]byte // how much was sent
	}
	var all [2]message
	for i, kind := range []uint16{33, 257} {
		q := question(7, kind)
		all[i].Iov, all[i].Iovlen = &unix.Iovec{Base: &q[0], Len: uint64(len(q))}, 1
	}
	if n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&all)), 2, 0, 0, 0); errno != 0 || n != 2 {
		t.Fatal(n, errno)
	}
	for range all {
		if _, _, err := unix.Recvfrom(fd, make([]byte, 512), 0); err != nil {
			t.Fatal(err)
		}
	}
	r.find(t, event.NetDNS, func(e *event.Event) bool { return e.Net.DNS.Answer && e.Net.DNS.Type == "CAA" })
	r.mu.Lock()
	defer r.mu.Unlock()
	told := map[string]int{}
	for i := range r.events {
		if d := r.events[i].Net.DNS; d != nil && !d.Answer {
			told[d.Type]++
		}
	}
	if told["SRV"] != 1 || told["CAA"] != 1 {
		t.Errorf("questions: %v", told)
	}
}

func TestParseStream(t *testing.T) {
	prefixed := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	q, a := question(1, 1), reply(question(1, 1))
	long := bytes.Clone(a)
	long[12], long[13], long[14] = 1, 'x', 5 // x.ample.test: read two bytes later, ample.test is a name as well
	for _, c := range []struct {
		name  string
		in    []byte
		whole int
		want  string
		cut   bool
	}{
		{"with its length", prefixed(q), len(q) + 2, "example.test", false},
		{"its length came before", a, len(a), "example.test", false},
		{"two questions", append(prefixed(q), prefixed(question(1, 28))...), 2*len(q) + 4, "example.test", false},
		{"one that goes on", prefixed(a)[:60], len(a) + 2, "example.test", true},
		{"one that goes on, its length came before", a[:60], len(a), "example.test", true},
		{"a name that may be read twice", long, len(long), "x.ample.test", false},
	} {
		m, err := parseStream(c.in, c.whole)
		if err != nil || m.dns.Name != c.want || m.cut != c.cut {
			t.Errorf("%s: %+v, %v", c.name, m, err)
		}
	}
	for _, in := range []string{"", "\x00\x20", "the rest of one that came in pieces"} {
		if m, err := parseStream([]byte(in), len(in)); !errors.Is(err, errPart) {
			t.Errorf("%q was taken: %+v, %v", in, m, err)
		}
	}
}

// serveStream answers names over TCP on port 53 of an address of its own.
func serveStream(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.54:53")
	if err != nil {
		t.Skip("port 53 of 127.0.0.54 is taken:", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				b := make([]byte, 512)
				for {
					if _, err := io.ReadFull(c, b[:2]); err != nil {
						return
					}
					q := b[:binary.BigEndian.Uint16(b)]
					if _, err := io.ReadFull(c, q); err != nil {
						return
					}
					a := reply(q[:30]) // the question alone
					a[11] = 0
					_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
				}
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// Names that are asked for over TCP are told of as those over UDP, however the length is passed.
func TestNamesOverTCP(t *testing.T) {
	require(t, "bpf", hasTracepoint(t, "sock_send_length"), "needs Linux 6.3")
	r := newRecording(t, only(event.NetDNS))
	there := serveStream(t)
	find := func(t *testing.T, kind string, answer bool) {
		t.Helper()
		e := r.find(t, event.NetDNS, func(e *event.Event) bool { return e.Net.DNS.Answer == answer && e.Net.DNS.Type == kind })
		want := &event.DNS{Name: "example.test", Type: kind, Answer: answer}
		if answer {
			want.Results = answered
		}
		if d := cmp.Diff(want, e.Net.DNS); d != "" {
			t.Error(d)
		}
		if e.Process.PID != uint32(os.Getpid()) || e.Net.Remote != there || e.Net.Protocol != "tcp" || e.Net.Local.Port() == 0 || e.Net.Initiated == answer {
			t.Errorf("%+v by %d", e.Net, e.Process.PID)
		}
	}
	t.Run("Go's resolver", func(t *testing.T) {
		resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp4", there.String())
		}}
		if _, err := resolver.LookupNetIP(t.Context(), "ip4", "example.test."); err != nil {
			t.Fatal(err)
		}
		find(t, "A", false)
		find(t, "A", true)
	})
	t.Run("as the C library", func(t *testing.T) {
		fd := socketFor(t, unix.AF_INET, unix.SOCK_STREAM)
		if err := unix.Connect(fd, sockaddr(unix.AF_INET, there)); err != nil {
			t.Fatal(err)
		}
		q := question(9, 257)
		length := binary.BigEndian.AppendUint16(nil, uint16(len(q)))
		if n, err := unix.Writev(fd, [][]byte{length, q}); err != nil || n != len(q)+2 {
			t.Fatal(n, err)
		}
		b := make([]byte, len(reply(q)))
		if _, err := unix.Read(fd, b[:2]); err != nil {
			t.Fatal(err)
		}
		if n, err := unix.Readv(fd, [][]byte{b[:7], b[7:]}); err != nil || n != len(b) {
			t.Fatal(n, err)
		}
		find(t, "CAA", false)
		find(t, "CAA", true)
	})
	if n := r.Stats().Malformed; n > 0 {
		t.Errorf("%d malformed", n)
	}
}
