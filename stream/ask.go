package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	answerTime = 90 * time.Second // after which an answer is not let through
	maxAsked   = 16               // commands of an agent under way at the same time
)

// Ask sends a command to the agent of that name and returns its answer. Nothing is sent again: where
// ctx ends first, the command may have been carried out. An agent that is not connected is ErrAway.
func (h *Hub) Ask(ctx context.Context, name string, command []byte) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	if len(command) > MaxPayload {
		return nil, fmt.Errorf("stream: a command of %d bytes: %w", len(command), ErrTooLarge)
	}
	m, err := h.nc.RequestWithContext(ctx, subjectCommand+name, command)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("stream: %s: %w", name, ErrAway)
	case err != nil:
		return nil, fmt.Errorf("stream: asking %s: %w", name, err)
	case len(m.Data) == 0:
		return nil, fmt.Errorf("stream: %s has too much to do: ask again", name)
	}
	return m.Data, nil
}

// Answer has fn answer the commands of the hub, now and after each reconnect, until the agent is
// closed. fn is called from several goroutines. Of more than a few commands at a time the last get no
// answer but that.
func (a *Agent) Answer(fn func(command []byte) []byte) error {
	room := make(chan struct{}, maxAsked)
	_, err := a.nc.Subscribe(subjectCommand+a.name, func(m *nats.Msg) {
		select {
		case room <- struct{}{}:
		default:
			a.respond(m, nil)
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.closed {
			return
		}
		a.run(func() {
			defer func() { <-room }()
			a.respond(m, fn(m.Data))
		})
	})
	if err != nil {
		return fmt.Errorf("stream: listening for commands: %w", err)
	}
	return nil
}

func (a *Agent) respond(m *nats.Msg, answer []byte) {
	if err := m.Respond(answer); err != nil {
		a.o.Log.Warn("an answer did not reach the hub", "error", err)
	}
}
