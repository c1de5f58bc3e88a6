package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	maxMessage = 16 << 20
	silence    = 45 * time.Second // three pings
)

// Message is one message of the stream.
type Message struct {
	ID    string          // of messages that can be resumed from; "" for live events
	Event string          // incident, finding, fleet, health, event, missed, reset, hello
	Data  json.RawMessage // as package api's Message constants tell
}

// StreamOptions says what a stream carries.
type StreamOptions struct {
	Events bool   // stored and live: event records as they come in
	Query  string // of live events: words and field:value
	After  string // ID of the last message that was read
	// Once ends with the connection instead of connecting anew.
	Once bool
}

// Stream calls fn for each message as it happens, until ctx ends, fn fails, or the server refuses.
// It connects anew when the connection breaks, from where it was; a reset message says that some
// were lost in between. The first connection must succeed.
func (c *Client) Stream(ctx context.Context, opt StreamOptions, fn func(Message) error) error {
	pause, last, connected := 100*time.Millisecond, opt.After, false
	for {
		err := c.follow(ctx, opt, &last, func(m Message) error {
			pause, connected = 100*time.Millisecond, true
			return fn(m)
		})
		var stop *stopError
		var answer *Error
		switch {
		case errors.As(err, &stop):
			return stop.err
		case ctx.Err() != nil:
			return ctx.Err()
		case opt.Once, !connected:
			return err
		case errors.As(err, &answer) && answer.Status < 500 && answer.Status != http.StatusTooManyRequests:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, 5*time.Second)
		}
	}
}

// stopError is an error of the reader's own function.
type stopError struct{ err error }

// Error returns the function's error.
func (e *stopError) Error() string { return e.err.Error() }

// follow reads one connection.
func (c *Client) follow(ctx context.Context, opt StreamOptions, last *string, fn func(Message) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := url.Values{}
	if opt.Events {
		q.Set("events", "1")
		q.Set("q", opt.Query)
	}
	h := http.Header{"Accept": {"text/event-stream"}}
	if *last != "" {
		h.Set("Last-Event-Id", *last)
	}
	path := "/api/v1/stream"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	resp, err := c.send(ctx, http.MethodGet, path, nil, h)
	if err != nil {
		return err
	}
	defer resp.Body.Close()                  //nolint:errcheck // only read from
	quiet := time.AfterFunc(silence, cancel) // a server that is gone without a word sends no pings
	defer quiet.Stop()
	return read(resp.Body, func() { quiet.Reset(silence) }, func(m Message) error {
		if m.Event == "reset" {
			*last = ""
		}
		if m.ID != "" {
			*last = m.ID
		}
		if err := fn(m); err != nil {
			return &stopError{err}
		}
		return nil
	})
}

// read reads server-sent events until the end of r or an error of fn. It calls alive for each line.
func read(r io.Reader, alive func(), fn func(Message) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxMessage)
	var m Message
	for lines.Scan() {
		alive()
		line := lines.Text()
		if line == "" {
			if m.Data != nil {
				if err := fn(m); err != nil {
					return err
				}
			}
			m = Message{}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			m.ID = value
		case "event":
			m.Event = value
		case "data":
			if m.Data != nil {
				m.Data = append(m.Data, '\n')
			}
			if m.Data = append(m.Data, value...); len(m.Data) > maxMessage {
				return fmt.Errorf("a message of the stream is larger than %d bytes", maxMessage)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the stream: %w", err)
	}
	return io.ErrUnexpectedEOF
}
