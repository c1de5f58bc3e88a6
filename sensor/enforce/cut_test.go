package enforce

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// holdConnections dials each address, and one of its own for "self". For each line that it reads it
// says of each connection whether it is open still.
func holdConnections(addrs []string) error {
	var conns []net.Conn
	var said []string
	for _, a := range addrs {
		network, to, _ := strings.Cut(a, "://")
		if a == "self" {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				return err
			}
			network, to = "tcp", l.Addr().String()
		}
		c, err := net.Dial(network, to)
		if err != nil {
			return err
		}
		conns, said = append(conns, c), append(said, "open")
	}
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		for i, c := range conns {
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				said[i] = "cut" // datagrams tell it once
			}
		}
		fmt.Println(strings.Join(said, " "))
	}
	return nil
}

// holder is a process that holds connections.
type holder struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func (b *box) hold(t *testing.T, group string, argv ...string) *holder {
	t.Helper()
	cmd := b.told().command(t, group, argv...)
	cmd.Env = append(os.Environ(), "ENFORCE_TEST_ROLE=hold")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	first, out := speak(t, cmd, func() { _ = in.Close() })
	if first != "ready\n" {
		t.Fatalf("it said %q", first)
	}
	return &holder{cmd, in, out}
}

func (h *holder) ask(t *testing.T) string {
	t.Helper()
	if _, err := io.WriteString(h.in, "\n"); err != nil {
		t.Fatal(err)
	}
	s, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(s)
}

func TestCut(t *testing.T) {
	b := newBox(t)
	r := b.told()
	below, other := r.group(t, b.group), r.group(t, "")
	listen := func(network, at string) string {
		l, err := net.Listen(network, at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return "tcp://" + l.Addr().String()
	}
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	four, six := listen("tcp4", "127.0.0.2:0"), listen("tcp6", "[::1]:0")
	addrs := []string{"/proc/self/exe", four, six, "udp://" + udp.LocalAddr().String(), "self"}
	h, free := b.hold(t, below, addrs...), b.hold(t, other, addrs...)
	port := netip.MustParseAddrPort(strings.TrimPrefix(six, "tcp://")).Port()
	for _, step := range []struct {
		what string
		f    Filter
		n    int
		left string
	}{
		{"nobody's port", Filter{Port: 1}, 0, "open open open open"},
		{"a network", Filter{Peer: netip.MustParsePrefix("127.0.0.2/32")}, 1, "cut open open open"},
		{"a port", Filter{Port: port}, 1, "cut cut open open"},
		{"all", Filter{}, 3, "cut cut cut cut"}, // both ends of its own
		{"all again", Filter{}, 0, "cut cut cut cut"},
	} {
		list, err := b.Connections(b.group, step.f)
		if err != nil || len(list) != step.n {
			t.Errorf("%s: would cut %v, %v", step.what, list, err)
		}
		cut, err := b.Cut(b.group, step.f)
		if err != nil || len(cut) != step.n {
			t.Errorf("%s: cut %v, %v", step.what, cut, err)
		}
		if got := h.ask(t); got != step.left {
			t.Errorf("%s: %s, want %s", step.what, got, step.left)
		}
	}
	if got := free.ask(t); got != "open open open open" {
		t.Errorf("another cgroup's: %s", got)
	}
}

// A connection counts as its process's wherever it was made: before the process was gathered, and in
// a network namespace of its own. What listens goes on listening.
func TestCutFollowsTheProcess(t *testing.T) {
	b := newBox(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for what, argv := range map[string][]string{
		"made before":   {self, "self"},
		"other network": {"unshare", "-n", "sh", "-c", `ip link set lo up && exec "$0" self`, self},
	} {
		h := b.hold(t, b.group, argv...)
		l, err := b.Gather(h.cmd.Process.Pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		if cut, err := b.Cut(l.Cgroups[0], Filter{}); err != nil || len(cut) == 0 {
			t.Errorf("%s: cut %v, %v", what, cut, err)
		}
		if got := h.ask(t); got != "cut" {
			t.Errorf("%s: %s", what, got)
		}
		if err := b.Scatter(l.Cgroups); err != nil {
			t.Error(err)
		}
		here, err := os.Readlink("/proc/thread-self/ns/net")
		if mine, err2 := os.Readlink("/proc/self/ns/net"); err != nil || err2 != nil || here != mine {
			t.Errorf("%s: we are in %s, not %s", what, here, mine)
		}
	}
}

func FuzzDiag(f *testing.F) {
	d, err := newDiag()
	if err != nil {
		f.Skip("no socket diagnosis: ", err)
	}
	defer d.close()
	f.Add([]byte{20, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add(append([]byte{96, 0, 0, 0, 20, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 80)...))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = d.messages(b, func(m []byte) { connectionOf(m) })
	})
}
