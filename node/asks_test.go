package node

import (
	"net/netip"
	"testing"
	"time"

	"picket/event"
)

func TestANameTravelsOnceAMinute(t *testing.T) {
	var a asks
	start := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		after  time.Duration
		pid    uint32
		name   string
		answer bool
		want   bool
	}{
		{0, 1, "a.test", false, true},
		{time.Second, 1, "a.test", true, true},
		{2 * time.Second, 1, "a.test", false, false},
		{2 * time.Second, 1, "b.test", false, true},
		{3 * time.Second, 2, "a.test", false, true},
		{59 * time.Second, 1, "a.test", true, false},
		{60 * time.Second, 1, "a.test", false, true},
	} {
		e := event.Event{
			Kind: event.NetDNS, Time: start.Add(c.after), Process: &event.Process{PID: c.pid},
			Net: event.Net{DNS: &event.DNS{Name: c.name, Type: "A", Answer: c.answer}},
		}
		if got := a.first(&e); got != c.want {
			t.Errorf("after %s %d %s answer %v: %v", c.after, c.pid, c.name, c.answer, got)
		}
	}
}

func TestAServerNameTravelsOnceAMinute(t *testing.T) {
	var a asks
	for i, c := range []struct {
		name, remote string
		want         bool
	}{
		{"a.test", "192.0.2.1:443", true},
		{"a.test", "192.0.2.2:443", false},
		{"b.test", "192.0.2.1:443", true},
		{"", "192.0.2.1:443", true},
		{"", "192.0.2.1:443", false},
		{"", "192.0.2.2:443", true},
	} {
		e := event.Event{
			Kind: event.NetTLS, Time: time.Unix(1_800_000_000, 0), Process: &event.Process{PID: 1},
			Net: event.Net{Remote: netip.MustParseAddrPort(c.remote), TLS: &event.TLS{ServerName: c.name}},
		}
		if got := a.first(&e); got != c.want {
			t.Errorf("%d: %q at %s: %v", i, c.name, c.remote, got)
		}
	}
	connection := event.Event{Kind: event.NetConnect, Process: &event.Process{PID: 1}}
	for range 2 {
		if !a.first(&connection) {
			t.Error("a connection is held back")
		}
	}
}
