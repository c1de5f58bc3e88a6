// Package client talks to a Picket server: what the command line and the lab know of it comes
// through here, as it would for any other program with a token.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const maxAnswer = 64 << 20

// Client calls one server. It is safe for concurrent use.
type Client struct {
	base  string // as requests use it
	name  string // as errors show it
	token string
	http  *http.Client
}

// New makes a client for http://host:port, https://host:port, or unix:///path/to/api.sock. The token
// may be empty for a Unix socket.
func New(server, token string) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("server address %q: %w", server, err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 60 * time.Second
	c := &Client{name: server, token: token, http: &http.Client{
		Transport: transport,
		// A redirect would carry the token along; the API has none.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	switch {
	case u.Scheme == "unix" && u.Path != "":
		c.base = "http://localhost"
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "unix", u.Path)
			if err == nil {
				err = ownSocket(conn, u.Path)
			}
			return conn, err
		}
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		c.base = u.Scheme + "://" + u.Host + strings.TrimSuffix(u.Path, "/")
		c.name = c.base
	default:
		return nil, fmt.Errorf("server address %q: want http://host:port, https://host:port or unix:///path", server)
	}
	return c, nil
}

// Error is an answer of the server that is not a success.
type Error struct {
	Status int    // HTTP status
	Detail string // what was wrong, from the server
}

// Error says what the server said, and for some statuses what to do.
func (e *Error) Error() string {
	switch e.Status {
	case http.StatusUnauthorized:
		return "the server does not know who you are: " + e.Detail
	case http.StatusForbidden:
		return "not allowed: " + e.Detail
	}
	return e.Detail
}

// IsNotFound reports whether err says that the thing asked for is not there.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// get reads path into a T.
func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var out T
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return out, c.call(ctx, http.MethodGet, path, nil, &out)
}

// call sends body as JSON and reads the answer into out, both optional.
func (c *Client) call(ctx context.Context, method, path string, body, out any) error {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("writing the request: %w", err)
		}
		payload = bytes.NewReader(b)
	}
	resp, err := c.send(ctx, method, path, payload, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("reading the answer of %s to %s %s: %w; are server and command of the same version?", c.name, method, path, err)
	}
	return nil
}

// send makes a request and returns its answer if it is a success.
func (c *Client) send(ctx context.Context, method, path string, body io.Reader, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("request %s %s: %w", method, path, err)
	}
	req.Header.Set("Accept", "application/json, text/event-stream;q=0.9")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	maps.Copy(req.Header, header)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	return nil, problem(resp)
}

// explain says in words why there was no answer.
func (c *Client) explain(ctx context.Context, err error) error {
	var dns *net.DNSError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("no Picket server at %s: start one with `picket run`, or name another with --server: %w", c.name, ErrNoServer)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("no access to %s: run as root, or use a token with the server's http address: %w", c.name, err)
	case errors.As(err, &dns):
		return fmt.Errorf("the host of %s has no address: check its name: %w", c.name, err)
	}
	return fmt.Errorf("talking to %s: %w", c.name, err)
}

// ErrNoServer is wrapped where nothing listens at the server's address.
var ErrNoServer = errors.New("nothing listens there")

func problem(resp *http.Response) error {
	var p struct {
		Title, Detail string
		Errors        []struct{ Message, Location string }
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if json.Unmarshal(body, &p) != nil || p.Title+p.Detail == "" {
		return &Error{Status: resp.StatusCode, Detail: "the server answered " + resp.Status}
	}
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	for _, e := range p.Errors {
		text += "; " + strings.TrimPrefix(strings.TrimPrefix(e.Location, "query."), "body.") + ": " + e.Message
	}
	return &Error{Status: resp.StatusCode, Detail: text}
}
