package events

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

func (w *Writer) generation(ctx context.Context) (string, error) {
	if w.o.Generation != nil {
		return w.o.Generation(), nil
	}
	return w.c.Generation(ctx)
}

// Generation names the running store process: it changes when the store is started anew.
func (c *Client) Generation(ctx context.Context) (string, error) {
	body, err := c.do(ctx, http.MethodGet, GenerationPath, nil, nil, 3*time.Second)
	if err == nil {
		defer body.Close() //nolint:errcheck // read only
		b, err := io.ReadAll(io.LimitReader(body, 256))
		return string(b), err
	}
	if errors.Is(err, ErrAway) {
		return "", err
	}
	// A VictoriaLogs of the user's own: its metrics say when it was started.
	if body, err = c.do(ctx, http.MethodGet, "/metrics", nil, nil, 3*time.Second); err != nil {
		return "", err
	}
	defer body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(io.LimitReader(body, 4<<20))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "vm_app_start_timestamp "); ok {
			return strings.TrimSpace(rest), nil
		}
	}
	return "", nil
}

// GenerationPath is where the built-in store says which start of it is running.
const GenerationPath = "/picket/generation"
