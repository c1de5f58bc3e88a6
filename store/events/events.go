// Package events keeps events and finds them again, in VictoriaLogs: the built-in one that runs as
// `picket store`, or one of your own, single or cluster, by URL. Both are the same API.
//
// The store answers a write before it is on disk. Append is for tests and tools; what must not be
// lost goes through a Writer, which acknowledges only what has outlived the store's buffer.
package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

var (
	// ErrAway is in the chain of an error when the store cannot be reached or cannot serve now.
	ErrAway = errors.New("event store is away")
	// ErrQuery is in the chain of an error when a query's text is not understood.
	ErrQuery = errors.New("query not understood")
	// ErrRefused is in the chain of an error when the store will never take this data.
	ErrRefused = errors.New("event store refused the data")
)

// Options says where the store is.
type Options struct {
	URL      string // http://127.0.0.1:7422
	User     string // for basic authentication; "" for none
	Password string
	Log      *slog.Logger     // nil discards
	Now      func() time.Time // nil: time.Now
	Timeout  time.Duration    // for one request; 0: 30 s
}

// Client reads and writes events. It is safe for concurrent use.
type Client struct {
	opt  Options
	http *http.Client
}

// New returns a client. It does not connect.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("event store: bad URL %q: want http://host:port", o.URL)
	}
	o.URL = strings.TrimRight(o.URL, "/")
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 8, MaxIdleConns: 8, IdleConnTimeout: 90 * time.Second,
	}
	return &Client{opt: o, http: &http.Client{Transport: t}}, nil
}

// URL returns where the store is.
func (c *Client) URL() string { return c.opt.URL }

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ready reports whether the store answers.
func (c *Client) Ready(ctx context.Context) error {
	body, err := c.do(ctx, http.MethodGet, "/health", nil, nil, 3*time.Second)
	if err != nil {
		return err
	}
	return body.Close()
}

// Append writes JSON lines, one flat object each, as coming from host: whatever a line says its
// host is, it is replaced. Lines without an id, a time or JSON are not written; skipped says how many.
// The rows are in the store's memory when Append returns, and on disk AckDelay later.
func (c *Client) Append(ctx context.Context, host string, lines []byte, n int) (skipped int, err error) {
	if host == "" {
		return 0, errors.New("event store: rows without a host")
	}
	good, kept := clean(lines, c.opt.Now())
	skipped = n - kept
	if kept == 0 {
		return max(skipped, 0), nil
	}
	return max(skipped, 0), c.post(ctx, host, good)
}

func (c *Client) post(ctx context.Context, host string, lines []byte) error {
	q := url.Values{
		"_time_field": {"_time"}, "_msg_field": {"_msg"}, "_stream_fields": {"host,class"},
		"extra_fields": {"host=" + fieldValue(host)}, // wins over what the line says
	}
	body, err := c.do(ctx, http.MethodPost, "/insert/jsonline?"+q.Encode(), nil, lines, c.opt.Timeout)
	if err != nil {
		return err
	}
	return body.Close()
}

// fieldValue makes a host name fit for a list that the store splits at commas.
func fieldValue(s string) string { return strings.ReplaceAll(s, ",", "_") }

// do sends a form or, where body is set, lines. The caller closes what it returns.
func (c *Client) do(ctx context.Context, method, path string, form url.Values, lines []byte, limit time.Duration) (io.ReadCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	var body io.Reader
	kind := "application/x-www-form-urlencoded"
	switch {
	case lines != nil:
		body, kind = bytes.NewReader(lines), "application/stream+json" // under another type the store swallows the lines
	case form != nil:
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, c.opt.URL+path, body)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("event store: %w", err)
	}
	req.Header.Set("Content-Type", kind)
	if c.opt.User != "" {
		req.SetBasicAuth(c.opt.User, c.opt.Password)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		cancel()
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode/100 != 2 {
		defer cancel()
		return nil, c.answer(resp, form.Get("query"))
	}
	return &responseBody{resp.Body, cancel}, nil
}

type responseBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *responseBody) Close() error {
	_, _ = io.CopyN(io.Discard, b.ReadCloser, 4096) // an end that was read lets the connection be used again
	b.cancel()
	return b.ReadCloser.Close()
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("event store at %s did not answer in time; ask for a shorter time range: %w", c.opt.URL, ErrAway)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the URL holds the whole query
	}
	return fmt.Errorf("%w: %s: %w", ErrAway, c.opt.URL, err)
}

// answer turns a refusal into an error, and closes the response.
func (c *Client) answer(resp *http.Response, query string) error {
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 2*maxText+4096))
	text := plain(string(b), query)
	switch {
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: %s did not accept the user name or password", ErrAway, c.opt.URL)
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return fmt.Errorf("%w: %s answered %s: %s", ErrAway, c.opt.URL, resp.Status, text)
	case strings.Contains(resp.Request.URL.Path, "/insert/"):
		if strings.Contains(text, "read-only") {
			return fmt.Errorf("%w: it takes no writes, its disk is full: %s", ErrAway, text)
		}
		return fmt.Errorf("%w: %s", ErrRefused, text)
	}
	if strings.Contains(text, "timeout") || strings.Contains(text, "deadline") {
		return fmt.Errorf("%w: the query took too long; ask for a shorter time range or fewer rows", ErrAway)
	}
	return &QueryError{Text: text}
}

// plain takes off a message what is the store's own business: the request, and the query again.
func plain(s, query string) string {
	if i := strings.Index(s, "requestURI: "); i >= 0 {
		if _, after, ok := strings.Cut(s[i:], "; "); ok {
			s = after
		}
	}
	if query != "" {
		if _, after, ok := strings.Cut(s, "["+query+"]: "); ok {
			s = after
		}
	}
	s, _, _ = strings.Cut(s, "; context: [")
	s, _, _ = strings.Cut(s, "\n")
	if strings.Contains(s, "compound token cannot start with") {
		s = "a value is missing"
	}
	return strings.TrimSpace(s)
}

// clean keeps the lines that the store would keep as they are: a JSON object with an id and a time
// that is not so far ahead that the store would drop it. The store itself skips a bad line silently.
func clean(lines []byte, now time.Time) ([]byte, int) {
	kept, out, whole := 0, lines[:0:0], true
	for start, rest := 0, lines; len(rest) > 0; {
		line, after, _ := bytes.Cut(rest, []byte{'\n'})
		size := len(rest) - len(after)
		id, at := identify(line)
		good := len(line) < maxLine && id != "" && !at.IsZero() && at.Before(now.Add(maxAhead))
		switch {
		case good && !whole:
			out = append(append(out, line...), '\n')
		case !good && whole:
			whole, out = false, append(out, lines[:start]...)
		}
		if good {
			kept++
		}
		start, rest = start+size, after
	}
	if whole {
		return lines, kept
	}
	return out, kept
}

const (
	maxLine  = 256 << 10 // the store's bound for a line
	maxAhead = 47 * time.Hour
)

// identify returns the id and time of a record, "" and zero where it has none or is no JSON object.
// It reads them where the text shows them: a quote inside a string is escaped, so a name in quotes
// with a colon behind is a name. Decoding each line took half of the server's time.
func identify(line []byte) (id string, at time.Time) {
	rawID, ok1 := member(line, []byte(`"event.id":"`))
	rawTime, ok2 := member(line, []byte(`"_time":"`))
	if ok1 && ok2 && json.Valid(line) {
		if at, err := time.Parse(time.RFC3339Nano, string(rawTime)); err == nil {
			return string(rawID), at
		}
	}
	var head struct { // written with spaces, or in another form of time
		ID   string    `json:"event.id"`
		Time time.Time `json:"_time"`
	}
	if json.Unmarshal(line, &head) != nil {
		return "", time.Time{}
	}
	return head.ID, head.Time
}

// member returns the text behind name, up to the closing quote, where it holds no escape.
func member(line, name []byte) ([]byte, bool) {
	_, after, ok := bytes.Cut(line, name)
	if !ok {
		return nil, false
	}
	v := after
	end := bytes.IndexByte(v, '"')
	if end < 0 || bytes.IndexByte(v[:end], '\\') >= 0 {
		return nil, false
	}
	return v[:end], true
}
