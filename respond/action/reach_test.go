package action

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWhereMessagesDoNotGo holds addresses and markings.
func TestWhereMessagesDoNotGo(t *testing.T) {
	for _, c := range []struct {
		address string
		inside  bool
		allowed bool
	}{
		{"192.0.2.1:443", false, true},
		{"10.0.0.1:443", false, true},
		{"[2001:db8::1]:443", false, true},
		{"169.254.169.254:80", false, false},
		{"[fe80::1%lo]:80", false, false},
		{"[fd00:ec2::254]:80", false, false},
		{"100.100.100.200:80", false, false},
		{"[::ffff:169.254.169.254]:80", false, false},
		{"[64:ff9b::a9fe:a9fe]:80", false, false},
		{"0.0.0.0:80", false, false},
		{"224.0.0.1:80", false, false},
		{"127.0.0.1:80", false, false},
		{"[::1]:80", false, false},
		{"192.0.2.1:443", true, false},
		{"10.0.0.1:443", true, true},
		{"100.64.0.1:443", true, true},
		{"[fd00::1]:443", true, true},
		{"[2001:db8::1]:443", true, false},
	} {
		ctx := t.Context()
		if c.inside {
			ctx = context.WithValue(ctx, insideOnly{}, true)
		}
		if err := newWire(ReachOptions{}).refuse(ctx, c.address); (err == nil) != c.allowed {
			t.Errorf("%s, inside only %v: %v", c.address, c.inside, err)
		}
	}
	l := listen(t, nil)
	channel := Channel{Name: "hook", Type: "webhook", URL: l.URL, Secret: "env:KEY"}
	far := must(NewNotify(ReachOptions{Channels: []Channel{channel}, Env: func(string) (string, bool) { return "k", true }}))(t)
	if res := must(far.Do(t.Context(), told("hook")))(t); res.State != Refused || !strings.Contains(res.Detail, "allow loopback") {
		t.Errorf("%+v", res)
	}
	red := channel
	red.Name, red.Marking = "red", "TLP:RED"
	a := reached(t, NewNotify, channel, red)
	for _, c := range []struct {
		channel, marking string
		state            State
	}{{"hook", "TLP:RED", Refused}, {"hook", "tlp:amber+strict", Refused}, {"hook", "TLP:AMBER", Done}, {"hook", "TLP:WHITE", Done}, {"red", "TLP:RED", Done}} {
		r := told(c.channel)
		r.Params["marking"] = c.marking
		if res := must(a.Do(t.Context(), r))(t); res.State != c.state {
			t.Errorf("%s by %s: %+v", c.marking, c.channel, res)
		}
	}
	if n := len(l.requests()); n != 3 {
		t.Errorf("%d requests went out", n)
	}
}

func TestChannelsAreChecked(t *testing.T) {
	for _, c := range []struct {
		channel Channel
		says    string
	}{
		{Channel{}, "give it a name"},
		{Channel{Name: "a", Type: "pigeon"}, "want one of alertmanager, email, http, iris, jira, pagerduty, slack, webhook"},
		{Channel{Name: "a", Type: "webhook", URL: "http://h", Secret: "hunter2"}, "a secret is named, not written"},
		{Channel{Name: "a", Type: "webhook", URL: "http://h"}, "wants a secret"},
		{Channel{Name: "a", Type: "webhook", URL: "http://u:p@h", Secret: "env:KEY"}, "without a password"},
		{Channel{Name: "a", Type: "slack", URL: "https://hooks.example.org/x"}, "is a secret"},
		{Channel{Name: "a", Type: "email", URL: "smtp://h", From: "x"}, "from"},
		{Channel{Name: "a", Type: "webhook", URL: "http://h", Secret: "env:KEY", Marking: "SECRET"}, "none of TLP"},
	} {
		_, err := NewNotify(ReachOptions{Channels: []Channel{c.channel}})
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: %v", c.channel, err)
		}
	}
	a := reached(t, NewNotify, Channel{Name: "hook", Type: "webhook", URL: "http://127.0.0.1:1", Secret: "env:KEY"}, Channel{Name: "j", Type: "jira"})
	for params, says := range map[string]string{
		"channel=j": "want one of hook", "title=": "wants a title", "severity=huge": "want informational", "marking=TLP:BLUE": "want TLP:CLEAR", "link=javascript:x": "http or https", "token=x": `parameter "token"`,
	} {
		r := told("hook")
		k, v, _ := strings.Cut(params, "=")
		r.Params[k] = v
		if _, err := a.Plan(t.Context(), r); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", params, err)
		}
	}
	plan := must(a.Plan(t.Context(), told("hook")))(t)
	if diff := cmp.Diff([]string{"channel hook (webhook) gets: TLP:AMBER [high] Weights sent out"}, plan.Effects); diff != "" {
		t.Error(diff)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add("title", "te\x00xt\u202e", "https://h/")
	f.Fuzz(func(t *testing.T, title, text, link string) {
		m, err := newMessage(&Request{ID: "r", Params: map[string]string{"title": title, "text": text, "link": link}})
		if err != nil {
			return
		}
		if len(m.Title) > maxTitle || len(m.Text) > maxBody || strings.ContainsAny(m.Title, "\r\n") || strings.ContainsAny(m.Text, "\r\x1b\u202e") {
			t.Errorf("%q %q", m.Title, m.Text)
		}
	})
}
