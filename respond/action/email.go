package action

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"picket/event"
)

// email hands a message to a mail server, over TLS only: the password and what is said are secret.
// Its Message-ID comes from the request, so that a mailbox that gets it twice can tell.
type email struct {
	w          *wire
	host, addr string
	implicit   bool // TLS from the first byte
	user       string
	secret     string
	from       *mail.Address
	to         []*mail.Address
}

func newEmail(w *wire, c Channel) (receiver, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" || u.User != nil {
		return nil, errors.New("want a url, smtp://host or smtps://host, without a password in it")
	}
	e := &email{w: w, host: u.Hostname(), implicit: u.Scheme == "smtps", user: c.User, secret: c.Secret}
	port := u.Port()
	if port == "" {
		port = map[bool]string{true: "465", false: "587"}[e.implicit]
	}
	e.addr = net.JoinHostPort(e.host, port)
	if e.from, err = mail.ParseAddress(c.From); err != nil {
		return nil, fmt.Errorf("from %q: %w", c.From, err)
	}
	for _, to := range c.To {
		a, err := mail.ParseAddress(to)
		if err != nil {
			return nil, fmt.Errorf("to %q: %w", to, err)
		}
		e.to = append(e.to, a)
	}
	if len(e.to) == 0 || (e.user == "") != (e.secret == "") {
		return nil, errors.New("want addresses to send to, and a user with a secret or neither")
	}
	return e, nil
}

func (*email) holds(context.Context, *message) (bool, string, error) { return false, "", errCannotAsk }

func (*email) takeBack(context.Context, *message) (string, error) { return "", nil }

// send tries until the server has taken it, or refuses it for good.
func (e *email) send(ctx context.Context, m *message) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	for pause := e.w.pause; ; pause *= 2 {
		failed := e.try(ctx, m)
		if failed == nil {
			return e.id(m), nil
		}
		if r, ok := errors.AsType[refusedError](failed); ok {
			return "", r
		}
		reply, said := errors.AsType[*textproto.Error](failed.err)
		err := &callError{reason: fmt.Sprintf("mail to %s: %s", e.addr, oneLine(failed.Error(), 300)), arrived: failed.arrived}
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](failed.err)
		if said && reply.Code >= 500 || failed.arrived || untrusted || errors.Is(failed.err, errNoTLS) {
			return "", err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			err.reason += "; given up"
			return "", err
		}
	}
}

var errNoTLS = errors.New("the server offers no STARTTLS: without it nothing is sent")

// mailError is a talk with a mail server that broke off.
type mailError struct {
	err     error
	arrived bool // the server may have taken it all the same
}

func (e *mailError) Error() string { return e.err.Error() }
func (e *mailError) Unwrap() error { return e.err }

func (e *email) try(ctx context.Context, m *message) *mailError {
	before := func(err error) *mailError { return &mailError{err: err} }
	conn, err := e.w.dialer().DialContext(ctx, "tcp", e.addr)
	if err != nil {
		return before(err)
	}
	defer conn.Close() //nolint:errcheck // said goodbye below
	if until, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(until)
	}
	config := &tls.Config{ServerName: e.host, RootCAs: e.w.roots, MinVersion: tls.VersionTLS12}
	if e.implicit {
		conn = tls.Client(conn, config)
	}
	c, err := smtp.NewClient(conn, e.host)
	if err != nil {
		return before(err)
	}
	defer c.Close() //nolint:errcheck // said goodbye below
	if !e.implicit {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return before(errNoTLS)
		}
		if err := c.StartTLS(config); err != nil {
			return before(err)
		}
	}
	if e.user != "" {
		password, err := e.w.secret(e.secret)
		if err != nil {
			return before(err)
		}
		if err := c.Auth(smtp.PlainAuth("", e.user, password, e.host)); err != nil {
			return before(errors.New(strings.ReplaceAll(err.Error(), password, "***")))
		}
	}
	if err := c.Mail(e.from.Address); err != nil {
		return before(err)
	}
	for _, to := range e.to {
		if err := c.Rcpt(to.Address); err != nil {
			return before(err)
		}
	}
	body, err := c.Data()
	if err != nil {
		return before(err)
	}
	if _, err := body.Write(e.letter(m)); err != nil {
		return before(err) // without the last dot it is not taken
	}
	if err := body.Close(); err != nil {
		_, said := errors.AsType[*textproto.Error](err)
		return &mailError{err: err, arrived: !said}
	}
	_ = c.Quit()
	return nil
}

func (e *email) id(m *message) string {
	_, domain, _ := strings.Cut(e.from.Address, "@")
	return "<" + event.HashID("mail", m.ID) + "@" + domain + ">"
}

// letter is the message as mail. Every header is Picket's own, or encoded.
func (e *email) letter(m *message) []byte {
	var b bytes.Buffer
	var to []string
	for _, a := range e.to {
		to = append(to, a.String())
	}
	for _, h := range [][2]string{
		{"From", e.from.String()},
		{"To", strings.Join(to, ", ")},
		{"Subject", mime.QEncoding.Encode("utf-8", m.heading())},
		{"Date", m.At.Format(time.RFC1123Z)},
		{"Message-ID", e.id(m)},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	_, _ = q.Write([]byte(strings.ReplaceAll(m.whole(), "\n", "\r\n")))
	_ = q.Close()
	return b.Bytes()
}
