package stream

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// echo is an agent that answers with its name and what it was asked.
func echo(t *testing.T, s *site, name string) *Agent {
	t.Helper()
	a := s.agent(name, AgentOptions{})
	if err := a.Answer(func(b []byte) []byte { return []byte(name + ":" + string(b)) }); err != nil {
		t.Fatal(err)
	}
	return a
}

func ask(t *testing.T, h *Hub, name, what string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	b, err := h.Ask(ctx, name, []byte(what))
	return string(b), err
}

func TestAnAgentAnswersForItself(t *testing.T) {
	s := newSite(t)
	h := s.hub(HubOptions{})
	if _, err := ask(t, h, "gpu-1", "x"); !errors.Is(err, ErrAway) {
		t.Errorf("an agent that was never there: %v", err)
	}
	if _, err := ask(t, h, "gpu-1.>", "x"); err == nil || errors.Is(err, ErrAway) {
		t.Errorf("no name of an agent: %v", err)
	}
	one, two := echo(t, s, "gpu-1"), echo(t, s, "gpu-2")
	defer two.Close()
	answers := func(name string) func() bool {
		return func() bool {
			got, err := ask(t, h, name, "x")
			return err == nil && got == name+":x"
		}
	}
	eventually(t, "the first answers", answers("gpu-1"))
	eventually(t, "the second answers", answers("gpu-2"))
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = s.hub(HubOptions{})
	defer h.Close()
	eventually(t, "it answers after the hub was started anew", answers("gpu-1"))
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is away", func() bool {
		_, err := ask(t, h, "gpu-1", "x")
		return errors.Is(err, ErrAway)
	})
}

// Who has the certificate of one agent hears no command for another, asks none, and answers only what
// it was asked.
func TestAnAgentHasNoPartInTheCommandsOfAnother(t *testing.T) {
	s := newSite(t)
	h := s.hub(HubOptions{})
	defer h.Close()
	victim := echo(t, s, "gpu-1")
	defer victim.Close()
	eventually(t, "the agent answers", func() bool { _, err := ask(t, h, "gpu-1", "x"); return err == nil })

	b := s.bundle("gpu-2")
	conf, err := b.tlsConfig()
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan string, 100)
	nc, err := nats.Connect(b.URL, nats.Secure(conf), nats.CustomInboxPrefix(inbox("gpu-2")), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		refused <- err.Error()
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	heard := make(chan *nats.Msg, 100)
	for _, subject := range []string{subjectCommand + "gpu-1", subjectCommand + "*", ">", hubInbox + ".>", inbox("gpu-1") + ".>"} {
		if _, err := nc.ChanSubscribe(subject, heard); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if got := <-refused; !strings.Contains(got, "Permissions Violation for Subscription") {
			t.Errorf("%s: %s", subject, got)
		}
	}
	for _, subject := range []string{subjectCommand + "gpu-1", hubInbox + ".x.y"} {
		if err := errors.Join(nc.Publish(subject, []byte("forged")), nc.Flush()); err != nil {
			t.Fatal(err)
		}
		if got := <-refused; !strings.Contains(got, "Permissions Violation for Publish") {
			t.Errorf("%s: %s", subject, got)
		}
	}
	if got, err := ask(t, h, "gpu-1", "y"); err != nil || got != "gpu-1:y" {
		t.Errorf("%q %v", got, err)
	}
	if len(heard) > 0 {
		t.Errorf("it heard %q", (<-heard).Data)
	}
	// What it was asked it answers once.
	twice := make(chan struct{})
	if _, err := nc.Subscribe(subjectCommand+"gpu-2", func(m *nats.Msg) {
		_ = m.Respond([]byte("first"))
		_ = m.Respond([]byte("second"))
		_ = nc.Flush()
		close(twice)
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(t, h, "gpu-2", "z"); err != nil || got != "first" {
		t.Errorf("%q %v", got, err)
	}
	<-twice
	if got := <-refused; !strings.Contains(got, "Permissions Violation for Publish") {
		t.Errorf("a second answer: %s", got)
	}
}
