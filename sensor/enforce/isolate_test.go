package enforce

import (
	"bufio"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// An isolated cgroup's connection stalls and goes on afterwards; what it sends anew does not arrive.
func TestIsolate(t *testing.T) {
	r := newTold(t)
	g := r.group(t, "")
	below := r.group(t, g)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := r.command(t, below, "/proc/self/exe", l.Addr().String())
	cmd.Env = append(os.Environ(), "ENFORCE_TEST_ROLE=talk")
	ask, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer ask.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	say := func(word string, wait time.Duration) bool {
		t.Helper()
		if _, err := io.WriteString(ask, word+"\n"); err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		got, err := in.ReadString('\n')
		return err == nil && got == word+"\n"
	}
	if !say("before", 10*time.Second) {
		t.Fatal("the connection does not work")
	}
	udp := listenPacket(t, "127.0.0.1")
	if err := r.Isolate(g, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if say("cut", 300*time.Millisecond) {
		t.Error("an open connection goes on")
	}
	r.act(t, g, "send", udp.at.String(), "4")
	if n := udp.count(t); n != 0 {
		t.Errorf("%d packets arrived", n)
	}
	id, _ := r.ID(g)
	if !r.Restore(id) || r.Restore(id) {
		t.Error("restore does not say whether the cgroup was isolated")
	}
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if got, err := in.ReadString('\n'); err != nil || got != "cut\n" {
		t.Errorf("what was held back: %q, %v", got, err)
	}
	if n := len(r.Programs()); n != 0 {
		t.Errorf("%d programs are left attached", n)
	}
	if err := r.Isolate(g, time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond)
	if got := r.act(t, g, "send", udp.at.String(), "4"); got != "ok" || udp.count(t) != 1 {
		t.Errorf("after its end: %s", got)
	}
	if err := r.Isolate("/", time.Now().Add(time.Hour)); err == nil {
		t.Error("the root was isolated")
	}
}
