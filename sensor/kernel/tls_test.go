package kernel

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"picket/event"
)

// helloOf returns what a client of crypto/tls sends first.
func helloOf(t testing.TB, c *tls.Config) []byte {
	t.Helper()
	here, there := net.Pipe()
	go func() {
		_ = tls.Client(here, c).Handshake() // it ends as the pipe does
		_ = here.Close()
	}()
	b := make([]byte, 16<<10)
	n, err := there.Read(b)
	_ = there.Close()
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func extension(kind byte, data string) string {
	return "\x00" + string([]byte{kind, 0, byte(len(data))}) + data
}

// hello wraps extensions of less than 256 bytes into one, of which the lists before them are empty.
func hello(extensions string) []byte {
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00\x00\x00\x00\x00" + string([]byte{byte(len(extensions))}) + extensions
	return []byte("\x16\x03\x01\x00" + string([]byte{byte(len(body) + 4)}) + "\x01\x00\x00" + string([]byte{byte(len(body))}) + body)
}

func TestParseHello(t *testing.T) {
	plain := helloOf(t, &tls.Config{ServerName: "example.test", NextProtos: []string{"h2", "http/1.1"}})
	want := event.TLS{ServerName: "example.test", Version: "1.3", ALPN: "h2;http/1.1;"}
	inRecords := func(b []byte, size int) (out []byte) {
		for b = b[tlsRecord:]; len(b) > 0; b = b[min(size, len(b)):] {
			out = append(out, 22, 3, 1, 0, byte(min(size, len(b))))
			out = append(out, b[:min(size, len(b))]...)
		}
		return out
	}
	name := func(s string) string {
		return extension(0, string([]byte{0, byte(len(s) + 3), 0, 0, byte(len(s))})+s)
	}
	for _, c := range []struct {
		name string
		in   []byte
		want event.TLS
		cut  bool
	}{
		{"of a client", plain, want, false},
		{"with what is sent after it", append(bytes.Clone(plain), "\x14\x03\x03\x00\x01\x01"...), want, false},
		{"in records of a byte", inRecords(plain, 1), want, false},
		{"in records of 200 bytes", inRecords(plain, 200), want, false},
		{"of an old client", helloOf(t, &tls.Config{ServerName: "a.test", MaxVersion: tls.VersionTLS12}), event.TLS{ServerName: "a.test", Version: "1.2"}, false},
		{"without a name", helloOf(t, &tls.Config{InsecureSkipVerify: true}), event.TLS{Version: "1.3"}, false},
		{"without extensions", hello("")[:9+helloFixed+5], event.TLS{Version: "1.2"}, true},
		{"of nothing", hello(""), event.TLS{Version: "1.2"}, false},
		{"name that is no name", hello(name("a;\n\x1b[1m\xff")), event.TLS{ServerName: `a\059\010\027[1m\255`, Version: "1.2"}, false},
		{"protocol that is none", hello(extension(16, "\x00\x04\x03;\x00 ")), event.TLS{ALPN: `\059\000\032;`, Version: "1.2"}, false},
		{"version of the future, and grease", hello(extension(43, "\x06\x3a\x3a\x03\x04\x7f\x1c")), event.TLS{Version: "1.3"}, false},
		{"encrypted", hello(name("outer.test") + "\xfe\x0d\x00\x01\x00"), event.TLS{ServerName: "outer.test", Version: "1.2", Inner: true}, false},
		{"the encrypted one itself", hello(name("inner.test") + "\xfe\x0d\x00\x01\x01"), event.TLS{ServerName: "inner.test", Version: "1.2"}, false},
		{"cut in the name", hello(name("example.test"))[:60], event.TLS{Version: "1.2"}, true},
		{"cut behind the name", hello(name("example.test") + extension(16, "\x00\x03\x02h2"))[:72], event.TLS{ServerName: "example.test", Version: "1.2"}, true},
	} {
		got, cut, err := parseHello(c.in)
		if err != nil || cut != c.cut {
			t.Errorf("%s: %v, cut %v", c.name, err, cut)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	for name, in := range map[string]string{
		"nothing":             "",
		"a record's header":   "\x16\x03\x01\x00\x05",
		"a server's hello":    "\x16\x03\x03\x00\x04\x02\x00\x00\x00",
		"a hello cut early":   "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03rrrr",
		"another protocol":    "\x16\x03\x01\x00\x2a\x01\x00\x00\x26GET / HTTP/1.1\r\nHost: example.test\r\n\r\n",
		"an empty handshake":  "\x16\x03\x01\x00\x04\x01\x00\x00\x00",
		"records of no bytes": "\x16\x03\x01\x00\x00\x16\x03\x01\x00\x00",
	} {
		if got, _, err := parseHello([]byte(in)); err == nil {
			t.Errorf("%s was taken: %+v", name, got)
		}
	}
}

func FuzzHello(f *testing.F) {
	f.Add(helloOf(f, &tls.Config{ServerName: "example.test", NextProtos: []string{"h2"}}))
	f.Add(hello(extension(0, "\x00\x04\x00\x00\x01a") + "\xfe\x0d\x00\x01\x00"))
	f.Add([]byte("\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x03\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, _, err := parseHello(b)
		if err != nil {
			return
		}
		if len(got.ServerName) > 4*maxName || len(got.ALPN) > maxProtocols+4*256 || got.Version == "" {
			t.Errorf("%+v", got)
		}
		for _, c := range got.ServerName + got.ALPN {
			if c <= ' ' || c >= 0x7f {
				t.Errorf("%+q", got.ServerName+got.ALPN)
			}
		}
	})
}

// sink takes connections and reads what comes until they end.
func sink(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// A hello is told of whichever way a program passes it, and nothing else that it sends is.
func TestServerNames(t *testing.T) {
	require(t, "bpf", hasTracepoint(t, "sock_send_length"), "needs Linux 6.3")
	r := newRecording(t, only(event.NetTLS))
	there := sink(t)
	write := func(fd int, b []byte) error { _, err := unix.Write(fd, b); return err }
	for _, c := range []struct {
		name string
		send func(fd int, b []byte) error
	}{
		{"write", write},
		{"sendto", func(fd int, b []byte) error { return unix.Send(fd, b, 0) }},
		{"sendmsg", func(fd int, b []byte) error { return unix.Sendmsg(fd, b, nil, nil, 0) }},
		{"writev in four", func(fd int, b []byte) error {
			_, err := unix.Writev(fd, [][]byte{b[:1], b[1:7], b[7:100], b[100:]})
			return err
		}},
		{"sendmsg in two", func(fd int, b []byte) error {
			_, err := unix.SendmsgBuffers(fd, [][]byte{b[:90], b[90:]}, nil, nil, 0)
			return err
		}},
		{"behind a proxy", func(fd int, b []byte) error {
			if err := write(fd, []byte("CONNECT example.test:443 HTTP/1.1\r\n\r\n")); err != nil {
				return err
			}
			return write(fd, b)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := &event.TLS{ServerName: strings.ReplaceAll(c.name, " ", "-") + ".test", Version: "1.3", ALPN: "h2;"}
			fd := socketFor(t, unix.AF_INET, unix.SOCK_STREAM)
			if err := unix.Connect(fd, sockaddr(unix.AF_INET, there)); err != nil {
				t.Fatal(err)
			}
			if err := c.send(fd, helloOf(t, &tls.Config{ServerName: want.ServerName, NextProtos: []string{"h2"}})); err != nil {
				t.Fatal(err)
			}
			e := r.find(t, event.NetTLS, func(e *event.Event) bool { return e.Net.TLS.ServerName == want.ServerName })
			if d := cmp.Diff(want, e.Net.TLS); d != "" {
				t.Error(d)
			}
			if e.Process.PID != uint32(os.Getpid()) || e.Net.Remote != there || e.Net.Protocol != "tcp" || e.Net.Local.Port() == 0 || !e.Net.Initiated || e.Truncated {
				t.Errorf("%+v by %d, truncated %v", e.Net, e.Process.PID, e.Truncated)
			}
		})
	}
	t.Run("long", func(t *testing.T) { longHello(t, r, there) })
	t.Run("later", func(t *testing.T) { laterHello(t, r, there) })
	if n := r.Stats().Malformed; n > 0 {
		t.Errorf("%d malformed", n)
	}
}

// longHello sends more than is copied: what came first is told, and that something is missing.
func longHello(t *testing.T, r *recording, there netip.AddrPort) {
	protos := strings.Split(strings.Repeat("a-protocol,", 200)+"h2", ",")
	c, err := net.Dial("tcp4", there.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write(helloOf(t, &tls.Config{ServerName: "long.test", NextProtos: protos})); err != nil {
		t.Fatal(err)
	}
	e := r.find(t, event.NetTLS, func(e *event.Event) bool { return e.Net.TLS.ServerName == "long.test" })
	if !e.Truncated {
		t.Errorf("%+v is told of as whole", e.Net.TLS)
	}
}

// laterHello sends one after more than a connection is looked at for, then one on a new connection.
func laterHello(t *testing.T, r *recording, there netip.AddrPort) {
	send := func(name string, before int) {
		t.Helper()
		c, err := net.Dial("tcp4", there.String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		for _, b := range [][]byte{make([]byte, before), helloOf(t, &tls.Config{ServerName: name})} {
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	send("late.test", 64<<10)
	send("soon.test", 1000)
	r.find(t, event.NetTLS, func(e *event.Event) bool { return e.Net.TLS.ServerName == "soon.test" })
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Net.TLS.ServerName == "late.test" {
			t.Error("a hello in the midst of a connection is told of")
		}
	}
}

// Programs with TLS of their own are seen as they are.
func TestServerNameOfOpenSSL(t *testing.T) {
	require(t, "bpf", hasTracepoint(t, "sock_send_length"), "needs Linux 6.3")
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here")
	}
	r := newRecording(t, only(event.NetTLS))
	there := sink(t)
	cmd := exec.Command(path, "s_client", "-connect", there.String(), "-servername", "example.test", "-alpn", "h2,http/1.1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	e := r.find(t, event.NetTLS, func(e *event.Event) bool { return e.Process.PID == uint32(cmd.Process.Pid) })
	if d := cmp.Diff(&event.TLS{ServerName: "example.test", Version: "1.3", ALPN: "h2;http/1.1;"}, e.Net.TLS); d != "" {
		t.Error(d)
	}
	if e.Net.Remote != there || e.Process.Comm != "openssl" {
		t.Errorf("%+v by %s", e.Net, e.Process.Comm)
	}
}
