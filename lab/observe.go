package lab

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"picket/api/client"
)

// Observed is one trace of the attack that the sensor must have left in the store.
type Observed struct {
	What  string `json:"what"`
	Value string `json:"value"`
	Seen  bool   `json:"seen"`
}

// observables are the words of expect.observables: the kind of event and the field that they name.
var observables = map[string][2]string{
	"exec":         {"process.start", "process.invoked"},
	"file_read":    {"file.read", "file.path"},
	"file_write":   {"file.write", "file.path"},
	"file_create":  {"file.create", "file.path"},
	"file_rename":  {"file.rename", "file.path"},
	"file_delete":  {"file.delete", "file.path"},
	"file_link":    {"file.link", "file.path"},
	"connect":      {"net.connect", "net.remote.ip"},
	"send":         {"net.send", "net.remote.ip"},
	"accept":       {"net.accept", "net.local.ip"},
	"file_chmod":   {"file.chmod", "file.path"},
	"process_exit": {"process.exit", "process.name"},
}

// witness is a Reader that can also look for events.
type witness interface {
	Saw(ctx context.Context, query string, since time.Time) (bool, error)
}

// Saw reports whether the store has an event that a LogsQL query selects.
func (p picket) Saw(ctx context.Context, query string, since time.Time) (bool, error) {
	list, err := p.c.Events(ctx, client.EventFilter{Query: query, Start: since.Format(time.RFC3339Nano), Limit: 1})
	return len(list.Items) > 0, err
}

// observe looks for the traces of the attack in the store, after a finding stayed away: it tells
// what the sensor did not see from what no rule judged.
func (r *run) observe(ctx context.Context) {
	w, ok := r.Picket.(witness)
	if !ok {
		return
	}
	// Events reach the store some seconds later than findings reach the API.
	ctx, cancel := context.WithTimeout(ctx, min(15*time.Second, r.Patience))
	defer cancel()
	for _, want := range r.Scenario.Expect.Observables {
		for _, what := range slices.Sorted(maps.Keys(want)) {
			o := Observed{What: what, Value: expand(want[what], r.facts)}
			for !o.Seen {
				seen, err := w.Saw(ctx, o.query(r.box.id), r.report.Started)
				o.Seen = seen
				if err != nil || seen || !wait(ctx, time.Second) {
					break
				}
			}
			word := "seen"
			if !o.Seen {
				word = "NOT SEEN"
			}
			r.say(word, "%s %s", o.What, o.Value)
			r.report.Observed = append(r.report.Observed, o)
		}
	}
}

// query selects the observable's events in LogsQL.
func (o Observed) query(container string) string {
	at := observables[o.What]
	return strings.Join([]string{
		`"event.kind":=` + strconv.Quote(at[0]),
		`"container.id":=` + strconv.Quote(container),
		strconv.Quote(at[1]) + `:=` + strconv.Quote(o.Value),
	}, " ")
}

// wait sleeps, and reports false where ctx ended meanwhile.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
