package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// tracesAddr is where the posing server believes the collector of its traces to be. What arrives there
// is handed to Picket.
const (
	tracesAddr  = "198.51.100.53:4318"
	portTraces  = 4318
	tracesBytes = 1 << 20
	tracesWait  = 256 // bodies that wait to be handed over
)

// Traces is where Picket takes traces; without an address none are handed to it.
type Traces struct{ Address, Token string }

// export sends one span to the collector, in OTLP as JSON.
func export(ctx context.Context, began time.Time, attributes map[string]any) error {
	var kv []any
	for key, v := range attributes {
		value := map[string]any{"stringValue": v}
		switch v := v.(type) {
		case int:
			value = map[string]any{"intValue": strconv.Itoa(v)}
		case float64:
			value = map[string]any{"doubleValue": v}
		}
		kv = append(kv, map[string]any{"key": key, "value": value})
	}
	span := map[string]any{
		"name": "chat", "startTimeUnixNano": strconv.FormatInt(began.UnixNano(), 10), "endTimeUnixNano": strconv.FormatInt(time.Now().UnixNano(), 10), "attributes": kv,
	}
	body, err := json.Marshal(map[string]any{"resourceSpans": []any{map[string]any{"scopeSpans": []any{map[string]any{"spans": []any{span}}}}}})
	if err != nil {
		return fmt.Errorf("write a trace: %w", err)
	}
	return send(ctx, Traces{Address: tracesAddr}, body)
}

// send posts a body of traces. Where the other end is busy it tries again.
func send(ctx context.Context, to Traces, body []byte) error {
	for try := 0; ; try++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+to.Address+"/v1/traces", bytes.NewReader(body))
		if err != nil {
			return fmt.Errorf("send traces: %w", err)
		}
		req.Header.Set("Content-Type", "application/json")
		if to.Token != "" {
			req.Header.Set("Authorization", "Bearer "+to.Token)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return fmt.Errorf("send traces: %w", err)
		}
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 256)) // only what it says is lost
		_ = resp.Body.Close()
		switch {
		case resp.StatusCode == http.StatusOK:
			return nil
		case resp.StatusCode != http.StatusServiceUnavailable || try == 10:
			return fmt.Errorf("send traces to %s: %s: %s", to.Address, resp.Status, bytes.TrimSpace(said))
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// collector takes traces in the internet: what arrives is told with its body.
func collector(note func(outside, *http.Request)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, tracesBytes))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		note(outside{Kind: "received", Path: r.URL.Path, Bytes: int64(len(body)), Traces: body}, r)
		reply(w, struct{}{})
	})
	return mux
}

// handOver passes on to Picket what arrived at the collector, in the order in which it came, until the
// internet ends. The first error ends it; what comes after is not sent.
func (s *sandbox) handOver(to Traces) {
	defer close(s.handed)
	for body := range s.traces {
		if to.Address == "" || s.handErr != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		s.handErr = send(ctx, to, body)
		cancel()
	}
}

var errNoTraces = errors.New("this attack sends traces, and Picket takes none on this host: set ingest.otlp in picket.yaml, such as 127.0.0.1:4318, and start Picket anew")
