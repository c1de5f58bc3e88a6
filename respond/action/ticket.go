package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// ticketTypes are the systems that a case is opened in.
var ticketTypes = map[string]func(*wire, Channel) (receiver, error){"http": newTicketHTTP, "jira": newJira, "iris": newIris}

// NewTicket returns the act of opening a case elsewhere.
func NewTicket(o ReachOptions) (Action, error) { return newReach(Ticket, o, ticketTypes, notifyTypes) }

// ticketHTTP POSTs {"action": "open", …} to any system, and later {"action": "close", …}, each with
// an Idempotency-Key from the request: a receiver that heeds it opens no second case.
type ticketHTTP struct {
	w           *wire
	url, secret string
}

func newTicketHTTP(w *wire, c Channel) (receiver, error) {
	u, err := base(c)
	return &ticketHTTP{w: w, url: u, secret: c.Secret}, err
}

func (t *ticketHTTP) post(ctx context.Context, m *message, action string) (string, error) {
	c := call{method: http.MethodPost, url: t.url, header: map[string]string{"Idempotency-Key": m.ID + "-" + action}}
	if t.secret != "" {
		key, err := t.w.secret(t.secret)
		if err != nil {
			return "", err
		}
		c.header["Authorization"], c.hide = "Bearer "+key, []string{key}
	}
	about := m.about()
	about["action"] = action
	c.body = encode(about)
	b, err := t.w.do(ctx, c)
	if err != nil {
		return "", err
	}
	var answer struct {
		ID, Key, Number json.RawMessage
	}
	if json.Unmarshal(b, &answer) != nil {
		return "", nil // what it says is its own affair
	}
	for _, raw := range []json.RawMessage{answer.Key, answer.Number, answer.ID} {
		var name any
		if json.Unmarshal(raw, &name) == nil && name != nil {
			return fmt.Sprint(name), nil
		}
	}
	return "", nil
}

func (t *ticketHTTP) send(ctx context.Context, m *message) (string, error) {
	return t.post(ctx, m, "open")
}

func (*ticketHTTP) holds(context.Context, *message) (bool, string, error) {
	return false, "", errCannotAsk
}

func (t *ticketHTTP) takeBack(ctx context.Context, m *message) (string, error) {
	_, err := t.post(ctx, m, "close")
	return "the receiver was told that it is closed", err
}

// asker makes calls to one system and reads its JSON.
type asker struct {
	w    *wire
	url  string
	auth func() (header string, hide []string, err error)
}

// ask makes a call that changes nothing.
func (a *asker) ask(ctx context.Context, method, path string, body, into any) error {
	err := a.talk(ctx, call{method: method, url: a.url + path}, body, into)
	if failed, ok := errors.AsType[*callError](err); ok {
		failed.arrived = false
	}
	return err
}

// change makes a call that changes something: one that may have arrived is not made again.
func (a *asker) change(ctx context.Context, path string, body, into any) error {
	return a.talk(ctx, call{method: http.MethodPost, url: a.url + path, once: true}, body, into)
}

func (a *asker) talk(ctx context.Context, c call, body, into any) error {
	header, hide, err := a.auth()
	if err != nil {
		return err
	}
	c.header, c.hide = map[string]string{"Authorization": header}, hide
	if body != nil {
		c.body = encode(body)
	}
	b, err := a.w.do(ctx, c)
	if err != nil || into == nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return &callError{reason: fmt.Sprintf("%s to %s: the answer is not what such a system says: %v", c.method, a.url, err), arrived: true}
	}
	return nil
}

// openOnce opens a case that is not there yet. Where the answer got lost it looks whether it is there.
func openOnce(ctx context.Context, find, open func(context.Context) (string, error)) (string, error) {
	if ref, err := find(ctx); err != nil || ref != "" {
		return ref, err
	}
	ref, err := open(ctx)
	if failed, ok := errors.AsType[*callError](err); ok && failed.arrived {
		if ref, missing := find(ctx); missing == nil && ref != "" {
			return ref, nil
		}
	}
	return ref, err
}
