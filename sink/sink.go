// Package sink sends findings and incidents out to SIEM and people, as OCSF records, through an
// outbox on disk: what Append took is delivered at least once, in order, also after kill -9, and a
// receiver that is slow or away holds up no other. A repeat carries the same metadata.uid.
//
// A new kind of output is one file that implements Sink, and one line in open.
package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Sink is one way out. Send delivers a batch, in order, and returns nil only when the receiver has
// it. It returns a *Refused where the receiver will never take it; after any other error the
// batch is sent again. Send is called from one goroutine.
type Sink interface {
	Send(ctx context.Context, batch []json.RawMessage) error
	String() string // where it sends to, without secrets
}

// Config is one entry of the sink section of picket.yaml.
type Config struct {
	Type    string            `yaml:"type" doc:"jsonl or webhook"`
	Name    string            `yaml:"name" doc:"its name in logs, metrics and the outbox; empty takes the type"`
	Path    string            `yaml:"path" doc:"jsonl: file to append to"`
	URL     string            `yaml:"url" doc:"webhook: where to POST a JSON array of records"`
	Headers map[string]string `yaml:"headers" doc:"webhook: extra headers; ${NAME} takes a secret from the environment, @/path from a file"`
	Secret  string            `yaml:"secret" doc:"webhook: key that signs each request (X-Picket-Signature); ${NAME} or @/path as for headers"`
}

// Refused says that the receiver will never take a record.
type Refused struct{ Reason string } //nolint:errname // sink.Refused says it

// Error returns the receiver's reason.
func (e *Refused) Error() string { return "refused by the receiver: " + e.Reason }

// Later says that the receiver is there and asks to be left alone for a while.
type Later struct { //nolint:errname // sink.Later says it
	After  time.Duration
	Reason string
}

// Error returns the receiver's reason.
func (e *Later) Error() string { return e.Reason }

var names = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// open makes the output that c names.
func open(c Config) (Sink, error) {
	switch c.Type {
	case "jsonl":
		return openFile(c)
	case "webhook":
		return openWebhook(c)
	}
	return nil, fmt.Errorf("unknown type %q: want jsonl or webhook", c.Type)
}

// Check reports what is wrong with a list of outputs, without opening them.
func Check(configs []Config) error {
	seen := map[string]bool{}
	var errs []error
	for i, c := range configs {
		name := c.name()
		switch {
		case !names.MatchString(name):
			errs = append(errs, fmt.Errorf("sink %d: name %q: want letters, digits and . _ -, at most 64", i+1, name))
		case seen[name]:
			errs = append(errs, fmt.Errorf("sink %d: there is another one named %q: give each its own name", i+1, name))
		case c.Type != "jsonl" && c.Type != "webhook":
			errs = append(errs, fmt.Errorf("sink %s: unknown type %q: want jsonl or webhook", name, c.Type))
		case c.Type == "jsonl" && c.Path == "":
			errs = append(errs, fmt.Errorf("sink %s: a jsonl sink wants a path", name))
		case c.Type == "webhook":
			if _, err := parseURL(c.URL); err != nil {
				errs = append(errs, fmt.Errorf("sink %s: %w", name, err))
			}
		}
		seen[name] = true
	}
	return errors.Join(errs...)
}

func (c Config) name() string {
	if c.Name == "" {
		return c.Type
	}
	return c.Name
}
