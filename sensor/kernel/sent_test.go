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
