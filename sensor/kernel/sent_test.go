package kernel

import (
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"picket/event"
)

// A look at a table that changes sees some flows twice, and does not reach others.
func TestWhatIsSentIsToldOnce(t *testing.T) {
	a, b := flowKey{PID: 1}, flowKey{PID: 2}
	f := sentFlows{last: map[flowKey]uint64{a: 100, b: 1000}}
	is := map[flowKey]uint64{}
	if first, again := f.more(is, a, 150), f.more(is, a, 160); first != 50 || again != 10 {
		t.Errorf("seen twice: %d and %d", first, again)
	}
	f.carry(is)
	f.last = is
	if got := f.more(map[flowKey]uint64{}, b, 1005); got != 5 {
		t.Errorf("not reached: %d", got)
	}
}

// TestWhatIsSentIsToldHoweverLittle sends less than NetSend tells of, by this process and by one that ended.
func TestWhatIsSentIsToldHoweverLittle(t *testing.T) {
	r := newRecording(t, only(event.NetSend))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, c)
		}
	}()
	to := netip.MustParseAddrPort(l.Addr().String())
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	look := func() map[uint32]uint64 {
		t.Helper()
		got := map[uint32]uint64{}
		if err := r.Sent(func(p event.Key, at netip.AddrPort, bytes uint64) {
			if at == to && p.Start > 0 {
				got[p.PID] += bytes
			}
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	look() // what was sent before is told of by nobody
	me := uint32(os.Getpid())
	for _, n := range []int{10, 3000} {
		if _, err := c.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		if got := look(); got[me] != uint64(n) {
			t.Errorf("%d bytes are told as %v", n, got)
		}
	}
	cmd := exec.Command("/bin/bash", "-c", "printf 0123456789 > /dev/tcp/127.0.0.1/"+l.Addr().(*net.TCPAddr).AddrPort().String()[len("127.0.0.1:"):])
	if err := cmd.Run(); err != nil {
		t.Skip("needs a bash that makes connections: ", err)
	}
	if got := look(); got[uint32(cmd.ProcessState.Pid())] != 10 || got[me] != 0 {
		t.Errorf("of one that ended: %v", got)
	}
	if got := look(); len(got) != 0 {
		t.Errorf("told again: %v", got)
	}
}
