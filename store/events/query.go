package events

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxLimit is the most rows that one Query returns.
const MaxLimit = 10_000

const (
	defaultLimit = 100
	maxText      = 16 << 10
	queryTimeout = 20 * time.Second
)

// QueryError says what the store could not understand in a query's text.
type QueryError struct {
	Text string // what is wrong, and where
	Hint string // what to write instead
}

func (e *QueryError) Error() string {
	if e.Hint == "" {
		return "query not understood: " + e.Text
	}
	return "query not understood: " + e.Text + "; " + e.Hint
}

// Is makes the error an ErrQuery.
func (e *QueryError) Is(target error) bool { return target == ErrQuery }

// Cursor names the last row of a page: the next holds what is older, or as old with a lesser id.
type Cursor struct {
	Time time.Time
	ID   string
}

// Query selects events.
type Query struct {
	Q          string    // LogsQL: words are looked for in the message; "" is all
	Start, End time.Time // both included; zero: the last 24 hours, now
	Limit      int       // newest rows; 0: 100
	Before     Cursor    // zero: from the newest
}

// Query calls fn for each row, newest first, a flat JSON object of strings. An event appears once,
// also where the store holds it twice. It returns fn's first error.
// A query with pipes that order or count (sort, stats, top, …) returns rows as the pipes left them.
func (c *Client) Query(ctx context.Context, q Query, fn func(json.RawMessage) error) error {
	form, ordered, err := c.form(&q)
	if err != nil {
		return err
	}
	extra := 0
	if q.Before != (Cursor{}) {
		extra = 100 // rows of the cursor's own instant that were on the page before
	}
	form.Set("query", form.Get("query")+"\n| delete _stream, _stream_id")
	form.Set("limit", strconv.Itoa(q.Limit+extra))
	rows, err := c.rows(ctx, form)
	if err != nil {
		return err
	}
	if !ordered {
		slices.SortStableFunc(rows, newestFirst)
	}
	seen := make(map[string]bool, len(rows))
	n := 0
	for _, r := range rows {
		if n == q.Limit {
			break
		}
		if r.id != "" && seen[r.id] || q.Before != (Cursor{}) && !r.after(q.Before) {
			continue
		}
		seen[r.id] = true
		n++
		if err := fn(r.raw); err != nil {
			return err
		}
	}
	return nil
}

type row struct {
	raw  json.RawMessage
	time time.Time
	id   string
}

func newestFirst(a, b row) int {
	return cmp.Or(b.time.Compare(a.time), cmp.Compare(b.id, a.id))
}

func (r row) after(c Cursor) bool {
	return r.time.Before(c.Time) || r.time.Equal(c.Time) && r.id < c.ID
}

// form checks q, fills in its defaults and makes the arguments that all queries have.
func (c *Client) form(q *Query) (form url.Values, ordered bool, err error) {
	text := strings.TrimSpace(q.Q)
	if text == "" {
		text = "*"
	}
	if ordered, err = check(text); err != nil {
		return nil, false, err
	}
	if q.End.IsZero() {
		q.End = c.opt.Now()
	}
	if q.Start.IsZero() {
		q.Start = q.End.Add(-day)
	}
	if b := q.Before.Time; !b.IsZero() && b.Before(q.End) {
		q.End = b
	}
	if q.Limit <= 0 {
		q.Limit = defaultLimit
	}
	q.Limit = min(q.Limit, MaxLimit)
	if q.End.Before(q.Start) {
		return nil, false, &QueryError{Text: "the time range ends before it starts"}
	}
	return url.Values{
		"query": {text}, "timeout": {queryTimeout.String()},
		"start": {q.Start.UTC().Format(time.RFC3339Nano)}, "end": {q.End.UTC().Format(time.RFC3339Nano)},
	}, ordered, nil
}

func (c *Client) rows(ctx context.Context, form url.Values) ([]row, error) {
	body, err := c.do(ctx, http.MethodPost, "/select/logsql/query", form, nil, c.opt.Timeout)
	if err != nil {
		return nil, err
	}
	defer body.Close() //nolint:errcheck // read to its end
	var rows []row
	var head struct {
		Time time.Time `json:"_time"`
		ID   string    `json:"event.id"`
	}
	in := bufio.NewReaderSize(body, 64<<10)
	for {
		line, err := in.ReadBytes('\n')
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if line[0] != '{' { // an error after the first rows were sent
				return nil, &QueryError{Text: plain(string(line), form.Get("query"))}
			}
			head.Time, head.ID = time.Time{}, ""
			_ = json.Unmarshal(line, &head) // a row of counts has neither
			rows = append(rows, row{line, head.Time, head.ID})
		}
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: the answer broke off: %w", ErrAway, err)
		}
	}
}

// Bucket is how many events happened from Time until the next bucket's Time.
type Bucket struct {
	Time  time.Time `json:"time"`
	Count uint64    `json:"count"`
}

// Hits counts the events that q selects in n buckets of equal length over its time range, empty
// ones included. Pipes of the query are not looked at.
func (c *Client) Hits(ctx context.Context, q Query, n int) ([]Bucket, error) {
	form, _, err := c.form(&q)
	if err != nil {
		return nil, err
	}
	n = min(max(n, 1), 1000)
	start := q.Start.Truncate(time.Millisecond) // the store knows no finer lengths
	step := (q.End.Sub(start)/time.Duration(n) + time.Millisecond).Truncate(time.Millisecond)
	form.Set("step", strconv.FormatInt(step.Milliseconds(), 10)+"ms")
	form.Set("offset", strconv.FormatInt(start.UnixMilli()%step.Milliseconds(), 10)+"ms")
	var reply struct {
		Hits []struct {
			Timestamps []time.Time `json:"timestamps"`
			Values     []uint64    `json:"values"`
		} `json:"hits"`
	}
	if err := c.decode(ctx, "/select/logsql/hits", form, &reply); err != nil {
		return nil, err
	}
	out := make([]Bucket, n)
	for i := range out {
		out[i].Time = start.Add(time.Duration(i) * step)
	}
	for _, h := range reply.Hits {
		for i, t := range h.Timestamps {
			if i < len(h.Values) {
				b := (t.Sub(start) + step/2) / step // the store's bucket start, rounded to ours
				out[min(max(int(b), 0), n-1)].Count += h.Values[i]
			}
		}
	}
	return out, nil
}

// Count is how often a value occurs.
type Count struct {
	Value string `json:"value"`
	Count uint64 `json:"count"`
}

// FieldValues returns the values of a field in the events that q selects, the most frequent first.
func (c *Client) FieldValues(ctx context.Context, q Query, field string) ([]Count, error) {
	return c.counts(ctx, "/select/logsql/field_values", q, field)
}

// FieldNames returns the names of the fields of the events that q selects, the most frequent first.
func (c *Client) FieldNames(ctx context.Context, q Query) ([]Count, error) {
	names, err := c.counts(ctx, "/select/logsql/field_names", q, "")
	return slices.DeleteFunc(names, func(n Count) bool { return n.Value == "_stream" || n.Value == "_stream_id" }), err
}

func (c *Client) counts(ctx context.Context, path string, q Query, field string) ([]Count, error) {
	form, _, err := c.form(&q)
	if err != nil {
		return nil, err
	}
	if field != "" {
		form.Set("field", field)
		form.Set("limit", strconv.Itoa(q.Limit))
	}
	var reply struct {
		Values []struct {
			Value string `json:"value"`
			Hits  uint64 `json:"hits"`
		} `json:"values"`
	}
	if err := c.decode(ctx, path, form, &reply); err != nil {
		return nil, err
	}
	out := make([]Count, 0, len(reply.Values))
	for _, v := range reply.Values {
		out = append(out, Count{v.Value, v.Hits})
	}
	slices.SortStableFunc(out, func(a, b Count) int { return cmp.Compare(b.Count, a.Count) })
	return out[:min(len(out), q.Limit)], nil
}

func (c *Client) decode(ctx context.Context, path string, form url.Values, into any) error {
	body, err := c.do(ctx, http.MethodPost, path, form, nil, c.opt.Timeout)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // read to its end
	if err := json.NewDecoder(io.LimitReader(body, 64<<20)).Decode(into); err != nil {
		return fmt.Errorf("%w: the answer broke off: %w", ErrAway, err)
	}
	return nil
}

// ids adds to have those of ids that the store holds for host between first and last.
func (c *Client) ids(ctx context.Context, host string, ids []string, first, last time.Time, have map[string]bool) error {
	var q strings.Builder
	// host as a field and not as a stream: the list of streams shows a new host later than its rows.
	q.WriteString("host:=" + Quote(fieldValue(host)) + " event.id:in(")
	for i, id := range ids {
		if i > 0 {
			q.WriteByte(',')
		}
		q.WriteString(Quote(id))
	}
	q.WriteString(") | fields event.id")
	form, _, err := c.form(&Query{Start: first, End: last})
	if err != nil {
		return err
	}
	form.Set("query", q.String())
	rows, err := c.rows(ctx, form)
	for _, r := range rows {
		have[r.id] = true
	}
	return err
}
