package node

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/respond/action"
)

// talker is a process that connects to l and sends what it is given. It is of the cgroup from its
// start.
func (a *actor) talker(t *testing.T, l net.Listener) (*exec.Cmd, net.Conn, func(wait time.Duration) bool) {
	t.Helper()
	dir, err := os.Open(a.root + a.group)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	cmd := exec.Command("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/"+port+"; while echo x >&3; do sleep 0.01; done; sleep 600")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return cmd, c, func(wait time.Duration) bool {
		buf := make([]byte, 4096)
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		for { // what was on its way
			if _, err := c.Read(buf); err != nil {
				break
			}
		}
		_ = c.SetReadDeadline(time.Now().Add(wait))
		_, err := c.Read(buf)
		return err == nil
	}
}

func TestAWorkloadIsOffTheNetworkForAWhile(t *testing.T) {
	a := newActor(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, _, hears := a.talker(t, l)
	if !hears(5 * time.Second) {
		t.Fatal("nothing is heard before")
	}
	a.do(t, &action.Request{ID: "i", Kind: action.Isolate, Target: action.Target{Cgroup: a.group}}, action.Done)
	if hears(300 * time.Millisecond) {
		t.Error("a packet came out")
	}
	if _, err := a.ask(t, action.Command{Op: action.OpExtend, ID: "i", TTL: time.Hour, By: "alice"}); err != nil {
		t.Error(err)
	}
	a.undo(t, "i")
	if !hears(10 * time.Second) {
		t.Error("it is off the network still")
	}
	cmd, _, hears := a.talker(t, l)
	if !hears(5 * time.Second) {
		t.Fatal("nothing is heard before")
	}
	res := a.do(t, &action.Request{ID: "il", Kind: action.Isolate, Target: lineageOf(cmd.Process.Pid)}, action.Done)
	if hears(300 * time.Millisecond) {
		t.Errorf("what was open goes on: %s", res.Detail)
	}
	a.do(t, &action.Request{ID: "fl", Kind: action.Freeze, Target: lineageOf(cmd.Process.Pid)}, action.Done)
	a.undo(t, "il")
	if v, err := a.ask(t, action.Command{Op: action.OpVerify, Request: &action.Request{ID: "fl"}}); err != nil || !v.Holds {
		t.Errorf("the end of the one ended the other: %+v %v", v, err)
	}
	a.undo(t, "fl")
	if got := cgroupOf(t, cmd.Process.Pid); got != a.group {
		t.Errorf("left in %s", got)
	}
}

func TestConnectionsAreCut(t *testing.T) {
	a := newActor(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, _, hears := a.talker(t, l)
	r := &action.Request{ID: "other", Kind: action.Cut, By: "alice", Target: action.Target{Cgroup: a.group, Address: "192.0.2.0/24"}}
	plan, err := a.ask(t, action.Command{Op: action.OpPlan, Request: r})
	if err != nil && strings.Contains(err.Error(), "connections") {
		t.Skip(err) // a kernel without socket diagnosis
	}
	if err != nil || len(plan.Plan.Hits) != 0 {
		t.Fatalf("%+v %v", plan.Plan, err)
	}
	a.do(t, r, action.Done)
	if !hears(5 * time.Second) {
		t.Fatal("a connection to another address was cut")
	}
	r = &action.Request{ID: "this", Kind: action.Cut, Target: action.Target{Cgroup: a.group, Address: "127.0.0.1"}}
	if res := a.do(t, r, action.Done); !strings.HasPrefix(res.Detail, "1 connection was reset") {
		t.Error(res.Detail)
	}
	if hears(300 * time.Millisecond) {
		t.Error("it is open still")
	}
}
