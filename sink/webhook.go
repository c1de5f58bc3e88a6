package sink

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"picket/event"
)

// webhook POSTs batches as JSON arrays.
//
// Each request carries X-Picket-Id, which is the same when a batch is sent again, X-Picket-Timestamp
// in Unix seconds and, with a secret, X-Picket-Signature: "sha256=" and the hexadecimal HMAC-SHA256
// of id, ".", timestamp, ".", body. 2xx is taken as delivered. 400, 413, 415 and 422 refuse a record
// for good. All else is tried again: also 401, 403 and 404, which say that the configuration is
// wrong and not the record.
type webhook struct {
	url     string
	shown   string // without password and query, which may hold a key
	headers map[string]string
	secret  string
	http    *http.Client
}

func openWebhook(c Config) (*webhook, error) {
	u, err := parseURL(c.URL)
	if err != nil {
		return nil, err
	}
	s := &webhook{url: u.String(), shown: u.Scheme + "://" + u.Host + u.Path, headers: map[string]string{}}
	for k, v := range c.Headers {
		if s.headers[k], err = secret(v); err != nil {
			return nil, fmt.Errorf("header %s: %w", k, err)
		}
	}
	if s.secret, err = secret(c.Secret); err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: refuseMetadata}
	s.http = &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
		// A redirect would carry secrets to where they do not belong.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("a webhook sink wants a url, http:// or https://") // the URL itself may hold a secret
	}
	return u, nil
}

// secret returns the text, or for @/path what the file holds, without the last newline.
func secret(s string) (string, error) {
	path, ok := strings.CutPrefix(s, "@")
	if !ok || !strings.HasPrefix(path, "/") {
		return s, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	s = strings.TrimRight(string(b), "\r\n")
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", fmt.Errorf("the secret in %s has more than one line", path)
	}
	return s, nil
}

// refuseMetadata keeps a webhook from reaching link-local addresses, where clouds hand out
// credentials.
func refuseMetadata(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err == nil && ap.Addr().Unmap().IsLinkLocalUnicast() {
		return fmt.Errorf("the receiver's address %s is link-local, which a webhook may not reach", ap.Addr())
	}
	return nil
}

// String returns where it sends to.
func (s *webhook) String() string { return "webhook " + s.shown }

// Send POSTs the batch.
func (s *webhook) Send(ctx context.Context, batch []json.RawMessage) error {
	body := []byte{'['}
	for i, r := range batch {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, r...)
	}
	body = append(body, ']')
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("POST to %s: %w", s.shown, stripURL(err))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "picket")
	for k, v := range s.headers {
		req.Header.Set(k, v)
	}
	s.sign(req.Header, body, time.Now())
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("POST to %s: %w", s.shown, stripURL(err))
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	return judge(resp, said, s.shown)
}

func (s *webhook) sign(h http.Header, body []byte, now time.Time) {
	id := event.HashID("webhook", string(body))
	at := strconv.FormatInt(now.Unix(), 10)
	h.Set("X-Picket-Id", id)
	h.Set("X-Picket-Timestamp", at)
	if s.secret == "" {
		return
	}
	mac := hmac.New(sha256.New, []byte(s.secret))
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	h.Set("X-Picket-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
}

// judge says what an answer means for the batch.
func judge(resp *http.Response, said []byte, shown string) error {
	status := resp.StatusCode
	if status >= 200 && status < 300 {
		return nil
	}
	reason := resp.Status
	if text := printable(said); text != "" {
		reason += ": " + text
	}
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return &Refused{Reason: reason}
	case http.StatusUnauthorized, http.StatusForbidden:
		reason += "; check the sink's headers and secret"
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		reason += "; check the sink's url"
	}
	if status >= 300 && status < 400 {
		reason += "; redirects are not followed: write the address it points to as the sink's url"
	}
	err := fmt.Errorf("POST to %s: %s", shown, reason)
	if after := retryAfter(resp.Header.Get("Retry-After"), time.Now()); after > 0 {
		return &Later{After: after, Reason: err.Error()}
	}
	return err
}

// retryAfter reads the header: seconds or a date.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// stripURL takes the URL, which may hold a key, out of an error.
func stripURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// printable is a receiver's text fit for a log: one line without control characters.
func printable(b []byte) string {
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b), "\uFFFD"))
	return strings.TrimSpace(text)
}
