package action

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// wire carries messages out: with an eye on where to, with patience, and without a word of secrets.
type wire struct {
	env      func(string) (string, bool)
	loopback bool
	roots    *x509.CertPool
	http     *http.Client
	vault    Vault
	pause    time.Duration // before the second try; doubled each time
}

const (
	tryFor    = time.Minute // all tries of one call together
	maxPause  = 30 * time.Second
	maxAnswer = 1 << 20
)

func newWire(o ReachOptions) *wire {
	w := &wire{env: o.Env, loopback: o.Loopback, roots: o.Roots, vault: o.Vault, pause: 500 * time.Millisecond}
	w.http = &http.Client{
		Timeout: 20 * time.Second,
		Transport: &http.Transport{
			// A connection is looked at when it is made, for this call: so none is kept, and a proxy,
			// behind which no address can be seen, is not used.
			DisableKeepAlives: true, DialContext: w.dialer().DialContext, ForceAttemptHTTP2: true,
			TLSClientConfig:     &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
		// A redirect would carry secrets to where they do not belong.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return w
}

func (w *wire) dialer() *net.Dialer {
	return &net.Dialer{Timeout: 10 * time.Second, ControlContext: func(ctx context.Context, _, address string, _ syscall.RawConn) error {
		return w.refuse(ctx, address)
	}}
}

// insideOnly marks the context of a call that must not leave for a public address.
type insideOnly struct{}

var (
	metadata = []netip.Addr{netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16")}
	nat64    = netip.MustParsePrefix("64:ff9b::/96")
	shared   = netip.MustParsePrefix("100.64.0.0/10")
)

// Receiver returns the address of a call's other end, which a name stood for, and refuses link-local
// and metadata addresses, where clouds hand out credentials.
func Receiver(address string) (netip.Addr, error) {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.Addr{}, refusedError(fmt.Sprintf("the receiver's address %s cannot be told", address))
	}
	a := ap.Addr().Unmap().WithZone("")
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	if slices.Contains(metadata, a) {
		return a, refusedError(fmt.Sprintf("the receiver's address %s is where a cloud hands out credentials", a))
	}
	if a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() {
		return a, refusedError(fmt.Sprintf("the receiver's address %s is link-local or no host's", a))
	}
	return a, nil
}

// refuse keeps calls from what Receiver refuses; from this host, unless that is allowed; and what is
// marked TLP:RED from public addresses.
func (w *wire) refuse(ctx context.Context, address string) error {
	a, err := Receiver(address)
	switch {
	case err != nil:
		return err
	case a.IsLoopback() && !w.loopback:
		return refusedError(fmt.Sprintf("the receiver's address %s is this host: allow loopback if that is meant", a))
	case ctx.Value(insideOnly{}) != nil && !a.IsLoopback() && !a.IsPrivate() && !shared.Contains(a):
		return refusedError(fmt.Sprintf("TLP:RED does not go to %s, a public address", a))
	}
	return nil
}

// refusedError is a rule that a request goes against: it is refused, whoever asks.
type refusedError string

func (r refusedError) Error() string        { return string(r) }
func (r refusedError) Is(target error) bool { return target == ErrProtected }

// secret returns what a reference stands for: @/path, env:NAME or vault:PATH#FIELD. It is read at each
// use, so that a new one counts at once.
func (w *wire) secret(ref string) (string, error) {
	if strings.HasPrefix(ref, vaultScheme) {
		return w.fromVault(ref)
	}
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		if w.env == nil {
			return "", errors.New("no environment to read a secret from")
		}
		v, ok := w.env(name)
		if !ok || v == "" {
			return "", fmt.Errorf("variable %s, which should hold a secret, is not set", name)
		}
		return v, nil
	}
	path, _ := strings.CutPrefix(ref, "@")
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	s := strings.TrimRight(string(b), "\r\n")
	if s == "" || strings.ContainsAny(s, "\r\n\x00") {
		return "", fmt.Errorf("%s should hold a secret, in one line", path)
	}
	return s, nil
}

// isReference reports whether s names a secret and is none itself.
func isReference(s string) bool {
	_, _, vault := vaultRef(s)
	return vault || strings.HasPrefix(s, "@/") || strings.HasPrefix(s, "env:") && len(s) > len("env:")
}

// call is one request over HTTP.
type call struct {
	method string
	url    string
	header map[string]string
	sign   func(http.Header) // for headers that differ with each try
	body   []byte
	once   bool     // it must not be repeated where it may have arrived
	hide   []string // secrets that an answer could say again
}

// callError is a call that did not succeed.
type callError struct {
	reason  string
	status  int           // 0: no answer
	arrived bool          // it may have been done all the same
	again   bool          // worth another try
	after   time.Duration // as the receiver asks
}

func (e *callError) Error() string { return e.reason }

// do makes a call, and makes it again while that may help.
func (w *wire) do(ctx context.Context, c call) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	var maybe bool // an earlier try may have arrived
	for pause := w.pause; ; pause *= 2 {
		b, err := w.try(ctx, c)
		failed, ok := errors.AsType[*callError](err)
		if !ok {
			return b, err
		}
		maybe = maybe || failed.arrived
		failed.arrived = maybe
		if !failed.again || failed.arrived && c.once {
			return nil, failed
		}
		wait := max(min(pause, maxPause)/2+rand.N(min(pause, maxPause)/2+1), failed.after)
		if until, ok := ctx.Deadline(); ok && time.Until(until) < wait {
			failed.reason += "; given up"
			return nil, failed
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, failed
		}
	}
}

func (w *wire) try(ctx context.Context, c call) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, c.method, c.url, bytes.NewReader(c.body))
	if err != nil {
		return nil, fmt.Errorf("%s: the url makes no sense", c.method) // and may hold a key
	}
	shown := c.method + " to " + req.URL.Host
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "picket")
	for k, v := range c.header {
		req.Header.Set(k, v)
	}
	if c.sign != nil {
		c.sign(req.Header)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		if r, ok := errors.AsType[refusedError](err); ok {
			return nil, r
		}
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the URL
		}
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return nil, &callError{reason: fmt.Sprintf("%s: %v", shown, err)}
		}
		op, dialing := errors.AsType[*net.OpError](err)
		return nil, &callError{reason: fmt.Sprintf("%s: %v", shown, err), again: true, arrived: !dialing || op.Op != "dial"}
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		if err != nil {
			return nil, &callError{reason: shown + ": the answer was cut off", arrived: true, again: true}
		}
		return b, nil
	}
	return nil, judged(resp, b, shown, c.hide)
}

// judged says what an answer other than success means.
func judged(resp *http.Response, said []byte, shown string, hide []string) error {
	text := string(said)
	for _, secret := range hide {
		if len(secret) > 3 {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	e := &callError{status: resp.StatusCode, reason: fmt.Sprintf("%s: %s", shown, resp.Status)}
	if text = oneLine(text, 300); text != "" {
		e.reason += ": " + text
	}
	switch s := resp.StatusCode; {
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests:
		e.again = true
	case s >= 500:
		e.again, e.arrived = true, true
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		e.reason += "; check the channel's secret"
	case s == http.StatusNotFound, s == http.StatusMethodNotAllowed, s == http.StatusGone:
		e.reason += "; check the channel's url"
	case s >= 300 && s < 400:
		e.reason += "; redirects are not followed: write the address that it leads to as the channel's url"
	}
	if n, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31); err == nil {
		e.after = time.Duration(n) * time.Second
	}
	return e
}
