package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"picket/event"
)

const subjectInventory = "picket.in."

// Inventory tells the hub what runs on the agent's host. Where the hub is away nobody hears it: it is
// told again.
func (a *Agent) Inventory(inv event.Inventory) { a.say(subjectInventory, "an inventory", inv) }

// Inventories calls fn for each inventory until ctx ends. One that nobody hears is gone.
func (h *Hub) Inventories(ctx context.Context, fn func(from string, inv event.Inventory)) error {
	return hear(ctx, h, subjectInventory, "an inventory", fn)
}

// hear calls fn for each message of agents on a subject until ctx ends.
func hear[T any](ctx context.Context, h *Hub, subject, what string, fn func(from string, x T)) error {
	sub, err := h.nc.Subscribe(subject+"*", func(m *nats.Msg) {
		from := strings.TrimPrefix(m.Subject, subject)
		var x T
		if err := json.Unmarshal(m.Data, &x); err != nil {
			h.m.unreadable.Inc()
			h.o.Log.Error("what an agent said cannot be read", "what", what, "agent", from, "error", err)
			return
		}
		fn(from, x)
	})
	if err != nil {
		return fmt.Errorf("stream: listening for %s: %w", what, err)
	}
	<-ctx.Done()
	if err := sub.Unsubscribe(); err != nil && h.ctx.Err() == nil {
		return fmt.Errorf("stream: %w", err)
	}
	return nil
}
